//! The secrets of triggers: given, replaced with an overlap, ended, and told of without being told.

use chrono::{DateTime, Duration, Utc};
use database::TenantTx;
use model::{TenantId, TriggerId};
use queue::schedules;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;

use super::{SaveError, kind_of, note};
use crate::inbox::SECRET;
use crate::{Keyring, Slot, Store};

/// How long secrets that were replaced may stay good, at most.
pub const OVERLAP_MAX: Duration = Duration::days(30);

/// Secrets that a trigger is to have.
#[derive(Debug)]
pub struct NewSecrets<'a> {
    /// What its senders sign with; as it is when none is given.
    pub secret: Option<&'a SecretString>,
    /// SHA-256 of the secret in the path of its URL; as it is when none is given.
    pub path_sha256: Option<[u8; 32]>,
    /// How long those before stay good; not at all for zero.
    pub overlap: Duration,
}

/// Gives a trigger another secret, another path, or both.
///
/// # Errors
/// When there is no such trigger, it has no senders, or the database does not answer.
pub async fn rotate(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    id: TriggerId,
    new: NewSecrets<'_>,
    by: &str,
) -> Result<(), SaveError> {
    let NewSecrets {
        secret,
        path_sha256,
        overlap,
    } = new;
    let kind = kind_of(tx, id).await?;
    if !kind.takes_webhooks() {
        return Err(SaveError::Conflict(format!(
            "a trigger of kind {kind} has no senders"
        )));
    }
    if overlap < Duration::zero() || overlap > OVERLAP_MAX {
        return Err(SaveError::wrong(
            "overlap",
            format!("0 to {} days are expected", OVERLAP_MAX.num_days()),
        ));
    }
    let slot = Slot {
        tenant,
        column: SECRET,
        row: id.uuid(),
    };
    let sealed = secret.map(|secret| keyring.seal(slot, secret.expose_secret().as_bytes()));
    let until = if overlap.is_zero() {
        None
    } else {
        Some(schedules::now(tx).await? + overlap)
    };
    let done = sqlx::query_scalar!(
        r#"select switchyard.rotate_own_secret($1, $2, $3, $4) as "done!""#,
        id.uuid(),
        sealed as _,
        path_sha256.as_ref().map(<[u8; 32]>::as_slice) as _,
        until as _
    )
    .fetch_one(&mut **tx)
    .await?;
    if !done {
        return Err(SaveError::Missing("trigger"));
    }
    let data = json!({
        "secret": secret.is_some(), "path": path_sha256.is_some(), "overlap_secs": overlap.num_seconds(),
    });
    Ok(note(tx, id, "trigger_secret", by, data).await?)
}

/// Ends the time of the secrets before the present ones at once.
///
/// # Errors
/// When there is no such trigger, or the database does not answer.
pub async fn drop_old_secret(tx: &mut TenantTx, id: TriggerId, by: &str) -> Result<(), SaveError> {
    kind_of(tx, id).await?;
    sqlx::query!(
        r#"
        update switchyard.triggers
        set secret_previous = null, path_sha256_previous = null, secret_previous_until = null, updated_at = now()
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(note(tx, id, "trigger_secret_drop", by, json!({})).await?)
}

impl Store {
    /// Forgets secrets before the present ones whose time is over, of up to `limit` triggers. Returns of how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_old_secrets(&self, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.drop_old_secrets($1) as "dropped!""#,
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

/// Which secrets a trigger has; never what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretsShown {
    /// Whether it has one.
    pub has_secret: bool,
    /// Whether the one before is still good.
    pub has_secret_previous: bool,
    /// Whether its URL has a secret in its path.
    pub has_path: bool,
    /// Whether the one before is still good.
    pub has_path_previous: bool,
    /// Until when those before are good; nothing for as long as nobody drops them.
    pub previous_until: Option<DateTime<Utc>>,
}

/// Which secrets a trigger has. Nothing when there is no such trigger.
///
/// # Errors
/// When the database does not answer.
pub async fn secrets(
    tx: &mut TenantTx,
    id: TriggerId,
) -> Result<Option<SecretsShown>, sqlx::Error> {
    sqlx::query_as!(
        SecretsShown,
        r#"
        select has_secret, has_secret_previous, has_path, has_path_previous, secret_previous_until as previous_until
        from switchyard.triggers
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}
