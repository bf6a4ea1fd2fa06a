//! Log rules as a tenant's people set and see them.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{JobId, Severity, TenantId, TriggerId, WorkloadId};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Override, OverrideRow, RULES_MAX};

/// A rule as people set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRule {
    /// Only of this workload; of all the tenant's logs unless given.
    pub workload: Option<WorkloadId>,
    /// What people call it.
    pub name: String,
    /// The regular expression.
    pub pattern: String,
    /// How bad a match is.
    pub severity: String,
    /// Which streams are looked at.
    pub streams: Vec<String>,
    /// How long it is quiet after a match, in seconds.
    pub cooldown_secs: i32,
    /// What a match fires.
    pub trigger: Option<TriggerId>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// For which workloads it is otherwise.
    pub overrides: Vec<Override>,
}

/// A rule as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct LogRule {
    /// Which.
    pub id: Uuid,
    /// Only of this workload.
    pub workload: Option<WorkloadId>,
    /// What people call it.
    pub name: String,
    /// The regular expression.
    pub pattern: String,
    /// How bad a match is.
    pub severity: String,
    /// Which streams are looked at.
    pub streams: Vec<String>,
    /// How long it is quiet after a match, in seconds.
    pub cooldown_secs: i32,
    /// What a match fires.
    pub trigger: Option<TriggerId>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// For which workloads it is otherwise.
    pub overrides: Vec<Override>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub changed_at: DateTime<Utc>,
}

/// What became of a rule's matches in the logs of one workload.
#[derive(Debug, Clone, Serialize)]
pub struct RuleCounts {
    /// Of which; nothing stands for logs of none.
    pub workload: Option<WorkloadId>,
    /// Lines that matched: the sum of the three below.
    pub matched: i64,
    /// Of them, told.
    pub told: i64,
    /// Of them, left out because the rule had told a moment ago.
    pub cooled: i64,
    /// Of them, left out because the workload had told too much.
    pub dropped: i64,
    /// Of those that were told, how many fired the rule's trigger.
    pub fired: i64,
    /// The time of the last line that was told.
    pub told_at: Option<DateTime<Utc>>,
    /// The time of the last line that matched.
    pub matched_at: Option<DateTime<Utc>>,
}

/// A row of the log of events.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// Which.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// How bad it is.
    pub severity: String,
    /// Which part saw it.
    pub source: String,
    /// For people.
    pub message: String,
    /// Of which workload.
    pub workload: Option<WorkloadId>,
    /// Of which job.
    pub job: Option<JobId>,
    /// Of which trigger.
    pub trigger: Option<TriggerId>,
    /// By which rule.
    pub rule: Option<Uuid>,
    /// What is known besides.
    pub data: Value,
}

/// What became of a rule that somebody wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is so.
    Done(Uuid),
    /// There is no such rule.
    Absent,
    /// Another has its name.
    Taken,
    /// There are as many as may be.
    TooMany,
    /// The workload or the trigger, or a workload of its overrides, is not the tenant's; or the trigger is of another kind
    /// than `log`.
    Unknown(&'static str),
}

/// Makes a rule, or changes the one of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn write(
    tx: &mut TenantTx,
    tenant: TenantId,
    id: Option<Uuid>,
    wanted: &WantedRule,
) -> Result<Written, sqlx::Error> {
    let workloads: Vec<Uuid> = wanted
        .overrides
        .iter()
        .map(|one| one.workload.uuid())
        .chain(wanted.workload.map(WorkloadId::uuid))
        .collect();
    let there = sqlx::query!(
        r#"
        select
            (
                select count(*) from unnest($1::uuid[]) as n (id)
                where not exists (
                    select from switchyard.workloads w
                    where w.database_id = switchyard.current_tenant() and w.id = n.id
                )
            ) as "strangers!",
            $2::uuid is null or exists (
                select from switchyard.triggers
                where database_id = switchyard.current_tenant() and id = $2 and kind = 'log'
            ) as "trigger!",
            exists (
                select from switchyard.log_rules
                where database_id = switchyard.current_tenant() and name = $3 and workload_id is not distinct from $4
                  and id is distinct from $5
            ) as "taken!",
            (select count(*) from switchyard.log_rules where database_id = switchyard.current_tenant()) as "rules!"
        "#,
        &workloads,
        wanted.trigger.map(TriggerId::uuid),
        wanted.name,
        wanted.workload.map(WorkloadId::uuid),
        id
    )
    .fetch_one(&mut **tx)
    .await?;
    if there.strangers > 0 {
        return Ok(Written::Unknown("there is no such workload"));
    }
    if !there.trigger {
        return Ok(Written::Unknown(
            "there is no trigger of the kind log with this id",
        ));
    }
    if there.taken {
        return Ok(Written::Taken);
    }
    if id.is_none() && there.rules >= RULES_MAX {
        return Ok(Written::TooMany);
    }
    let written = match id {
        Some(id) => {
            let done = sqlx::query!(
                r#"
                update switchyard.log_rules
                set name = $2, pattern = $3, severity = $4, streams = $5, cooldown_secs = $6, trigger_id = $7,
                    enabled = $8, changed_at = now()
                where database_id = switchyard.current_tenant() and id = $1 and workload_id is not distinct from $9
                "#,
                id,
                wanted.name,
                wanted.pattern,
                wanted.severity,
                &wanted.streams,
                wanted.cooldown_secs,
                wanted.trigger.map(TriggerId::uuid),
                wanted.enabled,
                wanted.workload.map(WorkloadId::uuid)
            )
            .execute(&mut **tx)
            .await?;
            if done.rows_affected() == 0 {
                return Ok(Written::Absent);
            }
            id
        }
        None => {
            let id = Uuid::now_v7();
            sqlx::query!(
                r#"
                insert into switchyard.log_rules (
                    id, database_id, workload_id, name, pattern, severity, streams, cooldown_secs, trigger_id, enabled
                )
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                "#,
                id,
                tenant.uuid(),
                wanted.workload.map(WorkloadId::uuid),
                wanted.name,
                wanted.pattern,
                wanted.severity,
                &wanted.streams,
                wanted.cooldown_secs,
                wanted.trigger.map(TriggerId::uuid),
                wanted.enabled
            )
            .execute(&mut **tx)
            .await?;
            id
        }
    };
    write_overrides(tx, tenant, written, &wanted.overrides).await?;
    Ok(Written::Done(written))
}

async fn write_overrides(
    tx: &mut TenantTx,
    tenant: TenantId,
    rule: Uuid,
    overrides: &[Override],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from switchyard.log_rule_overrides where database_id = switchyard.current_tenant() and rule_id = $1",
        rule
    )
    .execute(&mut **tx)
    .await?;
    for one in overrides {
        sqlx::query!(
            r#"
            insert into switchyard.log_rule_overrides as o (
                database_id, rule_id, workload_id, enabled, severity, cooldown_secs
            )
            values ($1, $2, $3, $4, $5, $6)
            on conflict (database_id, rule_id, workload_id) do update
            set enabled = excluded.enabled, severity = excluded.severity, cooldown_secs = excluded.cooldown_secs
            "#,
            tenant.uuid(),
            rule,
            one.workload.uuid(),
            one.enabled,
            one.severity,
            one.cooldown_secs
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// The tenant's rules by name, or the one of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn list(tx: &mut TenantTx, only: Option<Uuid>) -> Result<Vec<LogRule>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select r.id, r.workload_id, r.name, r.pattern, r.severity, r.streams, r.cooldown_secs, r.trigger_id, r.enabled,
            r.created_at, r.changed_at,
            (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'workload', o.workload_id, 'enabled', o.enabled, 'severity', o.severity,
                    'cooldown_secs', o.cooldown_secs
                ) order by o.workload_id), '[]')
                from switchyard.log_rule_overrides o
                where o.database_id = r.database_id and o.rule_id = r.id
            ) as "overrides!: Json<Vec<OverrideRow>>"
        from switchyard.log_rules r
        where r.database_id = switchyard.current_tenant() and ($1::uuid is null or r.id = $1)
        order by r.name, r.id
        limit $2
        "#,
        only,
        RULES_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LogRule {
            id: row.id,
            workload: row.workload_id.map(Into::into),
            name: row.name,
            pattern: row.pattern,
            severity: row.severity,
            streams: row.streams,
            cooldown_secs: row.cooldown_secs,
            trigger: row.trigger_id.map(Into::into),
            enabled: row.enabled,
            overrides: row.overrides.0.into_iter().map(Override::from).collect(),
            created_at: row.created_at,
            changed_at: row.changed_at,
        })
        .collect())
}

/// Removes a rule with its overrides and counts. False when there is none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove(tx: &mut TenantTx, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "delete from switchyard.log_rules where database_id = switchyard.current_tenant() and id = $1",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of a rule's matches, by workload.
///
/// # Errors
/// When the database does not answer.
pub async fn counts(tx: &mut TenantTx, rule: Uuid) -> Result<Vec<RuleCounts>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select nullif(workload_id, '00000000-0000-0000-0000-000000000000') as workload, matched, told, cooled, dropped,
            fired, told_at, matched_at
        from switchyard.log_rule_counts
        where database_id = switchyard.current_tenant() and rule_id = $1
        order by matched desc, workload_id
        limit 500
        "#,
        rule
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| RuleCounts {
            workload: row.workload.map(Into::into),
            matched: row.matched,
            told: row.told,
            cooled: row.cooled,
            dropped: row.dropped,
            fired: row.fired,
            told_at: row.told_at,
            matched_at: row.matched_at,
        })
        .collect())
}

/// Which rows of the log of events somebody wants to see; all of them unless it says otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordedFilter {
    /// Those of one rule.
    pub rule: Option<Uuid>,
    /// Those of one workload.
    pub workload: Option<WorkloadId>,
    /// Those that are at least so bad.
    pub severity: Option<Severity>,
}

/// The newest rows of the log of events that match, before a place.
///
/// # Errors
/// When the database does not answer.
pub async fn recorded(
    tx: &mut TenantTx,
    filter: RecordedFilter,
    before: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Recorded>, sqlx::Error> {
    let (at, id) = before.unzip();
    // The ones that are as bad or worse, in words: the column has no order.
    let bad_enough: Option<Vec<String>> = filter.severity.map(|least| {
        let all = [
            Severity::Debug,
            Severity::Info,
            Severity::Warning,
            Severity::Error,
        ];
        let names = all.iter().filter(|one| **one >= least);
        let names = names.map(|one| one.as_str().to_owned());
        names.collect()
    });
    let rows = sqlx::query!(
        r#"
        select id, at, severity, source, message, workload_id, job_id, trigger_id, rule_id, data
        from switchyard.event_log
        where database_id = switchyard.current_tenant() and ($1::uuid is null or rule_id = $1)
          and ($2::timestamptz is null or (at, id) < ($2, $3))
          and ($5::uuid is null or workload_id = $5)
          and ($6::text[] is null or severity = any ($6))
        order by at desc, id desc
        limit $4
        "#,
        filter.rule,
        at,
        id,
        limit,
        filter.workload.map(WorkloadId::uuid),
        bad_enough.as_deref()
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Recorded {
            id: row.id,
            at: row.at,
            severity: row.severity,
            source: row.source,
            message: row.message,
            workload: row.workload_id.map(Into::into),
            job: row.job_id.map(JobId),
            trigger: row.trigger_id.map(Into::into),
            rule: row.rule_id,
            data: row.data,
        })
        .collect())
}
