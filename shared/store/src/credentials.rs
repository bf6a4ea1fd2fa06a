//! What other systems let us in with, each for one host and sealed at rest. It is written, and never shown. Whether it still
//! opens what it is for is looked at by the clock.

mod config;

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::TenantId;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::declared::note;
use crate::watch::{Login, LoginError};
use crate::{Keyring, Slot, Store};

pub use config::{
    AwsConfig, AzureConfig, ConfigError, CredentialConfig, GcpConfig, GcpKey, GitConfig,
    NetlabApiConfig, S3Config, SshConfig,
};

/// Credentials of one tenant.
pub const CREDENTIALS_MAX: i64 = 100;

/// The column of a credential's secret.
const SECRET: &str = "credentials.secret";

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A user and a password or token of a Git host.
    #[default]
    Git,
    /// The same of a registry of images.
    Registry,
    /// An access key and its secret, for a bucket.
    S3,
    /// A token of a cluster's API.
    Kube,
    /// An access key and its secret.
    Aws,
    /// A client's id and its secret.
    Azure,
    /// A service account's key file.
    Gcp,
    /// A user and a private key of a machine that is signed in to over SSH.
    Ssh,
    /// A user and a password of netlab's own API.
    NetlabApi,
}

impl CredentialKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Git,
        Self::Registry,
        Self::S3,
        Self::Kube,
        Self::Aws,
        Self::Azure,
        Self::Gcp,
        Self::Ssh,
        Self::NetlabApi,
    ];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Registry => "registry",
            Self::S3 => "s3",
            Self::Kube => "kube",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Ssh => "ssh",
            Self::NetlabApi => "netlab_api",
        }
    }

    fn named(name: &str) -> Result<Self, sqlx::Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| sqlx::Error::Decode(format!("{name} is no kind of credential").into()))
    }
}

/// What a look at a credential found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    /// Nobody has looked, or there is nothing to look at with it.
    Unchecked,
    /// It opened what it is for.
    Good,
    /// It does, and will end soon.
    Ending,
    /// It was refused: what needs it will fail.
    Bad,
    /// Whom it is for did not answer.
    Unsure,
}

impl CredentialState {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Good => "good",
            Self::Ending => "ending",
            Self::Bad => "bad",
            Self::Unsure => "unsure",
        }
    }
}

/// A credential, without its secret.
#[derive(Debug, Clone, Serialize)]
pub struct Credential {
    /// Which.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it is for: one of [`CredentialKind`].
    pub kind: String,
    /// The host that it is for, with a port unless it is 443.
    pub host: String,
    /// Empty where a token is all.
    pub username: String,
    /// What a look needs besides.
    pub config: Value,
    /// What the last look found: one of [`CredentialState`].
    pub state: String,
    /// Why, in words.
    pub problem: Option<String>,
    /// When that look was.
    pub checked_at: Option<DateTime<Utc>>,
    /// When it ends by itself, where it says so.
    pub ends_at: Option<DateTime<Utc>>,
    /// What would fail without it: `workspace network`, `trigger site`.
    pub uses: Vec<String>,
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
    /// What it is for.
    pub kind: CredentialKind,
    /// The host that it is for.
    pub host: &'a str,
    /// Empty where a token is all.
    pub username: &'a str,
    /// What a look needs besides.
    pub config: Value,
    /// A password, token, key or key file.
    pub secret: &'a SecretString,
}

/// A credential's secret. It is text: it was when it was sealed.
pub(crate) fn opened(
    keyring: &Keyring,
    tenant: TenantId,
    id: Uuid,
    sealed: &[u8],
) -> Result<SecretString, LoginError> {
    let slot = Slot {
        tenant,
        column: SECRET,
        row: id,
    };
    let plain = keyring.open(slot, sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| LoginError::NotText)?;
    Ok(text.into())
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
        select id, name, kind::text as "kind!", host, username, config, state::text as "state!", problem, checked_at, ends_at,
            switchyard.credential_uses(database_id, id) as "uses!", created_at, changed_at
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
    by: &str,
    new: NewCredential<'_>,
) -> Result<Option<Uuid>, sqlx::Error> {
    let id = Uuid::now_v7();
    let data = json!({"credential": id, "name": new.name, "kind": new.kind, "host": new.host});
    let made = sqlx::query_scalar!(
        r#"
        insert into switchyard.credentials (id, database_id, name, host, username, secret, kind, config)
        select $1, $2, $3, $4, $5, $6, $8::text::switchyard.credential_kind, $9
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
        CREDENTIALS_MAX,
        new.kind.as_str(),
        new.config
    )
    .fetch_optional(&mut **tx)
    .await?;
    if made.is_some() {
        note(tx, by, "credential_create", data).await?;
    }
    Ok(made)
}

/// A secret to be written over another.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// Empty where a token is all.
    pub username: &'a str,
    /// A password, token, key or key file.
    pub secret: &'a SecretString,
}

/// Writes another secret over a credential's; it is looked at anew. False when there is no such credential.
///
/// # Errors
/// When the database does not answer.
pub async fn rotate(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    id: Uuid,
    by: &str,
    new: Rotation<'_>,
) -> Result<bool, sqlx::Error> {
    let name = sqlx::query_scalar!(
        r#"
        update switchyard.credentials
        set secret = $2, username = $3, changed_at = now(),
            state = 'unchecked', problem = null, ends_at = null, failures = 0, next_at = now(), look = look + 1
        where database_id = switchyard.current_tenant() and id = $1
        returning name
        "#,
        id,
        sealed(keyring, tenant, id, new.secret),
        new.username
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(name) = name else { return Ok(false) };
    let data = json!({"credential": id, "name": name});
    note(tx, by, "credential_rotate", data).await?;
    Ok(true)
}

/// Has a credential looked at as soon as may be. False when there is none of that id.
///
/// # Errors
/// When the database does not answer.
pub async fn check_soon(tx: &mut TenantTx, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        update switchyard.credentials
        set next_at = least(next_at, now())
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id
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
pub async fn remove(tx: &mut TenantTx, id: Uuid, by: &str) -> Result<Removed, sqlx::Error> {
    let used = sqlx::query_scalar!(
        r#"
        select exists (
            select from switchyard.places
            where database_id = switchyard.current_tenant() and credential_id = $1
        ) or exists (
            select from switchyard.workspaces
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
    let name = sqlx::query_scalar!(
        "delete from switchyard.credentials where database_id = switchyard.current_tenant() and id = $1 returning name",
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(name) = name else {
        return Ok(Removed::Absent);
    };
    let data = json!({"credential": id, "name": name});
    note(tx, by, "credential_remove", data).await?;
    Ok(Removed::Done)
}

/// A credential to be looked at now, by us alone.
#[derive(Debug)]
pub struct DueCredential {
    /// Which.
    pub id: Uuid,
    /// Whose.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// Which look at it this is.
    pub look: i64,
    /// What it is for.
    pub kind: CredentialKind,
    /// What a look needs besides.
    pub config: Value,
    /// The credential, opened.
    pub login: Result<Login, LoginError>,
    /// Repositories that are read with it: URLs.
    pub repositories: Vec<String>,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialChecked {
    /// How it is.
    pub state: CredentialState,
    /// Why, in words.
    pub problem: Option<String>,
    /// When it ends by itself.
    pub ends_at: Option<DateTime<Utc>>,
}

/// A machine that labs run on.
#[derive(Debug, Clone)]
pub struct LabHost {
    /// What people call it.
    pub name: String,
    /// Host, with a port unless it is the usual one.
    pub host: String,
    /// Whom to be there.
    pub user: String,
    /// The private key, or the password.
    pub secret: SecretString,
    /// By what it is known: [`CredentialConfig::Ssh`] or [`CredentialConfig::NetlabApi`].
    pub config: CredentialConfig,
}

impl Store {
    /// The machine of a credential of the kind `ssh` or `netlab_api`; nothing where the tenant has no such credential.
    ///
    /// # Errors
    /// When the database does not answer, or the secret cannot be opened.
    pub async fn lab_host(
        &self,
        keyring: &Keyring,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<LabHost>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select name, kind::text as "kind!", host, username, secret, config
            from switchyard.credentials
            where database_id = $1 and id = $2 and kind in ('ssh', 'netlab_api')
            "#,
            tenant.uuid(),
            id
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let decode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
        let secret =
            opened(keyring, tenant, id, &row.secret).map_err(|error| decode(error.into()))?;
        let config = CredentialConfig::read(CredentialKind::named(&row.kind)?, &row.config);
        Ok(Some(LabHost {
            name: row.name,
            host: row.host,
            user: row.username,
            secret,
            config: config.map_err(|error| decode(error.into()))?,
        }))
    }

    /// Takes up to `limit` credentials that are due for a look, for `time` at the most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_credentials(
        &self,
        keyring: &Keyring,
        time: Duration,
        limit: i32,
    ) -> Result<Vec<DueCredential>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select c.id as "id!", c.database_id as "database_id!", c.name as "name!", c.look as "look!",
                c.kind::text as "kind!", c.config as "config!", c.host as "host!", c.username as "username!",
                c.secret as "secret!",
                array(
                    select w.repository from switchyard.workspaces w
                    where w.database_id = c.database_id and w.credential_id = c.id
                    union
                    select p.url from switchyard.places p
                    where p.database_id = c.database_id and p.credential_id = c.id and p.kind = 'git'
                    limit 5
                ) as "repositories!"
            from switchyard.take_credentials(make_interval(secs => $1), $2) c
            "#,
            time.as_secs_f64(),
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                let tenant = TenantId::from(row.database_id);
                let login = opened(keyring, tenant, row.id, &row.secret).map(|secret| Login {
                    host: row.host,
                    username: row.username,
                    secret,
                });
                Ok(DueCredential {
                    id: row.id,
                    tenant,
                    name: row.name,
                    look: row.look,
                    kind: CredentialKind::named(&row.kind)?,
                    config: row.config,
                    login,
                    repositories: row.repositories,
                })
            })
            .collect()
    }

    /// Writes down what a look found, unless another began meanwhile; the next is after `again`. True when people are told,
    /// because it turned bad, will end, or is good again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_credential_check(
        &self,
        due: &DueCredential,
        found: &CredentialChecked,
        again: Duration,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            select switchyard.end_credential_check(
                $1, $2, $3::text::switchyard.credential_state, $4, $5, make_interval(secs => $6)
            ) as "told!"
            "#,
            due.id,
            due.look,
            found.state.as_str(),
            found.problem.as_deref(),
            found.ends_at,
            again.as_secs_f64()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
