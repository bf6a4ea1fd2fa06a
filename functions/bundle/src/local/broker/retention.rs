//! Forgets events that nobody will look at any more.

use std::time::Duration;

use store::Store;
use store::broker::Retention;
use tokio_util::sync::CancellationToken;

/// What the inspector can show: this many events at most, none of them older than a day.
const RETENTION: Retention = Retention {
    events_max: 10_000,
    age_max: Duration::from_secs(24 * 3600),
    batch: 1_000,
};
/// Between two passes.
const INTERVAL: Duration = Duration::from_secs(60);

/// Ends the deliveries of Triggers that are not declared any more, then forgets what is old, pass by pass.
pub(super) async fn run(store: Store, triggers: Vec<String>, stop: CancellationToken) {
    let work = async {
        let mut abandoned = false;
        loop {
            // Not at once: a start has better things to do.
            tokio::time::sleep(INTERVAL).await;
            if !abandoned {
                match store.broker_abandon(&triggers).await {
                    Ok(count) => {
                        abandoned = true;
                        if count > 0 {
                            tracing::warn!(
                                "{count} deliveries of Triggers that are not declared any more are lost"
                            );
                        }
                    }
                    Err(error) => tracing::debug!("old deliveries stay: {error}"),
                }
            }
            loop {
                match store.broker_forget(RETENTION).await {
                    Ok(count) if count == RETENTION.batch => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!("old events stay until the next pass: {error}");
                        break;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}
