//! Asking until the database answers.

use std::time::Duration;

use tokio::time::Instant;

use crate::is_passing;

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
