//! Jobs of other people's functions: which tasks those are, what is called for a job, what the called ones say.

mod callback;
mod given;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::JobId;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{ClaimedJob, Hold, Queue};

pub use callback::{Heard, Said, ToldLines};
pub use given::{
    DefaultExecutor, NewDefault, NewExecutor, TaskExecutor, drop_own_url, set_own_url,
    tenant_executor, tenant_executors,
};

/// Tasks that one look-up returns; an installation has a few dozens.
const TASKS_MAX: i64 = 10_000;

/// Who runs a task's jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// A function of ours that claims for itself.
    Builtin,
    /// A Knative Service of somebody's.
    Knative,
    /// A function behind an OpenFaaS gateway.
    OpenFaas,
    /// Any URL.
    Http,
}

impl Executor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Builtin, Self::Knative, Self::OpenFaas, Self::Http];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Knative => "knative",
            Self::OpenFaas => "openfaas",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no value of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is none of {known}")]
pub struct UnknownName {
    given: String,
    known: &'static str,
}

impl FromStr for Executor {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|executor| executor.as_str() == text)
            .ok_or_else(|| UnknownName {
                given: text.to_owned(),
                known: "builtin, knative, openfaas, http",
            })
    }
}

/// What tells that a call is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CompletesBy {
    /// The answer to it; 202 announces a callback.
    Response,
    /// The callback alone; an answer of 2xx acknowledges the call.
    Callback,
}

impl CompletesBy {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Callback => "callback",
        }
    }
}

impl FromStr for CompletesBy {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::Response, Self::Callback]
            .into_iter()
            .find(|by| by.as_str() == text)
            .ok_or_else(|| UnknownName {
                given: text.to_owned(),
                known: "response, callback",
            })
    }
}

/// Where a task's function is, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The task's name.
    pub task: String,
    /// By whom it is called.
    pub executor: Executor,
    /// Where, if not at the executor's usual place.
    pub url: Option<String>,
    /// The namespace of a Knative Service, if not the installation's.
    pub namespace: Option<String>,
}

/// All that is needed to call a function for a job.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where the task's function is now.
    pub place: Place,
    /// Where the tenant says that its own function for the task is.
    pub tenant_url: Option<String>,
    /// What tells that it is done.
    pub completes_by: CompletesBy,
    /// How long it may stay silent after it was acknowledged.
    pub callback_deadline: Duration,
    /// The longest that an attempt may take.
    pub attempt_time_max: Duration,
    /// What is left of this attempt's time, by the database's clock.
    pub time_left: Duration,
    /// What to do, as it is stored.
    pub payload: Box<RawValue>,
    /// Who asked for it.
    pub actor: Option<String>,
}

impl Queue {
    /// The tasks whose functions are somebody else's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn external_tasks(&self) -> Result<Vec<Place>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select name, executor::text as "executor!", url, namespace
            from switchyard.tasks
            where executor in ('knative', 'openfaas', 'http')
            order by name
            limit $1
            "#,
            TASKS_MAX
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Place {
                    task: row.name,
                    executor: decoded(&row.executor)?,
                    url: row.url,
                    namespace: row.namespace,
                })
            })
            .collect()
    }

    /// Takes up to `limit` ready jobs of tasks that have no row, of tenants whose tasks then have an executor outside.
    ///
    /// # Errors
    /// When the database does not answer; then nothing was claimed, or the leases run out.
    pub async fn claim_by_default(
        &self,
        worker: Uuid,
        limit: i32,
        lease: Duration,
    ) -> Result<Vec<ClaimedJob>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select id as "id!", epoch as "epoch!", database_id as "database_id!", task as "task!",
                payload as "payload!", attempts as "attempts!", attempts_max as "attempts_max!",
                attempt_until as "attempt_until!", correlation_id, traceparent, depth as "depth!",
                priority as "priority!",
                extract(epoch from started_at - greatest(run_at, created_at))::float8 as "waited_secs!"
            from switchyard.claim_by_default($1, $2, make_interval(secs => $3))
            "#,
            worker,
            limit,
            lease.as_secs_f64(),
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ClaimedJob {
                hold: Hold {
                    job: JobId(row.id),
                    epoch: row.epoch,
                },
                tenant: row.database_id.into(),
                task: row.task,
                payload: row.payload,
                attempts: row.attempts,
                attempts_max: row.attempts_max,
                attempt_until: row.attempt_until,
                correlation_id: row.correlation_id,
                traceparent: row.traceparent,
                depth: row.depth,
                priority: row.priority,
                waited: duration(row.waited_secs),
            })
            .collect())
    }

    /// What to call for a job that is held. Nothing when the hold is over, or the task has no executor outside any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn call(&self, hold: Hold) -> Result<Option<Call>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select j.task, switchyard.executor_of(j.database_id, j.task)::text as "executor!", t.url,
                coalesce(t.namespace, case when t.name is null then d.namespace end) as namespace,
                (select u.url from switchyard.tenant_urls u where u.database_id = j.database_id and u.task = j.task)
                    as tenant_url,
                coalesce(t.completes_by, d.completes_by, 'response')::text as "completes_by!",
                extract(epoch from switchyard.callback_deadline_of(j.database_id, j.task))::float8
                    as "callback_deadline_secs!",
                extract(epoch from j.attempt_until - j.started_at)::float8 as "attempt_time_max_secs!",
                extract(epoch from j.attempt_until - clock_timestamp())::float8 as "secs_left!",
                j.payload as "payload!: Json<Box<RawValue>>", j.actor
            from switchyard.jobs j
            left join switchyard.tasks t on t.name = j.task
            cross join switchyard.executor_default(j.database_id) d
            where j.id = $1 and j.epoch = $2 and j.state in ('running', 'cancelling')
              and switchyard.executor_of(j.database_id, j.task) in ('knative', 'openfaas', 'http')
            "#,
            hold.job.0,
            hold.epoch,
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        row.map(|row| {
            Ok(Call {
                place: Place {
                    task: row.task,
                    executor: decoded(&row.executor)?,
                    url: row.url,
                    namespace: row.namespace,
                },
                tenant_url: row.tenant_url,
                completes_by: decoded(&row.completes_by)?,
                callback_deadline: duration(row.callback_deadline_secs),
                attempt_time_max: duration(row.attempt_time_max_secs),
                time_left: duration(row.secs_left),
                payload: row.payload.0,
                actor: row.actor,
            })
        })
        .transpose()
    }
}

fn decoded<T: FromStr<Err = UnknownName>>(name: &str) -> Result<T, sqlx::Error> {
    name.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Seconds of the database as a time; what is over is none.
fn duration(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or_default()
}
