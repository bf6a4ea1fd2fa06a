//! What goes wrong, in its long form: real processes on a real server, with the leases and times that they have in
//! production. A ledger outside the database says what was done; what it says must agree with what was recorded.

mod cast;
mod databases;
mod ledger;
mod loads;
mod process;
mod proxy;
mod relays;
mod workers;

use clap::ValueEnum;

use crate::ground::Place;
use crate::report::Figure;

/// What is done. The numbers are those of the table of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// 1: `kill -9` of one of four workers that has jobs in hand.
    KillWorker,
    /// 2: `kill -9` of all workers and the relay.
    KillAll,
    /// 3: every worker is asked to leave, one after the other, while it works.
    Roll,
    /// 4: a worker is stopped past its lease and goes on.
    Zombie,
    /// 5: all sessions are ended every 2 s for 60 s, with 200 jobs a second and pushes beside.
    EndSessions,
    /// 6: the server is restarted, properly and by a crash.
    Restart,
    /// 7: the server turns read-only with its connections open.
    ReadOnly,
    /// 8: all connections of a worker hang.
    PoolExhausted,
    /// 9: the connections of a worker die without a word.
    SilentConnections,
    /// 10: notifications are lost for 60 s.
    LostNotifications,
    /// 11: a worker does not reach the database for 60 s.
    Partition,
    /// 16: the relay is killed again and again between commit, publish and mark.
    KillRelay,
    /// 19: jobs that panic, abort and never end.
    Poison,
    /// 20: a million jobs of one tenant.
    NoisyTenant,
    /// 24: a snapshot held for 30 minutes at 300 jobs a second, over 5 M finished ones.
    OldSnapshot,
}

/// Does them one after the other. One that fails is a figure that is missed; the others are done all the same.
pub async fn run(place: Place<'_>, faults: &[Fault]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for fault in faults {
        eprintln!("doing {fault:?} …");
        let seen = match fault {
            Fault::KillWorker => workers::kill_one(place).await,
            Fault::KillAll => workers::kill_all(place).await,
            Fault::Roll => workers::roll(place).await,
            Fault::Zombie => workers::zombie(place).await,
            Fault::EndSessions => databases::end_sessions(place).await,
            Fault::Restart => databases::restart(place).await,
            Fault::ReadOnly => databases::read_only(place).await,
            Fault::PoolExhausted => databases::pool_exhausted(place).await,
            Fault::SilentConnections => databases::silent_connections(place).await,
            Fault::LostNotifications => relays::lost_notifications(place).await,
            Fault::Partition => databases::partition(place).await,
            Fault::KillRelay => relays::kill_relay(place).await,
            Fault::Poison => workers::poison(place).await,
            Fault::NoisyTenant => loads::noisy_tenant(place).await,
            Fault::OldSnapshot => loads::old_snapshot(place).await,
        };
        match seen {
            Ok(seen) => figures.extend(seen),
            Err(error) => figures.push(
                Figure::at_most("chaos", "a fault that ended with an error", f64::NAN, 0.0)
                    .showing(format!("{fault:?}"), "-")
                    .noting(format!("{error:#}")),
            ),
        }
    }
    Ok(figures)
}
