//! What the relay and the reconcilers ask of the queue.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::JobId;

use crate::Queue;

/// A ready job that somebody could claim now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimable {
    /// Its task.
    pub task: String,
    /// Who would run it; nothing when nobody of ours would.
    pub executor: Option<RunBy>,
    /// The job.
    pub job: JobId,
    /// Its epoch, which rises with each claim: a job that is ready once more has another one.
    pub epoch: i64,
}

/// What a sweep changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs whose lease or deadline was over.
    pub reaped: i32,
    /// Jobs whose time had come.
    pub made_due: i32,
    /// Lanes that held no work.
    pub rested: i32,
}

/// Which function takes a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunBy {
    /// The task's own.
    Builtin,
    /// `task-http`, which calls somebody's.
    External,
}

impl RunBy {
    /// The extension attribute `executor` of a wake-up.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::External => "external",
        }
    }
}

impl RunBy {
    /// Reads what the database calls it.
    fn read(name: &str) -> Option<Self> {
        [Self::Builtin, Self::External]
            .into_iter()
            .find(|run_by| run_by.as_str() == name)
    }
}

impl Claimable {
    /// Reads what the one who adds a job tells the relay of `work`, after the broker's name. Nothing where he tells only that
    /// there is something.
    #[must_use]
    pub fn told(notified: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Told {
            task: String,
            run_by: Option<String>,
            job: i64,
        }
        let told: Told = serde_json::from_str(notified.strip_prefix("work ")?).ok()?;
        Some(Self {
            task: told.task,
            executor: told.run_by.as_deref().and_then(RunBy::read),
            job: JobId(told.job),
            epoch: 0,
        })
    }
}

impl Queue {
    /// Ready jobs that have a free place, at most `per_task` of each task.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claimable(&self, per_task: i32) -> Result<Vec<Claimable>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select task as "task!", executor, job_id as "job_id!", epoch as "epoch!" from switchyard.claimable_jobs($1)"#,
            per_task
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Claimable {
                    task: row.task,
                    executor: match row.executor.as_deref() {
                        None => None,
                        Some("builtin") => Some(RunBy::Builtin),
                        Some("external") => Some(RunBy::External),
                        Some(other) => {
                            return Err(sqlx::Error::Decode(
                                format!("claimable_jobs answered {other:?}").into(),
                            ));
                        }
                    },
                    job: JobId(row.job_id),
                    epoch: row.epoch,
                })
            })
            .collect()
    }

    /// The time, by the clock that all share.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn now(&self) -> Result<DateTime<Utc>, sqlx::Error> {
        sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
            .fetch_one(&mut *self.db.acquire().await?)
            .await
    }

    /// How long until a job becomes due or a lease ends; zero when one already has, nothing when there is none. By the
    /// database's clock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next_due(&self) -> Result<Option<Duration>, sqlx::Error> {
        let seconds = sqlx::query_scalar!(
            "select extract(epoch from switchyard.next_due() - clock_timestamp())::float8"
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }

    /// Makes jobs ready whose time has come. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn make_due(&self, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(r#"select switchyard.make_due($1) as "made!""#, limit)
            .fetch_one(&mut *self.db.acquire().await?)
            .await
    }

    /// Takes back up to `limit` jobs whose lease or deadline is over. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reap(&self, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(r#"select switchyard.reap_jobs($1) as "reaped!""#, limit)
            .fetch_one(&mut *self.db.acquire().await?)
            .await
    }

    /// What [`Queue::make_due`] and [`Queue::reap`] do, also where nothing is expected, and puts lanes without work to rest.
    /// Slower; for those who come by seldom.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep(&self, limit: i32) -> Result<Swept, sqlx::Error> {
        sqlx::query_as!(
            Swept,
            r#"
            select switchyard.reap_jobs($1, true) as "reaped!", switchyard.make_due($1, true) as "made_due!",
                switchyard.rest_lanes($1) as "rested!"
            "#,
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Makes the day partitions of the next `days`. Returns how many were missing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn make_partitions(&self, days: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(r#"select switchyard.make_partitions($1) as "made!""#, days)
            .fetch_one(&mut *self.db.acquire().await?)
            .await
    }

    /// Puts a wake-up into the outbox for each task that had claimable work for longer than `after`. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn republish_wakeups(&self, after: Duration) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.republish_wakeups(make_interval(secs => $1)) as "count!""#,
            after.as_secs_f64()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
