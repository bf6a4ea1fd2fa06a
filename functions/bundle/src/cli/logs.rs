//! `switchyard logs`: what a job printed, as it prints it.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use host::Env;
use model::{JobId, JobState};
use serde_json::Value;

use super::failure::Exit;
use super::follow::{Follow, News, Told};
use super::output::note;
use super::reach::{Client, Output, ReachArgs};
use super::shown::Shown;
use super::signals::Signals;

/// How many lines are read at a time.
const PIECE: usize = 100;
/// The longest time back, in seconds: ten years.
const BACK_SECS_MAX: u64 = 10 * 365 * 24 * 3600;

/// Of which job, and from when on.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The job
    #[arg(value_name = "JOB")]
    job: JobId,
    /// Wait for more until the job has ended, and end as it did: 0 succeeded, 1 dead, 3 superseded, 130 cancelled
    #[arg(short, long)]
    follow: bool,
    /// Only what was written since: 90s, 15m, 2h, 3d ago, or a time such as 2026-12-01T09:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    #[command(flatten)]
    reach: ReachArgs,
}

/// A point in time, as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Ago(TimeDelta),
    At(DateTime<Utc>),
}

fn since(text: &str) -> Result<Since, String> {
    let wrong =
        || "say how long ago (90s, 15m, 2h, 3d) or a time such as 2026-12-01T09:00:00Z".to_owned();
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return Err(wrong()),
    };
    let secs = number
        .checked_mul(factor)
        .filter(|secs| *secs <= BACK_SECS_MAX);
    let secs = secs
        .and_then(|secs| i64::try_from(secs).ok())
        .ok_or_else(wrong)?;
    Ok(Since::Ago(TimeDelta::seconds(secs)))
}

/// Shows the log.
pub(crate) async fn logs(env: &Env, args: LogsArgs) -> anyhow::Result<()> {
    let client = Client::new(env, &args.reach).await?;
    let mut signals = Signals::new()?;
    let shown = signals.unless_asked(show(env, &client, &args)).await;
    client.close().await;
    shown
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago is told by the clock of who asks"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

async fn show(env: &Env, client: &Client, args: &LogsArgs) -> anyhow::Result<()> {
    let query = match args.since {
        None => String::new(),
        Some(since) => {
            let at = match since {
                Since::At(at) => at,
                Since::Ago(back) => now() - back,
            };
            format!("?since={}", at.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
        }
    };
    let output = args.reach.output;
    let mut follow = Follow::new(client, args.job, &query, Shown::of(env), output);
    if !args.follow {
        return so_far(client, args.job, &query, &follow).await;
    }
    loop {
        if let News::End(told) = follow.next().await? {
            return ended(args.job, &told, output);
        }
    }
}

/// What is there now.
async fn so_far(
    client: &Client,
    job: JobId,
    query: &str,
    shown: &Follow<'_>,
) -> anyhow::Result<()> {
    let mut separator = if query.is_empty() { '?' } else { '&' };
    let mut path = format!("jobs/{job}/log{query}{separator}limit={PIECE}");
    loop {
        let mut piece = client.get(&path).await?;
        let items = piece["items"].take();
        let is_last = items.as_array().is_none_or(Vec::is_empty);
        shown.lines(items)?;
        if is_last {
            return Ok(());
        }
        let next = piece.get("next").and_then(Value::as_str);
        let next = next.context("the API says no place to go on from")?;
        separator = '&';
        path = format!("jobs/{job}/log?limit={PIECE}{separator}cursor={next}");
    }
}

/// Ends as the job did.
pub(crate) fn ended(job: JobId, told: &Told, output: Output) -> anyhow::Result<()> {
    if output == Output::Text {
        let why = told
            .reason
            .as_deref()
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        note(format_args!("job {job} {}{why}", told.state));
    }
    match told.state {
        JobState::Dead => Err(Exit::FAILED.into()),
        JobState::Superseded => Err(Exit::SUPERSEDED.into()),
        JobState::Cancelled => Err(Exit::CANCELLED.into()),
        JobState::Succeeded
        | JobState::Queued
        | JobState::Running
        | JobState::Waiting
        | JobState::Cancelling => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_so_long_ago_or_a_time() {
        assert_eq!(since("15m"), Ok(Since::Ago(TimeDelta::minutes(15))));
        assert_eq!(since("2d"), Ok(Since::Ago(TimeDelta::days(2))));
        assert!(matches!(since("2026-12-01T09:00:00Z"), Ok(Since::At(_))));
        for wrong in ["", "m", "15", "15 m", "-1h", "yesterday", "99999999d", "5µ"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
