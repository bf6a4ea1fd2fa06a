//! Which tasks are started by their name, with whatever payload somebody writes.

/// What jobs of these do, and in whose name, their payload says.
const ONLY_ASKED_FOR: [&str; 1] = ["task-bulk"];

/// Whether jobs of a task are made only where their deed is asked for, which looks at the role that it takes. Whoever could
/// write such a job's payload could have done what they may not do themselves: an operator, purge all dead jobs.
#[must_use]
pub fn is_only_asked_for(task: &str) -> bool {
    ONLY_ASKED_FOR.contains(&task)
}
