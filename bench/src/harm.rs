//! What goes wrong, in its long form: the faults that the tests try for seconds, with the leases and times of production, and
//! those that are only worth it when they take long.

mod comebacks;
mod loads;

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chaos::faults::{self, Seen};
use chaos::{Setup, Times};
use clap::ValueEnum;
use tokio::task::LocalSet;

use crate::ground::Place;
use crate::report::Figure;

/// What is done. The numbers are those of the table of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// 1: `kill -9` of a worker that has jobs in hand.
    KillWorker,
    /// 2: `kill -9` of all workers and the relay.
    KillAll,
    /// 3: workers are asked to leave while they work.
    Leave,
    /// 4: a worker is stopped past its lease and goes on.
    Zombie,
    /// 5: all sessions are ended every 2 s.
    EndSessions,
    /// 5: the same, and what senders of webhooks see of it.
    Senders,
    /// 6: the server is restarted, properly and by a crash.
    Restart,
    /// 7: the server turns read-only with its connections open.
    ReadOnly,
    /// 8: all connections of a worker hang.
    PoolExhausted,
    /// 9: connections die without a word.
    SilentConnections,
    /// 10: notifications are lost.
    LostNotifications,
    /// 11: a worker does not reach the database.
    Partition,
    /// 12: functions are cut off from their callback.
    LostCallbacks,
    /// 13: callbacks come twice, at once and out of order.
    RepeatedCallbacks,
    /// 16: relays are killed between commit, publish and mark.
    KillRelay,
    /// 19: jobs that panic, abort, never end, talk and return too much.
    Poison,
    /// 20: a million jobs of one tenant.
    Flood,
    /// 21: clocks are wrong.
    WrongClocks,
    /// 23: two of each reconciler, relay and scheduler.
    TwoOfEach,
    /// 24: a snapshot held for 30 minutes at 300 jobs a second, over 5 M finished ones.
    OldSnapshot,
}

/// Does them one after the other. One that is not survived is a figure that is missed; the others are done all the same.
pub async fn run(place: Place<'_>, times: Times, faults: &[Fault]) -> anyhow::Result<Vec<Figure>> {
    let survived = |fault, program| {
        let setup = Setup {
            program,
            path: place.path.to_owned(),
            times,
        };
        survived(fault, setup)
    };
    let program = std::env::current_exe()?.with_file_name("chaos-under-test");
    anyhow::ensure!(
        program.exists(),
        "{} is not there: build all programs (cargo build --release) before",
        program.display()
    );
    let mut figures = Vec::new();
    for fault in faults {
        eprintln!("doing {fault:?} …");
        if *fault != Fault::OldSnapshot {
            figures.push(survived(*fault, program.clone()).await?);
        }
        if times.are_promised() {
            match fault {
                Fault::Flood => figures.extend(loads::noisy_tenant(place).await?),
                Fault::OldSnapshot => figures.extend(loads::old_snapshot(place).await?),
                _ => {}
            }
        }
    }
    Ok(figures)
}

/// A fault over its setup; it panics when it is not survived.
type Done = Pin<Box<dyn Future<Output = Seen>>>;

fn done(fault: Fault, setup: Setup) -> (&'static str, Done) {
    macro_rules! doing {
        ($what:literal, $fault:path) => {
            ($what, Box::pin(async move { $fault(&setup).await }))
        };
    }
    match fault {
        Fault::KillWorker => doing!("1: a worker is killed", faults::one_worker_is_killed),
        Fault::KillAll => doing!(
            "2: all workers and the relay are killed",
            faults::all_workers_and_the_relay_are_killed
        ),
        Fault::Leave => doing!(
            "3: workers are asked to leave",
            faults::workers_are_asked_to_leave
        ),
        Fault::Zombie => doing!(
            "4: a worker comes back from beyond its lease",
            comebacks::a_worker_comes_back
        ),
        Fault::EndSessions => doing!(
            "5: all sessions are ended every 2 s",
            faults::backends_are_ended_again_and_again
        ),
        Fault::Senders => doing!(
            "5: senders, while all sessions are ended every 2 s",
            faults::senders_do_not_notice_that_connections_end
        ),
        Fault::Restart => doing!("6: the server restarts", faults::the_server_restarts),
        Fault::ReadOnly => doing!(
            "7: the server turns read-only",
            faults::the_server_turns_read_only
        ),
        Fault::PoolExhausted => doing!("8: the pool is exhausted", faults::the_pool_is_exhausted),
        Fault::SilentConnections => doing!(
            "9: connections die silently",
            faults::connections_die_silently
        ),
        Fault::LostNotifications => {
            doing!("10: notifications are lost", faults::notifications_are_lost)
        }
        Fault::Partition => doing!(
            "11: a worker does not reach the database",
            faults::the_database_is_out_of_reach_of_a_worker
        ),
        Fault::LostCallbacks => doing!(
            "12: functions are cut off from their callback",
            faults::functions_are_cut_off_from_their_callback
        ),
        Fault::RepeatedCallbacks => doing!(
            "13: callbacks come twice, at once and out of order",
            faults::callbacks_come_twice_at_once_and_out_of_order
        ),
        Fault::KillRelay => doing!(
            "16: relays are killed again and again",
            comebacks::relays_are_killed_again_and_again
        ),
        Fault::Poison => doing!("19: poison is contained", faults::poison_is_contained),
        Fault::Flood => doing!("20: one tenant floods", faults::one_tenant_floods),
        Fault::WrongClocks => doing!("21: clocks are wrong", faults::clocks_are_wrong),
        Fault::TwoOfEach => doing!(
            "23: two of each reconciler, relay and scheduler",
            faults::two_reconcilers_and_two_relays_at_once
        ),
        Fault::OldSnapshot => unreachable!("it is measured, not survived"),
    }
}

async fn survived(fault: Fault, setup: Setup) -> anyhow::Result<Figure> {
    let (what, done) = done(fault, setup);
    let begun = Instant::now();
    // A task of its own, so that it may panic.
    let seen = LocalSet::new()
        .run_until(async { tokio::task::spawn_local(done).await })
        .await;
    let took = begun.elapsed();
    Ok(match seen {
        Ok(seen) => {
            let told: Vec<String> = seen
                .iter()
                .map(|(what, took)| format!("{what} {:.2} s", took.as_secs_f64()))
                .collect();
            let slowest = seen.iter().map(|(_, took)| *took).max().unwrap_or_default();
            Figure::at_most("chaos", what, 0.0, 0.0)
                .showing(format!("{:.2} s", slowest.as_secs_f64()), "-")
                .noting(told.join("; "))
                .noting(kept(took))
        }
        Err(error) => {
            let panic = error.try_into_panic().context("it was not let finish")?;
            let why = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it panicked");
            Figure::at_most("chaos", what, 1.0, 0.0)
                .showing("not survived", "-")
                .noting(why)
        }
    })
}

fn kept(took: Duration) -> String {
    format!(
        "in all {:.0} s; the fault holds each bound of the table itself; nothing was lost, each job has one outcome",
        took.as_secs_f64()
    )
}
