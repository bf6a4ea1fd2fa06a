//! The command line: everything on one machine (`up`, `demo`), one function as a process of its own (`<function>`), and
//! what an operator needs beside them (`migrate`, `list`, `queue`, `repair`, `task`, `hooks`), and what anybody does with
//! jobs (`run`, `logs`, `cancel`).
//!
//! | exit code | means |
//! | --- | --- |
//! | 0 | done, or ended because it was asked to |
//! | 1 | failed; the job that was followed is dead |
//! | 2 | the command line is wrong |
//! | 3 | the job that was followed was superseded by a newer one |
//! | 78 | a setting or a manifest is wrong |
//! | 130 | interrupted before it was done; the job that was followed was cancelled |

mod arguments;
mod cancel;
mod data_dir;
mod database;
mod failure;
mod follow;
mod hooks;
mod list;
mod logs;
mod migrate;
mod operate;
mod output;
mod port;
mod prepare;
mod progress;
mod queue;
mod reach;
mod repair;
mod run;
mod runner;
mod shown;
mod signals;
mod start;
mod task;
mod up;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use host::{Env, LogFormat};

use arguments::{Chosen, Command};

pub(crate) use arguments::{DemoArgs, HookArgs};
pub(crate) use data_dir::secret_file;
pub(crate) use failure::{Told, text as failure_text};
pub(crate) use output::{Paint, line};
pub(crate) use run::{Running, Started};

/// How long what still runs may take when the process ends.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_secs(1);

/// Does what the arguments say. Nothing, and `up`, run everything on this machine.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(not_started) = runner::became_program() {
        return not_started;
    }
    match arguments::chosen() {
        Chosen::Function(function) => host::main(function),
        Chosen::Runner => runner::runner(&Env::of_process()),
        Chosen::Command(command) => {
            let env = Env::of_process();
            match attend(&env, command) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failure::told(&error),
            }
        }
    }
}

fn attend(env: &Env, command: Command) -> anyhow::Result<()> {
    // At a terminal people read the summary and the steps; where a log is kept, it is worth its lines.
    let default_level = match command {
        Command::Up(_) if !std::io::stderr().is_terminal() => "info",
        Command::Up(_)
        | Command::Demo(_)
        | Command::Migrate(_)
        | Command::List(_)
        | Command::Queue(_)
        | Command::Repair(_)
        | Command::Task(_)
        | Command::Run(_)
        | Command::Logs(_)
        | Command::Cancel(_)
        | Command::Hooks(_)
        | Command::HookGitea(_) => "warn",
    };
    host::init_telemetry(env, LogFormat::Text, default_level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match command {
            Command::Up(args) => up::up(env, args).await,
            Command::Demo(args) => crate::demo::demo(env, args).await,
            Command::Migrate(args) => migrate::migrate(env, &args).await,
            Command::List(args) => list::list(&args),
            Command::Queue(args) => queue::queue(env, args).await,
            Command::Repair(args) => repair::repair(env, args).await,
            Command::Task(args) => task::task(env, args).await,
            Command::Run(args) => start::run(env, *args).await,
            Command::Logs(args) => logs::logs(env, args).await,
            Command::Cancel(args) => cancel::cancel(env, args).await,
            Command::Hooks(args) => hooks::hooks(env, *args).await,
            Command::HookGitea(args) => crate::demo::hook(env, args).await,
        }
    });
    // What does not end by itself is left.
    runtime.shutdown_timeout(SHUTDOWN);
    result
}
