//! How equal equal tenants are, whatever they spread their work over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::TenantId;

use crate::ground::Place;
use crate::jobs::{self, BATCH, Backlog, CLIENTS, Drain};
use crate::report::Figure;

const TENANTS: usize = 16;
/// Ready jobs of each of them.
const EACH: i64 = 8_000;
/// Jobs that are worked off: nobody is through by then.
const JOBS: u64 = 48_000;
/// Over so many tasks the last tenant spreads its jobs, and over so many named queues the one before it.
const TASKS: usize = 16;
const QUEUES: i64 = 1_000;

pub(super) async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let ground = place.ground().await?;
    let tenants = ground.tenants(TENANTS).await?;
    let tasks = jobs::tasks(&ground, "shared", TASKS).await?;
    for (number, tenant) in tenants.iter().enumerate() {
        let backlog = Backlog {
            queues: (number == TENANTS - 2).then_some(QUEUES),
            ..Backlog::new(EACH, std::slice::from_ref(tenant), &tasks[..=number])
        };
        backlog.add(&ground).await?;
    }
    ground.settle().await?;
    let taken: Arc<Mutex<HashMap<TenantId, u64>>> = Arc::default();
    let counting = Arc::clone(&taken);
    Drain::new(&tasks, JOBS)
        .counting(&ground.queue()?, move |job| {
            *counting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(job.tenant)
                .or_default() += 1;
            true
        })
        .await?;
    ground.leave().await?;
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let taken: Vec<f64> = tenants
        .iter()
        .map(|tenant| taken.get(tenant).copied().unwrap_or_default() as f64)
        .collect();
    let least = taken.iter().copied().fold(f64::INFINITY, f64::min);
    let most = taken.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::at_least("fair", "Jain's index over equal tenants", jain(&taken), 0.95)
            .showing(format!("{least:.0} to {most:.0} jobs"), "-")
            .noting(format!(
                "{TENANTS} tenants with {EACH} ready jobs each, the n-th in n lanes of as many tasks, the last but one over \
                 {QUEUES} named queues; what each got of the first {JOBS}, claims of {BATCH} by {CLIENTS} clients"
            )),
    ])
}

/// 1 when all have the same, 1/n when one has everything.
fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    sum * sum / (values.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_for_equals_and_small_for_one_who_has_all() {
        assert_eq!(jain(&[3.0, 3.0, 3.0]), 1.0);
        assert_eq!(jain(&[4.0, 0.0, 0.0, 0.0]), 0.25);
    }
}
