//! What the command line may say.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use host::{Env, Function};
use queue::{JobsSchema, WrongSchemaName};
use url::Url;

use super::cancel::CancelArgs;
use super::failure::WrongSetting;
use super::hooks::HooksArgs;
use super::logs::LogsArgs;
use super::queue::QueueArgs;
use super::repair::RepairArgs;
use super::start::StartArgs;
use super::task::TaskArgs;
use crate::functions::FUNCTIONS;

/// How many names of functions stand on one line of the help.
const NAMES_A_LINE: usize = 6;

/// The command that is one run; started by Switchyard, not by people.
const RUNNER: &str = "runner";

const EXAMPLES: &str = "\
Examples:
  switchyard                        everything on this machine, on http://localhost:8080
  switchyard demo                   the same, with a real `git push` that becomes a live site
  switchyard up --port 9000         on another port
  switchyard up --isolate task-static
                                    one function in a process of its own
  switchyard up --set EGRESS_ALLOW=git.example.test:3000
                                    one setting for all functions, over what the manifests say
  switchyard run terraform ./infra  plan a folder, show the plan, ask, apply
  switchyard logs -f 42             what job 42 prints, to its end
  switchyard cancel 42 --wait       stop it, and know that it has stopped
  switchyard webhook-github         one function alone, as Knative starts it (PORT, DATABASE_URL …)

Data is in ~/.local/share/switchyard ($XDG_DATA_HOME is honoured), as root in /var/lib/switchyard, unless --data-dir
names another folder; the demo adds `-demo` to the default. Switchyard runs a PostgreSQL server of its own in it, unless
DATABASE_URL names a database: postgres://user:password@host:port/database.

Manifests are those of --manifests, else of the current folder if it has a knative/, else those of this program's build.

RUST_LOG chooses what is logged (RUST_LOG=info), NO_COLOR switches colours off.";

/// Turns what happens outside (a push, a tick of a clock, a click) into work that is done, once, visibly.
#[derive(Debug, Parser)]
#[command(name = "switchyard", version, args_conflicts_with_subcommands = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine; this is what happens when no command is given
    Up(RunArgs),
    /// Run everything, then push a small site with git and show each step on its way to being served
    Demo(DemoArgs),
    /// Bring the database that DATABASE_URL names to this version
    Migrate(MigrateArgs),
    /// List the functions: what each is, its database role, and what reaches it
    List(ListArgs),
    /// Pause, drain, limit and weigh what goes on, for all tenants or one
    Queue(QueueArgs),
    /// Make go on what stands still though it should not: wake-ups, held jobs, retries
    Repair(RepairArgs),
    /// Give tasks to other people's functions: Knative Services, OpenFaaS functions, any URL
    Task(TaskArgs),
    /// Start a job, follow its log, and end as it does; `run terraform ./dir` plans and applies a folder
    Run(Box<StartArgs>),
    /// Show what a job printed; with -f as it prints it, and end as the job does
    Logs(LogsArgs),
    /// Ask a job to stop, and say when that was heard and when nothing of it runs any more
    Cancel(CancelArgs),
    /// Set up the hooks of Git hosts, watch what they deliver, try it again, and explain signatures
    Hooks(Box<HooksArgs>),
    /// A Git post-receive hook that tells a webhook about a push as Gitea would
    #[command(hide = true)]
    HookGitea(HookArgs),
}

/// How to run everything.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Keep all data in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Serve on this port of localhost; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Read the manifests of the folders knative/ and triggers/ in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Run this function in a process of its own, so that a fault hits it alone; may be repeated
    #[arg(
        long,
        value_name = "FUNCTION",
        value_parser = PossibleValuesParser::new(FUNCTIONS.iter().map(|function| function.name)),
        hide_possible_values = true
    )]
    pub(crate) isolate: Vec<String>,
    /// Give every function this setting, over what its manifest says; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) jobs_schema: JobsSchemaArg,
}

/// How to migrate.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) jobs_schema: JobsSchemaArg,
}

/// Whether programs that were written for upstream's job tables shall find them.
#[derive(Debug, Args)]
pub(crate) struct JobsSchemaArg {
    /// Make a schema of this name with the tables and functions of @pgpm/database-jobs, over our queue ($JOBS_SCHEMA)
    #[arg(long = "jobs-schema", value_name = "NAME")]
    given: Option<JobsSchema>,
}

impl JobsSchemaArg {
    /// What was asked for, else what the environment says.
    pub(crate) fn chosen(&self, env: &Env) -> Result<Option<JobsSchema>, WrongSetting> {
        if self.given.is_some() {
            return Ok(self.given.clone());
        }
        env.get("JOBS_SCHEMA")
            .map(str::parse)
            .transpose()
            .map_err(|error: WrongSchemaName| {
                WrongSetting(format!("JOBS_SCHEMA is wrong: {error}"))
            })
    }
}

/// Reads `NAME=VALUE`. A name is what an environment variable may be called.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("it must be NAME=VALUE, for example EGRESS_ALLOW=git.example.test:443")?;
    let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(known) {
        return Err("the name of a setting is made of A-Z, 0-9 and _".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// End when the demo is over, with 0 only if the page that is served is the one that was pushed
    #[arg(long)]
    pub(crate) exit: bool,
}

/// How to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The senders of webhooks instead: their events, what each becomes, and by whose word it is understood
    #[arg(long, conflicts_with = "manifests")]
    pub(crate) vendors: bool,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Read the manifests of the folders knative/ and triggers/ in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
}

/// Whom to tell of a push, and as whom.
#[derive(Debug, Args)]
pub(crate) struct HookArgs {
    /// The webhook's address
    #[arg(long)]
    pub(crate) url: Url,
    /// The file that holds the webhook's secret
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: PathBuf,
    /// The repository's owner and name, as the trigger's filter knows them
    #[arg(long, value_name = "OWNER/NAME")]
    pub(crate) repository: String,
    /// Who pushed
    #[arg(long, value_name = "NAME", default_value = "git")]
    pub(crate) pusher: String,
}

/// What was chosen.
pub(crate) enum Chosen {
    /// One function as a process of its own.
    Function(Function),
    /// One run.
    Runner,
    /// One of the commands.
    Command(Command),
}

/// Reads the process's arguments. Ends the process when they are wrong, or when they ask for help.
pub(crate) fn chosen() -> Chosen {
    read(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

fn read(
    arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> Result<Chosen, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    if let Some(name) = matches.subcommand_name()
        && let Some(function) = FUNCTIONS.iter().find(|function| function.name == name)
    {
        return Ok(Chosen::Function(*function));
    }
    if matches.subcommand_name() == Some(RUNNER) {
        return Ok(Chosen::Runner);
    }
    let line = Line::from_arg_matches(&matches)?;
    Ok(Chosen::Command(
        line.command.unwrap_or(Command::Up(line.up)),
    ))
}

/// The commands and, hidden from their list because they have their own, the functions.
fn command() -> clap::Command {
    let functions = FUNCTIONS.iter().map(|function| {
        clap::Command::new(function.name)
            .about(
                "One function as an HTTP server on $PORT, with its settings from the environment",
            )
            .hide(true)
    });
    let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    let lines: Vec<String> = names
        .chunks(NAMES_A_LINE)
        .map(|names| names.join(", "))
        .collect();
    let names = lines.join(",\n  ");
    // Found by its mark, which is for others to read.
    let runner = clap::Command::new(RUNNER)
        .about("One run: fetches what it is to do from $CALLBACK_URL with $RUN_TOKEN, and does it in $RUN_DATA")
        .arg(clap::Arg::new("mark").long("mark").value_name("MARK"))
        .hide(true);
    Line::command()
        .subcommands(functions)
        .subcommand(runner)
        .after_help(format!(
            "Functions, each a command that runs it alone:\n  {names}\n\n{EXAMPLES}"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(arguments: &[&str]) -> Result<Command, String> {
        let arguments = std::iter::once("switchyard").chain(arguments.iter().copied());
        match read(arguments) {
            Ok(Chosen::Command(command)) => Ok(command),
            Ok(Chosen::Function(function)) => Err(format!("the function {}", function.name)),
            Ok(Chosen::Runner) => Err("a runner".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_commands_fit_together() {
        command().debug_assert();
    }

    #[test]
    fn no_command_means_up_and_takes_its_options() {
        let Ok(Command::Up(args)) = chosen(&["--port", "9000"]) else {
            panic!("up is what happens without a command");
        };
        assert_eq!(args.port, 9000);
        assert!(matches!(chosen(&["up"]), Ok(Command::Up(args)) if args.port == 8080));
    }

    #[test]
    fn each_function_is_a_command() {
        for function in FUNCTIONS {
            let expected = format!("the function {}", function.name);
            assert_eq!(chosen(&[function.name]).err(), Some(expected));
        }
    }

    #[test]
    fn a_runner_may_say_by_what_it_is_found() {
        for arguments in [["runner"].as_slice(), &["runner", "--mark", "1-2"]] {
            assert_eq!(chosen(arguments).err().as_deref(), Some("a runner"));
        }
    }

    #[test]
    fn an_unknown_function_is_answered_with_the_nearest() {
        for arguments in [
            ["--isolate", "task-statik"].as_slice(),
            &["up", "--isolate", "task-statik"],
            &["task-statik"],
        ] {
            let error = chosen(arguments).expect_err("there is none");
            assert!(error.contains("'task-static'"), "{error}");
        }
    }

    #[test]
    fn the_schema_for_jobs_is_the_options_else_the_environments() {
        let schema = |arguments: &[&str], set: Option<&str>| {
            let (Ok(Command::Up(RunArgs { jobs_schema, .. }))
            | Ok(Command::Migrate(MigrateArgs { jobs_schema }))) = chosen(arguments)
            else {
                panic!("{arguments:?} are right");
            };
            let env = Env::from_iter(set.map(|name| ("JOBS_SCHEMA".to_owned(), name.to_owned())));
            match jobs_schema.chosen(&env) {
                Ok(schema) => schema.map_or("none".to_owned(), |schema| schema.to_string()),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(schema(&["migrate"], None), "none");
        assert_eq!(schema(&["migrate"], Some("")), "none");
        assert_eq!(schema(&["up"], Some("app_jobs")), "app_jobs");
        assert_eq!(schema(&["--jobs-schema", "mine"], Some("app_jobs")), "mine");
        let wrong = schema(&["migrate"], Some("App Jobs"));
        assert!(wrong.starts_with("JOBS_SCHEMA is wrong: "), "{wrong}");
        let wrong = chosen(&["migrate", "--jobs-schema", "pg_jobs"]).expect_err("it is wrong");
        assert!(wrong.contains("for example app_jobs"), "{wrong}");
    }

    #[test]
    fn options_of_up_do_not_go_before_a_command() {
        assert!(chosen(&["--port", "9000", "migrate"]).is_err());
    }
}
