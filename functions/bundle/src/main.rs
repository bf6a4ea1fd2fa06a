//! `switchyard`: the whole system on one machine, or one function of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bundle::cli::main()
}
