//! What a place for runners must be able to do.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use model::{JobId, TenantId};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

/// Which run: that of one claim of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunId {
    /// Whose.
    pub tenant: TenantId,
    /// The job.
    pub job: JobId,
    /// The number of the claim.
    pub epoch: i64,
}

/// `<job>-<epoch>`: good in names of files and of objects in a cluster.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.job.0, self.epoch)
    }
}

/// A runner to be started: all that it is told from outside. The rest it fetches with its token.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Which run.
    pub id: RunId,
    /// By what it can be found: what [`Launcher::handle`] chose and the run's row has.
    pub handle: Value,
    /// Where it calls back (`CALLBACK_URL`).
    pub callback: Url,
    /// Who it is there (`RUN_TOKEN`).
    pub token: SecretString,
    /// How long the run may take, to its last word.
    pub time_max: Duration,
    /// How long it may take to stop when it is asked to.
    pub stop_max: Duration,
}

/// What came of asking a run to stop.
#[derive(Debug)]
pub enum Stopped {
    /// Nothing of it runs.
    Gone,
    /// It was asked, and has not come to its end yet; why, for people.
    NotYet(String),
    /// It cannot be stopped from here, and why.
    Cannot(String),
}

/// What is seen of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Its runner is there, or is about to be.
    Lives,
    /// Nothing of it is there. With the last it said, where that was kept.
    Gone(Option<String>),
    /// It is where one cannot look from here.
    Elsewhere,
}

/// A place where runners run. Every call may be repeated.
pub trait Launcher: fmt::Debug + Send + Sync {
    /// As it stands in a run's row: `local` or `kubernetes`.
    fn name(&self) -> &'static str;

    /// By what the runner of this run will be found and stopped, by any replica; recorded before it is started.
    fn handle(&self, id: RunId) -> Value;

    /// Starts the runner. One that was started under this handle before is good.
    ///
    /// # Errors
    /// When it did not start, and will not.
    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Waits until the runner with this handle is gone, where that can be seen from here, and nothing of its run is left; says how
    /// it ended, for people. None: it went as runners do that have nothing more to say, or nobody here can see it; then its lease
    /// tells.
    ///
    /// # Errors
    /// When that could not be found out, or something of it does not end.
    fn gone<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Option<String>>>;

    /// Asks the run with this handle to stop, waits a little, and removes what its runner leaves behind. A runner that stops by
    /// itself says so at the callback endpoint, so that nobody has to wait here for the whole of its grace.
    ///
    /// # Errors
    /// When it is not known what came of it.
    fn stop<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Stopped>>;

    /// Looks for the run with this handle.
    ///
    /// # Errors
    /// When that could not be found out.
    fn look<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Look>>;

    /// Sees to it that nothing runs any more of earlier runs of this job, before a later one begins.
    ///
    /// # Errors
    /// When something of them is still there.
    fn clear<'a>(&'a self, id: RunId) -> BoxFuture<'a, anyhow::Result<()>>;
}
