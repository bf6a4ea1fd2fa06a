//! A cancel, from its arrival to what becomes of the work.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use host::{CancelReport, Ctx, Function, Job, Kind, Outcome, Resources, task_with_cancel};
use model::{CancelOutcome, DatabaseRole, JobId, JobState, Waiting};
use queue::{CancelTry, Wait};
use serde_json::json;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::{FIXTURE, POLICY, Spec, World, event, run, until, world, world_with};

const STOPPABLE: Function = Function {
    name: "stoppable",
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |_| Ok(task_with_cancel(POLICY, run, stop)),
};

/// A job whose work goes on outside, and says by its handle what comes of stopping it.
pub(crate) fn outside(job: &Job<Spec>) -> Outcome {
    Outcome::Waiting(Wait {
        waiting: Waiting::Runner,
        deadline: Duration::from_secs(3600),
        runner: Some(json!({"answer": job.spec.answer})),
    })
}

async fn stop(_: Ctx, what: CancelTry) -> CancelReport {
    match what.runner["answer"].as_str() {
        Some("stopped") => CancelReport::Applied,
        Some("never") => CancelReport::Cannot("it has no end".to_owned()),
        Some("panic") => panic!("a stop that panics"),
        other => CancelReport::Retry(anyhow::anyhow!("it said {other:?}")),
    }
}

impl World {
    /// A job whose work goes on outside, and that somebody asked to stop.
    async fn asked_outside(&self, answer: &str) -> JobId {
        let job = self.add_answering("outside", answer).await;
        self.wake_and_wait().await;
        assert_eq!(self.state(job).await, JobState::Waiting);
        self.ask(job).await;
        job
    }

    async fn ask(&self, job: JobId) {
        let asked = self.queue.cancel(self.tenant, job, "a person").await;
        assert_eq!(asked.unwrap(), Some(CancelOutcome::Requested));
    }

    /// The event of the cancel arrives.
    async fn tell(&self, job: JobId) -> StatusCode {
        let task = self.function.ctx.function();
        let data = json!({"job": job.0, "task": task, "epoch": 1}).to_string();
        let request = event("dev.switchyard.job.cancel.requested.v1", data);
        let router = self.function.router.clone();
        router.oneshot(request).await.unwrap().status()
    }

    async fn kinds(&self) -> String {
        self.text("select string_agg(kind, ' ' order by id) from switchyard.job_events")
            .await
    }
}

#[tokio::test]
async fn work_outside_is_stopped_by_its_handle_where_the_cancel_arrives() {
    let world = world(STOPPABLE).await;
    let job = world.asked_outside("stopped").await;
    assert_eq!(world.tell(job).await, StatusCode::ACCEPTED);
    assert_eq!(world.state(job).await, JobState::Cancelled);
    assert_eq!(
        world.kinds().await,
        "waits cancel_requested cancel_acknowledged cancelled"
    );
    // It comes twice, as events do.
    assert_eq!(world.tell(job).await, StatusCode::ACCEPTED);
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stopped_or_not_yet_stays_visible_with_the_reason() {
    for (answer, kind, why) in [
        ("never", "cancel_cannot", "it has no end"),
        (
            "nothing",
            "cancel_retry_planned",
            "it said Some(\"nothing\")",
        ),
        (
            "panic",
            "cancel_retry_planned",
            "stopping it panicked: a stop that panics",
        ),
    ] {
        let world = world(STOPPABLE).await;
        let job = world.asked_outside(answer).await;
        assert_eq!(world.tell(job).await, StatusCode::ACCEPTED);
        assert_eq!(world.state(job).await, JobState::Cancelling, "{answer}");
        let last = world.text("select cancel_error from switchyard.jobs").await;
        assert_eq!(last, why);
        assert!(world.kinds().await.ends_with(kind), "{answer}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_function_that_knows_no_way_says_so() {
    let world = world(FIXTURE).await;
    let job = world.asked_outside("stopped").await;
    assert_eq!(world.tell(job).await, StatusCode::ACCEPTED);
    assert_eq!(world.state(job).await, JobState::Cancelling);
    let why = world.text("select cancel_error from switchyard.jobs").await;
    assert_eq!(why, "fixture does not know how to stop what it started");
    world.stop().await;
}

#[tokio::test]
async fn a_cancel_that_comes_before_the_handle_is_applied_with_it() {
    let world = world(STOPPABLE).await;
    let job = world.add_answering("outside_too_late", "stopped").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    world.ask(job).await;
    requests.join_next().await.unwrap().unwrap();
    assert_eq!(world.state(job).await, JobState::Cancelled);
    assert_eq!(
        world.kinds().await,
        "cancel_requested cancel_acknowledged waits cancelled"
    );
    world.stop().await;
}

#[tokio::test]
async fn the_event_of_a_cancel_does_not_wait_for_the_heartbeat() {
    let settings = |env: host::Env| env.with("LEASE_SECS", "60").with("HEARTBEAT_SECS", "30");
    let world = world_with(FIXTURE, &Resources::new().unwrap(), settings).await;
    let job = world.add("obey").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    world.ask(job).await;
    let since = Instant::now();
    assert_eq!(world.tell(job).await, StatusCode::ACCEPTED);
    until(|| async { world.state(job).await == JobState::Cancelled }).await;
    assert!(since.elapsed() < Duration::from_secs(15), "{since:?}");
    assert_eq!(
        world.kinds().await,
        "cancel_requested cancel_acknowledged cancelled"
    );
    world.stop().await;
}
