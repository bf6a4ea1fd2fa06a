//! Two transactions at the worst moment, each case by itself.

use std::cell::Cell;

use model::JobState;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use crate::world::World;

/// Looks for a session that waits; each takes about a millisecond.
const LOOKS_MAX: usize = 20_000;

struct Race {
    world: World,
}

impl Race {
    async fn new() -> Self {
        let world = World::new().await;
        world.empty().await.unwrap();
        Self { world }
    }

    async fn session(&self) -> PgConnection {
        self.world.parallel_session().await.unwrap()
    }

    fn tenant(&self) -> Uuid {
        self.world.tenants[0]
    }

    async fn add(&self, task: &str, rest: &str) -> i64 {
        self.number(&format!(
            "select job_id from switchyard.add_job('{}', '{task}', '{{\"n\": 1}}'{rest})",
            self.tenant()
        ))
        .await
    }

    async fn number(&self, sql: &str) -> i64 {
        number(&self.world.owner, sql).await
    }

    async fn execute(&self, sql: &str) {
        self.world
            .execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Returns once so many sessions wait for a lock.
    async fn until_waiting(&self, sessions: i64) {
        self.until(|| false, sessions).await;
    }

    /// The same, or once nobody needs to any more.
    async fn until(&self, is_through: impl Fn() -> bool, sessions: i64) {
        for _ in 0..LOOKS_MAX {
            let waiting = self
                .number(
                    "select count(distinct pid) from pg_locks
                     where not granted and pid in (select pid from pg_stat_activity where datname = current_database())",
                )
                .await;
            if is_through() || waiting >= sessions {
                return;
            }
        }
        panic!("nobody waits");
    }
}

async fn number(owner: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(owner)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn run(session: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(session)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn claim(session: &mut PgConnection, tasks: &str, limit: i32, rest: &str) -> Vec<i64> {
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select id from switchyard.claim_jobs(gen_random_uuid(), '{{{tasks}}}', {limit}, interval '1 hour'{rest})"
    )))
    .fetch_all(session)
    .await
    .unwrap()
}

/// Has a worker find nothing until all lanes rest.
async fn rest(race: &Race, worker: &mut PgConnection) {
    for _ in 0..3 {
        race.execute(
            "update switchyard.lanes
             set turned_at = least(turned_at, now() - interval '3 seconds'),
                idle_at = idle_at - interval '3 seconds', idle_known_at = idle_known_at - interval '3 seconds'",
        )
        .await;
        assert_eq!(claim(worker, "model-0", 5, "").await, [0_i64; 0]);
    }
    let awake = race.number("select count(*) from switchyard.lanes where active");
    assert_eq!(awake.await, 0);
}

const NOBODY: &str = ", '00000000-0000-0000-0000-000000000000'";

#[tokio::test]
async fn a_job_added_under_an_old_snapshot_is_found() {
    let race = Race::new().await;
    let first = race.add("model-0", "").await;
    let mut old = race.session().await;
    // It sees the lane awake for as long as it lasts.
    run(
        &mut old,
        "begin isolation level repeatable read; select active from switchyard.lanes",
    )
    .await;
    let mut worker = race.session().await;
    assert_eq!(claim(&mut worker, "model-0", 5, "").await, [first]);
    race.execute(
        "select switchyard.finish_jobs(array[id], array[epoch], '{succeeded}', array[null::text], array[null::jsonb])
         from switchyard.jobs",
    )
    .await;
    rest(&race, &mut worker).await;
    let added: Result<i64, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select job_id from switchyard.add_job('{}', 'model-0', '{{\"n\": 1}}')",
        race.tenant()
    )))
    .fetch_one(&mut old)
    .await;
    // It may be told to try again; it may not be told that the job is there, and then nobody sees it.
    let Ok(second) = added else {
        return;
    };
    run(&mut old, "commit").await;
    assert_eq!(claim(&mut worker, "model-0", 5, "").await, [second]);
}

#[tokio::test]
async fn a_cap_holds_for_tenants_that_are_looked_at_late() {
    let race = Race::new().await;
    // More tenants than are looked at together, whose lanes have just become empty; then one with a cap and two jobs.
    race.execute(
        "insert into switchyard.tenants (database_id, name)
         select ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid, 'crowd ' || n from generate_series(1, 17) n
         on conflict do nothing;
         select switchyard.add_job(database_id, 'model-0', '{\"n\": 1}') from switchyard.tenants where name like 'crowd %';
         select switchyard.settle_job(database_id, id, 'dead', 'a person') from switchyard.jobs;
         insert into switchyard.tenants (database_id, name) values ('ffffffff-0000-0000-0000-000000000000', 'last')
         on conflict do nothing;
         select switchyard.set_limit('ffffffff-0000-0000-0000-000000000000', null, 1, null, null, 'a person');
         select switchyard.add_job('ffffffff-0000-0000-0000-000000000000', 'model-0', '{\"n\": 1}') from generate_series(1, 2);
         update switchyard.lanes set active = true, turned_at = clock_timestamp()",
    )
    .await;
    let mut one = race.session().await;
    let mut two = race.session().await;
    run(&mut one, "begin").await;
    let first = claim(&mut one, "model-0", 5, NOBODY).await;
    let is_through = Cell::new(false);
    let (second, ()) = futures::join!(
        async {
            let claimed = claim(&mut two, "model-0", 5, NOBODY).await;
            is_through.set(true);
            claimed
        },
        async {
            race.until(|| is_through.get(), 1).await;
            run(&mut one, "commit").await;
        }
    );
    assert_eq!(
        race.number("select count(*) from switchyard.jobs where state = 'running'")
            .await,
        1,
        "{first:?} and {second:?} were claimed under a cap of one"
    );
}

#[tokio::test]
async fn tenants_that_have_nothing_to_give_do_not_use_up_a_claim() {
    let race = Race::new().await;
    // Of each tenant of a crowd a job that waits for another one with its key; and then somebody who waits for nothing.
    race.execute(
        "insert into switchyard.tenants (database_id, name)
         select ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid, 'crowd ' || n from generate_series(1, 3) n
         on conflict do nothing;
         select switchyard.add_job(database_id, 'model-1', '{\"n\": 1}', p_key => 'key')
         from switchyard.tenants where name like 'crowd %';
         select switchyard.claim_jobs(gen_random_uuid(), '{model-1}', 3, interval '1 hour');
         select switchyard.add_job(database_id, 'model-0', '{\"n\": 1}', p_key => 'key')
         from switchyard.tenants where name like 'crowd %';
         insert into switchyard.tenants (database_id, name) values ('ffffffff-0000-0000-0000-000000000000', 'last')
         on conflict do nothing",
    )
    .await;
    let waits_for_nothing = race
        .number("select job_id from switchyard.add_job('ffffffff-0000-0000-0000-000000000000', 'model-0', '{\"n\": 1}')")
        .await;
    let mut worker = race.session().await;
    for _ in 0..4 {
        let claimed = claim(&mut worker, "model-0", 1, NOBODY).await;
        if claimed == [waits_for_nothing] {
            return;
        }
        race.execute("update switchyard.lanes set turned_at = turned_at - interval '3 seconds' where turned_at > '-infinity'")
            .await;
    }
    panic!("nobody claims what waits for nothing");
}

#[tokio::test]
async fn a_limit_that_is_set_while_somebody_decides_counts_right() {
    let race = Race::new().await;
    let undecided = race.add("model-0", "").await;
    race.add("model-0", "").await;
    let mut worker = race.session().await;
    assert_eq!(claim(&mut worker, "model-0", 2, "").await.len(), 2);
    race.execute(&format!(
        "select switchyard.wait_job(id, epoch, 'approval', interval '1 hour', null) from switchyard.jobs where id = {undecided}"
    ))
    .await;
    let mut ruler = race.session().await;
    run(
        &mut ruler,
        &format!(
            "begin; select switchyard.set_limit('{}', null, 3, null, null, 'a person')",
            race.tenant()
        ),
    )
    .await;
    let decide = format!(
        "select switchyard.decide_job('{}', {undecided}, true, 'a person')",
        race.tenant()
    );
    futures::join!(run(&mut worker, &decide), async {
        race.until_waiting(1).await;
        run(&mut ruler, "commit").await;
    });
    let counted = race
        .number("select in_flight::bigint from switchyard.limits")
        .await;
    assert_eq!(
        counted, 1,
        "one job runs, the other was approved and is queued"
    );
}

#[tokio::test]
async fn a_stale_release_and_a_newer_job_with_the_key_do_not_wait_for_each_other() {
    let race = Race::new().await;
    let job = race.add("model-0", ", p_key => 'key'").await;
    let mut worker = race.session().await;
    claim(&mut worker, "model-0", 1, "").await;
    // Its worker was slow: the job is queued again, and the hold of epoch 1 is over.
    race.execute(&format!(
        "update switchyard.jobs set lease_until = now() - interval '1 minute' where id = {job}; select switchyard.reap_jobs(10, true)"
    ))
    .await;
    let mut first = race.session().await;
    run(
        &mut first,
        "begin; set local role switchyard_owner; select from switchyard.job_keys for update",
    )
    .await;
    let mut adder = race.session().await;
    let add = format!(
        "select switchyard.add_job('{}', 'model-0', '{{\"n\": 2}}', p_key => 'key')",
        race.tenant()
    );
    let release = format!("select switchyard.release_jobs(array[{job}::bigint], array[1::bigint])");
    let is_released = Cell::new(false);
    futures::join!(
        run(&mut adder, &add),
        async {
            race.until_waiting(1).await;
            run(&mut worker, &release).await;
            is_released.set(true);
        },
        async {
            race.until(|| is_released.get(), 2).await;
            run(&mut first, "rollback").await;
        }
    );
    let states: Vec<String> = sqlx::query_scalar(
        "select state::text from switchyard.jobs union all select state::text from switchyard.jobs_archive order by 1",
    )
    .fetch_all(&race.world.owner)
    .await
    .unwrap();
    assert_eq!(
        states,
        [JobState::Queued.as_str(), JobState::Superseded.as_str()]
    );
}

/// A queue whose first job was taken back, so that it is at its second, of `model-0`; and then one of `model-1` comes before
/// that. Returns the last.
async fn queue_with_a_new_head(race: &Race) -> i64 {
    let of_queue =
        |when: &str| format!(", p_queue_name => 'queue', p_run_at => now() - interval '{when}'");
    let first = race.add("model-0", &of_queue("1 hour")).await;
    race.add("model-0", &of_queue("1 second")).await;
    race.number(&format!(
        "select count(switchyard.cancel_job('{}', {first}, 'a person'))",
        race.tenant()
    ))
    .await;
    race.add("model-1", &of_queue("30 minutes")).await
}

#[tokio::test]
async fn workers_find_a_queue_whose_head_became_theirs() {
    let race = Race::new().await;
    let head = queue_with_a_new_head(&race).await;
    let mut worker = race.session().await;
    assert_eq!(claim(&mut worker, "model-1", 1, "").await, [head]);
}

#[tokio::test]
async fn the_start_of_a_queued_job_counts_for_its_own_task() {
    let race = Race::new().await;
    race.execute("select switchyard.set_limit(null, 'model-1', 3, null, null, 'a person')")
        .await;
    let head = queue_with_a_new_head(&race).await;
    let mut worker = race.session().await;
    assert_eq!(claim(&mut worker, "model-0,model-1", 1, "").await, [head]);
    let counted = race
        .number("select in_flight::bigint from switchyard.limits")
        .await;
    assert_eq!(counted, 1, "a job of the task runs");
}
