//! The job queue: every SQL statement on jobs, as typed calls.
//!
//! The transitions themselves are functions in the database (`migrations/*_create_job_functions.sql`): each is one
//! statement, names both states, is fenced by the job's epoch and says when it hit nothing. Nothing here decides
//! anything; nothing elsewhere writes a job.

mod cancel;
pub mod dead;
mod decide;
mod enqueue;
pub mod executors;
mod hold;
mod jobs_schema;
pub mod lanes;
mod look;
pub mod measure;
mod people;
mod progress;
pub mod reasons;
mod refused;
pub mod repair;
pub mod replays;
mod retention;
pub mod rules;
pub mod runs;
pub mod schedules;
mod turn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use database::SystemDb;

pub use cancel::CancelTry;
pub use decide::{Decided, decide_own};
pub use enqueue::{Added, NewJob, OwnJob, enqueue, enqueue_own, know_task};
pub use hold::{Beat, ClaimedJob, Ended, Finish, Hold, Wait};
pub use jobs_schema::{JobsSchema, WrongSchemaName, install_jobs_schema};
pub use look::{Claimable, RunBy, Swept};
pub use progress::Progress;
pub use refused::RuleError;
pub use retention::History;
pub use rules::By;

use turn::Turn;

/// The queue as functions see it. Cheap to clone.
///
/// Every call is one statement and may be repeated after a failure that [`database::is_passing`]: what is fenced by an
/// epoch changes nothing the second time.
#[derive(Debug, Clone)]
pub struct Queue {
    db: SystemDb,
    /// Whose turn it is among the tenants, for each set of tasks that is claimed. Kept here and not in the database: a row
    /// that every claim writes would slow down all of them.
    turns: Arc<Mutex<HashMap<String, Turn>>>,
}

impl Queue {
    /// The queue of this database.
    #[must_use]
    pub fn new(db: SystemDb) -> Self {
        Self {
            db,
            turns: Arc::default(),
        }
    }
}
