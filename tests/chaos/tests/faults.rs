//! The faults of the queue, short enough for every run; `bench` tries them with the times of the promise. Here order and
//! loss are what counts.
//!
//! Others are elsewhere: 4, a worker that comes back from beyond its lease, in `tests/it/zombie.rs`; 16, a relay that is killed
//! before or after it publishes, in `tests/it/processes.rs`.

use chaos::{Setup, Times, faults};
use host::Env;

/// Two cores cannot run two of these without one making the other late: they take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn setup() -> Setup {
    let own = Env::of_process();
    Setup {
        program: env!("CARGO_BIN_EXE_chaos-under-test").into(),
        path: own.get("PATH").unwrap_or_default().to_owned(),
        times: Times::SHORT,
    }
}

macro_rules! faults {
    ($($number:literal $fault:ident)*) => {$(
        #[doc = concat!("Fault ", $number, ".")]
        #[tokio::test(flavor = "multi_thread")]
        async fn $fault() {
            let _turn = TURN.lock().await;
            for (what, took) in faults::$fault(&setup()).await {
                println!("fault {}: {what}: {:.2} s", $number, took.as_secs_f64());
            }
        }
    )*};
}

faults! {
    1 one_worker_is_killed
    2 all_workers_and_the_relay_are_killed
    3 workers_are_asked_to_leave
    5 backends_are_ended_again_and_again
    5 senders_do_not_notice_that_connections_end
    6 the_server_restarts
    7 the_server_turns_read_only
    8 the_pool_is_exhausted
    9 connections_die_silently
    10 notifications_are_lost
    11 the_database_is_out_of_reach_of_a_worker
    12 functions_are_cut_off_from_their_callback
    13 callbacks_come_twice_at_once_and_out_of_order
    19 poison_is_contained
    20 one_tenant_floods
    21 clocks_are_wrong
    23 two_reconcilers_and_two_relays_at_once
}
