//! `switchyard task`: whose functions do the work of which tasks.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use host::{Env, Kind};
use queue::executors::{
    CompletesBy, DefaultExecutor, Executor, NewDefault, NewExecutor, TaskExecutor,
};
use serde_json::json;
use url::Url;

use super::failure::WrongSetting;
use super::operate::{Operator, OperatorArgs};
use super::output::line;
use crate::functions::FUNCTIONS;

/// Whose functions work on what.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the tasks with who runs their jobs, and what a task gets that is not in the list
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Give a task to an executor; what is being worked on ends where it began, all else goes to the new one
    Set {
        /// The task
        #[arg(value_name = "TASK")]
        task: String,
        /// Who runs its jobs; none: a worker of another system
        #[arg(long, value_enum)]
        executor: Runner,
        /// Where its function is, if not at the executor's usual place; for http without it, each tenant says where
        #[arg(long, value_name = "URL")]
        url: Option<Url>,
        #[command(flatten)]
        call: CallArgs,
        /// How long an attempt may take, the wait for a callback included, in seconds
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        attempt_time: Option<Duration>,
        /// How many tries there are
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
        attempts: Option<i32>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Take a task out of the list: it gets the default again
    Forget {
        /// The task
        #[arg(value_name = "TASK")]
        task: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Say what tasks get that are not in the list
    Default {
        /// Who runs their jobs; none: a worker of another system
        #[arg(long, value_enum, required_unless_present = "inherit")]
        executor: Option<UsualRunner>,
        /// Have no default of its own (with --tenant) or none at all any more
        #[arg(long, conflicts_with_all = ["executor", "namespace", "completes_by", "callback_deadline"])]
        inherit: bool,
        /// For the tasks of this tenant alone
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        #[command(flatten)]
        call: CallArgs,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

/// How functions are called. What is not given stays as it is.
#[derive(Debug, Args)]
struct CallArgs {
    /// The namespace of Knative Services, if not the installation's
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// What tells that a call is done: its answer (202 announces a callback), or only ever a callback
    #[arg(long, value_enum)]
    completes_by: Option<Ends>,
    /// How long a call that was acknowledged may stay silent, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    callback_deadline: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runner {
    Builtin,
    Knative,
    Openfaas,
    Http,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UsualRunner {
    Knative,
    Openfaas,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ends {
    Response,
    Callback,
}

impl Runner {
    const fn executor(self) -> Option<Executor> {
        match self {
            Self::Builtin => Some(Executor::Builtin),
            Self::Knative => Some(Executor::Knative),
            Self::Openfaas => Some(Executor::OpenFaas),
            Self::Http => Some(Executor::Http),
            Self::None => None,
        }
    }
}

impl UsualRunner {
    const fn executor(self) -> Option<Executor> {
        match self {
            Self::Knative => Some(Executor::Knative),
            Self::Openfaas => Some(Executor::OpenFaas),
            Self::None => None,
        }
    }
}

impl From<Ends> for CompletesBy {
    fn from(ends: Ends) -> Self {
        match ends {
            Ends::Response => Self::Response,
            Ends::Callback => Self::Callback,
        }
    }
}

/// A time that is not nothing, of at most a week.
fn seconds(text: &str) -> Result<Duration, String> {
    const SECONDS_MAX: u64 = 7 * 24 * 3600;
    text.parse::<u64>()
        .ok()
        .filter(|seconds| (1..=SECONDS_MAX).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("it must be a number of seconds from 1 to {SECONDS_MAX} (a week)"))
}

/// Does what was asked and says what became of it.
pub(crate) async fn task(env: &Env, args: TaskArgs) -> anyhow::Result<()> {
    match args.what {
        What::List { json, operator } => list(&Operator::new(env, operator)?, json).await,
        What::Set {
            task,
            executor,
            url,
            call,
            attempt_time,
            attempts,
            operator,
        } => {
            if executor == Runner::Builtin && !is_ours(&task) {
                return Err(WrongSetting(format!(
                    "this version has no function for the task {task:?}: see `switchyard list`"
                ))
                .into());
            }
            let it = Operator::new(env, operator)?;
            it.queue
                .set_executor(&NewExecutor {
                    task: &task,
                    executor: executor.executor(),
                    url: url.as_ref().map(Url::as_str),
                    namespace: call.namespace.as_deref(),
                    completes_by: call.completes_by.map(CompletesBy::from),
                    callback_deadline: call.callback_deadline,
                    attempt_time_max: attempt_time,
                    attempts_max: attempts,
                    by: it.by(),
                })
                .await
                .with_context(|| format!("the task {task:?} stays as it was"))?;
            line("set");
            Ok(())
        }
        What::Forget { task, operator } => {
            if is_ours(&task) {
                bail!("{task} is a task of this version: give it back with --executor builtin");
            }
            let it = Operator::new(env, operator)?;
            if !it.queue.forget_task(&task).await? {
                bail!("there is no task {task:?} in the list; see `switchyard task list`");
            }
            line("forgotten: it gets the default again");
            Ok(())
        }
        What::Default {
            executor,
            inherit,
            tenant,
            call,
            operator,
        } => {
            let it = Operator::new(env, operator)?;
            let tenant = it.tenant_if_named(tenant.as_deref()).await?;
            if inherit {
                if !it.queue.drop_default_executor(tenant).await? {
                    bail!("there is no such default; see `switchyard task list`");
                }
                line("dropped");
                return Ok(());
            }
            it.queue
                .set_default_executor(&NewDefault {
                    tenant,
                    executor: executor.and_then(UsualRunner::executor),
                    namespace: call.namespace.as_deref(),
                    completes_by: call.completes_by.map(CompletesBy::from),
                    callback_deadline: call.callback_deadline,
                    by: it.by(),
                })
                .await
                .context("the default stays as it was")?;
            line("set");
            Ok(())
        }
    }
}

/// Whether a function of this version works on a task by itself.
fn is_ours(task: &str) -> bool {
    FUNCTIONS
        .iter()
        .any(|function| function.name == task && matches!(function.kind, Kind::Task(_)))
}

async fn list(it: &Operator, json: bool) -> anyhow::Result<()> {
    let tasks = it.queue.task_executors().await?;
    let defaults = it.queue.default_executors().await?;
    if json {
        let all = json!({ "tasks": tasks, "defaults": defaults });
        line(serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let width = tasks
        .iter()
        .map(|task| task.task.len())
        .max()
        .unwrap_or_default();
    for task in &tasks {
        line(format_args!("{:width$}  {}", task.task, told(task)));
    }
    for default in &defaults {
        line(default_told(default));
    }
    if defaults.iter().all(|default| default.tenant.is_some()) {
        line("all others: none, their jobs wait for a worker of another system");
    }
    Ok(())
}

fn told(task: &TaskExecutor) -> String {
    let Some(executor) = task.executor else {
        return "none".to_owned();
    };
    let mut text = executor.to_string();
    match executor {
        Executor::Builtin => return text,
        Executor::Http if task.url.is_none() => text.push_str(", at each tenant's own URL"),
        Executor::Knative | Executor::OpenFaas | Executor::Http => {}
    }
    if let Some(url) = &task.url {
        text.push_str(&format!(", at {url}"));
    }
    if let Some(namespace) = &task.namespace {
        text.push_str(&format!(", in the namespace {namespace}"));
    }
    text.push_str(&ends_told(task.completes_by, task.callback_deadline_secs));
    text
}

fn default_told(default: &DefaultExecutor) -> String {
    let whose = match &default.tenant {
        Some(tenant) => format!("all others of {tenant}"),
        None => "all others".to_owned(),
    };
    let Some(executor) = default.executor else {
        return format!("{whose}: none");
    };
    let namespace = default
        .namespace
        .as_ref()
        .map(|namespace| format!(", in the namespace {namespace}"))
        .unwrap_or_default();
    let ends = ends_told(default.completes_by, default.callback_deadline_secs);
    format!("{whose}: {executor}{namespace}{ends}")
}

fn ends_told(completes_by: CompletesBy, deadline_secs: f64) -> String {
    let by = match completes_by {
        CompletesBy::Response => "done by its answer, or after 202 by a callback",
        CompletesBy::Callback => "done by a callback",
    };
    format!(", {by} within {deadline_secs} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_seconds() {
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
        for wrong in ["0", "-1", "1.5", "90s", "", "604801"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_task_is_told_in_one_line() {
        let mut task = TaskExecutor {
            task: "hello".to_owned(),
            executor: Some(Executor::Http),
            url: None,
            namespace: None,
            completes_by: CompletesBy::Response,
            callback_deadline_secs: 60.0,
            attempt_time_max_secs: 120.0,
            attempts_max: 5,
            own_url: None,
        };
        assert_eq!(
            told(&task),
            "http, at each tenant's own URL, done by its answer, or after 202 by a callback within 60 s"
        );
        task.url = Some("http://localhost:9000/".to_owned());
        task.completes_by = CompletesBy::Callback;
        assert_eq!(
            told(&task),
            "http, at http://localhost:9000/, done by a callback within 60 s"
        );
        task.executor = Some(Executor::Builtin);
        assert_eq!(told(&task), "builtin");
    }
}
