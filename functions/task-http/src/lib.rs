//! Calls other people's functions.

use host::{Ctx, Function, Job, Kind, Outcome, TaskError};
use model::{DatabaseRole, TaskPolicy};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |_| Ok(host::task(POLICY, run)),
};

const POLICY: TaskPolicy = TaskPolicy::DEFAULT;

async fn run(_ctx: Ctx, _job: Job<serde_json::Value>) -> Result<Outcome, TaskError> {
    Err(TaskError::fail(anyhow::anyhow!(
        "there is nothing that this could do"
    )))
}
