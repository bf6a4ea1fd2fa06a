//! States as a tenant's people see them, and what they do to them.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{JobId, TenantId};
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{LockInfo, ReadError, slot};
use crate::Keyring;

/// A state in a list.
#[derive(Debug, Clone, Serialize)]
pub struct StateRow {
    /// Which.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// The version that counts.
    pub current: Option<i64>,
    /// Its serial.
    pub serial: Option<i64>,
    /// Its lineage.
    pub lineage: Option<String>,
    /// Its size in bytes.
    pub bytes: Option<i32>,
    /// When it was last written.
    pub changed_at: Option<DateTime<Utc>>,
    /// Versions that were sent and do not count.
    pub quarantined: i64,
    /// Who holds its lock.
    pub lock: Option<Locked>,
    /// When it was first heard of.
    pub created_at: DateTime<Utc>,
}

/// A lock that is held.
#[derive(Debug, Clone, Serialize)]
pub struct Locked {
    /// Which.
    pub id: String,
    /// What its holder sent.
    pub info: LockInfo,
    /// Who holds it, in words.
    pub by: String,
    /// The job whose run holds it.
    pub job: Option<JobId>,
    /// The number of its claim.
    pub epoch: Option<i64>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// For how long, in seconds.
    pub age_secs: i64,
}

/// A version of a state.
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    /// Its number, from 1.
    pub number: i64,
    /// Its serial.
    pub serial: i64,
    /// Its lineage.
    pub lineage: String,
    /// The terraform that wrote it.
    pub terraform_version: Option<String>,
    /// SHA-256 of the whole, in hex.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: i32,
    /// Who sent it, in words.
    pub by: String,
    /// The job whose run sent it.
    pub job: Option<JobId>,
    /// When it came.
    pub created_at: DateTime<Utc>,
    /// Why it did not count when it came.
    pub quarantined: Option<String>,
    /// Who made it count afterwards.
    pub promoted_by: Option<String>,
    /// When.
    pub promoted_at: Option<DateTime<Utc>>,
    /// Whether it is the one that counts.
    pub current: bool,
}

struct Row {
    id: Uuid,
    name: String,
    current: Option<i64>,
    created_at: DateTime<Utc>,
    lock_id: Option<String>,
    lock_holder: Option<Json<LockInfo>>,
    locked_at: Option<DateTime<Utc>>,
    locked_by: Option<String>,
    lock_job_id: Option<i64>,
    lock_epoch: Option<i64>,
    age_secs: Option<i64>,
    serial: Option<i64>,
    lineage: Option<String>,
    bytes: Option<i32>,
    changed_at: Option<DateTime<Utc>>,
    quarantined: Option<i64>,
}

impl From<Row> for StateRow {
    fn from(row: Row) -> Self {
        let lock =
            row.lock_id
                .zip(row.lock_holder)
                .zip(row.locked_at)
                .map(|((id, Json(info)), since)| Locked {
                    id,
                    info,
                    by: row.locked_by.unwrap_or_default(),
                    job: row.lock_job_id.map(JobId),
                    epoch: row.lock_epoch,
                    since,
                    age_secs: row.age_secs.unwrap_or_default(),
                });
        Self {
            id: row.id,
            name: row.name,
            current: row.current,
            serial: row.serial,
            lineage: row.lineage,
            bytes: row.bytes,
            changed_at: row.changed_at,
            quarantined: row.quarantined.unwrap_or_default(),
            lock,
            created_at: row.created_at,
        }
    }
}

/// The tenant's states by name, those after a name.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    tx: &mut TenantTx,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<StateRow>, sqlx::Error> {
    rows(tx, None, after, i64::try_from(limit).unwrap_or(i64::MAX)).await
}

/// One of the tenant's states.
///
/// # Errors
/// When the database does not answer.
pub async fn find(tx: &mut TenantTx, id: Uuid) -> Result<Option<StateRow>, sqlx::Error> {
    Ok(rows(tx, Some(id), None, 1).await?.pop())
}

async fn rows(
    tx: &mut TenantTx,
    id: Option<Uuid>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<StateRow>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select s.id, s.name, s.current, s.created_at, s.lock_id, s.lock_holder as "lock_holder: Json<LockInfo>",
            s.locked_at, s.locked_by, s.lock_job_id, s.lock_epoch,
            extract(epoch from clock_timestamp() - s.locked_at)::bigint as age_secs,
            v.serial as "serial?", v.lineage as "lineage?", v.bytes as "bytes?", v.created_at as "changed_at?",
            (
                select count(*) from switchyard.terraform_versions q
                where q.database_id = s.database_id and q.state_id = s.id and q.quarantined is not null
                  and q.promoted_at is null
            ) as quarantined
        from switchyard.terraform_states s
        left join switchyard.terraform_versions v
            on v.database_id = s.database_id and v.state_id = s.id and v.number = s.current
        where s.database_id = switchyard.current_tenant()
          and ($1::uuid is null or s.id = $1)
          and ($2::text is null or s.name > $2)
        order by s.name
        limit $3
        "#,
        id,
        after,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(StateRow::from).collect())
}

/// Versions of a state, the newest first, those before a number.
///
/// # Errors
/// When the database does not answer.
pub async fn versions(
    tx: &mut TenantTx,
    state: Uuid,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Version>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select v.number, v.serial, v.lineage, v.terraform_version, v.sha256, v.bytes, v.by_whom, v.job_id, v.created_at,
            v.quarantined, v.promoted_by, v.promoted_at, coalesce(v.number = s.current, false) as "current!"
        from switchyard.terraform_versions v
        join switchyard.terraform_states s on s.database_id = v.database_id and s.id = v.state_id
        where v.database_id = switchyard.current_tenant() and v.state_id = $1 and ($2::bigint is null or v.number < $2)
        order by v.number desc
        limit $3
        "#,
        state,
        before,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Version {
            number: row.number,
            serial: row.serial,
            lineage: row.lineage,
            terraform_version: row.terraform_version,
            sha256: hex(&row.sha256),
            bytes: row.bytes,
            by: row.by_whom,
            job: row.job_id.map(JobId),
            created_at: row.created_at,
            quarantined: row.quarantined,
            promoted_by: row.promoted_by,
            promoted_at: row.promoted_at,
            current: row.current,
        })
        .collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A whole version, secrets and all: masked before anybody sees it, or taken away by who may, on record.
///
/// # Errors
/// When the database does not answer, or what is stored does not open.
pub async fn version_state(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    state: Uuid,
    number: i64,
) -> Result<Option<Zeroizing<Vec<u8>>>, ReadError> {
    let row = sqlx::query!(
        r#"
        select id, sealed from switchyard.terraform_versions
        where database_id = switchyard.current_tenant() and state_id = $1 and number = $2
        "#,
        state,
        number
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(match row {
        Some(row) => Some(keyring.open(slot(tenant, row.id), &row.sealed)?),
        None => None,
    })
}

/// The state that a job's runs worked with.
///
/// # Errors
/// When the database does not answer.
pub async fn run_read(tx: &mut TenantTx, job: JobId) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select state_id from switchyard.terraform_reads
        where database_id = switchyard.current_tenant() and job_id = $1
        order by epoch desc
        limit 1
        "#,
        job.0
    )
    .fetch_optional(&mut **tx)
    .await
}

/// What came of taking a lock away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlocked {
    /// Nobody holds it now.
    Done,
    /// It is not that lock which is held.
    Other,
    /// There is no such state.
    Absent,
}

/// Takes a lock away from whoever holds it, on record.
///
/// # Errors
/// When the database does not answer.
pub async fn unlock(
    tx: &mut TenantTx,
    state: Uuid,
    lock_id: &str,
    by: &str,
    why: Option<&str>,
) -> Result<Unlocked, sqlx::Error> {
    let outcome = sqlx::query_scalar!(
        "select switchyard.unlock_own_terraform_state($1, $2, $3, $4)",
        state,
        lock_id,
        by,
        why
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(match outcome.as_deref() {
        None => Unlocked::Absent,
        Some("unlocked") => Unlocked::Done,
        Some(_) => Unlocked::Other,
    })
}

/// What came of making a version count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promoted {
    /// It counts.
    Done,
    /// It did before.
    Same,
    /// Somebody holds the lock.
    Held,
    /// There is no such version.
    Absent,
}

/// Makes a version the one that counts: a quarantined one, or an earlier one. On record.
///
/// # Errors
/// When the database does not answer.
pub async fn promote(
    tx: &mut TenantTx,
    state: Uuid,
    number: i64,
    by: &str,
) -> Result<Promoted, sqlx::Error> {
    let outcome = sqlx::query_scalar!(
        "select switchyard.promote_own_terraform_version($1, $2, $3)",
        state,
        number,
        by
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(match outcome.as_deref() {
        None => Promoted::Absent,
        Some("promoted") => Promoted::Done,
        Some("same") => Promoted::Same,
        Some(_) => Promoted::Held,
    })
}

/// What came of removing a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone, with its history.
    Done,
    /// Somebody holds the lock.
    Held,
    /// There is no such state.
    Absent,
}

/// Removes a state with its history, on record. What terraform made stays as it is, and nobody knows of it any more.
///
/// # Errors
/// When the database does not answer.
pub async fn remove(tx: &mut TenantTx, state: Uuid, by: &str) -> Result<Removed, sqlx::Error> {
    let outcome = sqlx::query_scalar!(
        "select switchyard.remove_own_terraform_state($1, $2)",
        state,
        by
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(match outcome.as_deref() {
        None => Removed::Absent,
        Some("removed") => Removed::Done,
        Some(_) => Removed::Held,
    })
}

/// Puts on record that somebody takes a whole version away; before they get it. False when there is no such version.
///
/// # Errors
/// When the database does not answer.
pub async fn note_download(
    tx: &mut TenantTx,
    state: Uuid,
    number: i64,
    by: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.note_own_terraform_download($1, $2, $3) as "noted!""#,
        state,
        number,
        by
    )
    .fetch_one(&mut **tx)
    .await
}
