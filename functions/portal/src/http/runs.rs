//! What runners did for a job, and people's word on its plan.

use axum::extract::{Query, State};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::JobId;
use model::run::{RunState, StepState};
use queue::reasons::Reason;
use serde::Deserialize;
use serde_json::Value;
use store::artifacts::{Artifact, ArtifactFilter, artifacts};
use store::pages::{self, JobDetail, JobEvent};
use terraform::{MaskedPlan, Report};

use super::problem::Problem;
use super::rows;
use super::session::Signed;
use crate::views::model::{
    ArtifactRow, JobState, PlanDecision, PlanView, RunPanel, RunView, StepView, StopEnd, StopView,
};
use crate::views::runs::{RunsPage, runs as runs_view};

/// What the database says of a job that nobody decided on.
const NOBODY_DECIDED: &str = "rejected: nobody decided in time";

/// Jobs that are listed at a time.
const JOBS: usize = 50;

/// Which part of the list.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Before {
    before: Option<JobId>,
}

/// The latest runs.
pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(before): Query<Before>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let view = read_list(&mut tx, &signed, &before).await?;
    tx.commit().await?;
    Ok(runs_view(&signed.reader(), &view))
}

/// The same for the stream.
pub(super) async fn read_list(
    tx: &mut TenantTx,
    signed: &Signed,
    before: &Before,
) -> Result<RunsPage, Problem> {
    let found = pages::latest_runs(tx, before.before, JOBS).await?;
    let older = found.last().filter(|_| found.len() == JOBS).copied();
    let jobs = pages::jobs(tx, &found).await?;
    let mut jobs = rows::jobs(tx, &jobs).await?;
    let workspaces = store::workspaces::list(tx).await?;
    jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
    Ok(RunsPage {
        jobs,
        older_href: older.map(|job| format!("/runs?before={job}")),
        may_start: signed.may_operate(),
        workspaces: workspaces.iter().map(super::workspaces::row).collect(),
    })
}

/// Everything of it that the job's page shows.
pub(super) async fn read(
    tx: &mut TenantTx,
    signed: &Signed,
    found: &JobDetail,
    events: &[JobEvent],
    reasons: &[Reason],
) -> Result<RunPanel, Problem> {
    let id = found.job.id;
    let runs = pages::runs(tx, id).await?;
    if runs.is_empty() {
        return Ok(RunPanel::default());
    }
    let report = runs.iter().find_map(|run| {
        let said = run.report.as_ref()?.terraform.clone()?;
        read_said::<Report>(id, said)
    });
    let planned = runs.iter().find_map(|run| {
        let report = run.report.as_ref()?;
        let plan = read_said::<MaskedPlan>(id, report.plan.clone()?)?;
        Some((plan, report.artifacts.get("plan").cloned()))
    });
    let plan = planned.map(|(plan, sha256)| {
        let decision = decision(found, events, reasons);
        let waits = matches!(decision, PlanDecision::Waiting(_));
        PlanView {
            plan,
            sha256,
            decide_href: (waits && signed.may_operate()).then(|| format!("/jobs/{id}")),
            decision,
        }
    });
    Ok(RunPanel {
        runs: runs.into_iter().map(one_run).collect(),
        report,
        plan,
        artifacts: kept(tx, signed, id).await?,
    })
}

/// Files that are listed with a job, the newest.
const ARTIFACTS: usize = 100;

async fn kept(tx: &mut TenantTx, signed: &Signed, job: JobId) -> Result<Vec<ArtifactRow>, Problem> {
    let filter = ArtifactFilter {
        job: Some(job),
        ..ArtifactFilter::default()
    };
    let rows = artifacts(tx, &filter, None, ARTIFACTS).await?;
    let row = |row: Artifact| ArtifactRow {
        href: (!row.sealed || signed.may_administer()).then(|| format!("/artifacts/{}", row.id)),
        name: row.name,
        bytes: u64::try_from(row.bytes).unwrap_or_default(),
        sha256: row.sha256,
        sealed: row.sealed,
        at: row.created_at,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// A runner may be of another version than we are: what it says and we cannot read is left out, and told in the log.
fn read_said<T: serde::de::DeserializeOwned>(job: JobId, said: Value) -> Option<T> {
    serde_json::from_value(said)
        .inspect_err(
            |error| tracing::warn!(job.id = %job, "what a runner said cannot be shown: {error}"),
        )
        .ok()
}

fn one_run(run: pages::Run) -> RunView {
    // One that a newer version made up is shown as what nobody hears of.
    let state = run.state.parse().unwrap_or(RunState::Lost);
    let step = |step: pages::RunStep| StepView {
        state: step.state.parse().unwrap_or(StepState::Waiting),
        name: step.name,
        exit_code: step.exit_code,
        why: step.why,
        started_at: step.started_at,
        ended_at: step.ended_at,
    };
    RunView {
        phase: run.phase,
        state,
        reason: run.reason,
        created_at: run.created_at,
        seen_at: run.seen_at,
        ended_at: run.ended_at,
        steps: run.steps.into_iter().map(step).collect(),
        lines_dropped: run.report.map_or(0, |report| report.lines_dropped),
    }
}

/// What became of the plan, from what is on record.
fn decision(found: &JobDetail, events: &[JobEvent], reasons: &[Reason]) -> PlanDecision {
    let waits = reasons.iter().find_map(|reason| match reason {
        Reason::Approval { deadline } => Some(*deadline),
        _ => None,
    });
    if let Some(deadline) = waits {
        return PlanDecision::Waiting(deadline);
    }
    let decided = events.iter().rev().find_map(|event| {
        let by = || {
            event
                .data
                .get("by")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        match event.kind.as_str() {
            "approved" => Some(PlanDecision::Approved(by(), event.at)),
            "rejected" => Some(PlanDecision::Rejected(by(), event.at)),
            _ => None,
        }
    });
    if let Some(decided) = decided {
        return decided;
    }
    match rows::state(found.job.state) {
        JobState::Superseded => PlanDecision::Superseded,
        JobState::Dead if found.job.reason.as_deref() == Some(NOBODY_DECIDED) => {
            PlanDecision::Expired
        }
        _ => PlanDecision::NotAsked,
    }
}

/// How far a request to stop has come, from what is on record; nothing where there was none.
pub(super) fn stop(events: &[JobEvent]) -> Option<StopView> {
    let asked = events
        .iter()
        .rposition(|event| event.kind == "cancel_requested")?;
    let text = |event: &JobEvent, name: &str| {
        event
            .data
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let mut view = StopView {
        requested: (events[asked].at, text(&events[asked], "by")),
        heard: None,
        end: None,
    };
    for event in &events[asked..] {
        let end = match event.kind.as_str() {
            "cancel_acknowledged" => {
                view.heard = Some(event.at);
                continue;
            }
            "cancelled" => StopEnd::Applied(text(event, "note")),
            "cancel_cannot" => StopEnd::Cannot(text(event, "why")),
            "cancel_too_late" => StopEnd::TooLate,
            _ => continue,
        };
        view.end = Some((event.at, end));
    }
    Some(view)
}
