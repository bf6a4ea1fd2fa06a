//! `switchyard runner`: one run, as a process that survives whoever started it.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use host::{EXIT_SETTINGS, Env, LogFormat};
use netlab_api::NetlabOrders;
use runner::{Elsewhere, Exit, Settings};
use ssh::Ssh;

use super::failure;
use super::output::note;

/// The run is over, or somebody else's: nothing of it runs any more, and nothing was to be said.
const EXIT_OVER: u8 = 3;

/// Does the run that the settings are for.
pub(super) fn runner(env: &Env) -> ExitCode {
    host::init_telemetry(env, LogFormat::Text, "info");
    // Fails only where this is so already.
    rustix::process::setsid().ok();
    let settings = match Settings::read(|name| env.get(name).map(str::to_owned)) {
        Ok(settings) => settings,
        Err(error) => {
            note(error);
            return ExitCode::from(EXIT_SETTINGS);
        }
    };
    match work(settings) {
        Ok(Exit::Told) => ExitCode::SUCCESS,
        Ok(Exit::Over) => ExitCode::from(EXIT_OVER),
        Err(error) => failure::told(&error),
    }
}

fn work(settings: Settings) -> anyhow::Result<Exit> {
    // One thread: programs end with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runner cannot begin")?;
    let elsewhere = Elsewhere {
        ssh: Some(&Ssh),
        netlab: Some(&NetlabOrders),
    };
    let exit = runtime.block_on(runner::run(settings, elsewhere));
    runtime.shutdown_timeout(super::SHUTDOWN);
    exit
}

/// Becomes the program of a step, where these are the arguments for that.
pub(super) fn became_program() -> Option<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (command, arguments) = arguments.split_first()?;
    if command != exec::SHIM_COMMAND {
        return None;
    }
    let Err(error) = exec::become_program(arguments);
    note(error);
    Some(ExitCode::from(exec::EXIT_NOT_STARTED))
}
