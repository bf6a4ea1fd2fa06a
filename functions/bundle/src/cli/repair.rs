//! `switchyard repair`: for when something stands still that should go on by itself.

use clap::{Args, Subcommand};
use host::Env;
use model::JobId;
use queue::repair::{Chosen, JobRepair, REPAIRED_MAX, RepairedJob, Report, Run, ToldTask};
use serde::Serialize;

use super::operate::{Operator, OperatorArgs};
use super::output::line;

/// What to repair.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell those who work on tasks that there is work, again
    Republish {
        /// This task alone
        #[arg(long, value_name = "NAME")]
        task: Option<String>,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Take jobs back from whoever has them, as if their leases were over: the attempt counts
    Reap {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Make jobs ready now: what waits for its time or a retry, what somebody has (uncounted), and, named, what is dead
    Requeue {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

/// Which jobs: all that is said must hold for them.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// With this id; may be repeated
    #[arg(long = "job", value_name = "ID")]
    jobs: Vec<i64>,
    /// Of this task
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// Held by this worker
    #[arg(long, value_name = "ID")]
    worker: Option<String>,
}

/// How much of it, and whether at all.
#[derive(Debug, Args)]
struct How {
    /// Of this tenant alone
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=REPAIRED_MAX as i64))]
    limit: i32,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

impl How {
    fn run(&self) -> Run {
        if self.dry_run { Run::Dry } else { Run::Real }
    }
}

/// Does what was asked and reports what was considered and done.
pub(crate) async fn repair(env: &Env, args: RepairArgs) -> anyhow::Result<()> {
    let (repair, which, how, operator) = match args.what {
        What::Republish {
            task,
            how,
            operator,
        } => {
            let it = Operator::new(env, operator)?;
            let tenant = it.tenant_if_named(how.tenant.as_deref()).await?;
            let report = it
                .queue
                .repair_wakeups(tenant, task.as_deref(), how.limit, how.run(), it.by())
                .await?;
            return told(&report, &how, "tasks", told_line);
        }
        What::Reap {
            which,
            how,
            operator,
        } => (JobRepair::Reap, which, how, operator),
        What::Requeue {
            which,
            how,
            operator,
        } => (JobRepair::Requeue, which, how, operator),
    };
    let it = Operator::new(env, operator)?;
    let tenant = it.tenant_if_named(how.tenant.as_deref()).await?;
    let jobs: Vec<JobId> = which.jobs.into_iter().map(JobId).collect();
    let chosen = Chosen {
        jobs: (!jobs.is_empty()).then_some(&jobs[..]),
        task: which.task.as_deref(),
        worker: which.worker.as_deref(),
    };
    let report = it
        .queue
        .repair_jobs(repair, tenant, &chosen, how.limit, how.run(), it.by())
        .await?;
    told(&report, &how, "jobs", job_line)
}

fn told<T: Serialize>(
    report: &Report<T>,
    how: &How,
    things: &str,
    show: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    if how.json {
        line(serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    for item in &report.items {
        line(show(item));
    }
    line(format_args!(
        "{} {things} considered, {} {}{}",
        report.considered,
        report.done,
        if how.dry_run {
            "would be repaired"
        } else {
            "repaired"
        },
        if report.more {
            "; there may be more: run it again, or with a higher --limit"
        } else {
            ""
        },
    ));
    Ok(())
}

fn told_line(told: &ToldTask) -> String {
    format!(
        "{}  {} ready  {}{}",
        told.task,
        told.jobs,
        told.did,
        note(told.note.as_deref())
    )
}

fn job_line(item: &RepairedJob) -> String {
    let task = item.task.as_deref().unwrap_or("-");
    let state = item.state.map(|state| state.to_string());
    format!(
        "job {}  {task}  {}  {}{}",
        item.job,
        state.as_deref().unwrap_or("-"),
        item.did,
        note(item.note.as_deref())
    )
}

fn note(note: Option<&str>) -> String {
    note.map(|note| format!(": {note}")).unwrap_or_default()
}
