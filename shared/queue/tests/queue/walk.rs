//! Three workers and a person who do anything at any time; the table of states says what must come of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::{JobId, JobState, Waiting};
use queue::{Ended, Finish, Hold, NewJob, Wait};

use crate::world::{HOUR, Random, World, nothing};

const SEED: u64 = 20_261_121;
const STEPS: usize = 1500;
const TIME_MAX: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_walk_at_random_makes_only_moves_that_the_model_knows() {
    let world = World::new().await;
    println!("seed {SEED}");
    let mut random = Random(SEED);
    let mut known: HashMap<JobId, JobState> = HashMap::new();
    // What each worker believes to hold, the stale included.
    let mut holds: Vec<Hold> = Vec::new();
    let begun = Instant::now();
    for step in 0..STEPS {
        if begun.elapsed() > TIME_MAX {
            break;
        }
        let hold = (!holds.is_empty()).then(|| holds[random.below(holds.len())]);
        let any = hold.map_or(JobId(1), |hold| hold.job);
        let what = random.below(16);
        match (what, hold) {
            (0..=2, _) => {
                let name = format!("queue-{}", random.below(3));
                let key = format!("key-{}", random.below(4));
                let mode = [
                    model::KeyMode::Replace,
                    model::KeyMode::Preserve,
                    model::KeyMode::Ignore,
                ][random.below(3)];
                let job = NewJob {
                    queue_name: (random.below(2) == 0).then_some(name.as_str()),
                    key: (random.below(2) == 0).then_some((key.as_str(), mode)),
                    attempts_max: Some(3),
                    ..NewJob::new(world.tenant, "task", nothing())
                };
                world.queue.add(&job).await.unwrap();
            }
            (3..=5, _) => {
                let limit = 1 + i32::try_from(random.below(3)).unwrap();
                holds.extend(world.claim("task", limit).await.iter().map(|job| job.hold));
            }
            (6 | 7, Some(hold)) => {
                let ended = if what == 6 {
                    Ended::Succeeded
                } else {
                    Ended::Dead
                };
                world
                    .queue
                    .finish(&[Finish {
                        hold,
                        ended,
                        reason: None,
                        result: None,
                    }])
                    .await
                    .unwrap();
            }
            (8, Some(hold)) => {
                let delay = if random.below(2) == 0 {
                    Duration::ZERO
                } else {
                    HOUR
                };
                world
                    .queue
                    .retry(hold, "broken", Some(delay))
                    .await
                    .unwrap();
            }
            (9, Some(hold)) => drop(world.queue.snooze(hold, HOUR, "busy").await.unwrap()),
            (10, Some(hold)) => drop(world.queue.release(&[hold]).await.unwrap()),
            (11, Some(hold)) => {
                let waiting =
                    [Waiting::Runner, Waiting::Callback, Waiting::Approval][random.below(3)];
                let runner = (waiting == Waiting::Runner).then(|| serde_json::json!("pod"));
                world
                    .queue
                    .wait(
                        hold,
                        &Wait {
                            waiting,
                            deadline: HOUR,
                            runner,
                        },
                    )
                    .await
                    .unwrap();
            }
            (12, _) => {
                world
                    .queue
                    .approve(world.tenant, any, "a person")
                    .await
                    .unwrap();
            }
            (13, _) => {
                world
                    .queue
                    .cancel(world.tenant, any, "a person")
                    .await
                    .unwrap();
            }
            (14, _) => {
                world.end_lease(any).await;
                world.queue.reap(2).await.unwrap();
            }
            _ => {
                world.come_due(any).await;
                world.queue.make_due(5).await.unwrap();
            }
        }
        world.check().await;
        let now: Vec<(i64, String)> = sqlx::query_as(
            "select id, state::text from switchyard.jobs union all select id, state::text from switchyard.jobs_archive",
        )
        .fetch_all(&world.owner)
        .await
        .unwrap();
        let now: HashMap<JobId, JobState> = now
            .into_iter()
            .map(|(id, state)| (JobId(id), state.parse().unwrap()))
            .collect();
        for (job, state) in &now {
            let before = known.get(job).copied().unwrap_or(JobState::Queued);
            // A reaper or a claim may make two moves of one job in a step only through `queued`.
            assert!(
                before == *state || before.can_become(*state),
                "step {step}, operation {what}: job {job} went from {before} to {state}"
            );
        }
        for job in known.keys() {
            assert!(now.contains_key(job), "step {step}: job {job} is gone");
        }
        known = now;
    }
    assert!(known.len() > 50, "the walk went somewhere");
}
