//! What people do to jobs. Each call names the tenant; a job of another tenant does not exist for it.

use model::{CancelOutcome, JobId, TenantId};

use crate::{Added, Ended, NewJob, Queue, enqueue};

impl Queue {
    /// Adds a job in a transaction of its own.
    ///
    /// # Errors
    /// When the database does not answer or refuses a value that is too long.
    pub async fn add(&self, job: &NewJob<'_>) -> Result<Added, sqlx::Error> {
        enqueue(&mut *self.db.acquire().await?, job).await
    }

    /// Asks a job to stop. Nothing when the tenant has no such job.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel(
        &self,
        tenant: TenantId,
        job: JobId,
        by: &str,
    ) -> Result<Option<CancelOutcome>, sqlx::Error> {
        let outcome = sqlx::query_scalar!(
            "select switchyard.cancel_job($1, $2, $3)",
            tenant.uuid(),
            job.0,
            by
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        match outcome.as_deref() {
            None => Ok(None),
            Some("cancelled") => Ok(Some(CancelOutcome::Cancelled)),
            Some("requested") => Ok(Some(CancelOutcome::Requested)),
            Some("already_requested") => Ok(Some(CancelOutcome::AlreadyRequested)),
            Some("too_late") => Ok(Some(CancelOutcome::TooLate)),
            Some(other) => Err(sqlx::Error::Decode(
                format!("cancel_job answered {other:?}").into(),
            )),
        }
    }

    /// Approves a job that waits for it. False when it does not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn approve(
        &self,
        tenant: TenantId,
        job: JobId,
        by: &str,
    ) -> Result<bool, sqlx::Error> {
        self.decide(tenant, job, Decision::Approve, by).await
    }

    /// Rejects a job that waits for approval. False when it does not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reject(
        &self,
        tenant: TenantId,
        job: JobId,
        by: &str,
    ) -> Result<bool, sqlx::Error> {
        self.decide(tenant, job, Decision::Reject, by).await
    }

    async fn decide(
        &self,
        tenant: TenantId,
        job: JobId,
        decision: Decision,
        by: &str,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.decide_job($1, $2, $3, $4) as "decided!""#,
            tenant.uuid(),
            job.0,
            matches!(decision, Decision::Approve),
            by
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Ends a queued or waiting job by hand, as succeeded or dead. False when it is neither queued nor waiting.
    ///
    /// # Errors
    /// When the database does not answer, or refuses: by hand no job becomes cancelled.
    pub async fn settle(
        &self,
        tenant: TenantId,
        job: JobId,
        ended: Ended,
        by: &str,
    ) -> Result<bool, sqlx::Error> {
        let state = match ended {
            Ended::Succeeded => "succeeded",
            Ended::Dead => "dead",
            Ended::Cancelled => "cancelled",
        };
        sqlx::query_scalar!(
            r#"select switchyard.settle_job($1, $2, $3::text::switchyard.job_state, $4) as "settled!""#,
            tenant.uuid(),
            job.0,
            state,
            by
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Starts a dead job again as a new job. Nothing when the tenant has no such dead job.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn replay(
        &self,
        tenant: TenantId,
        job: JobId,
        by: &str,
    ) -> Result<Option<JobId>, sqlx::Error> {
        let new = sqlx::query_scalar!(
            "select switchyard.replay_job($1, $2, $3)",
            tenant.uuid(),
            job.0,
            by
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        Ok(new.map(JobId))
    }

    /// Forgets a dead job. False when the tenant has no such dead job.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn purge(&self, tenant: TenantId, job: JobId) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.purge_job($1, $2) as "purged!""#,
            tenant.uuid(),
            job.0
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

enum Decision {
    Approve,
    Reject,
}
