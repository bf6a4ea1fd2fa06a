//! From what the store says to what a page shows.

use std::str::FromStr;

use model::JobState as State;
use model::{DeliveryId, EventId, JobId, RevisionId, WorkloadId};
use serde_json::Value;
use store::pages::{self, Wait};
use uuid::Uuid;

use super::problem::Problem;
use super::visitor::Visitor;
use crate::views::model::{
    Became, Count, DeliveryRow, JobRow, JobState, Link, LiveRevision, Verdict, Why, WorkloadRow,
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

pub(super) fn job(job: &pages::Job) -> JobRow {
    let state = state(job.state);
    // A retry says what went wrong itself, and what succeeded has nothing to say.
    let error = job
        .reason
        .as_deref()
        .filter(|_| state != JobState::Succeeded && !matches!(job.wait, Some(Wait::Retry { .. })))
        .and_then(|reason| reason.lines().next())
        .map(str::to_owned);
    JobRow {
        id: job.id.0,
        task: job.task.clone(),
        workload: job.workload.as_ref().map(workload_link),
        state,
        why: job.wait.clone().map(why),
        error,
        since: job.since,
    }
}

fn why(wait: Wait) -> Why {
    match wait {
        Wait::Worker { since } => Why::Ready { since },
        Wait::Due { at } => Why::Due { at },
        Wait::Retry { at, error } => Why::Retry {
            at,
            error: error.lines().next().unwrap_or_default().to_owned(),
        },
        Wait::Queue { queue, job } => Why::QueueBusy { queue, job: job.0 },
        Wait::Key { job } => Why::KeyBusy { job: job.0 },
        Wait::Cap { running } => Why::AtCap {
            running: u64::try_from(running).unwrap_or_default(),
        },
        Wait::Executor { task } => Why::NoExecutor { task },
        Wait::Lease { worker, until } => Why::Leased {
            worker: worker_name(&worker),
            until,
        },
        Wait::Outside { runner, deadline } => Why::Outside { runner, deadline },
        Wait::Approval { deadline } => Why::Approval { deadline },
        Wait::Stop { asked_at } => Why::Stopping { asked_at },
    }
}

pub(super) fn worker_name(worker: &str) -> String {
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
