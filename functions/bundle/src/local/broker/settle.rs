//! Records what became of attempts, in batches, away from the path of events. Until it is recorded, a delivery that has
//! ended would be taken up again after a restart: at least once is what is promised.

use std::time::Duration;

use store::Store;
use store::broker::{DeliveryState, SettledDelivery};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::lane::LaneHandle;

/// Attempts that wait to be recorded. A lane waits when there are more, as when the database is down.
const WAITING_MAX: usize = 1024;
/// Attempts recorded by one statement.
const BATCH_MAX: usize = 512;
/// Between two tries while the database does not answer.
const WAIT: Duration = Duration::from_secs(1);

/// What became of an attempt, and the lane that wants to know when it is recorded.
pub(super) type Settled = (SettledDelivery, LaneHandle);

/// The task that records.
pub(super) struct Settling {
    store: Store,
    settled: mpsc::Receiver<Settled>,
    stop: CancellationToken,
}

pub(super) fn channel(store: Store, stop: CancellationToken) -> (mpsc::Sender<Settled>, Settling) {
    let (sender, settled) = mpsc::channel(WAITING_MAX);
    (
        sender,
        Settling {
            store,
            settled,
            stop,
        },
    )
}

impl Settling {
    /// Ends when asked to, after one more try for what is there by then.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                received = self.settled.recv_many(&mut batch, BATCH_MAX) => if received == 0 { return },
                () = self.stop.cancelled() => return,
            }
            while let Err(error) = self.record(&batch).await {
                tracing::warn!(
                    attempts = batch.len(),
                    error = &error as &dyn std::error::Error,
                    "what became of attempts could not be recorded; it is tried again"
                );
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(WAIT) => {}
                }
            }
            batch.clear();
        }
    }

    async fn record(&self, batch: &[Settled]) -> Result<(), sqlx::Error> {
        // Of two records of one delivery the later counts, and one statement can change a row only once.
        let mut latest: Vec<SettledDelivery> = Vec::with_capacity(batch.len());
        let mut places = std::collections::HashMap::with_capacity(batch.len());
        for (one, _) in batch {
            match places.entry((one.event_id, one.trigger.as_str())) {
                std::collections::hash_map::Entry::Occupied(place) => {
                    let place: &usize = place.get();
                    one.clone_into(&mut latest[*place]);
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(latest.len());
                    latest.push(one.clone());
                }
            }
        }
        self.store.broker_settle(&latest).await?;
        for (one, lane) in batch {
            if one.state != DeliveryState::Pending {
                lane.forget(one.event_id);
            }
        }
        Ok(())
    }
}
