//! Terraform's states: versions with their history, sealed at rest, and the lock of each.
//!
//! The state backend works through [`Store`], in the name of a run or of a person; what people do in the API and the portal
//! takes their tenant's transaction ([`list`], [`promote`] …).

mod own;

use model::{JobId, Role, TenantId};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::people::{SESSION_IDLE, Token};
use crate::{Keyring, SealedError, Slot, Store};

pub use own::{
    Locked, Promoted, Removed, StateRow, Unlocked, Version, find, list, note_download, promote,
    remove, run_read, unlock, version_state, versions,
};

/// The largest state, in bytes.
pub const STATE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest text of a lock that is kept, in bytes.
const LOCK_TEXT_BYTES_MAX: usize = 1024;

/// The column that states are sealed for.
const SEALED: &str = "terraform_versions.sealed";

/// Whether this may be a state's name: 1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first.
#[must_use]
pub fn is_state_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inner)
}

/// Who works with a state.
#[derive(Debug, Clone)]
pub struct Caller<'a> {
    /// Whose state.
    pub tenant: TenantId,
    /// The state's name.
    pub state: &'a str,
    /// In words, for the record.
    pub by: &'a str,
    /// The job and epoch of a run; none for a person.
    pub run: Option<(JobId, i64)>,
}

impl Caller<'_> {
    fn job(&self) -> Option<i64> {
        self.run.map(|(job, _)| job.0)
    }

    fn epoch(&self) -> Option<i64> {
        self.run.map(|(_, epoch)| epoch)
    }
}

/// What terraform sends with a lock, and is given by whom it is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LockInfo {
    /// Which.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it is held for: `OperationTypeApply` ….
    pub operation: String,
    /// More.
    pub info: String,
    /// User and machine.
    pub who: String,
    /// Terraform's version.
    pub version: String,
    /// When, as terraform wrote it. It reads no empty one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// Where the state is, where terraform says it.
    pub path: String,
}

impl LockInfo {
    /// The same with texts of bounded length, if its id is one.
    #[must_use]
    pub fn bounded(mut self) -> Option<Self> {
        if self.id.is_empty() || self.id.len() > 100 {
            return None;
        }
        for text in [
            &mut self.id,
            &mut self.operation,
            &mut self.info,
            &mut self.who,
            &mut self.version,
            &mut self.created,
            &mut self.path,
        ] {
            text.retain(|c| c != '\0');
            text.truncate(text.floor_char_boundary(LOCK_TEXT_BYTES_MAX));
        }
        Some(self)
    }
}

/// What came of asking for a lock, or giving it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockAnswer {
    /// It is held by who asks, or by nobody when it was given back.
    Done,
    /// Somebody else holds it.
    Held(Box<LockInfo>),
    /// The run is over.
    Ended,
    /// The tenant has as many states as it may.
    Full,
}

/// A state that is sent.
#[derive(Debug)]
pub struct NewVersion<'a> {
    /// The lock it is sent under.
    pub lock_id: Option<&'a str>,
    /// Grows with each change.
    pub serial: i64,
    /// The same for all states that come from one first one.
    pub lineage: &'a str,
    /// The terraform that wrote it.
    pub terraform_version: Option<&'a str>,
    /// Of `state`.
    pub sha256: [u8; 32],
    /// The whole.
    pub state: &'a [u8],
}

/// What came of sending a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is the one that counts, under this number.
    Stored(i64),
    /// It is kept under this number and does not count, and why.
    Quarantined(i64, String),
    /// Somebody holds the lock, and it was sent without one.
    Held(Box<LockInfo>),
    /// The tenant has as many states as it may.
    Full,
}

/// A state as it is read.
#[derive(Debug)]
pub enum Read {
    /// This version counts.
    Found(i64, Zeroizing<Vec<u8>>),
    /// There is none.
    None,
    /// The run is over.
    Ended,
    /// What is stored does not open.
    Broken(SealedError),
}

/// Why a state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database.
    #[error("the state cannot be read")]
    Database(#[from] sqlx::Error),
    /// What is stored.
    #[error("the state does not open")]
    Sealed(#[from] SealedError),
}

/// A member of a tenant, by the token that their terraform sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePerson {
    /// Their name.
    pub name: String,
    /// The tenant.
    pub tenant: TenantId,
    /// What they may do there.
    pub role: Role,
}

fn slot(tenant: TenantId, version: Uuid) -> Slot {
    Slot {
        tenant,
        column: SEALED,
        row: version,
    }
}

fn odd(what: &str, answered: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} answered {answered:?}").into())
}

fn holder(info: Option<Json<LockInfo>>) -> Box<LockInfo> {
    Box::new(info.map(|Json(info)| info).unwrap_or_default())
}

impl Store {
    /// Whose token this is, if they are a member of the tenant of this name or id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn state_person(
        &self,
        token: &Token,
        tenant: &str,
    ) -> Result<Option<StatePerson>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select name as "name!", database_id as "database_id!", role::text as "role!"
            from switchyard.state_person($1, make_interval(secs => $2), $3)
            "#,
            token.hash(),
            SESSION_IDLE.as_secs_f64(),
            tenant
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        row.map(|row| {
            Ok(StatePerson {
                name: row.name,
                tenant: row.database_id.into(),
                role: row
                    .role
                    .parse()
                    .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            })
        })
        .transpose()
    }

    /// Takes a state's lock. Asked again for the same it is the same; what an ended run held is taken from it, on record.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock_terraform_state(
        &self,
        caller: &Caller<'_>,
        info: &LockInfo,
    ) -> Result<LockAnswer, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", holder as "holder: Json<LockInfo>"
            from switchyard.lock_terraform_state($1, $2, $3, $4, $5, $6, $7, $8)
            "#,
            caller.tenant.uuid(),
            Uuid::now_v7(),
            caller.state,
            info.id,
            Json(info) as Json<&LockInfo>,
            caller.by,
            caller.job(),
            caller.epoch()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        match row.outcome.as_str() {
            "locked" => Ok(LockAnswer::Done),
            "held" => Ok(LockAnswer::Held(holder(row.holder))),
            "ended" => Ok(LockAnswer::Ended),
            "full" => Ok(LockAnswer::Full),
            other => Err(odd("lock_terraform_state", other)),
        }
    }

    /// Gives a lock back. When nobody holds it, that is done already.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unlock_terraform_state(
        &self,
        caller: &Caller<'_>,
        lock_id: &str,
    ) -> Result<LockAnswer, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", holder as "holder: Json<LockInfo>"
            from switchyard.unlock_terraform_state($1, $2, $3, $4, $5)
            "#,
            caller.tenant.uuid(),
            caller.state,
            lock_id,
            caller.job(),
            caller.epoch()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        match row.outcome.as_str() {
            "free" => Ok(LockAnswer::Done),
            "held" => Ok(LockAnswer::Held(holder(row.holder))),
            "ended" => Ok(LockAnswer::Ended),
            other => Err(odd("unlock_terraform_state", other)),
        }
    }

    /// Takes a version of a state, and seals it. The same again is the same version.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn write_terraform_state(
        &self,
        keyring: &Keyring,
        caller: &Caller<'_>,
        new: &NewVersion<'_>,
    ) -> Result<Written, sqlx::Error> {
        let id = Uuid::now_v7();
        let sealed = keyring.seal_packed(slot(caller.tenant, id), new.state);
        let bytes = i32::try_from(new.state.len()).unwrap_or(i32::MAX);
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", version, why, holder as "holder: Json<LockInfo>"
            from switchyard.write_terraform_state(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
            )
            "#,
            caller.tenant.uuid(),
            Uuid::now_v7(),
            caller.state,
            new.lock_id,
            id,
            new.serial,
            new.lineage,
            new.terraform_version,
            new.sha256.as_slice(),
            bytes,
            sealed,
            caller.by,
            caller.job(),
            caller.epoch()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        match (row.outcome.as_str(), row.version) {
            ("stored" | "same", Some(version)) => Ok(Written::Stored(version)),
            ("quarantined", Some(version)) => {
                Ok(Written::Quarantined(version, row.why.unwrap_or_default()))
            }
            ("held", _) => Ok(Written::Held(holder(row.holder))),
            ("full", _) => Ok(Written::Full),
            (other, _) => Err(odd("write_terraform_state", other)),
        }
    }

    /// The version of a state that counts. What a run sees is noted, so that its plan can be known to be out of date.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read_terraform_state(
        &self,
        keyring: &Keyring,
        caller: &Caller<'_>,
    ) -> Result<Read, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", version, version_id, sealed
            from switchyard.read_terraform_state($1, $2, $3, $4)
            "#,
            caller.tenant.uuid(),
            caller.state,
            caller.job(),
            caller.epoch()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        let version = row.version.zip(row.version_id).zip(row.sealed);
        match (row.outcome.as_str(), version) {
            ("found", Some(((version, id), sealed))) => {
                Ok(match keyring.open(slot(caller.tenant, id), &sealed) {
                    Ok(state) => Read::Found(version, state),
                    Err(error) => Read::Broken(error),
                })
            }
            ("none", _) => Ok(Read::None),
            ("ended", _) => Ok(Read::Ended),
            (other, _) => Err(odd("read_terraform_state", other)),
        }
    }

    /// Lets a state count as having no version. Its history stays.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clear_terraform_state(
        &self,
        caller: &Caller<'_>,
    ) -> Result<LockAnswer, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", holder as "holder: Json<LockInfo>"
            from switchyard.clear_terraform_state($1, $2, $3, $4, $5)
            "#,
            caller.tenant.uuid(),
            caller.state,
            caller.by,
            caller.job(),
            caller.epoch()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        match row.outcome.as_str() {
            "none" => Ok(LockAnswer::Done),
            "held" => Ok(LockAnswer::Held(holder(row.holder))),
            "ended" => Ok(LockAnswer::Ended),
            other => Err(odd("clear_terraform_state", other)),
        }
    }

    /// Takes a state's lock from whoever holds it, for a person, on record. False when nobody held it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn force_unlock_terraform_state(
        &self,
        caller: &Caller<'_>,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.force_unlock_terraform_state($1, $2, $3) as "held!""#,
            caller.tenant.uuid(),
            caller.state,
            caller.by
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Puts on record that a person read a whole state with their own terraform.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_terraform_read(
        &self,
        caller: &Caller<'_>,
        version: i64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.note_terraform_read($1, $2, $3, $4)",
            caller.tenant.uuid(),
            caller.state,
            version,
            caller.by
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Takes locks from runs that are over, on record. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn free_ended_terraform_locks(&self, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.free_ended_terraform_locks($1) as "freed!""#,
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Who approved what the run of this claim ended with; nothing when nobody did.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn approved_by(
        &self,
        tenant: TenantId,
        job: JobId,
        epoch: i64,
    ) -> Result<Option<String>, sqlx::Error> {
        let by = sqlx::query_scalar!(
            r#"
            select coalesce(data ->> 'by', '') as "by!" from switchyard.job_events
            where database_id = $1 and job_id = $2 and epoch = $3 and kind = 'approved'
            limit 1
            "#,
            tenant.uuid(),
            job.0,
            epoch
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(by)
    }

    /// Whether a state is still what a run of a job saw last: nothing when it saw none of ours.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn terraform_state_moved(
        &self,
        tenant: TenantId,
        job: JobId,
        epoch: i64,
    ) -> Result<Option<bool>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            select bool_or(r.version is distinct from s.current)
            from switchyard.terraform_reads r
            join switchyard.terraform_states s on s.database_id = r.database_id and s.id = r.state_id
            where r.database_id = $1 and r.job_id = $2 and r.epoch = $3
            "#,
            tenant.uuid(),
            job.0,
            epoch
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
