//! `switchyard run`: starts a job, follows its log, asks where a person must decide, and ends as the job does.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use host::Env;
use model::{JobId, JobState};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::failure::{Exit, WrongSetting};
use super::follow::{Follow, News};
use super::logs::ended;
use super::output::{Paint, line, note};
use super::reach::{Client, Output, ReachArgs, text_of};
use super::shown::Shown;
use super::signals::Signals;

mod decision;
mod folder;
mod plan;

use decision::Decision;

/// The largest payload, in bytes of JSON: what the API takes, without what is around it.
const PAYLOAD_BYTES_MAX: u64 = 240 * 1024;
/// What people call the task that runs terraform.
const TERRAFORM: &str = "terraform";
const TASK_TERRAFORM: &str = "task-terraform";

/// What to start.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The task, as `switchyard list` has it; `terraform` for a folder of configuration
    #[arg(value_name = "TASK")]
    task: String,
    /// The folder with the configuration (for terraform)
    #[arg(value_name = "DIR", conflicts_with = "payload")]
    folder: Option<PathBuf>,
    /// What to do, as JSON that the task understands, or @FILE
    #[arg(long, value_name = "JSON|@FILE")]
    payload: Option<String>,
    #[command(flatten)]
    terraform: TerraformArgs,
    /// Start it and leave: print its number
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

/// How terraform is run.
#[derive(Debug, Args)]
struct TerraformArgs {
    /// What terraform does: apply and destroy plan first, and ask; drift says what changed outside
    #[arg(long, value_enum, requires = "folder")]
    action: Option<Action>,
    /// A variable, as JSON or text; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable, requires = "folder")]
    variables: Vec<(String, Value)>,
    /// The state's name; the folder's if nothing is said
    #[arg(long, value_name = "NAME", requires = "folder")]
    state: Option<String>,
    /// Approve the plan without asking
    #[arg(long)]
    approve: bool,
}

/// What terraform does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    Plan,
    Apply,
    Destroy,
    Drift,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Destroy => "destroy",
            Self::Drift => "drift",
        }
    }
}

/// Reads `NAME=VALUE`; a value that is JSON is taken as such.
fn variable(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("it must be NAME=VALUE, for example replicas=3")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(fits) {
        return Err("a variable's name is made of letters, digits, _ and -".to_owned());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// Starts it and sees it through.
pub(crate) async fn run(env: &Env, args: StartArgs) -> anyhow::Result<()> {
    let (task, payload) = wanted(&args)?;
    let client = Client::new(env, &args.reach).await?;
    let mut signals = Signals::new()?;
    let mut started = None;
    let done = signals
        .unless_asked(see_through(
            env,
            &client,
            &args,
            &task,
            &payload,
            &mut started,
        ))
        .await;
    // It goes on without us.
    if let (Err(error), Some(job)) = (&done, started)
        && args.reach.output == Output::Text
        && !error.is::<Exit>()
    {
        note(format_args!(
            "its log: switchyard logs -f {job}; to stop it: switchyard cancel {job} --wait"
        ));
    }
    client.close().await;
    done
}

/// The task and its payload.
fn wanted(args: &StartArgs) -> anyhow::Result<(String, Value)> {
    let is_terraform = matches!(args.task.as_str(), TERRAFORM | TASK_TERRAFORM);
    match (&args.folder, &args.payload) {
        (Some(folder), None) if is_terraform => {
            let files = folder::pack(folder)?;
            let state = match &args.terraform.state {
                Some(state) => state.clone(),
                None => folder::name(folder)?,
            };
            let action = args.terraform.action.unwrap_or(Action::Apply);
            let variables: Map<String, Value> = args.terraform.variables.iter().cloned().collect();
            let mut payload = json!({
                "action": action.as_str(),
                "state": state,
                "source": { "inline": { "files": files } },
                "variables": variables,
            });
            if action == Action::Plan {
                // The plan is all: nobody is asked.
                payload["approve_within_secs"] = json!(0);
            }
            Ok((TASK_TERRAFORM.to_owned(), payload))
        }
        (Some(_), None) => {
            let what =
                "a folder is what terraform takes; give this task its payload with --payload";
            Err(WrongSetting(what.to_owned()).into())
        }
        (None, Some(given)) => {
            let text = text_of(given, PAYLOAD_BYTES_MAX)?;
            let payload = serde_json::from_str(&text)
                .map_err(|error| WrongSetting(format!("the payload is no JSON: {error}")))?;
            let task = if is_terraform {
                TASK_TERRAFORM
            } else {
                &args.task
            };
            Ok((task.to_owned(), payload))
        }
        (None, None) if is_terraform => {
            let what = "say which folder: switchyard run terraform ./dir (or --payload @file)";
            Err(WrongSetting(what.to_owned()).into())
        }
        (None, None) => Ok((args.task.clone(), json!({}))),
        (Some(_), Some(_)) => bail!("a folder and a payload are two sources"),
    }
}

#[derive(Debug, Deserialize)]
struct Created {
    job: JobId,
}

async fn see_through(
    env: &Env,
    client: &Client,
    args: &StartArgs,
    task: &str,
    payload: &Value,
    started: &mut Option<JobId>,
) -> anyhow::Result<()> {
    let body = json!({ "task": task, "payload": payload });
    let created = client.post("jobs", &body).await?;
    let Created { job } = serde_json::from_value(created).context("the API names no job")?;
    let output = args.reach.output;
    if args.detach {
        match output {
            Output::Text => line(job),
            Output::Json => line(json!({ "job": { "id": job } })),
        }
        return Ok(());
    }
    *started = Some(job);
    if output == Output::Text {
        let at = client
            .page(&format!("/jobs/{job}"))
            .map(|url| format!(" ({url})"))
            .unwrap_or_default();
        note(format_args!("job {job}{at}"));
    }
    let mut follow = Follow::new(client, job, "", Shown::of(env), output);
    let mut decision = Decision::new(client, job, args, Paint::stdout(env));
    let mut told = Vec::new();
    loop {
        let news = tokio::select! {
            news = follow.next() => news?,
            answer = decision.answered() => {
                decision.pass_on(&answer?).await?;
                continue;
            }
        };
        match news {
            News::End(end) => {
                if end.state == JobState::Succeeded {
                    outputs(env, client, job, output, decision.has_shown()).await?;
                }
                return ended(job, &end, output);
            }
            News::Job(now) => {
                decision.hear(&now).await?;
                if output == Output::Text && now.state == JobState::Queued {
                    why(client, job, &mut told).await?;
                }
            }
        }
    }
}

/// Says why it does not go on, each reason once.
async fn why(client: &Client, job: JobId, told: &mut Vec<Value>) -> anyhow::Result<()> {
    let mut found = client.get(&format!("jobs/{job}")).await?;
    // By now somebody may work on it.
    let state: JobState = serde_json::from_value(found["state"].take())?;
    if state != JobState::Queued {
        return Ok(());
    }
    let reasons = found["reasons"].take();
    for reason in reasons.as_array().into_iter().flatten() {
        let kind = reason["why"].clone();
        // That it is its turn is no reason worth a line.
        if kind != json!("ready") && !told.contains(&kind) {
            note(format_args!("it waits: {}", words(reason)));
            told.push(kind);
        }
    }
    Ok(())
}

/// A reason in the API's words: its kind, and what goes with it.
fn words(reason: &Value) -> String {
    let mut words = Vec::new();
    let known = reason.as_object().into_iter().flatten();
    for (name, value) in known.filter(|(_, value)| !value.is_null()) {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        match name.as_str() {
            "why" => words.insert(0, value.replace('_', " ")),
            _ => words.push(format!("{} {value}", name.replace('_', " "))),
        }
    }
    words.join(", ")
}

/// The outputs of an apply, those that may be seen; and the plan, where it was not shown before: then it is the end of it.
async fn outputs(
    env: &Env,
    client: &Client,
    job: JobId,
    output: Output,
    shown: bool,
) -> anyhow::Result<()> {
    if output == Output::Json {
        return Ok(());
    }
    let mut runs = client.get(&format!("jobs/{job}/runs")).await?;
    let paint = Paint::stdout(env);
    let report = runs["items"][0]["report"].take();
    let planned =
        (!shown && report["plan"].is_object()).then(|| plan::lines(&report["plan"], paint));
    for text in planned.into_iter().flatten() {
        line(text);
    }
    for text in plan::outputs(&report["terraform"], paint) {
        line(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_json_or_text() {
        assert_eq!(variable("n=3"), Ok(("n".to_owned(), json!(3))));
        assert_eq!(variable("a=[1]"), Ok(("a".to_owned(), json!([1]))));
        assert_eq!(
            variable("name=web=1"),
            Ok(("name".to_owned(), json!("web=1")))
        );
        for wrong in ["n", "=3", "a b=1"] {
            assert!(variable(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reason_is_said_in_words() {
        let reason = json!({"why": "no_executor", "task": "x", "since": null});
        assert_eq!(words(&reason), "no executor, task x");
    }
}
