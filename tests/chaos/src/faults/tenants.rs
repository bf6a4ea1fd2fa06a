//! Faults that one tenant is to another.

use std::time::Duration;

use tokio::time::Instant;

use super::Seen;
use crate::ledger::{What, now};
use crate::{Act, Cluster, FUNCTION, Setup};

/// From the adding of another tenant's job until it begins.
const START_MAX: Duration = Duration::from_secs(2);
/// What a worker may hold: what was claimed before the other's job was there.
const ROUND: usize = 3 * 116;

/// Fault 20: one tenant has very many queued jobs; another adds one.
///
/// # Panics
/// When the other waits for more than what had been claimed before.
pub async fn one_tenant_floods(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let flood = cluster.times.flood;
    cluster
        .execute(&format!(
            "select count(a.job_id) from generate_series(1, {flood}) n,
                lateral switchyard.add_job('{}', '{}', jsonb_build_object('act', 'work', 'millis', 5, 'n', n)) a",
            cluster.tenant.uuid(),
            FUNCTION.name
        ))
        .await;
    let other = cluster.another_tenant("small").await;
    cluster.add_worker().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let begun =
            |effects: &[crate::Effect]| effects.iter().filter(|it| it.what == What::Began).count();
        let before = begun(&cluster.ledger.effects());
        cluster
            .until("the flood is worked on", cluster.times.patience, || async {
                begun(&cluster.ledger.effects()) > before
            })
            .await;
        let (added, at) = (Instant::now(), now());
        let job = cluster.add_for(other, Act::Work { millis: 1 }, 5).await;
        cluster
            .until(
                "the other's job runs",
                START_MAX + cluster.times.slack,
                || async { cluster.ledger.effects().iter().any(|it| it.job == job.0) },
            )
            .await;
        slowest = slowest.max(added.elapsed());
        let effects = cluster.ledger.effects();
        let first = effects.iter().find(|it| it.job == job.0).map(|it| it.at);
        let overtook = effects
            .iter()
            .filter(|it| it.what == What::Began && it.at > at && Some(it.at) < first)
            .count();
        assert!(
            overtook <= ROUND,
            "{overtook} jobs of the flood came before it"
        );
    }
    let waiting = cluster
        .count("select count(*) from switchyard.jobs where state = 'queued'")
        .await;
    assert!(waiting > 0, "the flood was over before the end");
    cluster.end().await;
    vec![("slowest start of the other", slowest)]
}
