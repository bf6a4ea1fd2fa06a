//! A tenant's flood delays another by one claim round.

use std::collections::HashMap;

use model::TenantId;
use queue::{Ended, Finish, NewJob};

use crate::world::{World, nothing};

const FLOOD: i32 = 5000;

async fn flood_over_queues(world: &World, tenant: TenantId) {
    sqlx::query(
        "select count(a.job_id) from generate_series(1, $2) n,
            lateral switchyard.add_job($1, 'task', '{}', p_queue_name => 'queue-' || n % 500) a",
    )
    .bind(tenant.uuid())
    .bind(FLOOD)
    .execute(&world.owner)
    .await
    .unwrap();
}

/// Claims and finishes `limit` jobs; how many of each tenant.
async fn round(world: &World, limit: i32) -> HashMap<TenantId, usize> {
    let claimed = world.claim("task", limit).await;
    let mut of_tenant = HashMap::new();
    let mut ends = Vec::new();
    for job in claimed {
        *of_tenant.entry(job.tenant).or_default() += 1;
        ends.push(Finish {
            hold: job.hold,
            ended: Ended::Succeeded,
            reason: None,
            result: None,
        });
    }
    world.queue.finish(&ends).await.unwrap();
    of_tenant
}

#[tokio::test]
async fn a_flood_of_one_lane_delays_another_tenant_by_one_claim() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", FLOOD).await;
    for _ in 0..20 {
        assert_eq!(round(&world, 10).await[&world.tenant], 10);
    }
    let other = world.tenant().await;
    world.add(&NewJob::new(other, "task", nothing())).await;
    assert_eq!(round(&world, 10).await.get(&other), Some(&1));
    world.check().await;
}

#[tokio::test]
async fn a_flood_of_five_hundred_queues_delays_another_tenant_by_one_claim() {
    let world = World::new().await;
    flood_over_queues(&world, world.tenant).await;
    for _ in 0..20 {
        assert_eq!(round(&world, 10).await[&world.tenant], 10);
    }
    let other = world.tenant().await;
    world.add(&NewJob::new(other, "task", nothing())).await;
    assert_eq!(round(&world, 10).await.get(&other), Some(&1));
    world.check().await;
}

#[tokio::test]
async fn who_worked_alone_before_does_not_wait_for_a_later_flood() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 500).await;
    while !round(&world, 100).await.is_empty() {}
    let flooding = world.tenant().await;
    world.add_many(flooding, "task", FLOOD).await;
    round(&world, 1).await;
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    // One slot that becomes free again and again.
    let first = round(&world, 1).await;
    let second = round(&world, 1).await;
    assert!(
        first.contains_key(&world.tenant) || second.contains_key(&world.tenant),
        "{first:?} {second:?}"
    );
}

#[tokio::test]
async fn equal_tenants_get_equal_parts_whatever_their_lanes() {
    let world = World::new().await;
    let other = world.tenant().await;
    world.add_many(world.tenant, "task", FLOOD).await;
    flood_over_queues(&world, other).await;
    for limit in [1, 7, 10] {
        let mut got: HashMap<TenantId, usize> = HashMap::new();
        for _ in 0..60 {
            for (tenant, count) in round(&world, limit).await {
                *got.entry(tenant).or_default() += count;
            }
        }
        let (one, two) = (got[&world.tenant], got[&other]);
        let most = usize::try_from(limit).unwrap() + 2;
        assert!(
            one.abs_diff(two) <= most,
            "claims of {limit}: {one} and {two}"
        );
    }
    world.check().await;
}
