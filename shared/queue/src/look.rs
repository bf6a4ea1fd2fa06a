//! What the relay and the reconcilers ask of the queue.

use std::time::Duration;

use model::JobId;

use crate::Queue;

/// A ready job that somebody could claim now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimable {
    /// Its task.
    pub task: String,
    /// The job.
    pub job: JobId,
}

impl Queue {
    /// Ready jobs that have a free place, at most `per_task` of each task.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claimable(&self, per_task: i32) -> Result<Vec<Claimable>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select task as "task!", job_id as "job_id!" from switchyard.claimable_jobs($1)"#,
            per_task
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Claimable {
                task: row.task,
                job: JobId(row.job_id),
            })
            .collect())
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
