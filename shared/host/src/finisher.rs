//! Records ends in batches: whatever ends while a batch is being written goes into the next one, so that one job pays no
//! wait and many share a commit.

use model::{FinishReport, JobId};
use queue::{Finish, Queue};
use tokio::sync::{mpsc, oneshot};

/// Ends recorded at a time.
const BATCH_MAX: usize = 500;
/// Ends that may wait.
const WAITING_MAX: usize = 2000;

/// Hands ends to the one who writes them.
#[derive(Debug, Clone)]
pub(crate) struct Finisher {
    ends: mpsc::Sender<(Finish, oneshot::Sender<FinishReport>)>,
}

impl Finisher {
    /// A finisher, and the work that writes; it ends when the last clone is dropped.
    pub(crate) fn new(queue: Queue) -> (Self, impl Future<Output = ()> + Send) {
        let (ends, waiting) = mpsc::channel(WAITING_MAX);
        (Self { ends }, write(queue, waiting))
    }

    /// Records an end. Nothing when the database did not answer for as long as there was use in asking.
    pub(crate) async fn finish(&self, finish: Finish) -> Option<FinishReport> {
        let (tell, told) = oneshot::channel();
        self.ends.send((finish, tell)).await.ok()?;
        told.await.ok()
    }
}

/// What was refused for good says nothing about what came with it: each is asked for alone.
async fn one_by_one(queue: &Queue, finishes: &[Finish]) -> Vec<(JobId, FinishReport)> {
    let mut reports = Vec::with_capacity(finishes.len());
    for finish in finishes {
        match queue.finish(std::slice::from_ref(finish)).await {
            Ok(report) => reports.extend(report),
            Err(error) => tracing::error!(
                job.id = finish.hold.job.0,
                error = &error as &dyn std::error::Error,
                "an end could not be recorded; the job is taken back when its lease is over"
            ),
        }
    }
    reports
}

async fn write(queue: Queue, mut waiting: mpsc::Receiver<(Finish, oneshot::Sender<FinishReport>)>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (finishes, tells): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let reports = match database::answered(|| queue.finish(&finishes)).await {
            Ok(reports) => reports,
            Err(error) if !database::is_passing(&error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a batch of {} ends was refused",
                    finishes.len()
                );
                one_by_one(&queue, &finishes).await
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "{} ends could not be recorded; their jobs are taken back when their leases are over",
                    finishes.len()
                );
                Vec::new()
            }
        };
        for (finish, tell) in finishes.iter().zip(tells) {
            let report = reports
                .iter()
                .find(|(job, _)| *job == finish.hold.job)
                .map(|(_, report)| *report);
            if let Some(report) = report {
                // Who asked may have gone; the end is recorded all the same.
                tell.send(report).ok();
            }
        }
    }
}
