//! What a drain does when handlers, the database or clocks do not behave.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use host::{Clock, Resources};
use model::JobState;
use tokio::task::JoinSet;

use super::{BLOCKED, FIXTURE, HASTY, PATIENCE, POLICY, count, until, world, world_with};

#[tokio::test]
async fn a_stop_lets_go_within_a_second_of_what_does_not_listen() {
    let world = world(FIXTURE).await;
    let job = world.add("hang").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    let since = Instant::now();
    world.function.ctx.stop(PATIENCE).await;
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "half a second, and what a busy machine takes: {:?}",
        since.elapsed()
    );
    assert_eq!(world.state(job).await, JobState::Queued);
    let attempts = world
        .text("select attempts::text from switchyard.jobs")
        .await;
    assert_eq!(attempts, "0");
}

#[tokio::test]
async fn jobs_claimed_ahead_go_back_uncounted_while_slow_ones_keep_the_slots() {
    let world = world(FIXTURE).await;
    // Quick jobs teach it to claim ahead.
    for _ in 0..60 {
        world.add("succeed").await;
    }
    world.wake_and_wait().await;
    for _ in 0..POLICY.slots {
        world.add("gate").await;
    }
    for _ in 0..20 {
        world.add("succeed").await;
    }
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    until(|| async {
        let waiting =
            "select count(*)::text from switchyard.jobs where state = 'queued' and attempts = 0";
        world.count().running == POLICY.slots && world.text(waiting).await == "20"
    })
    .await;
    count(&world.mark, |count| count.open = true);
    requests.join_next().await.unwrap().unwrap();
    until(|| async {
        world.wake_and_wait().await;
        world
            .text("select count(*)::text from switchyard.jobs")
            .await
            == "0"
    })
    .await;
    let counted = "select max(attempts)::text from switchyard.jobs_archive";
    assert_eq!(world.text(counted).await, "1");
    world.stop().await;
}

#[tokio::test]
async fn wakeups_beyond_what_is_of_use_are_told_to_come_later() {
    let world = world(FIXTURE).await;
    for _ in 0..POLICY.slots {
        world.add("gate").await;
    }
    let mut requests = JoinSet::new();
    for _ in 0..70 {
        world.wake(&mut requests);
    }
    let first = requests.join_next().await.unwrap().unwrap();
    assert_eq!(first, StatusCode::SERVICE_UNAVAILABLE);
    until(|| async { world.count().running == POLICY.slots }).await;
    count(&world.mark, |count| count.open = true);
    let all = requests.join_all().await;
    let later = all
        .iter()
        .filter(|status| **status == StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(later.count(), 70 - 64 - 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_handler_that_never_yields_costs_its_attempt_and_its_thread_alone() {
    let world = world(HASTY).await;
    let job = world.add("block").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    let since = Instant::now();
    until(|| async { world.state(job).await == JobState::Queued }).await;
    assert!(since.elapsed() < BLOCKED, "it was not waited for");
    assert_eq!(world.count().running, 1, "it keeps its thread");
    let why = world.text("select last_error from switchyard.jobs").await;
    assert!(why.starts_with("the attempt took longer than"), "{why}");
    world.left().await;
    world.stop().await;
}

/// Fault 21: the clocks of workers are wrong by ten minutes. Leases, due times and order are the database's.
#[tokio::test]
async fn a_workers_clock_does_not_matter() {
    let now: DateTime<Utc> = std::time::SystemTime::now().into();
    for wrong in [now + TimeDelta::minutes(10), now - TimeDelta::minutes(10)] {
        let resources = Resources::new().unwrap().with_clock(Clock::Fixed(wrong));
        let world = world_with(FIXTURE, &resources, |env| env).await;
        let held = world.add("gate").await;
        let mut requests = JoinSet::new();
        world.wake(&mut requests);
        world.begun().await;
        let first = world
            .text("select lease_until::text from switchyard.jobs")
            .await;
        // Beyond its first lease: it was renewed in time, and nobody finds it late.
        until(|| async {
            let over = format!("select (clock_timestamp() > '{first}'::timestamptz)::text");
            world.text(&over).await == "true"
        })
        .await;
        assert_eq!(world.queue.reap(10).await.unwrap(), 0);
        count(&world.mark, |count| count.open = true);
        requests.join_next().await.unwrap().unwrap();
        assert_eq!(world.state(held).await, JobState::Succeeded);
        let lag = "select (finished_at between now() - interval '1 minute' and now())::text from switchyard.jobs_archive";
        assert_eq!(world.text(lag).await, "true");
        assert_eq!(world.count().begun, 1);
        world.stop().await;
    }
}
