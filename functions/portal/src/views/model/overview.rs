//! The first page.

use super::delivery::DeliveryRow;
use super::job::JobRow;
use super::reader::Count;
use super::workload::WorkloadRow;

/// The first page.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Deliveries of the last 24 hours.
    pub deliveries_today: Count,
    /// Of those, how many were rejected or conflicting.
    pub rejected_today: Count,
    /// Jobs that run.
    pub running: Count,
    /// Jobs that are queued or wait.
    pub waiting: Count,
    /// Jobs that failed for good in the last 24 hours.
    pub dead: Count,
    /// The newest deliveries.
    pub deliveries: Vec<DeliveryRow>,
    /// Jobs that run, wait, or failed lately.
    pub jobs: Vec<JobRow>,
    /// The workloads that changed last.
    pub workloads: Vec<WorkloadRow>,
    /// What to run when there is nothing yet.
    pub first_command: String,
    /// Where changes to this page come from.
    pub live_href: String,
}

impl Overview {
    /// Whether nothing ever happened here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.jobs.is_empty() && self.workloads.is_empty()
    }
}
