//! Ctrl-C and its relatives: the first asks to stop, the second ends at once.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Interrupted;
use super::output::note;

/// What a shell says of a process that was interrupted.
const EXIT_AT_ONCE: i32 = 130;

/// Signals this close together are one: supervisors send theirs to the process and to its group.
const SAME_GESTURE: Duration = Duration::from_millis(300);

/// The signals that ask to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let of = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
            hangup: of(SignalKind::hangup())?,
        })
    }

    /// Waits until somebody asks to stop.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Does something that is given up when somebody asks to stop.
    pub(crate) async fn unless_asked<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            result = work => result,
            () = self.asked() => Err(Interrupted.into()),
        }
    }

    /// Puts things down, unless somebody asks a second time: then the process ends where it stands. What it leaves (a
    /// database server, unfinished jobs) is found by the next start.
    pub(crate) async fn patient<T>(&mut self, end: impl Future<Output = T>) -> T {
        tokio::select! {
            result = end => result,
            () = self.asked_again() => {
                note("ended at once; the next start cleans up");
                std::process::exit(EXIT_AT_ONCE)
            }
        }
    }

    async fn asked_again(&mut self) {
        let mut gesture = std::pin::pin!(tokio::time::sleep(SAME_GESTURE));
        loop {
            tokio::select! {
                () = &mut gesture => break,
                () = self.asked() => {}
            }
        }
        self.asked().await;
    }
}
