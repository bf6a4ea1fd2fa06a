//! The functions that faults are tried with, each by its name.

use std::process::ExitCode;

use host::Function;

const FUNCTIONS: [Function; 9] = [
    callback::FUNCTION,
    chaos::FUNCTION,
    cron_reap::FUNCTION,
    cron_republish::FUNCTION,
    cron_schedules::FUNCTION,
    dispatch::FUNCTION,
    relay::FUNCTION,
    task_http::FUNCTION,
    webhook_github::FUNCTION,
];

fn main() -> ExitCode {
    let asked = std::env::args_os().nth(1);
    let found = FUNCTIONS
        .into_iter()
        .find(|function| asked.as_ref().is_some_and(|asked| asked == function.name));
    found.map_or(ExitCode::FAILURE, host::main)
}
