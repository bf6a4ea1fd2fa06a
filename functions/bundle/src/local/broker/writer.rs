//! Group commit: one writer for each Broker. It never waits for more; whatever came while the last batch was being written
//! goes into the next, so a lone event costs one commit and a thousand at once cost a few.

use std::sync::Arc;

use store::Store;
use store::broker::AcceptedEvent;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::lane::LaneHandle;
use super::stored::Event;

/// Events in one statement.
const BATCH_EVENTS_MAX: usize = 256;
/// Bytes of bodies in one statement; one event may be larger.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events that wait to be written. More wait in their senders' requests.
const WAITING_MAX: usize = 256;

/// An event to be written, and who delivers it then.
pub(super) struct Accept {
    pub(super) row: AcceptedEvent,
    pub(super) event: Arc<Event>,
    pub(super) lanes: Vec<LaneHandle>,
}

type Answer = oneshot::Sender<Result<(), Unkept>>;

/// An event may not have been kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unkept {
    #[error("the database does not answer")]
    Unavailable,
    #[error("the broker is stopping")]
    Stopping,
}

/// Where events are given to be written.
pub(super) struct Writer(mpsc::Sender<(Accept, Answer)>);

impl Writer {
    /// Returns when the event and its deliveries are rows.
    pub(super) async fn write(&self, accept: Accept) -> Result<(), Unkept> {
        let (answer, kept) = oneshot::channel();
        self.0
            .send((accept, answer))
            .await
            .map_err(|_| Unkept::Stopping)?;
        kept.await.unwrap_or(Err(Unkept::Stopping))
    }
}

/// The task behind a [`Writer`].
pub(super) struct Writing {
    store: Store,
    durable: bool,
    accepts: mpsc::Receiver<(Accept, Answer)>,
    stop: CancellationToken,
}

pub(super) fn channel(store: Store, durable: bool, stop: CancellationToken) -> (Writer, Writing) {
    let (sender, accepts) = mpsc::channel(WAITING_MAX);
    let writing = Writing {
        store,
        durable,
        accepts,
        stop,
    };
    (Writer(sender), writing)
}

impl Writing {
    pub(super) async fn run(mut self) {
        loop {
            let first = tokio::select! {
                () = self.stop.cancelled() => return,
                first = self.accepts.recv() => first,
            };
            let Some(first) = first else { return };
            let mut bytes = first.0.row.body.len();
            let mut batch = vec![first];
            while batch.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(next) = self.accepts.try_recv() else {
                    break;
                };
                bytes += next.0.row.body.len();
                batch.push(next);
            }
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<(Accept, Answer)>) {
        let mut rows = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for (accept, answer) in batch {
            rows.push(accept.row);
            // On its way while it is written: the sender is answered only when it is a row, so that nothing which was
            // acknowledged is lost, and one that is not kept is sent again, as after any lost answer.
            for lane in &accept.lanes {
                lane.offer(Arc::clone(&accept.event));
            }
            waiting.push((accept.event, accept.lanes, answer));
        }
        let result = self.store.broker_accept(self.durable, &rows).await;
        if let Err(error) = &result {
            tracing::warn!(
                events = rows.len(),
                error = error as &dyn std::error::Error,
                "events could not be kept; their senders are told"
            );
        }
        for (event, lanes, answer) in waiting {
            event.written.cancel();
            for lane in lanes {
                lane.written();
            }
            // A sender that has gone is not told; it will send the event again.
            answer
                .send(result.as_ref().map(drop).map_err(|_| Unkept::Unavailable))
                .ok();
        }
    }
}
