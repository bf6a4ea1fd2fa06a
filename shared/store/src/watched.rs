//! What of a trigger is looked at by the clock, as people see and set it.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{TenantId, TriggerId};
use serde::Serialize;
use uuid::Uuid;

use crate::watch::PlaceKind;

/// Triggers of one tenant that are watched for.
pub const WATCHES_MAX: i64 = 500;
/// States that come with a watch: the newest.
const SEEN_SHOWN: i64 = 100;

/// What is to be watched for a trigger.
#[derive(Debug)]
pub struct NewWatch<'a> {
    /// What sort of place.
    pub kind: PlaceKind,
    /// Of the repository where it is Git's, of the registry where it is one.
    pub url: &'a str,
    /// Within the registry; empty where the URL names the repository.
    pub repository: &'a str,
    /// What the other side lets us in with.
    pub credential: Option<Uuid>,
    /// Between two looks, in seconds.
    pub interval_secs: i32,
    /// Whether what is there at the first look is told as new.
    pub report_first: bool,
    /// Globs of refs or tags.
    pub names: &'a [String],
    /// Who wants it.
    pub by: &'a str,
}

/// What became of a wish to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// It is watched.
    Done,
    /// There is no such trigger, or it is of another kind than the place.
    NoTrigger,
    /// There is no such credential, or it is for another host.
    NoCredential,
    /// There are as many as may be.
    TooMany,
}

/// What of a trigger is looked at, and how that goes.
#[derive(Debug, Clone, Serialize)]
pub struct Watching {
    /// The trigger.
    pub trigger: TriggerId,
    /// `git` or `registry`.
    pub kind: String,
    /// Of the repository where it is Git's, of the registry where it is one.
    pub url: String,
    /// Within the registry; empty where the URL names the repository.
    pub repository: String,
    /// What the other side lets us in with.
    pub credential: Option<Uuid>,
    /// Between two looks, in seconds.
    pub interval_secs: i32,
    /// Whether what was there at the first look was told as new.
    pub report_first: bool,
    /// Globs of refs or tags.
    pub names: Vec<String>,
    /// When the first look was; nothing when there was none.
    pub begun_at: Option<DateTime<Utc>>,
    /// When the last look was.
    pub looked_at: Option<DateTime<Utc>>,
    /// When the next one is.
    pub next_at: DateTime<Utc>,
    /// Looks that failed since one did not.
    pub failures: i32,
    /// Why the last one failed.
    pub problem: Option<String>,
    /// How many changes looks found that no hook told of, of those that are the last of their name.
    pub found_by_looking: i64,
    /// The newest states that were told.
    pub seen: Vec<SeenState>,
}

/// The last state of a ref or tag that was told.
#[derive(Debug, Clone, Serialize)]
pub struct SeenState {
    /// `refs/heads/main`, `team/app:v1`.
    pub name: String,
    /// A commit or digest, `gone`, or `?` when a hook did not say.
    pub state: String,
    /// `first`, `hook`, `look` or `both`.
    pub told_by: String,
    /// When it became so, for us.
    pub at: DateTime<Utc>,
    /// When it was noticed that no hook tells of it.
    pub silent_at: Option<DateTime<Utc>>,
}

/// Watches a place for a trigger, in the stead of what was watched for it before. Another place, or other names, begin with a
/// first look.
///
/// # Errors
/// When the database does not answer.
pub async fn watch(
    tx: &mut TenantTx,
    tenant: TenantId,
    trigger: TriggerId,
    new: NewWatch<'_>,
) -> Result<Watched, sqlx::Error> {
    let there = sqlx::query!(
        r#"
        select
            exists (
                select from switchyard.triggers
                where database_id = switchyard.current_tenant() and id = $1 and kind = $2 and removed_at is null
            ) as "trigger!",
            $3::uuid is null or exists (
                select from switchyard.credentials
                where database_id = switchyard.current_tenant() and id = $3
                  and ($4 = 'https://' || host or starts_with($4, 'https://' || host || '/'))
            ) as "credential!",
            (
                select count(*) from switchyard.watches
                where database_id = switchyard.current_tenant() and trigger_id <> $1
            ) as "others!"
        "#,
        trigger.uuid(),
        new.kind.as_str(),
        new.credential,
        new.url
    )
    .fetch_one(&mut **tx)
    .await?;
    if !there.trigger {
        return Ok(Watched::NoTrigger);
    }
    if !there.credential {
        return Ok(Watched::NoCredential);
    }
    if there.others >= WATCHES_MAX {
        return Ok(Watched::TooMany);
    }
    let place = sqlx::query_scalar!(
        r#"
        insert into switchyard.places (id, database_id, kind, url, repository, credential_id)
        values ($1, $2, $3::text::switchyard.place_kind, $4, $5, $6)
        on conflict (database_id, kind, url, repository, credential_id) do update set next_at = now()
        returning id
        "#,
        Uuid::now_v7(),
        tenant.uuid(),
        new.kind.as_str(),
        new.url,
        new.repository,
        new.credential
    )
    .fetch_one(&mut **tx)
    .await?;
    sqlx::query!(
        r#"
        insert into switchyard.watches as w (
            database_id, trigger_id, place_id, interval_secs, first_look, names, created_by
        )
        values ($1, $2, $3, $4, $5::text::switchyard.first_look, $6, $7)
        on conflict (database_id, trigger_id) do update
        set place_id = excluded.place_id, interval_secs = excluded.interval_secs, first_look = excluded.first_look,
            names = excluded.names, created_by = excluded.created_by,
            begun_at = case
                when w.place_id = excluded.place_id and w.names = excluded.names then w.begun_at
            end
        "#,
        tenant.uuid(),
        trigger.uuid(),
        place,
        new.interval_secs,
        if new.report_first { "report" } else { "remember" },
        new.names,
        new.by
    )
    .execute(&mut **tx)
    .await?;
    forget_unwatched(tx).await?;
    Ok(Watched::Done)
}

/// Watches nothing for a trigger any more. False when nothing was.
///
/// # Errors
/// When the database does not answer.
pub async fn unwatch(tx: &mut TenantTx, trigger: TriggerId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "delete from switchyard.watches where database_id = switchyard.current_tenant() and trigger_id = $1",
        trigger.uuid()
    )
    .execute(&mut **tx)
    .await?;
    forget_unwatched(tx).await?;
    Ok(done.rows_affected() == 1)
}

async fn forget_unwatched(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        delete from switchyard.places p
        where p.database_id = switchyard.current_tenant()
          and not exists (
              select from switchyard.watches w where w.database_id = p.database_id and w.place_id = p.id
          )
        "#
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Has what is watched for a trigger looked at as soon as may be. False when nothing is.
///
/// # Errors
/// When the database does not answer.
pub async fn look_soon(tx: &mut TenantTx, trigger: TriggerId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        update switchyard.places p
        set next_at = least(p.next_at, now())
        from switchyard.watches w
        where w.database_id = switchyard.current_tenant() and w.trigger_id = $1
          and p.database_id = w.database_id and p.id = w.place_id
        "#,
        trigger.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What is watched for a trigger, with the newest states that were told.
///
/// # Errors
/// When the database does not answer.
pub async fn watching(
    tx: &mut TenantTx,
    trigger: TriggerId,
) -> Result<Option<Watching>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select p.kind::text as "kind!", p.url, p.repository, p.credential_id, w.interval_secs,
            w.first_look = 'report' as "report_first!", w.names, w.begun_at, p.looked_at, p.next_at, p.failures,
            p.problem,
            (
                select count(*) from switchyard.seen s
                where s.database_id = w.database_id and s.trigger_id = w.trigger_id and s.told_by = 'look'
            ) as "found!"
        from switchyard.watches w
        join switchyard.places p on p.database_id = w.database_id and p.id = w.place_id
        where w.database_id = switchyard.current_tenant() and w.trigger_id = $1
        "#,
        trigger.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let seen = sqlx::query_as!(
        SeenState,
        r#"
        select name, state, told_by::text as "told_by!", at, silent_at
        from switchyard.seen
        where database_id = switchyard.current_tenant() and trigger_id = $1
        order by at desc, name
        limit $2
        "#,
        trigger.uuid(),
        SEEN_SHOWN
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(Some(Watching {
        trigger,
        kind: row.kind,
        url: row.url,
        repository: row.repository,
        credential: row.credential_id,
        interval_secs: row.interval_secs,
        report_first: row.report_first,
        names: row.names,
        begun_at: row.begun_at,
        looked_at: row.looked_at,
        next_at: row.next_at,
        failures: row.failures,
        problem: row.problem,
        found_by_looking: row.found,
        seen,
    }))
}
