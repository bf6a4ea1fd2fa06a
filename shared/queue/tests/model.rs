//! The queue against a reference model: whatever is done to it in whatever order, it is what its table of states says.
//!
//! `SWITCHYARD_CASES` raises the number of cases, and with it the time. A case that fails prints what is left of it after
//! shrinking; its seed goes to `model.proptest-regressions`, whose cases are played first from then on.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "model/case.rs"]
mod case;
#[path = "model/op.rs"]
mod op;
#[path = "model/parallel.rs"]
mod parallel;
#[path = "model/races.rs"]
mod races;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/world.rs"]
mod world;

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};

use crate::case::Case;
use crate::op::op;
use crate::parallel::Crowd;
use crate::world::{World, Wrong};

const CASES: u32 = 200;
/// Cases that come later than this are passed over, unless their number was asked for.
const TIME_MAX: Duration = Duration::from_secs(20);
const SHRINK_TIME_MAX: Duration = Duration::from_secs(60);
const OPS_MAX: usize = 80;
/// Sessions that are at work at the same time, and what each does.
const SESSIONS: usize = 6;
const OPS_OF_SESSION: usize = 60;
/// Rounds of all sessions, each in emptied tables.
const ROUNDS: u32 = 6;

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no Env to read settings from"
)]
fn cases_asked_for() -> Option<u32> {
    let cases = std::env::var("SWITCHYARD_CASES").ok()?;
    Some(
        cases
            .parse()
            .expect("SWITCHYARD_CASES is a number of cases"),
    )
}

#[test]
fn any_order_of_operations_leads_where_the_model_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let asked_for = cases_asked_for();
    let config = Config {
        cases: asked_for.unwrap_or(CASES),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/model.proptest-regressions"
        )))),
        max_shrink_time: u32::try_from(SHRINK_TIME_MAX.as_millis()).unwrap(),
        ..Config::default()
    };
    let begun = Instant::now();
    let played = std::cell::Cell::new(0_u32);
    let failed = std::cell::Cell::new(false);
    let outcome = TestRunner::new(config).run(&vec(op(), 1..=OPS_MAX), |ops| {
        if asked_for.is_none() && begun.elapsed() > TIME_MAX && !failed.get() {
            return Ok(());
        }
        played.set(played.get() + 1);
        let outcome = runtime.block_on(async { Case::new(&world).await?.play(&ops).await });
        outcome.map_err(|wrong| {
            failed.set(true);
            TestCaseError::fail(format!("{wrong:?}"))
        })
    });
    println!("played {} cases in {:?}", played.get(), begun.elapsed());
    if let Err(error) = outcome {
        if let TestError::Fail(reason, ops) = &error {
            let ops: Vec<String> = ops.iter().map(|op| format!("  {op:?}")).collect();
            panic!("{reason}\n{}", ops.join("\n"));
        }
        panic!("{error}");
    }
}

#[test]
fn sessions_at_work_at_once_lose_nothing_and_count_right() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let asked_for = cases_asked_for();
    let rounds = asked_for.map_or(ROUNDS, |cases| cases.max(ROUNDS));
    let begun = Instant::now();
    for _ in 0..rounds {
        if asked_for.is_none() && begun.elapsed() > TIME_MAX {
            break;
        }
        // The order in which the sessions get their turns is nobody's to repeat; what they do is.
        let seed = uuid::Uuid::new_v4();
        println!("seed {seed}");
        let seed: [u8; 32] = std::array::from_fn(|index| seed.as_bytes()[index % 16]);
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let sessions = vec(vec(op(), OPS_OF_SESSION), SESSIONS)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let outcome = runtime.block_on(async { Crowd::new(&world).await?.play(&sessions).await });
        if let Err(wrong) = outcome {
            match wrong {
                Wrong::Refused(error) => panic!("{error}"),
                Wrong::Different(message) => panic!("{message}"),
            }
        }
    }
}
