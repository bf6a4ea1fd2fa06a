//! What a claim reads does not depend on how much there is, nor on what became of it before.
//!
//! Counted are the pages that `EXPLAIN (ANALYZE, BUFFERS)` reports, all functions inside included.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Instant;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use testkit::TestDb;

const TENANT: &str = "aaaaaaaa-0000-0000-0000-000000000001";
/// Jobs that a measured claim takes.
const BATCH: i32 = 100;
/// Pages for each job that is claimed.
const PAGES_PER_JOB_MAX: f64 = 20.0;
/// A claim from many may read so many times what it reads from few.
const GROWTH_MAX: f64 = 1.2;
const FEW: i32 = 10_000;
const MANY: i32 = 1_000_000;
const HELD: i32 = 5_000;

struct World {
    session: PgConnection,
    db: TestDb,
}

impl World {
    async fn new() -> Self {
        let db = testkit::database().await;
        let options = db.connect_options(None);
        let mut session = PgConnection::connect_with(&options).await.unwrap();
        run(
            &mut session,
            &format!(
                "insert into switchyard.tenants (database_id, name) values ('{TENANT}', 'tenant');
                 insert into switchyard.tasks (name, executor) values ('task', 'builtin'), ('slow', 'builtin')"
            ),
        )
        .await;
        Self { session, db }
    }

    /// Ready jobs of one lane.
    async fn queued(&mut self, task: &str, count: i32) {
        // The first one makes the lane, the others are what as many calls would have written.
        run(
            &mut self.session,
            &format!(
                "select switchyard.add_job('{TENANT}', '{task}', '{{}}', p_run_at => now() - interval '1 hour');
                 insert into switchyard.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
                 select l.database_id, l.id, l.task, 0, true,
                    now() - interval '1 hour' + n * interval '1 millisecond', 5, '{{}}'
                 from generate_series(2, {count}) n, switchyard.lanes l
                 where l.database_id = '{TENANT}' and l.task = '{task}' and l.queue_name is null"
            ),
        )
        .await;
    }

    /// Jobs that are due in an hour or later.
    async fn later(&mut self, count: i32) {
        run(
            &mut self.session,
            &format!(
                "insert into switchyard.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
                 select l.database_id, l.id, l.task, 0, false, now() + interval '1 hour' + n * interval '1 second', 5, '{{}}'
                 from generate_series(1, {count}) n, switchyard.lanes l
                 where l.database_id = '{TENANT}' and l.task = 'task' and l.queue_name is null"
            ),
        )
        .await;
    }

    /// Jobs that have died.
    async fn dead(&mut self, count: i32) {
        run(
            &mut self.session,
            &format!(
                "insert into switchyard.jobs_archive (
                    id, database_id, task, seq, state, priority, run_at, attempts, attempts_max, epoch, payload, depth, created_at
                 )
                 select -n, '{TENANT}', 'task', 0, 'dead', 0, now(), 5, 5, 5, '{{}}', 0, now()
                 from generate_series(1, {count}) n"
            ),
        )
        .await;
    }

    /// Named queues with a ready job each, of which none can be claimed now.
    async fn idle_lanes(&mut self, count: i32, why: &str) {
        let (paused, in_flight) = match why {
            "paused" => ("true", 0),
            _ => ("false", 1),
        };
        run(
            &mut self.session,
            &format!(
                "with made as (
                    insert into switchyard.lanes (
                        database_id, task, queue_name, cap, in_flight, active, paused, priorities, fronts
                    )
                    select '{TENANT}', 'task', '{why}-' || n, 1, {in_flight}, true, {paused}, '{{0}}', array['-infinity'::timestamptz]
                    from generate_series(1, {count}) n
                    returning id, queue_name
                 )
                 insert into switchyard.jobs (database_id, lane_id, task, queue_name, seq, due, run_at, attempts_max, payload)
                 select '{TENANT}', id, 'task', queue_name, 0, true, now(), 5, '{{}}' from made"
            ),
        )
        .await;
        if why == "paused" {
            // As pauses of queues are kept.
            run(
                &mut self.session,
                &format!(
                    "insert into switchyard.pauses (kind, database_id, queue_name, by_whom)
                     select 'pause', '{TENANT}', 'paused-' || n, 'a person' from generate_series(1, {count}) n"
                ),
            )
            .await;
        }
    }

    /// Jobs that are being worked on, as in any system at work: what is claimed next is not the first thing ever held.
    async fn held(&mut self) {
        self.queued("task", HELD).await;
        for _ in 0..HELD / 1000 {
            run(
                &mut self.session,
                "select switchyard.claim_jobs(gen_random_uuid(), '{task}', 1000, interval '1 hour')",
            )
            .await;
        }
    }

    /// What autovacuum would have done meanwhile.
    async fn settle(&mut self) {
        for table in ["jobs", "lanes", "jobs_archive", "job_events", "outbox"] {
            run(
                &mut self.session,
                &format!("vacuum (analyze) switchyard.{table}"),
            )
            .await;
        }
    }

    /// Pages that a claim reads for each job it takes: the most of several, after one in which its statements are planned.
    async fn pages_per_job(&mut self) -> f64 {
        let options = self.db.connect_options(Some("switchyard_system"));
        let mut worker = PgConnection::connect_with(&options).await.unwrap();
        let mut most: f64 = 0.0;
        for claim in 0..4 {
            let plan: Value = sqlx::query_scalar(AssertSqlSafe(format!(
                "explain (analyze, buffers, timing off, format json)
                 select id from switchyard.claim_jobs(gen_random_uuid(), '{{task}}', {BATCH}, interval '1 hour')"
            )))
            .fetch_one(&mut worker)
            .await
            .unwrap();
            let plan = &plan[0]["Plan"];
            assert_eq!(
                plan["Actual Rows"].as_f64(),
                Some(f64::from(BATCH)),
                "{plan}"
            );
            let pages = plan["Shared Hit Blocks"].as_f64().unwrap()
                + plan["Shared Read Blocks"].as_f64().unwrap();
            if claim > 0 {
                most = most.max(pages / f64::from(BATCH));
            }
        }
        worker.close().await.unwrap();
        most
    }
}

async fn run(session: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(session)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The same claim from few jobs.
async fn pages_of_few() -> f64 {
    let mut world = World::new().await;
    world.held().await;
    world.queued("task", FEW).await;
    world.settle().await;
    world.pages_per_job().await
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what one reads the test for"
)]
fn check(what: &str, pages: f64, of_few: f64) {
    println!("{what}: {pages:.1} pages a job, {of_few:.1} of {FEW} jobs");
    assert!(pages <= PAGES_PER_JOB_MAX, "{what}: {pages:.1} pages a job");
    assert!(
        pages <= GROWTH_MAX * of_few,
        "{what}: {pages:.1} pages a job, but {of_few:.1} of {FEW} jobs"
    );
}

#[tokio::test]
async fn a_claim_reads_no_more_when_there_are_a_million_jobs() {
    let begun = Instant::now();
    let of_few = pages_of_few().await;
    let mut world = World::new().await;
    world.held().await;
    world.queued("task", MANY).await;
    world.later(100_000).await;
    world.dead(200_000).await;
    world.settle().await;
    println!("made in {:?}", begun.elapsed());
    check("a million", world.pages_per_job().await, of_few);
}

#[tokio::test]
async fn a_claim_reads_no_more_when_ten_thousand_lanes_stand_still() {
    let of_few = pages_of_few().await;
    for why in ["paused", "full"] {
        let mut world = World::new().await;
        world.held().await;
        world.queued("task", FEW).await;
        world.idle_lanes(10_000, why).await;
        world.settle().await;
        check(why, world.pages_per_job().await, of_few);
    }
}

/// Through the functions that everybody uses, with nobody to vacuum.
#[tokio::test]
async fn a_claim_reads_no_more_after_many_jobs_have_passed() {
    const PASSED: i32 = 100_000;
    let of_few = pages_of_few().await;
    let mut world = World::new().await;
    world.held().await;
    world.queued("task", PASSED + FEW).await;
    let begun = Instant::now();
    // Each batch in a transaction of its own. Between two the lane's time passes, for it is turned once a second.
    for _ in 0..PASSED / 1000 {
        run(
            &mut world.session,
            "with claimed as materialized (
                select id, epoch from switchyard.claim_jobs(gen_random_uuid(), '{task}', 1000, interval '1 hour')
             ),
             batch as (select array_agg(id) as ids, array_agg(epoch) as epochs, count(*)::integer as jobs from claimed)
             select switchyard.finish_jobs(
                ids, epochs, array_fill('succeeded'::switchyard.job_state, array[jobs]),
                array_fill(null::text, array[jobs]), array_fill(null::jsonb, array[jobs])
             ) from batch;
             update switchyard.lanes set turned_at = turned_at - interval '2 seconds', next_front = next_front + interval '2 seconds'
             where turned_at > '-infinity'",
        )
        .await;
    }
    println!("{PASSED} passed in {:?}", begun.elapsed());
    run(&mut world.session, "analyze switchyard.jobs").await;
    check("after many", world.pages_per_job().await, of_few);
}
