//! `switchyard cancel`: asks a job to stop, and says how far that came.

use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use clap::Args;
use host::Env;
use model::{CancelOutcome, JobId, JobState};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::failure::Exit;
use super::output::{line, note};
use super::reach::{Client, Output, Passing, ReachArgs};
use super::signals::Signals;

/// Between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which job, and whether to wait.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The job
    #[arg(value_name = "JOB")]
    job: JobId,
    /// Wait until it has stopped; ends with 0 when it was cancelled, with 1 when it ended first or cannot be stopped
    #[arg(short, long)]
    wait: bool,
    /// Wait no longer than so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900, requires = "wait")]
    timeout_secs: u64,
    #[command(flatten)]
    reach: ReachArgs,
}

/// How far a cancel came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Requested,
    Heard,
    Applied,
    Cannot,
    TooLate,
}

/// A stage, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Reached {
    stage: Stage,
    at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Job {
    state: JobState,
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    kind: String,
    at: DateTime<Utc>,
    data: serde_json::Value,
}

impl Job {
    /// What is on record, in its order.
    fn stages(&self) -> Vec<Reached> {
        let stage = |event: &Event| {
            let (stage, field) = match event.kind.as_str() {
                "cancel_requested" => (Stage::Requested, "by"),
                "cancel_acknowledged" => (Stage::Heard, ""),
                "cancelled" => (Stage::Applied, "note"),
                "cancel_cannot" => (Stage::Cannot, "why"),
                "cancel_too_late" => (Stage::TooLate, ""),
                _ => return None,
            };
            let note = event.data.get(field).and_then(|value| value.as_str());
            Some(Reached {
                stage,
                at: event.at,
                note: note.map(str::to_owned),
            })
        };
        self.events.iter().filter_map(stage).collect()
    }
}

impl Reached {
    fn told(&self) -> String {
        let what = match self.stage {
            Stage::Requested => "1/3 requested",
            Stage::Heard => "2/3 heard",
            Stage::Applied => "3/3 applied: nothing of it runs any more",
            Stage::Cannot => "it cannot be stopped as things are",
            Stage::TooLate => "too late: it ended first",
        };
        let at = self.at.with_timezone(&Local).format("%H:%M:%S");
        let note = match (self.stage, &self.note) {
            (Stage::Requested, Some(by)) => format!(" by {by}"),
            (_, Some(note)) => format!(": {note}"),
            (_, None) => String::new(),
        };
        format!("{at}  {what}{note}")
    }
}

/// Asks, and waits if it should.
pub(crate) async fn cancel(env: &Env, args: CancelArgs) -> anyhow::Result<()> {
    let client = Client::new(env, &args.reach).await?;
    let mut signals = Signals::new()?;
    let done = signals.unless_asked(ask(&client, &args)).await;
    client.close().await;
    done
}

#[derive(Debug, Deserialize)]
struct Answer {
    outcome: CancelOutcome,
}

async fn ask(client: &Client, args: &CancelArgs) -> anyhow::Result<()> {
    let answer = client
        .post(&format!("jobs/{}/cancel", args.job), &json!({}))
        .await?;
    let Answer { outcome } = serde_json::from_value(answer)?;
    let wait = args.wait && outcome != CancelOutcome::TooLate;
    let until = Instant::now() + Duration::from_secs(args.timeout_secs);
    let text = args.reach.output == Output::Text;
    let mut told = 0;
    let job = loop {
        let job = match look(client, args.job).await {
            Ok(job) => job,
            Err(error) if error.is::<Passing>() && Instant::now() < until => {
                sleep(LOOK_EVERY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let stages = job.stages();
        if text {
            for stage in stages.iter().skip(told) {
                line(stage.told());
            }
            told = stages.len();
        }
        if !wait || job.state.is_final() || Instant::now() >= until {
            break job;
        }
        sleep(LOOK_EVERY).await;
    };
    if !text {
        line(
            json!({ "job": args.job, "outcome": outcome, "state": job.state, "stages": job.stages() }),
        );
    } else if outcome == CancelOutcome::TooLate {
        note(format_args!(
            "job {} was over already: {}",
            args.job, job.state
        ));
    } else if !job.state.is_final() {
        note(format_args!(
            "job {} is {}; `switchyard cancel {} --wait` waits for the end",
            args.job, job.state, args.job
        ));
    }
    let stopped = job.state == JobState::Cancelled || !wait && outcome != CancelOutcome::TooLate;
    if stopped {
        Ok(())
    } else {
        Err(Exit::FAILED.into())
    }
}

async fn look(client: &Client, job: JobId) -> anyhow::Result<Job> {
    Ok(serde_json::from_value(
        client.get(&format!("jobs/{job}")).await?,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_those_on_record() {
        let event = |kind: &str, data: serde_json::Value| json!({"kind": kind, "at": "2026-12-01T09:00:00Z", "data": data});
        let job: Job = serde_json::from_value(json!({
            "state": "cancelled",
            "events": [
                event("waits", json!({"for": "runner"})),
                event("cancel_requested", json!({"by": "Ann"})),
                event("cancel_acknowledged", json!({})),
                event("cancelled", json!({"confirmed": true})),
            ],
        }))
        .expect("a job");
        let stages: Vec<_> = job.stages().iter().map(|reached| reached.stage).collect();
        assert_eq!(stages, [Stage::Requested, Stage::Heard, Stage::Applied]);
        assert!(job.stages()[0].told().ends_with("1/3 requested by Ann"));
    }
}
