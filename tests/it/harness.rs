//! What tests over real processes share: the program, its manifests and data, repositories, senders of webhooks, a network
//! that misbehaves.

mod api;
mod chaos;
mod database;
mod git_server;
mod installation;
mod machine;
mod process;
mod repository;
mod sender;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use api::Api;
pub(crate) use chaos::{Answer, Seen, Wire, pass_on};
pub(crate) use database::{Database, Site};
pub(crate) use git_server::GitServer;
pub(crate) use installation::Installation;
pub(crate) use machine::{Machine, free_port};
pub(crate) use process::Process;
pub(crate) use repository::Repository;
pub(crate) use sender::{Push, Sender, client};

/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The Postgres that a test process shares cannot be killed in one test without harm to the others, and two cores cannot
/// run two of these tests without one making the other late: they take turns.
pub(crate) async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// Looks until something is there; fails when it is not within `limit`, with what was waited for.
#[track_caller]
pub(crate) fn until<T, F>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + limit;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                Instant::now() < end,
                "{caller}: after {limit:?} there was still no sign of: {what}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
