//! Faults of processes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::TenantId;
use tokio::time::Instant;

use super::{Seen, held_by};
use crate::ledger::{What, now};
use crate::task::{FUNCTION, POLICY};
use crate::{Act, Cluster, Setup};

/// A process that was asked to leave has left before the cluster would kill it.
const LEAVE_MAX: Duration = Duration::from_secs(25);
/// Its jobs are somebody else's by then: a second, and a look at it.
const RELEASE_MAX: Duration = Duration::from_millis(1300);
/// How much longer another tenant's jobs may take beside poison.
const SLOWER_MAX: f64 = 1.5;
/// From the start of new workers until the first job is begun.
const RESUME_MAX: Duration = Duration::from_secs(10);

/// Fault 1: `kill -9` of one of four workers with all its hands full.
///
/// # Panics
/// When something was lost, done twice, or taken over too late.
pub async fn one_worker_is_killed(setup: &Setup) -> Seen {
    const JOBS: usize = 50;
    let mut cluster = Cluster::start(setup, 4).await;
    for _ in 0..JOBS {
        cluster.add(Act::Work { millis: 2_000 }).await;
    }
    cluster
        .until("all jobs run", cluster.times.patience, || async {
            let begun = cluster.ledger.effects();
            begun.iter().filter(|it| it.what == What::Began).count() >= JOBS
        })
        .await;
    let busiest = (0..4)
        .max_by_key(|worker| held_by(&cluster, *worker).len())
        .expect("there are four");
    cluster.workers[busiest].kill();
    let (killed, at) = (Instant::now(), now());
    cluster.lead();
    let pid = cluster.workers[busiest].id();
    let left = cluster.books().await.unfinished(pid, at);
    assert!(!left.is_empty(), "it was hit at work");
    cluster
        .until("its jobs run again", cluster.times.taken_over(), || async {
            let effects = cluster.ledger.effects();
            left.iter().all(|(job, epoch)| {
                effects
                    .iter()
                    .any(|it| it.job == *job && it.epoch > *epoch && it.what == What::Began)
            })
        })
        .await;
    let recovered = killed.elapsed();
    cluster.quiet(cluster.times.patience).await;
    let books = cluster.balance().await;
    assert!(left.len() <= JOBS, "no more can be done again");
    assert_eq!(
        books.repeated(),
        left.len(),
        "what it held, and nothing else"
    );
    cluster.end().await;
    vec![("all running again", recovered)]
}

/// Fault 2: `kill -9` of all workers, of the relay and of the reconcilers, and a new start of everything.
///
/// # Panics
/// When something was lost or done twice, or the work is not resumed in time.
pub async fn all_workers_and_the_relay_are_killed(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 3).await;
    for number in 0..120 {
        let millis = if number < 24 { 2_000 } else { 20 };
        cluster.add(Act::Work { millis }).await;
    }
    cluster
        .until("jobs run", cluster.times.patience, || async {
            cluster.ledger.effects().len() > 24
        })
        .await;
    for worker in &mut cluster.workers {
        worker.kill();
    }
    cluster.kill_relay_and_reconcilers();
    let (before, at) = (cluster.books().await, now());
    let orphans: Vec<(i64, i64)> = cluster
        .workers
        .iter()
        .flat_map(|worker| before.unfinished(worker.id(), at))
        .collect();
    assert!(!orphans.is_empty(), "they were hit at work");
    // What comes in meanwhile is durable.
    for _ in 0..20 {
        cluster.add(Act::Work { millis: 20 }).await;
    }
    cluster.workers.clear();
    let (begun, at) = (Instant::now(), now());
    cluster.start_relay().await;
    cluster.start_reconciler("cron-reap").await;
    cluster.start_reconciler("cron-republish").await;
    for _ in 0..3 {
        cluster.add_worker().await;
    }
    cluster
        .until(
            "the work is resumed",
            RESUME_MAX + cluster.times.slack,
            || async { cluster.ledger.effects().iter().any(|it| it.at > at) },
        )
        .await;
    let resumed = begun.elapsed();
    let limit = RESUME_MAX + cluster.times.lease + cluster.times.slack;
    cluster
        .until("the orphans run again", limit, || async {
            let effects = cluster.ledger.effects();
            orphans.iter().all(|(job, epoch)| {
                effects
                    .iter()
                    .any(|it| it.job == *job && it.epoch > *epoch && it.what == What::Began)
            })
        })
        .await;
    let again = begun.elapsed();
    cluster.quiet(cluster.times.patience).await;
    let books = cluster.balance().await;
    // What had ended and was not yet recorded is done again as well.
    let unrecorded = before
        .effects
        .iter()
        .filter(|it| it.what == What::Ended)
        .count();
    let most = before.repeated() + orphans.len() + unrecorded - before.outcomes.len();
    assert!(books.repeated() <= most, "{} > {most}", books.repeated());
    cluster.end().await;
    vec![("drain resumed", resumed), ("orphans run again", again)]
}

/// Fault 3: workers are replaced one after the other while there is work.
///
/// # Panics
/// When a request fails, an attempt counts, or a worker does not let go or leave in time.
pub async fn workers_are_asked_to_leave(setup: &Setup) -> Seen {
    const WHOLE: Duration = Duration::from_secs(600);
    let workers = setup.times.replaced;
    // So many together have no more connections than the server.
    let few = [("DATABASE_POOL_MAX", "4".to_owned())];
    let mut cluster = Cluster::start(setup, 0).await;
    for _ in 0..workers {
        cluster.add_worker_with(&few).await;
    }
    let (feeder, rate) = (cluster.feeder(), cluster.times.rate);
    #[expect(clippy::disallowed_methods, reason = "ended below")]
    let feeding = tokio::spawn(async move {
        // Until the last has left.
        feeder.feed(rate, WHOLE, Act::Work { millis: 400 }).await;
    });
    let (mut released, mut left) = (Duration::ZERO, Duration::ZERO);
    for worker in 0..workers {
        cluster
            .until("it has work", cluster.times.patience, || async {
                !held_by(&cluster, worker).is_empty()
            })
            .await;
        cluster.add_worker_with(&few).await;
        cluster.lead_past(worker);
        let asked = Instant::now();
        cluster.workers[worker].terminate();
        let held = held_by(&cluster, worker);
        cluster
            .until("its jobs are let go", RELEASE_MAX + cluster.times.slack / 4, || async {
                let ids: Vec<String> = held.iter().map(|(job, _)| job.to_string()).collect();
                let still = format!(
                    "select count(*) from switchyard.jobs j
                     join unnest(array[{}]::bigint[], array[{}]::bigint[]) a (id, epoch) using (id, epoch)
                     where state = 'running'",
                    ids.join(","),
                    held.iter().map(|(_, epoch)| epoch.to_string()).collect::<Vec<_>>().join(",")
                );
                cluster.count(&still).await == 0
            })
            .await;
        released = released.max(asked.elapsed());
        while cluster.workers[worker].ended().is_none() {
            assert!(asked.elapsed() < LEAVE_MAX, "it does not leave");
            tokio::time::sleep(crate::process::LOOK_EVERY).await;
        }
        left = left.max(asked.elapsed());
        let code = cluster.workers[worker].ended().and_then(|it| it.code());
        assert_eq!(code, Some(0), "it leaves in peace");
    }
    cluster.lead();
    feeding.abort();
    cluster.quiet(cluster.times.patience).await;
    let books = cluster.balance().await;
    let counted = books.outcomes.iter().filter(|it| it.attempts != 1);
    assert_eq!(counted.count(), 0, "an attempt counts that was let go");
    let answers = cluster.answers();
    let failed = answers
        .keys()
        .filter(|it| !["202", "refused"].contains(&it.as_str()));
    assert_eq!(failed.count(), 0, "{answers:?}");
    cluster.end().await;
    vec![("jobs let go", released), ("processes left", left)]
}

/// Fault 19: jobs that panic, end the process, never yield, talk without an end, or return too much; beside another tenant's.
///
/// # Panics
/// When they cost others anything but time, and more of that than half, or do not come to an end.
pub async fn poison_is_contained(setup: &Setup) -> Seen {
    const TRIES: i32 = 3;
    let mut cluster = Cluster::start(setup, 2).await;
    // What never yields is noticed by this.
    cluster.attempts_take(Duration::from_secs(4)).await;
    let other = cluster.another_tenant("honest").await;
    let mut honest = BTreeMap::new();
    let without = honest_load(&mut cluster, other, &mut honest).await;
    let began = Instant::now();
    let mib = cluster.times.output_mib;
    let tenant = cluster.tenant;
    let mut poison = BTreeSet::new();
    for act in [Act::Panic, Act::Abort, Act::Spin, Act::Result { mib: 8 }] {
        poison.insert(cluster.add_for(tenant, act, TRIES).await.0);
    }
    let talker = cluster.add_for(tenant, Act::Talk { mib }, TRIES).await;
    let with = honest_load(&mut cluster, other, &mut honest).await;
    let limit = cluster.times.taken_over() * 2 + cluster.times.patience;
    while cluster.count("select count(*) from switchyard.jobs").await > 0 {
        cluster.revive().await;
        assert!(
            began.elapsed() < limit,
            "jobs have not ended after {limit:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let contained = began.elapsed();
    let books = cluster.books().await;
    for outcome in &books.outcomes {
        let succeeded = outcome.state == "succeeded";
        if poison.contains(&outcome.job) {
            assert_eq!(outcome.state, "dead", "job {}", outcome.job);
            assert!(outcome.attempts <= TRIES);
        } else if honest.contains_key(&outcome.job) {
            assert!(succeeded, "an honest job is {}: {outcome:?}", outcome.state);
        } else {
            assert!(succeeded || outcome.state == "dead", "{outcome:?}");
        }
    }
    assert_eq!(books.outcomes.len(), poison.len() + honest.len() + 1);
    let (most, kept): (i64, i64) = (
        17 * 1024 * 1024,
        cluster
            .count(&format!(
                "select coalesce(max(bytes), 0)::bigint from (
                    select sum(octet_length(line)) as bytes from switchyard.job_logs where job_id = {talker} group by epoch
                ) l"
            ))
            .await,
    );
    assert!(kept <= most, "{kept} bytes of output were kept");
    if cluster.times.are_promised() {
        assert!(
            with < without.mul_f64(SLOWER_MAX),
            "another tenant's jobs took {with:?} in the middle, {without:?} without the poison"
        );
    }
    cluster.end().await;
    vec![
        ("all poison dead", contained),
        ("another tenant's jobs, median", with),
        ("the same without the poison", without),
    ]
}

/// Jobs of another tenant for a while, one after the other, and when each was added; workers that end are started again
/// meanwhile, as Knative does. Returns how long the one in the middle took, from its adding to its end: those that a dying
/// worker had in hand wait for its lease, which is bounded elsewhere.
async fn honest_load(
    cluster: &mut Cluster,
    tenant: TenantId,
    added: &mut BTreeMap<i64, u64>,
) -> Duration {
    const EVERY: Duration = Duration::from_millis(50);
    let (end, mut own) = (Instant::now() + cluster.times.load, BTreeMap::new());
    let mut beat = tokio::time::interval(EVERY);
    while Instant::now() < end {
        beat.tick().await;
        cluster.revive().await;
        let at = now();
        let job = cluster.add_for(tenant, Act::Work { millis: 100 }, POLICY.attempts_max);
        own.insert(job.await.0, at);
    }
    let middle = own.len() / 2;
    let limit = Instant::now() + cluster.times.patience;
    let mut took: Vec<u64> = Vec::new();
    // It is known as soon as half of them have ended.
    while took.len() <= middle {
        assert!(
            Instant::now() < limit,
            "{} of {} have ended",
            took.len(),
            own.len()
        );
        cluster.revive().await;
        let effects = cluster.ledger.effects();
        let ends = effects.iter().filter(|it| it.what == What::Ended);
        took = ends
            .filter_map(|it| own.get(&it.job).map(|at| it.at.saturating_sub(*at)))
            .collect();
        tokio::time::sleep(EVERY).await;
    }
    // Those that have not ended take longer than any.
    took.resize(own.len().max(took.len()), u64::MAX);
    took.sort_unstable();
    added.extend(own);
    Duration::from_micros(took[middle])
}

/// Fault 23: two of each reconciler, two relays and two schedulers at once, while leases end.
///
/// # Panics
/// When something is done twice under one claim, fired twice, or lost.
pub async fn two_reconcilers_and_two_relays_at_once(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 2).await;
    let second = cluster.another_relay().await;
    for function in ["cron-reap", "cron-reap", "cron-republish", "cron-republish"] {
        cluster.start_reconciler(function).await;
    }
    for _ in 0..2 {
        cluster.start_scheduler().await;
    }
    let payload = serde_json::to_value(Act::Work { millis: 1 }).expect("plain data");
    cluster
        .execute(&format!(
            "select switchyard.declare_schedule('{}', 'each second', '{}', '\"* * * * * *\"', p_payload => '{payload}',
                p_missed => 'all')",
            cluster.tenant.uuid(),
            FUNCTION.name
        ))
        .await;
    for _ in 0..60 {
        cluster.add(Act::Work { millis: 500 }).await;
    }
    cluster
        .until("jobs run", cluster.times.patience, || async {
            !held_by(&cluster, 0).is_empty()
        })
        .await;
    // Its leases end, and everybody finds them at once.
    cluster.workers[0].kill();
    let (killed, pid) = (Instant::now(), cluster.workers[0].id());
    let left = cluster.books().await.unfinished(pid, now());
    cluster.lead();
    let ends = Instant::now() + cluster.times.taken_over();
    cluster
        .until(
            "its jobs run elsewhere",
            cluster.times.taken_over(),
            || async {
                let effects = cluster.ledger.effects();
                left.iter().all(|(job, epoch)| {
                    effects.iter().any(|it| it.job == *job && it.epoch > *epoch)
                })
            },
        )
        .await;
    let taken_over = killed.elapsed();
    tokio::time::sleep_until(ends.min(killed + cluster.times.load)).await;
    cluster
        .execute("update switchyard.schedules set paused_by = 'Ann', paused_at = now()")
        .await;
    cluster
        .quiet(cluster.times.taken_over() + cluster.times.patience)
        .await;
    let books = cluster.balance().await;
    assert_eq!(books.repeated(), left.len(), "each was taken back once");
    let fired = "switchyard.schedule_ticks where outcome = 'fired'";
    for (what, sql) in [
        (
            "jobs for each tick",
            format!("select count(*) - count(distinct job_id) from {fired}"),
        ),
        (
            "ticks that nobody fired",
            format!(
                "select extract(epoch from max(tick) - min(tick))::bigint + 1 - count(*) from {fired}"
            ),
        ),
        (
            "jobs of no tick",
            format!(
                "select count(*) - 60 - (select count(*) from {fired}) from switchyard.jobs_archive"
            ),
        ),
    ] {
        assert_eq!(cluster.count(&sql).await, 0, "{what}");
    }
    let reaped = cluster
        .count("select count(*) from switchyard.job_events where kind = 'lease_over'")
        .await;
    assert_eq!(usize::try_from(reaped), Ok(left.len()));
    drop(second);
    cluster.end().await;
    vec![("taken over", taken_over)]
}
