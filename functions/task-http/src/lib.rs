//! Calls other people's functions: works on the jobs of every task whose row says that its function is a Knative Service, an
//! OpenFaaS function or any URL.
//!
//! A job is one `POST` of its payload. What the answer means is said in [`answer`]; what is not said by the answer comes as
//! a callback, under the token that the call carried. A function that dies while its request is open is noticed by its
//! connection; one that was to call back, at its task's callback deadline. A target that does not answer is left alone for
//! a while ([`circuit`]): jobs that meet it then are put off, uncounted, and say so.

mod answer;
mod call;
mod circuit;
mod request;
mod settings;
mod target;

use std::time::Duration;

use host::{Function, Kind};
use model::{DatabaseRole, TaskPolicy};

use crate::call::Caller;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |env| {
        let caller = Caller::new(env)?;
        let which = caller.clone();
        Ok(host::tasks(
            POLICY,
            move |ctx| which.clone().tasks(ctx),
            move |ctx, job| call::run(ctx, caller.clone(), job),
        ))
    },
};

/// Of an attempt's time this is kept to record how it ended.
const MARGIN: Duration = Duration::from_secs(5);

/// The tasks' own rows say how often and how long. Here is said what one process has in hand, mostly waiting for others, and
/// how long it holds a request open: who takes longer answers 202 and calls back.
const POLICY: TaskPolicy = TaskPolicy {
    slots: 32,
    ..TaskPolicy::DEFAULT
};

#[cfg(test)]
mod tests;
