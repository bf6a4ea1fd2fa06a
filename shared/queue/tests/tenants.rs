//! Nobody reaches another tenant's rows: every function that a role may call, with what is its own and with what is not, and
//! every table that it may read or write, with row level security on and no filter in the query.
//!
//! The table of calls is complete: a function with the owner's rights that is not in it fails the test, and so does a table
//! that a tenant can write and for which there is no attempt.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "tenants/calls.rs"]
mod calls;

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use testkit::TestDb;

use crate::calls::{CALLS, Call, Kind};

const OWN: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const FOREIGN: &str = "bbbbbbbb-0000-0000-0000-000000000002";
/// Of an object that nobody has.
const ABSENT: &str = "987654321";
/// In everything that belongs to one tenant and could be told to the other.
const SECRET: &str = "of-a";

/// Two tenants that have one of everything, and the ids of what the first has.
struct World {
    owner: PgPool,
    things: Vec<(&'static str, String)>,
    _db: TestDb,
}

impl World {
    async fn new() -> Self {
        let db = testkit::database().await;
        let owner = db.pool(None).await;
        for (tenant, mark) in [(OWN, SECRET), (FOREIGN, "of-b")] {
            let sql = include_str!("tenants/things.sql")
                .replace("{tenant}", tenant)
                .replace("{mark}", mark);
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&owner)
                .await
                .unwrap();
        }
        let mut things = Vec::new();
        for (name, sql) in [
            (
                "{queued}",
                "select id from switchyard.jobs where state = 'queued'",
            ),
            (
                "{running}",
                "select id from switchyard.jobs where state = 'running'",
            ),
            (
                "{approval}",
                "select id from switchyard.jobs where waiting = 'approval'",
            ),
            (
                "{callback}",
                "select id from switchyard.jobs where waiting = 'callback'",
            ),
            (
                "{outside}",
                "select id from switchyard.jobs where state = 'waiting' and waiting = 'runner'",
            ),
            (
                "{stopping}",
                "select id from switchyard.jobs where state = 'cancelling'",
            ),
            (
                "{dead}",
                "select id from switchyard.jobs_archive where state = 'dead'",
            ),
            (
                "{schedule}",
                "select id from switchyard.schedules where true",
            ),
            (
                "{asleep}",
                "select id from switchyard.schedules where paused_at is not null",
            ),
            (
                "{pause}",
                "select id from switchyard.pauses where task = 'paused'",
            ),
        ] {
            let id: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
                "{sql} and database_id = '{OWN}' order by id limit 1"
            )))
            .fetch_one(&owner)
            .await
            .unwrap_or_else(|error| panic!("there is no {name}: {error}"));
            things.push((name, id.to_string()));
        }
        Self {
            owner,
            things,
            _db: db,
        }
    }

    /// Calls a function in the name of a tenant, then undoes it. Returns what was answered and whether a row changed that does
    /// not belong to `may_change`.
    async fn call(&self, call: &Call, caller: &str, absent: bool, epoch: i64) -> (String, bool) {
        let mut sql = call.sql.replace("{tenant}", &format!("'{caller}'::uuid"));
        for (name, id) in &self.things {
            sql = sql.replace(name, if absent { ABSENT } else { id });
        }
        sql = sql.replace("{epoch}", &epoch.to_string());
        let mut session = self.owner.acquire().await.unwrap();
        let mut tx = session.begin().await.unwrap();
        let before = rows_but_of(&mut tx, FOREIGN).await;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "select set_config('switchyard.tenant', '{caller}', true); savepoint before; set local role {}",
            call.role
        )))
        .execute(&mut *tx)
        .await
        .unwrap();
        let answer: Result<Vec<String>, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select to_jsonb(answer)::text from ({sql}) answer"
        )))
        .fetch_all(&mut *tx)
        .await;
        let answer = match answer {
            Ok(rows) => rows.join("\n"),
            Err(error) => {
                sqlx::raw_sql("rollback to savepoint before")
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                format!("error: {error}")
            }
        };
        sqlx::raw_sql("reset role").execute(&mut *tx).await.unwrap();
        let changed = rows_but_of(&mut tx, FOREIGN).await != before;
        tx.rollback().await.unwrap();
        (answer, changed)
    }
}

/// All rows of all tenants' tables that do not belong to a tenant.
async fn rows_but_of(session: &mut PgConnection, tenant: &str) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'database_id'
         where n.nspname = 'switchyard' and c.relkind in ('r', 'p') and not c.relispartition
         order by 1",
    )
    .fetch_all(&mut *session)
    .await
    .unwrap();
    let each: Vec<String> = tables
        .iter()
        .map(|table| {
            // A wake-up is nobody's: it says only that there may be work for a task.
            let or_nobody = if table == "switchyard.outbox" {
                "database_id <>"
            } else {
                "database_id is distinct from"
            };
            format!(
                "select '{table}' as name, jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text) as rows from {table} t
                 where {or_nobody} '{tenant}'"
            )
        })
        .collect();
    sqlx::query_scalar(AssertSqlSafe(format!(
        // By name, for in which order the tables are read is the server's choice.
        "select jsonb_object_agg(name, rows)::text from ({}) every",
        each.join(" union all ")
    )))
    .fetch_one(session)
    .await
    .unwrap()
}

/// What is left of an answer when one forgets which numbers and times it happened to be about.
fn shape(answer: &str) -> String {
    let mut shape = String::new();
    for c in answer.chars() {
        if !c.is_ascii_digit() {
            shape.push(c);
        } else if !shape.ends_with('0') {
            shape.push('0');
        }
    }
    shape
}

#[tokio::test]
async fn the_table_of_calls_names_every_function_that_a_role_may_call() {
    let db = testkit::database().await;
    let owner = db.pool(None).await;
    let there: BTreeSet<(String, String)> = sqlx::query_as(
        "select distinct r.name, p.proname::text
         from pg_proc p
         join pg_namespace n on n.oid = p.pronamespace
         cross join (values ('switchyard_system'), ('switchyard_tenant'), ('switchyard_observer')) r (name)
         where n.nspname = 'switchyard'
           -- The others have no rights but the caller's: what tables allow holds for them.
           and p.prosecdef
           and has_function_privilege(r.name, p.oid, 'execute')",
    )
    .fetch_all(&owner)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let named: BTreeSet<(String, String)> = CALLS
        .iter()
        .map(|call| (call.role.to_owned(), call.name.to_owned()))
        .collect();
    let missing: Vec<_> = there.difference(&named).collect();
    assert!(missing.is_empty(), "functions without a call: {missing:#?}");
    let stale: Vec<_> = named.difference(&there).collect();
    assert!(stale.is_empty(), "calls without a function: {stale:#?}");
}

#[tokio::test]
async fn a_call_reaches_what_is_the_callers_own_and_nothing_else() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    for call in CALLS {
        let mut say = |what: &str| wrong.push(format!("{}.{}: {what}", call.role, call.name));
        match call.kind {
            Kind::ForAll(_) => {}
            Kind::Reads | Kind::Writes => {
                let (own, changed) = world.call(call, OWN, false, 1).await;
                if own.starts_with("error:") {
                    say(&format!("refused to its own tenant: {own}"));
                } else if matches!(call.kind, Kind::Writes) && !changed {
                    say(&format!("did nothing for its own tenant: {own}"));
                } else if matches!(call.kind, Kind::Reads) && !own.contains(SECRET) {
                    say(&format!("told its own tenant nothing: {own}"));
                }
                let (foreign, changed) = world.call(call, FOREIGN, false, 1).await;
                if changed {
                    say(&format!("changed rows of another tenant: {foreign}"));
                }
                if foreign.contains(SECRET) {
                    say(&format!("told of another tenant: {foreign}"));
                }
                let (absent, _) = world.call(call, FOREIGN, true, 1).await;
                if shape(&foreign) != shape(&absent) {
                    say(&format!(
                        "tells that another tenant has it: {foreign} where nobody does: {absent}"
                    ));
                }
            }
            Kind::Fenced => {
                let (own, changed) = world.call(call, OWN, false, 1).await;
                if own.starts_with("error:") || !changed {
                    say(&format!("did nothing for who holds the job: {own}"));
                }
                let (stale, changed) = world.call(call, OWN, false, 7).await;
                // That it was tried is written down.
                let only_noted = call.notes_stale;
                if changed && !only_noted {
                    say(&format!("changed something without the epoch: {stale}"));
                }
                if stale.contains(SECRET) {
                    say(&format!("told something without the epoch: {stale}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Relations of ours of which a role may use some columns in a way, and those columns.
async fn usable(owner: &PgPool, role: &str, privilege: &str) -> Vec<(String, Vec<String>)> {
    sqlx::query_as(
        "select c.oid::regclass::text, array_agg(quote_ident(a.attname) order by a.attnum)
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where n.nspname in ('switchyard', 'switchyard_local') and c.relkind in ('r', 'p', 'v', 'm')
           and has_column_privilege($1, c.oid, a.attnum, $2)
         group by c.oid
         order by 1",
    )
    .bind(role)
    .bind(privilege)
    .fetch_all(owner)
    .await
    .unwrap()
}

/// What is the same for all tenants, and why.
const OF_NOBODY: &[(&str, &str)] = &[(
    "switchyard.tasks",
    "kinds of work belong to the installation",
)];

#[tokio::test]
async fn a_tenant_that_asks_without_a_filter_sees_its_own_rows_alone() {
    let world = World::new().await;
    let readable = usable(&world.owner, "switchyard_tenant", "select").await;
    assert!(readable.len() > 15, "the tables are somewhere else now");
    let mut session = world.owner.acquire().await.unwrap();
    let mut seen = 0;
    for (table, columns) in readable {
        if OF_NOBODY.iter().any(|(name, _)| *name == table) {
            continue;
        }
        assert!(
            columns.iter().any(|column| column == "database_id"),
            "{table} belongs to nobody, but a tenant may read it"
        );
        let columns = columns.join(", ");
        for tenant in [OWN, FOREIGN, ""] {
            let mut tx = session.begin().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(format!(
                "select set_config('switchyard.tenant', '{tenant}', true); set local role switchyard_tenant"
            )))
            .execute(&mut *tx)
            .await
            .unwrap();
            let owners: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
                "select database_id::text from (select {columns} from {table}) r"
            )))
            .fetch_all(&mut *tx)
            .await
            .unwrap();
            tx.rollback().await.unwrap();
            let strangers: Vec<&String> = owners.iter().filter(|owner| *owner != tenant).collect();
            assert!(
                strangers.is_empty(),
                "{tenant:?} sees rows of {strangers:?} in {table}"
            );
            seen += owners.len();
        }
    }
    assert!(seen > 20, "there was something to see");
}

/// What tenants declare themselves, and may take back.
const DELETABLE: [&str; 9] = [
    "switchyard.credentials",
    "switchyard.log_rule_overrides",
    "switchyard.log_rules",
    "switchyard.notification_endpoints",
    "switchyard.notification_rules",
    "switchyard.places",
    "switchyard.watches",
    "switchyard.workspace_templates",
    "switchyard.workspaces",
];

/// Attempts to put a row into another tenant's table, one for each table into which a tenant may put its own.
const INTRUSIONS: &[(&str, &str)] = &[
    (
        "switchyard.bindings",
        "insert into switchyard.bindings (id, database_id, trigger_id, workload_id)
         select gen_random_uuid(), '{tenant}', gen_random_uuid(), gen_random_uuid()",
    ),
    (
        "switchyard.credentials",
        "insert into switchyard.credentials (id, database_id, name, host, secret)
         values (gen_random_uuid(), '{tenant}', 'intruder', 'git.example.test', 'x')",
    ),
    (
        "switchyard.log_rule_overrides",
        "insert into switchyard.log_rule_overrides (database_id, rule_id, workload_id)
         select '{tenant}', gen_random_uuid(), gen_random_uuid()",
    ),
    (
        "switchyard.log_rules",
        "insert into switchyard.log_rules (id, database_id, name, pattern, severity, streams)
         values (gen_random_uuid(), '{tenant}', 'intruder', 'x', 'info', '{task}')",
    ),
    (
        "switchyard.notification_endpoints",
        "insert into switchyard.notification_endpoints (id, database_id, name, url, format, secret)
         values (gen_random_uuid(), '{tenant}', 'intruder', 'https://example.test/', 'standard', 'x')",
    ),
    (
        "switchyard.notification_rules",
        "insert into switchyard.notification_rules (id, database_id, endpoint_id, name, types)
         values (gen_random_uuid(), '{tenant}', gen_random_uuid(), 'intruder', '{*}')",
    ),
    (
        "switchyard.places",
        "insert into switchyard.places (id, database_id, kind, url)
         values (gen_random_uuid(), '{tenant}', 'git', 'https://git.example.test/a/b')",
    ),
    (
        "switchyard.triggers",
        "insert into switchyard.triggers (id, database_id, name, kind)
         values (gen_random_uuid(), '{tenant}', 'intruder', 'manual')",
    ),
    (
        "switchyard.watches",
        "insert into switchyard.watches (database_id, trigger_id, place_id, names, created_by)
         values ('{tenant}', gen_random_uuid(), gen_random_uuid(), '{main}', 'intruder')",
    ),
    (
        "switchyard.workspaces",
        "insert into switchyard.workspaces (id, database_id, name, repository, branch, created_by)
         values (gen_random_uuid(), '{tenant}', 'intruder', 'https://git.example.test/a/b', 'main', 'intruder')",
    ),
    (
        "switchyard.workloads",
        "insert into switchyard.workloads (id, database_id, name, source, config, host)
         values (gen_random_uuid(), '{tenant}', 'intruder', 'static', '{}', 'intruder')",
    ),
];

#[tokio::test]
async fn a_tenant_that_writes_without_a_filter_changes_its_own_rows_alone() {
    let world = World::new().await;
    let mut session = world.owner.acquire().await.unwrap();
    let deletable: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname in ('switchyard', 'switchyard_local') and c.relkind in ('r', 'p', 'v')
           and has_table_privilege('switchyard_tenant', c.oid, 'delete, truncate')
         order by 1",
    )
    .fetch_all(&mut *session)
    .await
    .unwrap();
    assert_eq!(
        deletable, DELETABLE,
        "what a tenant may delete is what it declared itself"
    );
    let changes = usable(&world.owner, "switchyard_tenant", "update")
        .await
        .into_iter()
        .map(|(table, columns)| {
            let sql = format!("update {table} set {} = default", columns[0]);
            (table, sql)
        });
    let deletions = DELETABLE
        .iter()
        .map(|table| ((*table).to_owned(), format!("delete from {table}")));
    for (table, sql) in changes.chain(deletions) {
        let mut tx = session.begin().await.unwrap();
        let before = rows_but_of(&mut tx, FOREIGN).await;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "select set_config('switchyard.tenant', '{FOREIGN}', true); set local role switchyard_tenant"
        )))
        .execute(&mut *tx)
        .await
        .unwrap();
        let touched = sqlx::query(AssertSqlSafe(sql.clone()))
            .execute(&mut *tx)
            .await;
        match touched {
            Ok(_) => {
                sqlx::raw_sql("reset role").execute(&mut *tx).await.unwrap();
                assert_eq!(
                    rows_but_of(&mut tx, FOREIGN).await,
                    before,
                    "{sql} without a filter reached another tenant"
                );
            }
            // A constraint of its own row refused it before anything else could.
            Err(error) => assert!(
                error
                    .as_database_error()
                    .is_some_and(|error| error.code().is_some_and(|code| code.starts_with("23"))),
                "{table}: {error}"
            ),
        }
        tx.rollback().await.unwrap();
    }
    let insertable: BTreeSet<String> = usable(&world.owner, "switchyard_tenant", "insert")
        .await
        .into_iter()
        .map(|(table, _)| table)
        .collect();
    let tried: BTreeSet<String> = INTRUSIONS
        .iter()
        .map(|(table, _)| (*table).to_owned())
        .collect();
    assert_eq!(insertable, tried, "each table is tried");
    for (table, sql) in INTRUSIONS {
        let mut tx = session.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!(
            "select set_config('switchyard.tenant', '{FOREIGN}', true); set local role switchyard_tenant"
        )))
        .execute(&mut *tx)
        .await
        .unwrap();
        let refused = sqlx::query(AssertSqlSafe(sql.replace("{tenant}", OWN)))
            .execute(&mut *tx)
            .await
            .expect_err("a row of another tenant is refused");
        let code = refused.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{table}: {refused}");
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn who_listens_can_call_nothing_and_read_everything_that_is_told() {
    let world = World::new().await;
    let mut session = world.owner.acquire().await.unwrap();
    let insertable: Vec<String> = usable(&world.owner, "switchyard_observer", "insert")
        .await
        .into_iter()
        .map(|(table, _)| table)
        .collect();
    assert_eq!(insertable, ["switchyard.outbox"]);
    let updatable = usable(&world.owner, "switchyard_observer", "update").await;
    assert!(updatable.is_empty(), "an observer may change {updatable:?}");
    for (broker, may) in [("observed", true), ("inbound", false), ("work", false)] {
        let mut tx = session.begin().await.unwrap();
        sqlx::raw_sql("set local role switchyard_observer")
            .execute(&mut *tx)
            .await
            .unwrap();
        let said = sqlx::query(AssertSqlSafe(format!(
            "insert into switchyard.outbox (broker, ce_id, ce_type, ce_source) values ('{broker}', '1', 'type', '/')"
        )))
        .execute(&mut *tx)
        .await;
        assert_eq!(said.is_ok(), may, "an observer and {broker}");
        tx.rollback().await.unwrap();
    }
}
