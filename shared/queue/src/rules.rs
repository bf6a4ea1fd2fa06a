//! What the queue is ruled by: pauses and drains, limits, caps and weights. Each carries who wanted it and why.
//!
//! The installation rules over all tenants ([`Queue`]'s methods), a tenant over what is its own (the functions that take a
//! [`database::TenantTx`]). Neither undoes what the other wants, but the installation may lift a tenant's pauses.

mod own;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use model::TenantId;
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::refused::RuleError;

pub use own::{
    own_left, own_limits, own_pauses, pause_own, resume_own, set_own_cap, set_own_limit,
};

/// Who does something to the queue, and why.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Who; 1 to 200 characters.
    pub name: &'a str,
    /// Why; at most 2000 characters.
    pub why: Option<&'a str>,
}

/// Two ways of standing still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseKind {
    /// Nothing starts; jobs are added and wait.
    Pause,
    /// What is queued is worked off; nothing is added.
    Drain,
}

impl PauseKind {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for PauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no way of standing still.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither pause nor drain")]
pub struct UnknownPause(String);

impl FromStr for PauseKind {
    type Err = UnknownPause;

    fn from_str(text: &str) -> Result<Self, UnknownPause> {
        [Self::Pause, Self::Drain]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownPause(text.to_owned()))
    }
}

/// What the installation rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A task, for all tenants.
    Task(&'a str),
    /// Everything of a tenant.
    Tenant(TenantId),
    /// A task of a tenant.
    TenantTask(TenantId, &'a str),
    /// A named queue of a tenant.
    Queue(TenantId, &'a str),
}

impl<'a> Scope<'a> {
    const fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Task(_) => None,
            Self::Tenant(tenant) | Self::TenantTask(tenant, _) | Self::Queue(tenant, _) => {
                Some(tenant)
            }
        }
    }

    const fn task(self) -> Option<&'a str> {
        match self {
            Self::Task(task) | Self::TenantTask(_, task) => Some(task),
            Self::Tenant(_) | Self::Queue(_, _) => None,
        }
    }

    const fn queue(self) -> Option<&'a str> {
        match self {
            Self::Queue(_, queue) => Some(queue),
            Self::Task(_) | Self::Tenant(_) | Self::TenantTask(_, _) => None,
        }
    }
}

/// What a tenant rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnScope<'a> {
    /// Everything.
    All,
    /// One of its tasks.
    Task(&'a str),
    /// One of its named queues.
    Queue(&'a str),
}

impl<'a> OwnScope<'a> {
    const fn task(self) -> Option<&'a str> {
        match self {
            Self::Task(task) => Some(task),
            Self::All | Self::Queue(_) => None,
        }
    }

    const fn queue(self) -> Option<&'a str> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::All | Self::Task(_) => None,
        }
    }
}

/// How many jobs may start each second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// So many each second, on average.
    pub per_second: f64,
    /// So many at once after a while without any; as many as a second's, and at least one, when nothing is said.
    pub burst: Option<i32>,
}

/// How much may go on. Neither is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// How many jobs may be in flight.
    pub in_flight_max: Option<i32>,
    /// How many may start each second.
    pub rate: Option<Rate>,
}

impl Limits {
    fn per_second(&self) -> Option<f64> {
        self.rate.map(|rate| rate.per_second)
    }

    fn burst(&self) -> Option<i32> {
        self.rate.and_then(|rate| rate.burst)
    }
}

/// Something that stands still or takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// By which it is lifted.
    pub id: i64,
    /// How.
    pub kind: PauseKind,
    /// The tenant's name, where the installation asks; nothing for a task of all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which task, if not all.
    pub task: Option<String>,
    /// Which named queue, if not all.
    pub queue: Option<String>,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub why: Option<String>,
    /// Since when.
    pub at: DateTime<Utc>,
    /// Whether the tenant itself wanted it, and may lift it.
    pub own: bool,
}

/// A limit and how much of it is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// The tenant's name, where the installation asks; nothing for a task of all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which task, if not all.
    pub task: Option<String>,
    /// How many jobs may be in flight.
    pub in_flight_max: Option<i32>,
    /// How many are; nothing when they are not counted, or are not this tenant's alone.
    pub in_flight: Option<i32>,
    /// How many may start each second.
    pub rate: Option<Rate>,
    /// Who set it.
    pub by: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether the tenant itself set it, and may change it.
    pub own: bool,
}

impl Queue {
    /// Lets nothing start, or nothing be added, there. What runs goes on. Said again it changes who and why. Returns its id.
    ///
    /// # Errors
    /// When there is no such tenant, something said is too long, or the database does not answer.
    pub async fn pause(
        &self,
        kind: PauseKind,
        scope: Scope<'_>,
        by: By<'_>,
    ) -> Result<i64, RuleError> {
        let id = database::answered(|| async {
            sqlx::query_scalar!(
                r#"
                select switchyard.pause(
                    $1::text::switchyard.pause_kind, $2, $3, $4, p_by => $5, p_why => $6
                ) as "id!"
                "#,
                kind.as_str(),
                scope.tenant().map(TenantId::uuid),
                scope.task(),
                scope.queue(),
                by.name,
                by.why,
            )
            .fetch_one(&mut *self.db.acquire().await?)
            .await
        })
        .await?;
        Ok(id)
    }

    /// The tenant of this name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant_named(&self, name: &str) -> Result<Option<TenantId>, sqlx::Error> {
        let id = sqlx::query_scalar!(
            "select database_id from switchyard.tenants where name = $1",
            name
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(id.map(TenantId::from))
    }

    /// Ends what stands still there, of one kind or of both, whoever wanted it. Returns how many pauses and drains that were.
    ///
    /// # Errors
    /// As [`Self::pause`].
    pub async fn resume(
        &self,
        kind: Option<PauseKind>,
        scope: Scope<'_>,
        by: By<'_>,
    ) -> Result<i32, RuleError> {
        let lifted = database::answered(|| async {
            sqlx::query_scalar!(
                r#"
                select switchyard.resume(
                    $1::text::switchyard.pause_kind, $2, $3, $4, p_by => $5, p_why => $6
                ) as "lifted!"
                "#,
                kind.map(PauseKind::as_str),
                scope.tenant().map(TenantId::uuid),
                scope.task(),
                scope.queue(),
                by.name,
                by.why,
            )
            .fetch_one(&mut *self.db.acquire().await?)
            .await
        })
        .await?;
        Ok(lifted)
    }

    /// How many jobs are left there, counted up to `most`: 0 is what who drains it waits for.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn left(&self, scope: Scope<'_>, most: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.left_in($1, $2, $3, $4) as "left!""#,
            scope.tenant().map(TenantId::uuid),
            scope.task(),
            scope.queue(),
            most
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// All that stands still or takes nothing, the latest first; at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pauses(&self, limit: i64) -> Result<Vec<Pause>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select p.id, p.kind::text as "kind!", t.name as "tenant?", p.task, p.queue_name, p.by_whom, p.why, p.at, p.own
            from switchyard.pauses p
            left join switchyard.tenants t on t.database_id = p.database_id
            order by p.at desc, p.id desc
            limit $1
            "#,
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Pause {
                    id: row.id,
                    kind: kind(&row.kind)?,
                    tenant: row.tenant,
                    task: row.task,
                    queue: row.queue_name,
                    by: row.by_whom,
                    why: row.why,
                    at: row.at,
                    own: row.own,
                })
            })
            .collect()
    }

    /// Limits how much goes on there, or with neither given, limits it no more. Returns whether there is a limit now.
    ///
    /// # Errors
    /// When a number is out of its bounds, the scope is a named queue (which has one job at a time, whatever is said), there
    /// is no such tenant, or the database does not answer.
    pub async fn set_limit(
        &self,
        scope: Scope<'_>,
        limits: Limits,
        by: By<'_>,
    ) -> Result<bool, RuleError> {
        if let Scope::Queue(_, queue) = scope {
            return Err(RuleError::Wrong(format!(
                "the queue {queue} is named, and so has one job at a time; limit its tenant or task"
            )));
        }
        let limited = database::answered(|| async {
            sqlx::query_scalar!(
                r#"select switchyard.set_limit($1, $2, $3, $4, $5, $6, $7) as "limited!""#,
                scope.tenant().map(TenantId::uuid),
                scope.task(),
                limits.in_flight_max,
                limits.per_second(),
                limits.burst(),
                by.name,
                by.why,
            )
            .fetch_one(&mut *self.db.acquire().await?)
            .await
        })
        .await?;
        Ok(limited)
    }

    /// All limits, those of tenants first; at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn limits(&self, limit: i64) -> Result<Vec<Limit>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select t.name as "tenant?", l.task, l.in_flight_max,
                case when l.in_flight_max is not null then l.in_flight end as in_flight,
                l.rate, l.burst, l.set_by, l.set_at, l.own
            from switchyard.limits l
            left join switchyard.tenants t on t.database_id = l.database_id
            order by t.name nulls last, l.task nulls first
            limit $1
            "#,
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Limit {
                tenant: row.tenant,
                task: row.task,
                in_flight_max: row.in_flight_max,
                in_flight: row.in_flight,
                rate: rate(row.rate, row.burst),
                by: row.set_by,
                at: row.set_at,
                own: row.own,
            })
            .collect())
    }

    /// Lets at most `cap` of a tenant's jobs of a task be in flight that are in no named queue; nothing for as many as there
    /// are workers.
    ///
    /// # Errors
    /// When the number is out of its bounds, there is no such tenant, or the database does not answer.
    pub async fn set_cap(
        &self,
        tenant: TenantId,
        task: &str,
        cap: Option<i32>,
        by: By<'_>,
    ) -> Result<(), RuleError> {
        database::answered(|| async {
            sqlx::query!(
                "select switchyard.set_lane_cap($1, $2, $3, $4, $5)",
                tenant.uuid(),
                task,
                cap,
                by.name,
                by.why,
            )
            .execute(&mut *self.db.acquire().await?)
            .await
        })
        .await?;
        Ok(())
    }

    /// Sets a tenant's part of what all have: of two with work, one with twice the weight starts twice as many jobs.
    ///
    /// # Errors
    /// When it is not 0.01 to 1000, there is no such tenant, or the database does not answer.
    pub async fn set_weight(
        &self,
        tenant: TenantId,
        weight: f64,
        by: By<'_>,
    ) -> Result<(), RuleError> {
        database::answered(|| async {
            sqlx::query!(
                "select switchyard.set_weight($1, $2, $3, $4)",
                tenant.uuid(),
                weight,
                by.name,
                by.why,
            )
            .execute(&mut *self.db.acquire().await?)
            .await
        })
        .await?;
        Ok(())
    }
}

fn kind(text: &str) -> Result<PauseKind, sqlx::Error> {
    text.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn rate(per_second: Option<f64>, burst: Option<i32>) -> Option<Rate> {
    per_second.map(|per_second| Rate { per_second, burst })
}
