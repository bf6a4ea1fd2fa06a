//! The faults, each with what must be true after it. A fault that is survived returns what was seen.

mod callbacks;
mod clocks;
mod database;
mod network;
mod processes;
mod senders;
mod tenants;

use std::collections::BTreeSet;
use std::time::Duration;

pub use callbacks::{
    callbacks_come_twice_at_once_and_out_of_order, functions_are_cut_off_from_their_callback,
};
pub use clocks::clocks_are_wrong;
pub use database::{
    backends_are_ended_again_and_again, the_pool_is_exhausted, the_server_restarts,
    the_server_turns_read_only,
};
pub use network::{
    connections_die_silently, notifications_are_lost, the_database_is_out_of_reach_of_a_worker,
};
pub use processes::{
    all_workers_and_the_relay_are_killed, one_worker_is_killed, poison_is_contained,
    two_reconcilers_and_two_relays_at_once, workers_are_asked_to_leave,
};
pub use senders::senders_do_not_notice_that_connections_end;
pub use tenants::one_tenant_floods;

use crate::Cluster;

/// What was seen, for those who measure.
pub type Seen = Vec<(&'static str, Duration)>;

/// Claims of jobs that one process holds now, as the ledger has them.
fn held_by(cluster: &Cluster, worker: usize) -> BTreeSet<(i64, i64)> {
    let (books, pid) = (
        crate::Books {
            effects: cluster.ledger.effects(),
            ..crate::Books::default()
        },
        cluster.workers[worker].id(),
    );
    books
        .unfinished(pid, crate::ledger::now())
        .into_iter()
        .collect()
}
