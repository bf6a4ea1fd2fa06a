//! The functions that faults are tried with, each by its name.

use std::process::ExitCode;

fn main() -> ExitCode {
    let asked = std::env::args_os().nth(1);
    let found = chaos::FUNCTIONS
        .into_iter()
        .find(|function| asked.as_ref().is_some_and(|asked| asked == function.name));
    found.map_or(ExitCode::FAILURE, host::main)
}
