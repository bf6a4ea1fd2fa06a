//! A runner for tests, and what its programs are held by.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use runner::{Exit, Settings};

#[expect(
    clippy::disallowed_methods,
    reason = "a runner for tests reads its settings as the real one does"
)]
fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|name| name == exec::SHIM_COMMAND)
    {
        let Err(error) = exec::become_program(&arguments[1..]);
        writeln!(std::io::stderr(), "{error}").ok();
        return ExitCode::from(exec::EXIT_NOT_STARTED);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let settings = Settings::read(|name| std::env::var(name).ok()).expect("the settings are right");
    match runtime.block_on(runner::run(settings, runner::Elsewhere::default())) {
        Ok(Exit::Told) => ExitCode::SUCCESS,
        Ok(Exit::Over) => ExitCode::from(3),
        Err(error) => {
            writeln!(std::io::stderr(), "{error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
