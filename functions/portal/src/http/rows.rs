//! From what the store says to what a page shows.

use std::collections::HashMap;
use std::str::FromStr;

use database::TenantTx;
use model::JobState as State;
use model::{DeliveryId, EventId, JobId, RevisionId, WorkloadId};
use queue::reasons::{self, Reason};
use serde_json::Value;
use store::pages;
use uuid::Uuid;

use super::problem::Problem;
use super::visitor::Visitor;
use crate::views::model::{
    Became, Count, DeliveryRow, JobRow, JobState, Link, LiveRevision, Verdict, WorkloadRow,
    WorkloadState,
};

/// How much of a worker's random name is shown, in characters.
const WORKER_CHARS: usize = 8;

/// An id in an address: as it is written everywhere (`evt_…`), or bare.
pub(super) fn id<T: FromStr + From<Uuid>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .ok()
        .or_else(|| Uuid::try_parse(text).ok().map(T::from))
        .ok_or(Problem::NotFound)
}

pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::NotFound)
}

pub(super) fn count(count: pages::Count) -> Count {
    let number = u64::try_from(count.count).unwrap_or_default();
    if count.more {
        Count::AtLeast(number)
    } else {
        Count::Exact(number)
    }
}

pub(super) const fn state(state: State) -> JobState {
    match state {
        State::Queued => JobState::Queued,
        State::Running => JobState::Running,
        State::Waiting => JobState::Waiting,
        State::Cancelling => JobState::Cancelling,
        State::Succeeded => JobState::Succeeded,
        State::Dead => JobState::Dead,
        State::Cancelled => JobState::Cancelled,
        State::Superseded => JobState::Superseded,
    }
}

pub(super) const fn verdict(verdict: pages::DeliveryVerdict) -> Verdict {
    use pages::DeliveryVerdict as V;
    match verdict {
        V::Accepted => Verdict::Accepted,
        V::Ignored => Verdict::Ignored,
        V::Ping => Verdict::Ping,
        V::Duplicate => Verdict::Duplicate,
        V::Conflict => Verdict::Conflict,
        V::Malformed => Verdict::Malformed,
        V::Rejected => Verdict::Rejected,
    }
}

/// `git.pushed` of `dev.switchyard.git.pushed.v1`; what is not ours is shown whole.
pub(super) fn event_kind(ty: &str) -> String {
    ty.strip_prefix("dev.switchyard.")
        .and_then(|rest| rest.rsplit_once(".v"))
        .map_or_else(|| ty.to_owned(), |(kind, _)| kind.to_owned())
}

pub(super) fn delivery(delivery: pages::Delivery) -> DeliveryRow {
    let about = delivery
        .events
        .iter()
        .find_map(|event| event.about.clone().or_else(|| event.subject.clone()));
    DeliveryRow {
        id: delivery.id.uuid(),
        received_at: delivery.received_at,
        vendor: delivery.vendor,
        event: delivery.vendor_event.unwrap_or_default(),
        about,
        trigger: Some(delivery.trigger.name),
        verdict: verdict(delivery.verdict),
        became: delivery.events.iter().flat_map(became).collect(),
    }
}

pub(super) fn became(event: &pages::DeliveryEvent) -> Vec<Became> {
    if !event.dispatched {
        return vec![Became::Pending];
    }
    if event.jobs.is_empty() {
        return vec![Became::NoMatch {
            event: event.id.uuid(),
        }];
    }
    event
        .jobs
        .iter()
        .map(|job| match job.state {
            Some(found) => Became::Job {
                id: job.id.0,
                state: state(found),
                subject: job.subject.clone().unwrap_or_else(|| job.id.to_string()),
            },
            None => Became::Forgotten { id: job.id.0 },
        })
        .collect()
}

pub(super) fn workload_link(workload: &pages::Named<WorkloadId>) -> Link {
    Link {
        name: workload.name.clone(),
        href: workload_href(workload.id),
    }
}

pub(super) fn workload_href(id: WorkloadId) -> String {
    format!("/workloads/{}", id.uuid())
}

pub(super) fn event_href(id: EventId) -> String {
    format!("/events/{}", id.uuid())
}

pub(super) fn delivery_href(id: DeliveryId) -> String {
    format!("/deliveries/{}", id.uuid())
}

/// Jobs of a page with what each of them waits for.
pub(super) async fn jobs(
    tx: &mut TenantTx,
    found: &[pages::Job],
) -> Result<Vec<JobRow>, sqlx::Error> {
    let live: Vec<_> = found
        .iter()
        .filter(|job| !job.state.is_final())
        .map(|job| job.id)
        .collect();
    let mut reasons: HashMap<_, _> = reasons::own_reasons(tx, &live).await?.into_iter().collect();
    Ok(found
        .iter()
        .map(|found| job(found, reasons.remove(&found.id).unwrap_or_default()))
        .collect())
}

fn job(job: &pages::Job, mut reasons: Vec<Reason>) -> JobRow {
    let state = state(job.state);
    let line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    for reason in &mut reasons {
        match reason {
            Reason::Running { worker, .. } => *worker = worker_name(worker),
            Reason::Retry { error, .. } => *error = line(error),
            _ => {}
        }
    }
    // A retry says what went wrong itself, and what succeeded has nothing to say.
    let retries = reasons
        .iter()
        .any(|reason| matches!(reason, Reason::Retry { .. }));
    let error = job
        .reason
        .as_deref()
        .filter(|_| state != JobState::Succeeded && !retries)
        .map(line);
    JobRow {
        id: job.id.0,
        task: job.task.clone(),
        workload: job.workload.as_ref().map(workload_link),
        state,
        reasons,
        error,
        since: job.since,
    }
}

/// A worker's name; of one that is random the beginning.
pub(super) fn worker_name(worker: &str) -> String {
    if Uuid::try_parse(worker).is_err() {
        return worker.to_owned();
    }
    worker.chars().take(WORKER_CHARS).collect()
}

pub(super) fn live_revision(revision: &pages::Revision) -> LiveRevision {
    LiveRevision {
        number: i64::from(revision.number),
        commit: revision.commit.clone(),
        since: revision.created_at,
    }
}

pub(super) fn workload(visitor: &Visitor, workload: &pages::Workload) -> WorkloadRow {
    let url = visitor
        .sites
        .as_ref()
        .filter(|_| workload.live.is_some())
        .map(|sites| sites.replace("{host}", &workload.host));
    WorkloadRow {
        id: workload.id.uuid(),
        name: workload.name.clone(),
        kind: workload.source.as_str().to_owned(),
        state: match workload.state {
            pages::WorkloadState::Empty => WorkloadState::Empty,
            pages::WorkloadState::Deploying => WorkloadState::Deploying,
            pages::WorkloadState::Live => WorkloadState::Live,
            pages::WorkloadState::Failed => WorkloadState::Failed,
        },
        url,
        live: workload.live.as_ref().map(live_revision),
    }
}

/// A filter in its own words: `branches = main, release/*`. Nothing when it lets everything through.
pub(super) fn filter(filter: &Value) -> Option<String> {
    let words = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    let text: Vec<_> = filter
        .as_object()?
        .iter()
        .map(|(name, value)| format!("{name} = {}", words(value)))
        .collect();
    (!text.is_empty()).then(|| text.join(" · "))
}

/// The revision that a job's result names.
pub(super) fn result_revision(result: Option<&Value>) -> Option<RevisionId> {
    result?.get("revision")?.as_str()?.parse().ok()
}

/// JSON laid out for reading; what is not JSON as it is.
pub(super) fn pretty(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

/// A query that keeps what a page was asked for.
pub(super) fn with_query(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}
