//! Who was given which tasks: by operators for the installation, by tenants where that is left to them.

use std::time::Duration;

use database::TenantTx;
use model::TenantId;
use serde::Serialize;
use sqlx::PgConnection;

use super::{CompletesBy, Executor, TASKS_MAX, decoded};
use crate::{By, Queue};

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
