//! What each role may not do, asked of the database itself.
//!
//! A session here logs in as the superuser and takes the role with `options=-c role=…`, so that `reset role` would undo it:
//! what is tried is the role's privileges. Real logins are the role itself, or may become it and nothing more.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use database::{Connect, TenantDb};
use model::DatabaseRole;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row};
use testkit::TestDb;
use uuid::Uuid;

/// insufficient_privilege, which is also what a row level security check says.
const REFUSED: &str = "42501";
/// foreign_key_violation.
const NO_SUCH_ROW: &str = "23503";

struct World {
    db: TestDb,
    owner: PgPool,
    one: Uuid,
    other: Uuid,
}

/// Two tenants, each with a row in every table that belongs to tenants.
async fn world() -> World {
    let db = testkit::database().await;
    let owner = db.pool(None).await;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    fill(&owner, one).await;
    fill(&owner, other).await;
    World {
        db,
        owner,
        one,
        other,
    }
}

async fn fill(owner: &PgPool, tenant: Uuid) {
    let statements = [
        "insert into switchyard.tenants (database_id, name) values ($T, $T::text)",
        "insert into switchyard.people (id, name) values ($T, 'Somebody')",
        "insert into switchyard.memberships values ($T, $T, 'viewer')",
        "insert into switchyard.workloads (id, database_id, name, source, config, host)
            values ($T, $T, 'site', 'static', '{}', left($T::text, 8))",
        "insert into switchyard.revisions
            (database_id, workload_id, number, commit, prefix, content_hash, files, bytes, job_id)
            values ($T, $T, 1, 'c', 'p', 'h', 1, 1, 1)",
        "insert into switchyard.triggers (id, database_id, name, kind, secret) values ($T, $T, 'push', 'git', 'sealed')",
        "insert into switchyard.bindings (id, database_id, trigger_id, workload_id) values ($T, $T, $T, $T)",
        "insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source)
            values ('observed', $T, 'id', 'type', 'source')",
        "insert into switchyard.event_log (database_id, severity, source, message) values ($T, 'info', 's', 'm')",
        "insert into switchyard.deliveries (id, database_id, trigger_id, vendor, verdict, body_bytes)
            values ($T, $T, $T, 'gitea', 'accepted', 1)",
        "insert into switchyard.delivery_keys values ($T, $T, 'key', $T, 'x')",
        "insert into switchyard.trigger_health (database_id, trigger_id) values ($T, $T)",
        "insert into switchyard.rejections (database_id, trigger_id, hour, reason) values ($T, $T, now(), 'why')",
        "insert into switchyard.events (id, database_id, type, source, data, correlation_id)
            values ($T, $T, 'type', 'source', '{}', 'c')",
        "select switchyard.add_job($T, 'task', '{}', p_key => 'key')",
        "insert into switchyard.limits (database_id, in_flight_max) values ($T, 8)",
        "insert into switchyard.pauses (kind, database_id, task, by_whom) values ('pause', $T, 'still', 'somebody')",
        "insert into switchyard.audit (database_id, by_whom, deed) values ($T, 'somebody', 'pause')",
        "insert into switchyard.executor_defaults (database_id, executor, set_by) values ($T, 'knative', 'somebody')",
        "insert into switchyard.tasks (name) values ('theirs') on conflict do nothing",
        "with made as (
            insert into switchyard.schedules (database_id, task, schedule_info) values ($T, 'task', '\"@daily\"')
            returning id, database_id
         )
         insert into switchyard.schedule_ticks (schedule_id, tick, database_id, outcome, ticks)
         select id, now(), database_id, 'missed', 1 from made",
        "insert into switchyard.tenant_urls (database_id, task, url, set_by) values ($T, 'theirs', 'https://x.test/', 'me')",
        "insert into switchyard.decisions (database_id, event_id, binding_id, matched, clause)
            values ($T, $T, $T, false, 'branch')",
        "insert into switchyard.jobs_archive
            (id, database_id, task, seq, state, priority, run_at, attempts, attempts_max, epoch, payload, depth, created_at)
            values (1, $T, 'task', 1, 'dead', 0, now(), 1, 1, 1, '{}', 0, now())",
        "insert into switchyard.job_events (database_id, job_id, epoch, kind) values ($T, 1, 1, 'waits')",
        "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line) values ($T, 1, 1, 1, 'task', 'l')",
        "insert into switchyard.runs
            (database_id, job_id, epoch, phase, launcher, spec, lease, until, retry, log_seq)
            values ($T, 1, 1, 'plan', 'local', '', '1 minute', now(), false, 0)",
        "insert into switchyard.run_steps (database_id, job_id, epoch, step, name) values ($T, 1, 1, 0, 'init')",
        "insert into switchyard.credentials (id, database_id, name, host, secret) values ($T, $T, 'git', 'git.test', 'sealed')",
        "insert into switchyard.places (id, database_id, kind, url) values ($T, $T, 'git', 'https://git.test/a')",
        "insert into switchyard.workspaces (id, database_id, name, repository, branch, created_by)
            values ($T, $T, 'net', 'https://git.test/a', 'main', 'me')",
        "insert into switchyard.workspace_templates (database_id, workspace_id, path, kind) values ($T, $T, '', 'terraform')",
        "insert into switchyard.watches (database_id, trigger_id, place_id, names, created_by)
            values ($T, $T, $T, '{**}', 'me')",
        "insert into switchyard.seen (database_id, trigger_id, name, state, told_by) values ($T, $T, 'refs/heads/a', 'c', 'hook')",
        "insert into switchyard.workload_logs (database_id, workload_id, stream, line) values ($T, $T, 'site', 'l')",
        "insert into switchyard.log_rules (id, database_id, name, pattern, severity, streams)
            values ($T, $T, 'oops', 'oops', 'error', '{stderr}')",
        "insert into switchyard.log_rule_overrides (database_id, rule_id, workload_id) values ($T, $T, $T)",
        "insert into switchyard.log_rule_counts (database_id, rule_id, workload_id) values ($T, $T, $T)",
        "insert into switchyard.log_buckets (database_id, workload_id, tokens) values ($T, $T, 1)",
        "insert into switchyard.notification_endpoints (id, database_id, name, url, format, secret)
            values ($T, $T, 'chat', 'https://chat.test/', 'slack', 'sealed')",
        "insert into switchyard.notification_rules (id, database_id, endpoint_id, name, types)
            values ($T, $T, $T, 'all', '{*}')",
        "insert into switchyard.notifications (id, database_id, endpoint_id, message_id, event_id, event_type, body)
            values ($T, $T, $T, 'msg_1', 'evt', 'type', '{}')",
        "insert into switchyard.terraform_states (id, database_id, name) values ($T, $T, 'net')",
        "insert into switchyard.terraform_versions
            (database_id, state_id, number, id, serial, lineage, sha256, bytes, sealed, by_whom)
            values ($T, $T, 1, $T, 1, 'l', sha256('x'), 1, 'sealed', 'me')",
        "insert into switchyard.terraform_reads (database_id, job_id, epoch, state_id, version)
            select database_id, job_id, epoch, $T, 1 from switchyard.runs where database_id = $T",
        "insert into switchyard.notification_attempts (database_id, notification_id, number, took_ms) values ($T, $T, 1, 1)",
        "insert into switchyard.artifacts (id, database_id, job_id, epoch, name, media_type, bytes, sha256, blob, sealed)
            values ($T, $T, 1, 1, 'plan', 'text/plain', 1, sha256('x'), 'b', false)",
        "insert into switchyard.artifact_uploads (id, database_id, job_id, epoch, name) values ($T, $T, 1, 1, 'plan')",
        "insert into switchyard.artifact_quotas (database_id) values ($T)",
    ];
    for statement in statements {
        let statement = statement.replace("$T", &format!("'{tenant}'::uuid"));
        sqlx::query(AssertSqlSafe(statement.clone()))
            .execute(owner)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

impl World {
    async fn role(&self, role: &str) -> PgConnection {
        PgConnection::connect(&self.db.url(role)).await.unwrap()
    }

    async fn tenant(&self, tenant: Uuid) -> PgConnection {
        let mut conn = self.role("switchyard_tenant").await;
        sqlx::query("select set_config('switchyard.tenant', $1, false)")
            .bind(tenant.to_string())
            .execute(&mut conn)
            .await
            .unwrap();
        conn
    }

    /// Tables of tenants, as the catalogue has them: one that is added later is tried as well.
    async fn tables(&self) -> Vec<String> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select c.relname::text from pg_class c
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'database_id' and not a.attisdropped
             where c.relnamespace = 'switchyard'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
             order by 1",
        )
        .fetch_all(&self.owner)
        .await
        .unwrap();
        assert!(tables.len() >= 18, "{tables:?}");
        tables
    }

    /// The columns that the tenant role may use in a way.
    async fn columns(&self, table: &str, privilege: &str) -> Vec<String> {
        sqlx::query_scalar(
            "select attname::text from pg_attribute
             where attrelid = format('switchyard.%I', $1::text)::regclass and attnum > 0 and not attisdropped
               and has_column_privilege('switchyard_tenant', attrelid, attnum, $2::text)",
        )
        .bind(table)
        .bind(privilege)
        .fetch_all(&self.owner)
        .await
        .unwrap()
    }
}

async fn code(conn: &mut PgConnection, sql: &str) -> Option<String> {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(conn)
        .await
    {
        Ok(_) => None,
        Err(sqlx::Error::Database(error)) => error.code().map(|code| code.into_owned()),
        Err(error) => panic!("{error}"),
    }
}

async fn refused(conn: &mut PgConnection, sql: &str) {
    assert_eq!(code(conn, sql).await.as_deref(), Some(REFUSED), "{sql}");
}

async fn allowed(conn: &mut PgConnection, sql: &str) {
    assert_eq!(code(conn, sql).await, None, "{sql}");
}

#[tokio::test]
async fn every_tenants_table_has_forced_row_security() {
    let world = world().await;
    for table in world.tables().await {
        let row = sqlx::query(AssertSqlSafe(format!(
            "select relrowsecurity and relforcerowsecurity
                and exists (select from pg_policy where polrelid = c.oid and polname = 'tenant'),
                (select count(distinct database_id) from switchyard.{table})
             from pg_class c where oid = 'switchyard.{table}'::regclass"
        )))
        .fetch_one(&world.owner)
        .await
        .unwrap();
        assert!(row.get::<bool, _>(0), "{table}");
        assert_eq!(
            row.get::<i64, _>(1),
            2,
            "{table}: a row for each tenant is missing in `fill`"
        );
    }
    let granted: Vec<String> = sqlx::query_scalar(
        "select format('%s to %s', c.relname, r) from pg_class c,
            unnest('{switchyard_system,switchyard_tenant,switchyard_observer,public}'::text[]) r
         where c.relnamespace = 'switchyard'::regnamespace and c.relispartition and c.relkind = 'r'
           and has_table_privilege(r, c.oid, 'select, insert, update, delete, truncate')",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert!(
        granted.is_empty(),
        "a partition is reached through its table alone: {granted:?}"
    );
}

#[tokio::test]
async fn a_statement_that_forgets_the_tenant_finds_its_rows_alone() {
    let world = world().await;
    let mut tenant = world.tenant(world.one).await;
    let mut nobody = world.role("switchyard_tenant").await;
    let mut seen = 0;
    for table in world.tables().await {
        let readable = world.columns(&table, "select").await;
        if !readable.iter().any(|column| column == "database_id") {
            assert!(readable.is_empty(), "{table}: {readable:?}");
            refused(&mut tenant, &format!("select from switchyard.{table}")).await;
            continue;
        }
        seen += 1;
        let select = format!("select database_id from switchyard.{table}");
        let rows: Vec<Option<Uuid>> = sqlx::query_scalar(AssertSqlSafe(select.clone()))
            .fetch_all(&mut tenant)
            .await
            .unwrap();
        assert!(
            !rows.is_empty() && rows.iter().all(|owner| *owner == Some(world.one)),
            "{table}: {rows:?}"
        );
        let rows: Vec<Option<Uuid>> = sqlx::query_scalar(AssertSqlSafe(select))
            .fetch_all(&mut nobody)
            .await
            .unwrap();
        assert!(rows.is_empty(), "{table} without a tenant: {rows:?}");
    }
    assert!(seen >= 13, "{seen}");
}

/// Tables whose rows a tenant's admin may remove, for what they say is theirs alone and nothing else refers to it.
const REMOVABLE: [&str; 9] = [
    "credentials",
    "log_rule_overrides",
    "log_rules",
    "notification_endpoints",
    "notification_rules",
    "places",
    "watches",
    "workspace_templates",
    "workspaces",
];

#[tokio::test]
async fn a_tenant_writes_nothing_for_another() {
    let world = world().await;
    let mut tenant = world.tenant(world.one).await;
    let (one, other) = (world.one, world.other);
    for table in world.tables().await {
        let writable = world.columns(&table, "update").await;
        assert!(
            !writable.iter().any(|column| column == "database_id"),
            "{table}: rows do not change owners"
        );
        // A column that it may not read is set to something else than itself.
        if let Some(column) = writable.iter().find(|column| !column.starts_with("secret")) {
            let done = sqlx::query(AssertSqlSafe(format!(
                "update switchyard.{table} set {column} = {column} where database_id = '{other}'"
            )))
            .execute(&mut tenant)
            .await
            .unwrap();
            assert_eq!(done.rows_affected(), 0, "{table}");
        }
        assert!(
            world.columns(&table, "insert").await.is_empty()
                || ["workloads", "triggers", "bindings"].contains(&table.as_str())
                || REMOVABLE.contains(&table.as_str()),
            "{table} takes rows of tenants: try them here"
        );
        if REMOVABLE.contains(&table.as_str()) {
            let done = sqlx::query(AssertSqlSafe(format!(
                "delete from switchyard.{table} where database_id = '{other}'"
            )))
            .execute(&mut tenant)
            .await
            .unwrap();
            assert_eq!(done.rows_affected(), 0, "{table}");
        } else {
            refused(&mut tenant, &format!("delete from switchyard.{table}")).await;
        }
        refused(&mut tenant, &format!("truncate switchyard.{table}")).await;
    }
    for insert in [
        "insert into switchyard.workloads (id, database_id, name, source, config, host)
            values (gen_random_uuid(), '$T', 'new', 'static', '{}', 'new')",
        "insert into switchyard.triggers (id, database_id, name, kind, secret)
            values (gen_random_uuid(), '$T', 'new', 'git', 'sealed')",
        "insert into switchyard.bindings (id, database_id, trigger_id, workload_id)
            values (gen_random_uuid(), '$T', '$T', '$T')",
        "insert into switchyard.credentials (id, database_id, name, host, secret)
            values (gen_random_uuid(), '$T', 'new', 'git.test', 'sealed')",
        "insert into switchyard.places (id, database_id, kind, url)
            values (gen_random_uuid(), '$T', 'git', 'https://git.test/new')",
        "insert into switchyard.workspaces (id, database_id, name, repository, branch, created_by)
            values (gen_random_uuid(), '$T', 'new', 'https://git.test/new', 'main', 'me')",
        "insert into switchyard.watches (database_id, trigger_id, place_id, names, created_by)
            select '$T', coalesce(t.id, '$T'), '$T', '{**}', 'me' from (values ('$T'::uuid)) v (id)
            left join switchyard.triggers t on t.database_id = v.id and t.name = 'new'",
        "insert into switchyard.log_rules (id, database_id, name, pattern, severity, streams)
            values (gen_random_uuid(), '$T', 'new', 'oops', 'error', '{stderr}')",
        "insert into switchyard.log_rule_overrides (database_id, rule_id, workload_id)
            select '$T', r.id, '$T' from (values ('$T'::uuid)) v (id)
            left join switchyard.log_rules r on r.database_id = v.id and r.name = 'new'",
        "insert into switchyard.notification_endpoints (id, database_id, name, url, format, secret)
            values (gen_random_uuid(), '$T', 'new', 'https://chat.test/', 'slack', 'sealed')",
        "insert into switchyard.notification_rules (id, database_id, endpoint_id, name, types)
            values (gen_random_uuid(), '$T', '$T', 'new', '{*}')",
    ] {
        refused(&mut tenant, &insert.replace("$T", &other.to_string())).await;
        allowed(&mut tenant, &insert.replace("$T", &one.to_string())).await;
    }
    // Rows of its own that point at another's.
    for across in [
        format!(
            "insert into switchyard.bindings (id, database_id, trigger_id, workload_id)
                values (gen_random_uuid(), '{one}', '{other}', '{other}')"
        ),
        format!(
            "select * from switchyard.add_own_job('task', '{{}}', null, null, '{other}', 'me')"
        ),
    ] {
        let answer = code(&mut tenant, &across).await;
        assert_eq!(answer.as_deref(), Some(NO_SUCH_ROW), "{across}");
    }
}

#[tokio::test]
async fn a_tenant_reaches_neither_secrets_nor_the_queue() {
    let world = world().await;
    let mut tenant = world.tenant(world.one).await;
    for sql in [
        "select secret from switchyard.triggers",
        "select secret_previous from switchyard.triggers",
        "select * from switchyard.triggers",
        "update switchyard.triggers set secret = secret",
        "select from switchyard.sessions",
        "select from switchyard.sign_in_links",
        "select from switchyard.people",
        "insert into switchyard.memberships values (gen_random_uuid(), gen_random_uuid(), 'admin')",
        "update switchyard.jobs set state = 'queued'",
        "insert into switchyard.events default values",
        "insert into switchyard.outbox (broker, ce_id, ce_type, ce_source) values ('work', 'i', 't', 's')",
        "select switchyard.add_job(gen_random_uuid(), 'task', '{}')",
        "select switchyard.claim_jobs(gen_random_uuid(), '{task}', 1, '1 s')",
        "select switchyard.cancel_job(gen_random_uuid(), 1, 'me')",
        "select switchyard.publish('work', null, 'i', 't', 's', null, '{}', '{}')",
        "select switchyard.make_partitions()",
        "select switchyard.know_task('task', 1, '1 s', '1 s')",
        "select switchyard.create_sign_in_link(gen_random_uuid(), 'x', '1 s')",
        "create table switchyard.mine ()",
        "create function switchyard.mine() returns int return 1",
    ] {
        refused(&mut tenant, sql).await;
    }
    let job: i64 = sqlx::query_scalar("select id from switchyard.jobs where database_id = $1")
        .bind(world.other)
        .fetch_one(&world.owner)
        .await
        .unwrap();
    let answer: Option<String> = sqlx::query_scalar("select switchyard.cancel_own_job($1, 'me')")
        .bind(job)
        .fetch_one(&mut tenant)
        .await
        .unwrap();
    assert_eq!(answer, None, "another's job does not exist");
    let mut nobody = world.role("switchyard_tenant").await;
    refused(
        &mut nobody,
        "select * from switchyard.add_own_job('task', '{}', null, null, null, 'me')",
    )
    .await;
}

#[tokio::test]
async fn an_observer_starts_nothing() {
    let world = world().await;
    let mut observer = world.role("switchyard_observer").await;
    let outbox = "insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source)
        values ('$B', '$T', 'i', 't', 's')"
        .replace("$T", &world.one.to_string());
    allowed(&mut observer, &outbox.replace("$B", "observed")).await;
    refused(&mut observer, &outbox.replace("$B", "inbound")).await;
    refused(&mut observer, &outbox.replace("$B", "work")).await;
    for sql in [
        "update switchyard.outbox set broker = 'work'",
        "delete from switchyard.outbox",
        "insert into switchyard.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
            values ('$T', 1, 't', 1, true, now(), 1, '{}')",
        "insert into switchyard.events (id, database_id, type, source, data, correlation_id)
            values (gen_random_uuid(), '$T', 't', 's', '{}', 'c')",
        "insert into switchyard.event_log (database_id, severity, source, message) values ('$T', 'info', 's', 'm')",
        "update switchyard.events set dispatched_at = null",
        "select switchyard.add_job('$T', 'task', '{}')",
        "select switchyard.add_event('$T', '$T', gen_random_uuid(), 't', '/', null, '{}')",
        "select switchyard.add_own_job('task', '{}', null, null, null, 'me')",
        "select switchyard.publish('inbound', '$T', 'i', 't', 's', null, '{}', '{}')",
        "select switchyard.publish_event('$T', '$T')",
        "select switchyard.record_decisions('$T', '[]')",
        "select switchyard.republish_events('0 s', 10)",
        "select switchyard.republish_wakeups('0 s')",
        "select switchyard.claim_jobs(gen_random_uuid(), '{task}', 1, '1 s')",
        "select switchyard.replay_job('$T', 1, 'me')",
        "insert into switchyard.notifications (id, database_id, endpoint_id, message_id, event_id, event_type, body)
            values (gen_random_uuid(), '$T', '$T', 'm', 'e', 't', '{}')",
        "select secret from switchyard.notification_endpoints",
        "select secret from switchyard.triggers",
        "select from switchyard.sessions",
    ] {
        refused(&mut observer, &sql.replace("$T", &world.one.to_string())).await;
    }
    // Whatever function is added later: an observer may wake the relay, write messages to be sent, and nothing else.
    let granted: Vec<String> = sqlx::query_scalar(
        "select proname::text from pg_proc where pronamespace = 'switchyard'::regnamespace and prosecdef
            and has_function_privilege('switchyard_observer', oid, 'execute') order by 1",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert_eq!(granted, ["wake_relay", "write_notifications"]);
}

#[tokio::test]
async fn the_system_changes_jobs_through_functions_alone() {
    let world = world().await;
    let mut system = world.role("switchyard_system").await;
    for sql in [
        "update switchyard.jobs set state = 'queued'",
        "delete from switchyard.jobs",
        "delete from switchyard.jobs_archive",
        "update switchyard.jobs_archive set state = 'succeeded'",
        "update switchyard.lanes set in_flight = 0",
        "update switchyard.shares set weight = 2",
        "update switchyard.job_keys set high_water = 0",
        "delete from switchyard.job_logs",
        "delete from switchyard.decisions",
        "update switchyard.events set dispatched_at = now()",
        "update switchyard.workloads set live_revision = null",
        "select from switchyard.sessions",
        "select from switchyard.sign_in_links",
        "select from switchyard.people",
        "select from switchyard.memberships",
        "select body from switchyard.deliveries",
        "update switchyard.triggers set secret = null",
        "insert into switchyard.tenants (name) values ('new')",
        "select switchyard.know_task('task', 1, '1 s', '1 s')",
        "select switchyard.create_sign_in_link(gen_random_uuid(), 'x', '1 s')",
        "select switchyard.session('x', '1 s')",
        "create table switchyard.mine ()",
        // What is beneath the functions cannot be called around them.
        "select switchyard.lane_of('$T', 'new-task', null)",
        "select switchyard.look_at_head(id) from switchyard.lanes",
        "select switchyard.end_job(j, 'succeeded', null, null) from switchyard.jobs j",
        "select switchyard.requeue_job(j, now(), 0, null, true) from switchyard.jobs j",
        "select switchyard.held_job(id, epoch) from switchyard.jobs",
    ] {
        refused(&mut system, &sql.replace("$T", &world.one.to_string())).await;
    }
}

#[tokio::test]
async fn every_definers_function_has_a_fixed_path_and_is_not_for_the_public() {
    let world = world().await;
    let functions: Vec<(String, Option<Vec<String>>, bool)> = sqlx::query_as(
        "select oid::regprocedure::text, proconfig,
            exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner)))
                where grantee = 0 and privilege_type = 'EXECUTE')
         from pg_proc where pronamespace = 'switchyard'::regnamespace and prosecdef",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert!(functions.len() >= 30, "{}", functions.len());
    for (name, config, public) in functions {
        assert!(!public, "{name} may be called by everybody");
        let config = config.unwrap_or_default();
        assert!(
            config
                .iter()
                .any(|set| set == "search_path=pg_catalog, pg_temp"),
            "{name}: {config:?}"
        );
    }
}

#[tokio::test]
async fn a_temporary_object_does_not_fool_a_definers_function() {
    let world = world().await;
    let mut system = world.role("switchyard_system").await;
    // Shadows of tables, functions and a catalogue, with a path that finds them first.
    sqlx::raw_sql(
        "create temporary table jobs (id bigint);
         create temporary table tasks (name text, attempts_max int);
         create temporary table lanes (id bigint);
         create temporary table pg_class (oid oid);
         create function pg_temp.now() returns timestamptz language plpgsql as $$ begin raise 'fooled'; end $$;
         create function pg_temp.current_tenant() returns uuid language plpgsql as $$ begin raise 'fooled'; end $$;
         set search_path = pg_temp, switchyard, pg_catalog",
    )
    .execute(&mut system)
    .await
    .unwrap();
    let job: i64 =
        sqlx::query_scalar("select job_id from switchyard.add_job($1, 'shadowed', '{}')")
            .bind(world.one)
            .fetch_one(&mut system)
            .await
            .unwrap();
    let claimed: i64 = sqlx::query_scalar(
        "select id from switchyard.claim_jobs(pg_catalog.gen_random_uuid(), '{shadowed}', 1, '1 min')",
    )
    .fetch_one(&mut system)
    .await
    .unwrap();
    assert_eq!(claimed, job);
    let applied: Option<String> = sqlx::query_scalar(
        "select applied::text from switchyard.finish_jobs(array[$1], '{1}', '{succeeded}', '{null}', '{null}')",
    )
    .bind(job)
    .fetch_one(&mut system)
    .await
    .unwrap();
    assert_eq!(applied.as_deref(), Some("succeeded"));
}

#[tokio::test]
async fn a_role_cannot_become_another() {
    let world = world().await;
    let ways: Vec<String> = sqlx::query_scalar(
        "select format('%s may become %s', one, other)
         from unnest('{switchyard_system,switchyard_tenant,switchyard_observer}'::text[]) one,
            unnest('{switchyard_owner,switchyard_system,switchyard_tenant,switchyard_observer}'::text[]) other
         where one <> other and pg_has_role(one, other, 'member')",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert!(ways.is_empty(), "{ways:?}");
    let strong: Vec<String> = sqlx::query_scalar(
        "select rolname::text from pg_roles where rolname like 'switchyard\\_%'
            and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolcanlogin)",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert!(strong.is_empty(), "they pass by row security: {strong:?}");
    // A login as a deployment makes it: it may become its role. `reset role` then gives it less, never more.
    let login = format!("login_{}", Uuid::new_v4().simple());
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create role {login} noinherit; grant switchyard_tenant to {login}"
    )))
    .execute(&world.owner)
    .await
    .unwrap();
    let mut conn = world.owner.acquire().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!(
        "set session authorization {login}; set role switchyard_tenant"
    )))
    .execute(&mut *conn)
    .await
    .unwrap();
    for role in [
        "switchyard_owner",
        "switchyard_system",
        "switchyard_observer",
    ] {
        refused(&mut conn, &format!("set role {role}")).await;
    }
    allowed(&mut conn, "reset role").await;
    refused(&mut conn, "select from switchyard.jobs").await;
    drop(conn.detach());
}

#[tokio::test]
async fn a_begin_that_is_dropped_leaves_no_connection_in_a_transaction() {
    let world = world().await;
    let tenants = TenantDb::new(&Connect {
        url: world.db.owner_url().into(),
        role: DatabaseRole::Tenant,
        connections_max: 4,
        acquire_timeout: Duration::from_secs(20),
    })
    .unwrap();
    for n in 0..300_u64 {
        let begin = tenants.begin(world.one.into());
        let began = tokio::time::timeout(Duration::from_micros(n * 7), begin).await;
        if let Ok(Ok(mut tx)) = began
            && n % 3 != 0
        {
            // Dropped in the middle of a statement.
            let slow = tx.execute("select pg_sleep(1)");
            drop(tokio::time::timeout(Duration::from_micros(n), slow).await);
        }
    }
    for _ in 0..8 {
        let mut conn = tenants.anonymous().await.unwrap();
        // By the simple protocol, in which a statement of its own begins when its transaction does.
        let row = (*conn)
            .fetch_one(sqlx::raw_sql(
                "select current_setting('switchyard.tenant', true), now() = statement_timestamp(), current_user::text",
            ))
            .await
            .unwrap();
        let tenant: Option<String> = row.get(0);
        assert_eq!(tenant.unwrap_or_default(), "", "no tenant is left behind");
        assert!(row.get::<bool, _>(1), "no transaction is open");
        assert_eq!(row.get::<String, _>(2), "switchyard_tenant");
    }
    let mut tx = tenants.begin(world.one.into()).await.unwrap();
    let own: i64 = sqlx::query_scalar("select count(*) from switchyard.tenants")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(own, 1);
    tx.commit().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database()
                and application_name = 'switchyard_tenant' and state like 'idle in transaction%'",
        )
        .fetch_one(&world.owner)
        .await
        .unwrap();
        if open == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{open} transactions are open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
