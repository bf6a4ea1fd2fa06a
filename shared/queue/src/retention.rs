//! What may be forgotten: days of history, rows that missed their day, keys that protect nothing any more.

use std::time::Duration;

use crate::Queue;

/// A table in day partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Finished jobs.
    Jobs,
    /// What happened to jobs.
    Events,
    /// What jobs wrote.
    Logs,
    /// What became of the ticks of schedules.
    Ticks,
    /// What the system saw of itself and of logs.
    Recorded,
    /// What workloads say besides their jobs.
    WorkloadLogs,
}

impl History {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Jobs,
        Self::Events,
        Self::Logs,
        Self::Ticks,
        Self::Recorded,
        Self::WorkloadLogs,
    ];

    /// The table's name.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Jobs => "jobs_archive",
            Self::Events => "job_events",
            Self::Logs => "job_logs",
            Self::Ticks => "schedule_ticks",
            Self::Recorded => "event_log",
            Self::WorkloadLogs => "workload_logs",
        }
    }
}

impl Queue {
    /// Drops the oldest day that is past keeping. Returns its partition's name; nothing when there is none. Whoever writes
    /// to the table waits meanwhile, for half a second at most.
    ///
    /// # Errors
    /// When the database does not answer, or somebody held the table for too long: [`database::is_passing`], and it may be
    /// tried again.
    pub async fn drop_expired_day(
        &self,
        history: History,
        keep: Duration,
    ) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar!(
            "select switchyard.drop_expired_day($1, make_interval(secs => $2))",
            history.table(),
            keep.as_secs_f64()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Deletes up to `limit` rows past keeping that are in no day's partition. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_expired_rows(
        &self,
        history: History,
        keep: Duration,
        limit: i32,
    ) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.delete_expired_rows($1, make_interval(secs => $2), $3) as "deleted!""#,
            history.table(),
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Has the planner look at a table as a whole. False when that was done less than `every` ago.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn analyse_history(
        &self,
        history: History,
        every: Duration,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.analyse_history($1, make_interval(secs => $2)) as "analysed!""#,
            history.table(),
            every.as_secs_f64()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Lets go of what up to `limit` runners were told whose runs ended more than an hour ago. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_run_specs(&self, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.drop_run_specs($1) as "dropped!""#,
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Forgets up to `limit` runs that ended longer ago than `keep`, and whose jobs have ended. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or the time is less than a day.
    pub async fn forget_runs(&self, keep: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_runs(make_interval(secs => $1), $2) as "forgotten!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Forgets up to `limit` keys that nobody has used for so long and that no late event can need. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_keys(&self, unused: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_keys(make_interval(secs => $1), $2) as "forgotten!""#,
            unused.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Forgets up to `limit` deeds of people that are past keeping. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or they are to be kept for less than a day.
    pub async fn forget_deeds(&self, keep: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_deeds(make_interval(secs => $1), $2) as "forgotten!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
