//! The job queue: every SQL statement on jobs, as typed calls.
//!
//! The transitions themselves are functions in the database (`migrations/*_create_job_functions.sql`): each is one
//! statement, names both states, is fenced by the job's epoch and says when it hit nothing. Nothing here decides
//! anything; nothing elsewhere writes a job.

mod enqueue;
pub mod executors;
mod hold;
mod look;
pub mod measure;
mod people;
pub mod reasons;

use database::SystemDb;

pub use enqueue::{Added, NewJob, enqueue, know_task};
pub use hold::{Beat, ClaimedJob, Ended, Finish, Hold, Wait};
pub use look::Claimable;

/// The queue as functions see it. Cheap to clone.
///
/// Every call is one statement and may be repeated after a failure that [`database::is_passing`]: what is fenced by an
/// epoch changes nothing the second time.
#[derive(Debug, Clone)]
pub struct Queue {
    db: SystemDb,
}

impl Queue {
    /// The queue of this database.
    #[must_use]
    pub const fn new(db: SystemDb) -> Self {
        Self { db }
    }
}
