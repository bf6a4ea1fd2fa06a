//! What other systems let us in with, each for one host and sealed at rest. It is written, and never shown.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::TenantId;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use uuid::Uuid;

use crate::{Keyring, Slot};

/// Credentials of one tenant.
pub const CREDENTIALS_MAX: i64 = 100;

/// The column of a credential's secret.
pub(crate) const SECRET: &str = "credentials.secret";

/// A credential, without its secret.
#[derive(Debug, Clone, Serialize)]
pub struct Credential {
    /// Which.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// The host that it is for, with a port unless it is 443.
    pub host: String,
    /// Empty where a token is all.
    pub username: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its secret was last written.
    pub changed_at: DateTime<Utc>,
}

/// A credential to be made.
#[derive(Debug)]
pub struct NewCredential<'a> {
    /// What people call it.
    pub name: &'a str,
    /// The host that it is for.
    pub host: &'a str,
    /// Empty where a token is all.
    pub username: &'a str,
    /// A password or token.
    pub secret: &'a SecretString,
}

fn sealed(keyring: &Keyring, tenant: TenantId, id: Uuid, secret: &SecretString) -> Vec<u8> {
    let slot = Slot {
        tenant,
        column: SECRET,
        row: id,
    };
    keyring.seal(slot, secret.expose_secret().as_bytes())
}

/// All of the tenant's, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Credential>, sqlx::Error> {
    sqlx::query_as!(
        Credential,
        r#"
        select id, name, host, username, created_at, changed_at
        from switchyard.credentials
        where database_id = switchyard.current_tenant()
        order by name
        limit $1
        "#,
        CREDENTIALS_MAX
    )
    .fetch_all(&mut **tx)
    .await
}

/// Makes one. Nothing, and nothing is made, when the name is taken or there are as many as may be.
///
/// # Errors
/// When the database does not answer, or the host is none.
pub async fn create(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    new: NewCredential<'_>,
) -> Result<Option<Uuid>, sqlx::Error> {
    let id = Uuid::now_v7();
    sqlx::query_scalar!(
        r#"
        insert into switchyard.credentials (id, database_id, name, host, username, secret)
        select $1, $2, $3, $4, $5, $6
        where (
            select count(*) from switchyard.credentials where database_id = switchyard.current_tenant()
        ) < $7
        on conflict do nothing
        returning id
        "#,
        id,
        tenant.uuid(),
        new.name,
        new.host,
        new.username,
        sealed(keyring, tenant, id, new.secret),
        CREDENTIALS_MAX
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Writes another secret over a credential's. False when there is no such credential.
///
/// # Errors
/// When the database does not answer.
pub async fn rotate(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    id: Uuid,
    username: &str,
    secret: &SecretString,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        update switchyard.credentials
        set secret = $2, username = $3, changed_at = now()
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id,
        sealed(keyring, tenant, id, secret),
        username
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of a credential that somebody wanted gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Done,
    /// There is none of that id.
    Absent,
    /// Something is looked at with it.
    InUse,
}

/// Removes a credential that nothing uses.
///
/// # Errors
/// When the database does not answer.
pub async fn remove(tx: &mut TenantTx, id: Uuid) -> Result<Removed, sqlx::Error> {
    let used = sqlx::query_scalar!(
        r#"
        select exists (
            select from switchyard.places
            where database_id = switchyard.current_tenant() and credential_id = $1
        ) as "used!"
        "#,
        id
    )
    .fetch_one(&mut **tx)
    .await?;
    if used {
        return Ok(Removed::InUse);
    }
    let done = sqlx::query!(
        "delete from switchyard.credentials where database_id = switchyard.current_tenant() and id = $1",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(if done.rows_affected() == 1 {
        Removed::Done
    } else {
        Removed::Absent
    })
}
