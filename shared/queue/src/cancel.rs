//! Stopping work outside by its handle, whichever replica hears of it first.

use std::time::Duration;

use model::{FinishReport, JobId, TenantId};

use crate::hold::{columns, report, storable};
use crate::{Hold, Queue};

/// A job whose work outside is to be stopped, for whoever took that up.
#[derive(Debug, Clone)]
pub struct CancelTry {
    /// The right to write to it.
    pub hold: Hold,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its task.
    pub task: String,
    /// What it was to do.
    pub payload: serde_json::Value,
    /// By what its work outside can be stopped.
    pub runner: serde_json::Value,
    /// Which try this is, from 1.
    pub tries: i32,
}

impl Queue {
    /// Puts on record, once for each job, that its worker has heard that it should stop. Returns of how many that was news.
    ///
    /// # Errors
    /// When the database does not answer; asking again is safe.
    pub async fn hear_cancels(&self, holds: &[Hold]) -> Result<i32, sqlx::Error> {
        let (ids, epochs) = columns(holds);
        sqlx::query_scalar!(
            r#"select switchyard.hear_cancels($1, $2) as "heard!""#,
            &ids,
            &epochs
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Takes it up to stop a job's work outside. Nothing when there is nothing to stop any more, when somebody else is at
    /// it, or before the time for another try. Nobody else tries for `at_it`.
    ///
    /// # Errors
    /// When the database does not answer; the try may have been taken up and is then free again after `at_it`.
    pub async fn take_cancel(
        &self,
        hold: Hold,
        at_it: Duration,
    ) -> Result<Option<CancelTry>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select id as "id!", epoch as "epoch!", database_id as "database_id!", task as "task!",
                payload as "payload!", runner as "runner!", cancel_tries as "cancel_tries!"
            from switchyard.take_cancel($1, $2, make_interval(secs => $3))
            "#,
            hold.job.0,
            hold.epoch,
            at_it.as_secs_f64(),
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(|row| CancelTry {
            hold: Hold {
                job: JobId(row.id),
                epoch: row.epoch,
            },
            tenant: row.database_id.into(),
            task: row.task,
            payload: row.payload,
            runner: row.runner,
            tries: row.cancel_tries,
        }))
    }

    /// The work outside is known to have stopped: the job is cancelled.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel_applied(&self, hold: Hold) -> Result<FinishReport, sqlx::Error> {
        self.settle_cancel(hold, "applied", None).await
    }

    /// The work outside cannot be stopped as things are. The job stays visible as one that is being cancelled; it is tried
    /// again every ten minutes, for things may change.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel_cannot(&self, hold: Hold, why: &str) -> Result<FinishReport, sqlx::Error> {
        self.settle_cancel(hold, "cannot", Some(why)).await
    }

    /// It is not known whether the work outside has stopped: tried again with a growing wait, of ten minutes at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel_again(&self, hold: Hold, why: &str) -> Result<FinishReport, sqlx::Error> {
        self.settle_cancel(hold, "retry", Some(why)).await
    }

    async fn settle_cancel(
        &self,
        hold: Hold,
        how: &str,
        why: Option<&str>,
    ) -> Result<FinishReport, sqlx::Error> {
        let state = sqlx::query_scalar!(
            "select switchyard.settle_cancel($1, $2, $3, $4)::text",
            hold.job.0,
            hold.epoch,
            how,
            why.map(storable),
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        report(state)
    }

    /// Which of these jobs, each claimed at least twice before, were left behind both times by a worker that went away.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn left_behind_twice(&self, holds: &[Hold]) -> Result<Vec<JobId>, sqlx::Error> {
        let (ids, epochs) = columns(holds);
        let ids = sqlx::query_scalar!(
            r#"select id as "id!" from switchyard.left_behind_twice($1, $2) as left_behind (id)"#,
            &ids,
            &epochs
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(ids.into_iter().map(JobId).collect())
    }

    /// Tells again of cancels that are to be tried again, or that nobody took up. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn republish_cancels(&self, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.republish_cancels($1) as "told!""#,
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
