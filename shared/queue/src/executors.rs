//! Jobs of other people's functions: which tasks those are, what is called for a job, what the called ones say.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use database::TenantTx;
use model::{JobId, JobState, LogStream, TenantId};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::hold::{storable, storable_json};
use crate::{By, ClaimedJob, Hold, Queue};

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

/// A task's executor, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskExecutor {
    /// The task's name.
    pub task: String,
    /// Who runs its jobs; nobody of ours where none is given.
    pub executor: Option<Executor>,
    /// Where the operator says that its function is, if not at the usual place.
    pub url: Option<String>,
    /// The namespace of a Knative Service, if not the installation's.
    pub namespace: Option<String>,
    /// What tells that a call is done.
    pub completes_by: CompletesBy,
    /// How long a call that was acknowledged may stay silent, in seconds.
    pub callback_deadline_secs: f64,
    /// The longest that an attempt may take, in seconds.
    pub attempt_time_max_secs: f64,
    /// Tries that count.
    pub attempts_max: i32,
    /// Where this tenant has its own function, for a task that is left to the tenants.
    pub own_url: Option<String>,
}

/// A change of a task's executor. Where `url` and `namespace` are none the executor's usual place is meant; what else is none
/// stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct NewExecutor<'a> {
    /// The task's name.
    pub task: &'a str,
    /// Who runs its jobs from now on; none: nobody of ours.
    pub executor: Option<Executor>,
    /// Where its function is.
    pub url: Option<&'a str>,
    /// The namespace of a Knative Service.
    pub namespace: Option<&'a str>,
    /// What tells that a call is done.
    pub completes_by: Option<CompletesBy>,
    /// How long a call that was acknowledged may stay silent.
    pub callback_deadline: Option<Duration>,
    /// The longest that an attempt may take.
    pub attempt_time_max: Option<Duration>,
    /// Tries that count.
    pub attempts_max: Option<i32>,
    /// Who wants it.
    pub by: By<'a>,
}

/// What a called function says of its job.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// It is on it, and this far.
    Progress(Option<serde_json::Value>),
    /// It did what it was for.
    Success(Option<serde_json::Value>),
    /// It failed.
    Error {
        /// What went wrong.
        error: String,
        /// Whether another try may help.
        retry: bool,
    },
    /// It stopped because it was asked to.
    Cancelled,
}

/// Lines for a job's log that came from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldLines {
    /// At most 16 KiB each.
    pub lines: Vec<String>,
    /// The number of the first one, as its writer counts from 1; lines that came before are dropped. Without it a repeat is
    /// not recognised.
    pub first: Option<i64>,
}

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It counted.
    Applied {
        /// What the job is now.
        state: JobState,
        /// Somebody asked it to stop.
        cancel: bool,
    },
    /// The same had been said before. The job is this now, unless its history is not kept.
    Duplicate(Option<JobState>),
    /// It came too late: the job is somebody else's, or ended in another way.
    Stale(Option<JobState>),
    /// The tenant has no such job.
    Unknown,
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

    /// Puts lines at the end of a job's log, for who does not know how many it has. False when the hold is over.
    ///
    /// # Errors
    /// When the database does not answer; then the lines may be there or not.
    pub async fn append_lines(
        &self,
        hold: Hold,
        stream: LogStream,
        lines: &[String],
    ) -> Result<bool, sqlx::Error> {
        let lines: Vec<String> = lines.iter().map(|line| storable(line)).collect();
        sqlx::query_scalar!(
            r#"select switchyard.append_lines($1, $2, $3, $4) as "held!""#,
            hold.job.0,
            hold.epoch,
            stream.as_str(),
            &lines,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Takes what a called function says. Said twice it counts once; of two ends the first counts.
    ///
    /// # Errors
    /// When the database does not answer, or refuses a line that is too long.
    pub async fn callback(
        &self,
        tenant: TenantId,
        hold: Hold,
        said: &Said,
        log: &ToldLines,
    ) -> Result<Heard, sqlx::Error> {
        let (word, error, retry, result, progress) = match said {
            Said::Progress(progress) => ("progress", None, true, None, progress.as_ref()),
            Said::Success(result) => ("success", None, true, result.as_ref(), None),
            Said::Error { error, retry } => ("error", Some(storable(error)), *retry, None, None),
            Said::Cancelled => (
                "cancelled",
                Some("cancelled: its function says so".to_owned()),
                true,
                None,
                None,
            ),
        };
        let lines: Vec<String> = log.lines.iter().map(|line| storable(line)).collect();
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", state::text as state, cancel as "cancel!"
            from switchyard.callback_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            word,
            error,
            retry,
            result.cloned().map(storable_json),
            progress.cloned().map(storable_json),
            (!lines.is_empty()).then_some(lines) as Option<Vec<String>>,
            log.first,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        let state = row
            .state
            .map(|state| state.parse::<JobState>())
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        match (row.outcome.as_str(), state) {
            ("applied", Some(state)) => Ok(Heard::Applied {
                state,
                cancel: row.cancel,
            }),
            ("duplicate", state) => Ok(Heard::Duplicate(state)),
            ("stale", state) => Ok(Heard::Stale(state)),
            ("unknown", None) => Ok(Heard::Unknown),
            (outcome, state) => Err(sqlx::Error::Decode(
                format!("callback_job answered {outcome:?} with {state:?}").into(),
            )),
        }
    }
}

impl Queue {
    /// The executors of all tasks, in the order of names. For operators.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_executors(&self) -> Result<Vec<TaskExecutor>, sqlx::Error> {
        listed(&mut *self.db.acquire().await?, None, None, TASKS_MAX).await
    }

    /// Gives a task to an executor, known or not. Jobs that are being worked on end where they began. For operators.
    ///
    /// # Errors
    /// When the database does not answer, or the executor has no place for a function of that name.
    pub async fn set_executor(&self, new: &NewExecutor<'_>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.set_executor(
                $1, $2::text::switchyard.executor, $3, $4, $5::text::switchyard.completes_by,
                make_interval(secs => $6), make_interval(secs => $7), $8, $9, $10
            )",
            new.task,
            new.executor.map(Executor::as_str),
            new.url,
            new.namespace,
            new.completes_by.map(CompletesBy::as_str),
            new.callback_deadline.map(|deadline| deadline.as_secs_f64()),
            new.attempt_time_max.map(|time| time.as_secs_f64()),
            new.attempts_max,
            new.by.name,
            new.by.why,
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Takes a task's row away: it then gets what the default of its tenants says. False when it had none. For operators.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_task(&self, task: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(r#"select switchyard.forget_task($1) as "gone!""#, task)
            .fetch_one(&mut *self.db.acquire().await?)
            .await
    }

    /// Says what tasks without a row get. For operators.
    ///
    /// # Errors
    /// When the database does not answer, or the executor has no usual place.
    pub async fn set_default_executor(&self, new: &NewDefault<'_>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.set_default_executor(
                $1, $2::text::switchyard.executor, $3, $4::text::switchyard.completes_by, make_interval(secs => $5),
                $6, $7
            )",
            new.tenant.map(TenantId::uuid),
            new.executor.map(Executor::as_str),
            new.namespace,
            new.completes_by.map(CompletesBy::as_str),
            new.callback_deadline.map(|deadline| deadline.as_secs_f64()),
            new.by.name,
            new.by.why,
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Takes a default away: a tenant then has the installation's, the installation none. False when there was none. For
    /// operators.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_default_executor(
        &self,
        tenant: Option<TenantId>,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.drop_default_executor($1) as "gone!""#,
            tenant.map(TenantId::uuid)
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// All defaults, the installation's first. For operators.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn default_executors(&self) -> Result<Vec<DefaultExecutor>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select t.name as "tenant?", d.executor::text, d.namespace, d.completes_by::text as "completes_by!",
                extract(epoch from d.callback_deadline)::float8 as "callback_deadline_secs!"
            from switchyard.executor_defaults d
            left join switchyard.tenants t on t.database_id = d.database_id
            order by t.name nulls first
            limit $1
            "#,
            TASKS_MAX
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(DefaultExecutor {
                    tenant: row.tenant,
                    executor: row.executor.as_deref().map(decoded).transpose()?,
                    namespace: row.namespace,
                    completes_by: decoded(&row.completes_by)?,
                    callback_deadline_secs: row.callback_deadline_secs,
                })
            })
            .collect()
    }
}

/// The executors of tasks as a tenant sees them, in the order of names: up to `limit` that come after a name.
///
/// # Errors
/// When the database does not answer.
pub async fn tenant_executors(
    tx: &mut TenantTx,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<TaskExecutor>, sqlx::Error> {
    listed(tx, None, after, limit).await
}

/// One task's executor as a tenant sees it. Nothing when there is no such task.
///
/// # Errors
/// When the database does not answer.
pub async fn tenant_executor(
    tx: &mut TenantTx,
    task: &str,
) -> Result<Option<TaskExecutor>, sqlx::Error> {
    Ok(listed(tx, Some(task), None, 1).await?.pop())
}

async fn listed(
    conn: &mut PgConnection,
    task: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<TaskExecutor>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select t.name, t.executor::text, t.url, t.namespace, t.completes_by::text as "completes_by!",
            extract(epoch from t.callback_deadline)::float8 as "callback_deadline_secs!",
            extract(epoch from t.attempt_time_max)::float8 as "attempt_time_max_secs!",
            t.attempts_max, u.url as "own_url?"
        from switchyard.tasks t
        left join switchyard.tenant_urls u on u.task = t.name and u.database_id = switchyard.current_tenant()
        where ($1::text is null or t.name = $1) and ($2::text is null or t.name > $2)
        order by t.name
        limit $3
        "#,
        task,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(TaskExecutor {
                task: row.name,
                executor: row.executor.as_deref().map(decoded).transpose()?,
                url: row.url,
                namespace: row.namespace,
                completes_by: decoded(&row.completes_by)?,
                callback_deadline_secs: row.callback_deadline_secs,
                attempt_time_max_secs: row.attempt_time_max_secs,
                attempts_max: row.attempts_max,
                own_url: row.own_url,
            })
        })
        .collect()
}

/// What tasks without a row get.
#[derive(Debug, Clone, Copy)]
pub struct NewDefault<'a> {
    /// Of one tenant; none: of all that have no default of their own.
    pub tenant: Option<TenantId>,
    /// Knative or OpenFaaS; none: nobody of ours.
    pub executor: Option<Executor>,
    /// The namespace of Knative Services; none: the installation's.
    pub namespace: Option<&'a str>,
    /// What tells that a call is done; none: as it is.
    pub completes_by: Option<CompletesBy>,
    /// How long a call that was acknowledged may stay silent; none: as it is.
    pub callback_deadline: Option<Duration>,
    /// Who wants it.
    pub by: By<'a>,
}

/// What tasks without a row get.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DefaultExecutor {
    /// The tenant's name; none: of all that have no default of their own.
    pub tenant: Option<String>,
    /// Who runs their jobs; nobody of ours where none is given.
    pub executor: Option<Executor>,
    /// The namespace of Knative Services, if not the installation's.
    pub namespace: Option<String>,
    /// What tells that a call is done.
    pub completes_by: CompletesBy,
    /// How long a call that was acknowledged may stay silent, in seconds.
    pub callback_deadline_secs: f64,
}

/// Says where the tenant has its function for a task that is left to the tenants. The URL was let through by the guard for
/// tenants' addresses. False when the task is not left to them.
///
/// # Errors
/// When the database does not answer, or the URL is not https or too long.
pub async fn set_own_url(
    tx: &mut TenantTx,
    task: &str,
    url: &str,
    by: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.set_own_url($1, $2, $3) as "set!""#,
        task,
        url,
        by
    )
    .fetch_one(&mut **tx)
    .await
}

/// Forgets where the tenant has its function for a task. False when it had none.
///
/// # Errors
/// When the database does not answer.
pub async fn drop_own_url(tx: &mut TenantTx, task: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select switchyard.drop_own_url($1) as "dropped!""#, task)
        .fetch_one(&mut **tx)
        .await
}

fn decoded<T: FromStr<Err = UnknownName>>(name: &str) -> Result<T, sqlx::Error> {
    name.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Seconds of the database as a time; what is over is none.
fn duration(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or_default()
}
