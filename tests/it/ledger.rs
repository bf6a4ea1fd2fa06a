//! The books: after fifty kills, every delivery that was acknowledged has made each of its jobs once, each job has one
//! outcome, and every site is at its branch's head.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::{Answer, Database, Machine, Sender, Site, Wire, pass_on, turn, until};

const DELIVERIES: usize = 500;
const KILLS: usize = 50;
/// Kills that must hit unfinished work.
const HITS_MIN: usize = 40;
/// Every fifth kill hits the postmaster as well.
const POSTMASTER_EVERY: usize = 5;
const SITES: usize = 5;
/// Deliveries that become possible with each start.
const PER_KILL: usize = DELIVERIES / KILLS;
/// How long a delivery may stay unacknowledged: some restarts.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);
/// How long a kill waits for work that it could hit.
const WORK_WITHIN: Duration = Duration::from_secs(2);
/// From the last start until nothing is left to do.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// The longest that an event is held on its way to the broker, in milliseconds.
const HELD_MS_MAX: u64 = 1500;

/// Rows that are to be published.
const UNPUBLISHED: &str = "select count(*) from switchyard.outbox";
/// Jobs that this start of the machine works on, or did until a moment ago: not those that wait for the end of a lease from
/// before.
const RUNNING: &str = "select count(*) from switchyard.jobs
    where state = 'running' and lease_until > clock_timestamp() + interval '1 s'";

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_nothing_and_repeat_nothing() {
    let _turn = turn().await;
    let seed = seed();
    println!("ledger: seed {seed} (SWITCHYARD_SEED={seed} repeats it)");
    let began = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);

    let way = Arc::new(Way::new(rng.random()));
    let wire = {
        let way = Arc::clone(&way);
        Wire::listen(move |event| Arc::clone(&way).take(event)).await
    };
    let mut machine = Machine::new();
    machine.relay_to("inbound", &wire.url("/"));
    for (name, value) in [
        ("LEASE_SECS", "3"),
        ("HEARTBEAT_SECS", "1"),
        ("SLICE_SECS", "5"),
    ] {
        machine.set("knative/task-static.yaml", name, value);
    }
    machine.start().await;
    way.lead_to(Some(machine.ingress("inbound").await));
    let database = machine.database().await;
    // An attempt that is killed counts. Here all of them are.
    sqlx::query("update switchyard.tasks set attempts_max = 1000")
        .execute(&database.rows)
        .await
        .expect("the operator's word");
    let mut sites = Vec::new();
    for number in 0..SITES {
        let site = database
            .site(&machine.repositories(), &format!("site-{number}"))
            .await;
        sites.push(Arc::new(site));
    }

    let senders = Senders::start(&machine, &sites);
    let (mut hits, mut hit_rows, mut hit_jobs) = (0, 0, 0);
    let mut starts = Duration::ZERO;
    for kill in 0..KILLS {
        senders.allow(PER_KILL);
        let wanted = kill * PER_KILL + rng.random_range(1..=PER_KILL);
        until(
            "deliveries are acknowledged",
            ACKNOWLEDGED_WITHIN,
            || async { (senders.acknowledged() >= wanted).then_some(()) },
        )
        .await;
        // Now for rows, now for jobs: both are to be hit.
        let work = if rng.random() { UNPUBLISHED } else { RUNNING };
        let waited = Instant::now();
        while database.count(work).await == 0 && waited.elapsed() < WORK_WITHIN {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
        way.lead_to(None);
        machine.kill();
        // What was left behind, before anybody can mend it.
        let (rows, jobs) = (
            database.count(UNPUBLISHED).await,
            database.count(RUNNING).await,
        );
        hits += usize::from(rows + jobs > 0);
        hit_rows += usize::from(rows > 0);
        hit_jobs += usize::from(jobs > 0);
        if (kill + 1) % POSTMASTER_EVERY == 0 {
            machine.kill_postmaster();
        }
        let starting = Instant::now();
        machine.start().await;
        starts += starting.elapsed();
        way.lead_to(Some(machine.ingress("inbound").await));
    }
    senders.allow(DELIVERIES - KILLS * PER_KILL);
    let acknowledged = senders.done().await;
    let working = began.elapsed();
    until("everything is quiet", QUIET_WITHIN, || async {
        let left = database
            .count(
                "select (select count(*) from switchyard.outbox) + (select count(*) from switchyard.jobs)
                    + (select count(*) from switchyard.events where dispatched_at is null)",
            )
            .await;
        (left == 0 && way.held.load(Ordering::Relaxed) == 0).then_some(())
    })
    .await;
    println!(
        "ledger: {KILLS} kills, {hits} of them hit work ({hit_rows} unpublished rows, {hit_jobs} running jobs); {} events on the wire, {} passed on; all acknowledged after {:.1} s, \
         quiet after {:.1} s, {:.1} s of it starts",
        wire.seen().len(),
        way.passed.load(Ordering::Relaxed),
        working.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        starts.as_secs_f64(),
    );
    assert!(
        hits >= HITS_MIN,
        "only {hits} of {KILLS} kills hit unfinished work"
    );
    balance(&database, &acknowledged).await;
    for (site, page) in sites.iter().zip(&senders.pages) {
        let page = page.lock().expect("no sender panicked").clone();
        at_its_head(&machine, &database, site, &page).await;
    }
}

/// An event's delivery, how many bindings matched it and how many did not, its jobs and their outcomes.
type Entry = (Uuid, i64, i64, Vec<i64>, Vec<String>);

/// Compares what was acknowledged with what was made of it.
async fn balance(database: &Database, acknowledged: &BTreeSet<String>) {
    assert_eq!(acknowledged.len(), DELIVERIES);
    let rows: Vec<Entry> = sqlx::query_as(
        "select e.delivery_id,
            (select count(*) from switchyard.decisions d
             where d.database_id = e.database_id and d.event_id = e.id and d.matched),
            (select count(*) from switchyard.decisions d
             where d.database_id = e.database_id and d.event_id = e.id and not d.matched),
            array(select d.job_id from switchyard.decisions d
             where d.database_id = e.database_id and d.event_id = e.id and d.matched),
            array(select a.state::text from switchyard.decisions d
             join switchyard.jobs_archive a on a.database_id = d.database_id and a.id = d.job_id
             where d.database_id = e.database_id and d.event_id = e.id and d.matched)
        from switchyard.events e",
    )
    .fetch_all(&database.rows)
    .await
    .expect("the database answers");
    let mut events = BTreeMap::new();
    let mut jobs = BTreeSet::new();
    for (delivery, matched, unmatched, made, outcomes) in rows {
        let id = model::DeliveryId::from(delivery).to_string();
        assert_eq!(
            (matched, unmatched),
            (1, 1),
            "{id}: one decision for each binding"
        );
        assert_eq!(
            outcomes.len(),
            1,
            "{id}: one recorded outcome, not {outcomes:?}"
        );
        assert!(
            ["succeeded", "superseded"].contains(&outcomes[0].as_str()),
            "{id}: its job is {}",
            outcomes[0]
        );
        assert!(
            jobs.insert(made[0]),
            "{id}: its job {} is another's as well",
            made[0]
        );
        assert_eq!(
            events.insert(id.clone(), ()),
            None,
            "{id}: more than one event"
        );
    }
    let events: BTreeSet<String> = events.into_keys().collect();
    assert_eq!(
        &events, acknowledged,
        "each acknowledged delivery made its event, nothing else did"
    );
    let archived = database
        .count("select count(*) from switchyard.jobs_archive")
        .await;
    assert_eq!(
        usize::try_from(archived),
        Ok(DELIVERIES),
        "no job was recorded twice or made from nothing"
    );
}

/// What is live and what is served is what the branch has.
async fn at_its_head(machine: &Machine, database: &Database, site: &Site, page: &str) {
    let live = database.live(site).await.map(|(commit, _)| commit);
    assert_eq!(live, site.repository.head(), "{}", site.host);
    let served = Sender::new().page(machine.port(), &site.host).await;
    let (status, body) = served.expect("the site answers");
    assert_eq!(status, StatusCode::OK, "{}", site.host);
    assert!(
        body.contains(page),
        "{}: {page:?} is not on the page {body:?}",
        site.host
    );
}

/// Another one each time, unless a person repeats a run that failed.
fn seed() -> u64 {
    match host::Env::of_process().get("SWITCHYARD_SEED") {
        Some(text) => text.parse().expect("SWITCHYARD_SEED is a number"),
        None => rand::random(),
    }
}

/// The senders: for each site somebody who moves its branch and tells of it, again and again until that is acknowledged.
struct Senders {
    permits: Arc<Semaphore>,
    acknowledged: Arc<AtomicUsize>,
    tasks: Mutex<JoinSet<Vec<String>>>,
    /// The last page of each site.
    pages: Vec<Arc<Mutex<String>>>,
}

impl Senders {
    fn start(machine: &Machine, sites: &[Arc<Site>]) -> Self {
        let permits = Arc::new(Semaphore::new(0));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let mut pages = Vec::new();
        for site in sites {
            let page = Arc::new(Mutex::new(String::new()));
            pages.push(Arc::clone(&page));
            let (site, url) = (Arc::clone(site), machine.webhook(site.trigger));
            let (permits, acknowledged, begun) = (
                Arc::clone(&permits),
                Arc::clone(&acknowledged),
                Arc::clone(&begun),
            );
            tasks.spawn(async move {
                let sender = Sender::new();
                let mut ids = Vec::new();
                loop {
                    permits.acquire().await.expect("never closed").forget();
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= DELIVERIES {
                        return ids;
                    }
                    let text = format!("page {number} of {}", site.host);
                    let push = site.push(&text, &format!("delivery-{number}"));
                    *page.lock().expect("no sender panicked") = text;
                    ids.push(sender.deliver(&url, &push, ACKNOWLEDGED_WITHIN).await);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            permits,
            acknowledged,
            tasks: Mutex::new(tasks),
            pages,
        }
    }

    fn allow(&self, deliveries: usize) {
        self.permits.add_permits(deliveries);
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits for the last acknowledgement, and returns all ids.
    async fn done(&self) -> BTreeSet<String> {
        // Each of them finds that there is nothing left to send.
        self.permits.add_permits(SITES);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().expect("no sender panicked"));
        let mut all = BTreeSet::new();
        while let Some(ids) = tasks.join_next().await {
            all.extend(ids.expect("no sender panicked"));
        }
        all
    }
}

/// The way from the relay to the broker: events are held, overtake each other, come more than once.
struct Way {
    http: Client,
    /// Where the broker is; nothing while it is down.
    to: Mutex<Option<String>>,
    rng: Mutex<StdRng>,
    /// Copies that are held.
    held: AtomicUsize,
    /// Copies that the broker took.
    passed: AtomicUsize,
}

impl Way {
    fn new(seed: u64) -> Self {
        Self {
            http: crate::harness::client(),
            to: Mutex::new(None),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            held: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
        }
    }

    fn lead_to(&self, url: Option<String>) {
        *self.to.lock().expect("nobody panicked") = url;
    }

    async fn take(self: Arc<Self>, event: crate::harness::Seen) -> Answer {
        let (chance, copies, delays) = {
            let mut rng = self.rng.lock().expect("nobody panicked");
            let delays: Vec<u64> = (0..3).map(|_| rng.random_range(0..HELD_MS_MAX)).collect();
            (rng.random_range(0..10), rng.random_range(1..=3), delays)
        };
        match chance {
            // Passed on, and the relay is told that it was not: it comes again.
            0 => {
                self.pass_once(&event).await;
                Answer::status(StatusCode::SERVICE_UNAVAILABLE)
            }
            // Not passed on, and the relay is told.
            1 => Answer::status(StatusCode::SERVICE_UNAVAILABLE),
            // At once.
            2..5 => {
                let status = self.pass_once(&event).await;
                Answer::status(status.unwrap_or(StatusCode::BAD_GATEWAY))
            }
            // Held, so that others overtake it; perhaps more than once.
            _ => {
                for delay in delays.into_iter().take(copies) {
                    self.held.fetch_add(1, Ordering::Relaxed);
                    let (way, event) = (Arc::clone(&self), event.clone());
                    #[expect(clippy::disallowed_methods, reason = "waited for by its count")]
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(delay)).await;
                        while !way
                            .pass_once(&event)
                            .await
                            .is_some_and(|it| it.is_success())
                        {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        way.held.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                Answer::status(StatusCode::ACCEPTED)
            }
        }
    }

    async fn pass_once(&self, event: &crate::harness::Seen) -> Option<StatusCode> {
        let to = self.to.lock().expect("nobody panicked").clone()?;
        let status = pass_on(&self.http, &to, event).await;
        if status.is_some_and(|status| status.is_success()) {
            self.passed.fetch_add(1, Ordering::Relaxed);
        }
        status
    }
}
