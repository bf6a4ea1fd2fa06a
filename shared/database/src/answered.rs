//! Asking until the database answers.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::{SystemDb, is_broken, is_passing};

/// For how long there is use in asking: after it a lease is over, and what was asked for is another's to do.
const TRY_FOR: Duration = Duration::from_secs(30);
const TRY_WAIT: Duration = Duration::from_millis(250);

/// Asks again while the failure is one that [`is_passing`], for at most 30 s, so that a restart of the database costs no
/// attempt at a job. What is asked must change nothing, or be fenced by an epoch: it may have happened although the answer
/// was lost.
///
/// # Errors
/// The first failure that does not pass by itself, or the last one when the time is over.
pub async fn answered<T, Fut>(ask: impl Fn() -> Fut) -> Result<T, sqlx::Error>
where
    Fut: Future<Output = Result<T, sqlx::Error>>,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_passing(&error) && started.elapsed() < TRY_FOR => {
                tokio::time::sleep(TRY_WAIT).await;
            }
            result => return result,
        }
    }
}

/// Why there was no answer while somebody waited for it.
#[derive(Debug)]
pub enum Unanswered {
    /// The database is away; the same may be asked again.
    Away,
    /// It refused.
    Failed(sqlx::Error),
}

/// As [`answered`], and no longer than `limit`: for whoever holds a request meanwhile.
///
/// # Errors
/// When there was no answer in this time, or the database refused.
pub async fn answered_within<T, Fut>(
    limit: Duration,
    ask: impl Fn() -> Fut,
) -> Result<T, Unanswered>
where
    Fut: Future<Output = Result<T, sqlx::Error>>,
{
    match tokio::time::timeout(limit, answered(ask)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if !is_passing(&error) => Err(Unanswered::Failed(error)),
        Ok(Err(_)) | Err(_) => Err(Unanswered::Away),
    }
}

/// For how long somebody who waits for an answer may be kept by connections that break: after it nothing is asked again.
const RECONNECT_FOR: Duration = Duration::from_secs(4);

impl SystemDb {
    /// Asks again while a connection [`is_broken`], or none can be had because others broke a moment ago, for at most 4 s:
    /// for whoever cannot wait for a database that is away, and should not notice that a server has ended all sessions. The
    /// first time at once, then after short waits. What is asked must change nothing, or find out what became of the last
    /// time.
    ///
    /// # Errors
    /// The first failure of another sort, or the last one when the time is over.
    pub async fn reconnected<T, Fut>(&self, ask: impl Fn() -> Fut) -> Result<T, sqlx::Error>
    where
        Fut: Future<Output = Result<T, sqlx::Error>>,
    {
        let started = Instant::now();
        let mut backoff = None::<Backoff>;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let passes =
                is_broken(&error) || matches!(error, sqlx::Error::PoolTimedOut) && self.recovers();
            if !passes || started.elapsed() >= RECONNECT_FOR {
                return Err(error);
            }
            match &mut backoff {
                Some(backoff) => backoff.wait().await,
                None => backoff = Some(Backoff::new()),
            }
        }
    }
}
