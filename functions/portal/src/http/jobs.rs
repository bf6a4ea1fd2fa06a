//! One job: its page, and asking it to stop.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::JobId;
use queue::reasons::Reason;
use serde::Deserialize;
use serde_json::Value;
use store::pages::{self, JobDetail, LogCursor};

use super::events::{chain, revision_of};
use super::log::Part;
use super::problem::Problem;
use super::rows;
use super::runs;
use super::session::{Posted, Signed};
use crate::i18n::Language;
use crate::views::job::job;
use crate::views::model::{
    Attempt, AttemptOutcome, JobEvent, JobEventKind, JobPage, JobState, Log,
};

/// How much of a payload or result is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// How much of a commit is shown in a sentence.
const COMMIT_CHARS: usize = 7;

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Result<Markup, Problem> {
    let id = rows::job_id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let Some(mut view) = read(&mut tx, &signed, id).await? else {
        return Err(Problem::NotFound);
    };
    let (log, cursor) = part.read(&mut tx, id, view.epoch).await?;
    tx.commit().await?;
    view.log = log;
    view.live_href = (!view.row.state.is_final()).then(|| {
        if part.is_tail() {
            let LogCursor { epoch, seq } = cursor;
            format!("/live/jobs/{id}?after={epoch}.{seq}")
        } else {
            // Somebody who reads a part of the log wants to know how the job is, and is not sent the rest of it.
            format!("/live/jobs/{id}?log=no")
        }
    });
    Ok(job(&signed.reader(), &view))
}

/// Everything but the log and where changes come from.
pub(super) async fn read(
    tx: &mut TenantTx,
    signed: &Signed,
    id: JobId,
) -> Result<Option<JobPage>, Problem> {
    let language = signed.visitor.language;
    let Some(found) = pages::job(tx, id).await? else {
        return Ok(None);
    };
    let events = pages::job_events(tx, id).await?;
    let event = match found.job.event {
        Some(event) => pages::event(tx, event).await?,
        None => None,
    };
    let revision = revision_of(tx, Some(&found)).await?;
    let decision = event.as_ref().and_then(|event| {
        event
            .decisions
            .iter()
            .find(|decision| Some(decision.binding) == found.job.binding)
    });
    let chain = chain(
        language,
        event.as_ref(),
        decision,
        Some(&found),
        revision.as_ref(),
    );
    let row = rows::jobs(tx, std::slice::from_ref(&found.job))
        .await?
        .pop();
    let Some(row) = row else {
        return Ok(None);
    };
    let run = runs::read(tx, signed, &found, &events, &row.reasons).await?;
    let plain = run.plan.as_ref().map(|view| &*view.plan.plain_variables);
    let payload = ::runs::masked(&found.job.task, found.payload.clone(), plain.unwrap_or(&[]));
    let is_final = row.state.is_final();
    let shown = |value: &Value| {
        let text = format!("{value:#}");
        text[..text.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned()
    };
    Ok(Some(JobPage {
        run,
        stop: runs::stop(&events),
        attempts_used: found.job.attempts,
        attempts_max: found.job.attempts_max,
        epoch: found.job.epoch,
        created_at: found.job.created_at,
        // Of a running one the time since its start would change with every look.
        ran_for: found
            .job
            .started_at
            .zip(found.job.finished_at)
            .map(|(start, end)| end - start),
        outcome: (row.state == JobState::Succeeded)
            .then(|| outcome(language, &found))
            .flatten(),
        advice: found
            .job
            .reason
            .as_deref()
            .and_then(|reason| reason.split_once('\n'))
            .map(|(_, advice)| advice.trim().to_owned())
            .filter(|advice| is_final && !advice.is_empty()),
        chain,
        attempts: attempts(&found, &events, &row.reasons),
        timeline: timeline(language, &found, &events),
        log: Log::default(),
        payload: shown(&payload),
        result: found.result.as_ref().map(shown),
        cancel_href: (signed.may_operate() && !is_final && row.state != JobState::Cancelling)
            .then(|| format!("/jobs/{id}/cancel")),
        replay_href: (signed.may_operate() && row.state == JobState::Dead)
            .then(|| format!("/dead/{id}/replay")),
        live_href: None,
        row,
    }))
}

/// What a deploy says in one sentence: what was asked for, and what was found.
fn outcome(language: Language, found: &JobDetail) -> Option<String> {
    let result = found.result.as_ref()?;
    let text = |name: &str| result.get(name).and_then(Value::as_str);
    let short = |commit: &str| commit.chars().take(COMMIT_CHARS).collect::<String>();
    let deployed = text("deployed")?;
    let number = result.get("number")?.to_string();
    let revision = language.with("revision-number", &[("n", number.into())]);
    let asked = text("asked").filter(|asked| *asked != deployed);
    let already = result.get("already_live").and_then(Value::as_bool) == Some(true);
    Some(match asked {
        _ if already => language.with(
            "outcome-already-live",
            &[
                ("deployed", short(deployed).into()),
                ("revision", revision.into()),
            ],
        ),
        Some(asked) => language.with(
            "outcome-moved",
            &[
                ("asked", short(asked).into()),
                ("deployed", short(deployed).into()),
                ("revision", revision.into()),
            ],
        ),
        None => language.with(
            "outcome-deployed",
            &[
                ("deployed", short(deployed).into()),
                ("revision", revision.into()),
            ],
        ),
    })
}

/// Tries that ended otherwise are events; the last one is the job's row. Newest first.
fn attempts(found: &JobDetail, events: &[pages::JobEvent], reasons: &[Reason]) -> Vec<Attempt> {
    let mut attempts: Vec<_> = events
        .iter()
        .filter_map(|event| {
            let outcome = match event.kind.as_str() {
                "retry_planned" => AttemptOutcome::Failed,
                "lease_over" => AttemptOutcome::Lost,
                "released" | "snoozed" => AttemptOutcome::Released,
                _ => return None,
            };
            let text = |name: &str| event.data.get(name).and_then(Value::as_str);
            Some(Attempt {
                number: i32::try_from(event.epoch).unwrap_or(i32::MAX),
                worker: text("worker").map(rows::worker_name),
                started_at: None,
                ended_at: Some(event.at),
                outcome,
                error: text("error").or_else(|| text("reason")).map(str::to_owned),
            })
        })
        .collect();
    let job = &found.job;
    let number = i32::try_from(job.epoch).unwrap_or(i32::MAX);
    let was_told = attempts.iter().any(|attempt| attempt.number == number);
    let outcome = match rows::state(job.state) {
        JobState::Running | JobState::Waiting | JobState::Cancelling => AttemptOutcome::Running,
        JobState::Succeeded => AttemptOutcome::Succeeded,
        JobState::Dead => AttemptOutcome::Failed,
        JobState::Cancelled | JobState::Superseded => AttemptOutcome::Cancelled,
        JobState::Queued => AttemptOutcome::Released,
    };
    if !was_told && job.epoch > 0 {
        attempts.push(Attempt {
            number,
            worker: reasons.iter().find_map(|reason| match reason {
                Reason::Running { worker, .. } => Some(worker.clone()),
                _ => None,
            }),
            started_at: job.started_at,
            ended_at: job.finished_at,
            outcome,
            error: job
                .reason
                .clone()
                .filter(|_| outcome == AttemptOutcome::Failed),
        });
    }
    attempts.sort_by_key(|attempt| std::cmp::Reverse(attempt.number));
    attempts
}

/// From the row and what was recorded besides, oldest first.
fn timeline(language: Language, found: &JobDetail, events: &[pages::JobEvent]) -> Vec<JobEvent> {
    let job = &found.job;
    let mut timeline = vec![JobEvent {
        at: job.created_at,
        kind: JobEventKind::Queued,
        detail: match (&job.actor, job.event) {
            (Some(name), _) => {
                Some(language.with("job-by-person", &[("name", name.clone().into())]))
            }
            (None, Some(_)) => Some(language.t("job-by-event")),
            (None, None) => None,
        },
    }];
    timeline.extend(events.iter().map(|event| happened(language, event)));
    // A claim is told by the row alone: the latest one.
    if let Some(at) = job.started_at {
        timeline.push(JobEvent {
            at,
            kind: JobEventKind::Started,
            detail: None,
        });
    }
    let end = match rows::state(job.state) {
        JobState::Succeeded => Some(JobEventKind::Succeeded),
        JobState::Dead => Some(JobEventKind::Dead),
        // These two are recorded as events.
        JobState::Cancelled | JobState::Superseded => None,
        JobState::Queued | JobState::Running | JobState::Waiting | JobState::Cancelling => None,
    };
    if let Some((at, kind)) = job.finished_at.zip(end) {
        timeline.push(JobEvent {
            at,
            kind,
            detail: job.reason.clone(),
        });
    }
    timeline.sort_by_key(|event| event.at);
    timeline
}

fn happened(language: Language, event: &pages::JobEvent) -> JobEvent {
    let text = |name: &str| {
        event
            .data
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let by = || text("by").map(|name| language.with("job-by-person", &[("name", name.into())]));
    let (kind, detail) = match event.kind.as_str() {
        "retry_planned" => (JobEventKind::Retrying, text("error")),
        "lease_over" => (
            JobEventKind::LeaseLost,
            text("error").or_else(|| text("worker").map(|w| rows::worker_name(&w))),
        ),
        "cancel_requested" => (JobEventKind::CancelRequested, by()),
        "cancelled" => (JobEventKind::Cancelled, text("note")),
        "cancel_too_late" => (JobEventKind::CancelTooLate, None),
        "cancel_acknowledged" => (JobEventKind::CancelAcknowledged, None),
        "cancel_retry_planned" => (JobEventKind::CancelTried, text("why")),
        "cancel_cannot" => (JobEventKind::CancelCannot, text("why")),
        "called_back" => (JobEventKind::CalledBack, text("said")),
        "refused" => (JobEventKind::Refused, text("why")),
        "waits" => (JobEventKind::Waiting, text("for")),
        "approved" => (JobEventKind::Approved, by()),
        "rejected" => (JobEventKind::Rejected, by()),
        "snoozed" => (JobEventKind::Snoozed, text("reason")),
        "released" => (JobEventKind::Released, None),
        "superseded" => (
            JobEventKind::Superseded,
            event
                .data
                .get("by")
                .map(|id| language.with("job-number", &[("id", id.to_string().into())])),
        ),
        "by_hand" => (JobEventKind::ByHand, by()),
        "stale_write" => (JobEventKind::StaleRefused, None),
        other => (JobEventKind::Other, Some(other.to_owned())),
    };
    JobEvent {
        at: event.at,
        kind,
        detail,
    }
}

#[derive(Deserialize)]
pub(super) struct Cancel {}

/// Asked twice it is asked once; asked too late nothing happens, and the page says how the job ended.
pub(super) async fn cancel(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Cancel {}): Posted<Cancel>,
) -> Result<Response, Problem> {
    let id = rows::job_id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    if pages::job(&mut tx, id).await?.is_none() {
        return Err(Problem::NotFound);
    }
    signed.operate()?;
    let outcome = pages::cancel(&mut tx, id, signed.name()).await?;
    tx.commit().await?;
    tracing::info!(job.id = %id, tenant.id = %signed.tenant, ?outcome, "asked to stop");
    Ok(Redirect::to(&format!("/jobs/{id}")).into_response())
}
