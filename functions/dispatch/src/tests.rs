use axum::Router;
use axum::body::Body;
use database::{Connect, TenantDb};
use host::{Env, Resources};
use http::{Request, StatusCode};
use model::{BindingId, TenantId, TriggerId, TriggerKind};
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use store::bindings::{self, BindingWanted};
use store::events::{AddedEvent, add_event};
use store::triggers::{self as kept, TriggerWanted};
use testkit::TestDb;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

mod starting;

/// The function on a database with one tenant.
struct Served {
    router: Router,
    rows: PgPool,
    tenants: TenantDb,
    tenant: TenantId,
    _db: TestDb,
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

impl Served {
    /// A job of ours that somebody has claimed: its id and epoch.
    async fn claimed(&self, task: &str) -> (i64, i64) {
        sqlx::query("select job_id from switchyard.add_job($1, $2, '{}')")
            .bind(self.tenant.uuid())
            .bind(task)
            .execute(&self.rows)
            .await
            .unwrap();
        self.taken(task).await
    }

    /// A job that was there, claimed.
    async fn taken(&self, task: &str) -> (i64, i64) {
        sqlx::query_as(
            "select id, epoch from switchyard.claim_jobs(gen_random_uuid(), array[$1], 1, '1 min')",
        )
        .bind(task)
        .fetch_one(&self.rows)
        .await
        .unwrap()
    }

    async fn end(&self, (id, epoch): (i64, i64)) {
        sqlx::query(
            "select from switchyard.finish_jobs(array[$1], array[$2], '{succeeded}', array[null], array[null]::jsonb[])",
        )
        .bind(id)
        .bind(epoch)
        .execute(&self.rows)
        .await
        .unwrap();
    }

    /// The tenant's events and how deep they are, in their order.
    async fn heard(&self) -> Vec<(Uuid, i32)> {
        sqlx::query_as(
            "select id, depth from switchyard.events where database_id = $1 order by seq",
        )
        .bind(self.tenant.uuid())
        .fetch_all(&self.rows)
        .await
        .unwrap()
    }

    async fn new() -> Self {
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let tenant = Uuid::now_v7();
        sqlx::query("insert into switchyard.tenants values ($1, 'acme')")
            .bind(tenant)
            .execute(&rows)
            .await
            .unwrap();
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60");
        let mounted = FUNCTION.mount(&env, &Resources::new().unwrap()).unwrap();
        let tenants = TenantDb::new(&Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 2,
            acquire_timeout: std::time::Duration::from_secs(60),
        })
        .unwrap();
        Self {
            router: mounted.router,
            rows,
            tenants,
            tenant: tenant.into(),
            _db: db,
        }
    }

    async fn workload(&self, name: &str) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into switchyard.workloads (id, database_id, name, source, config, host)
             values ($1, $2, $3, 'static', $4, $3)",
        )
        .bind(id)
        .bind(self.tenant.uuid())
        .bind(name)
        .bind(json!({"source": {"kind": "provider", "base_url": "https://git.example.com", "repository": "a/b"}}))
        .execute(&self.rows)
        .await
        .unwrap();
        id
    }

    async fn trigger(&self, kind: TriggerKind, config: Value) -> TriggerId {
        let mut tx = self.tenants.begin(self.tenant).await.unwrap();
        let wanted = TriggerWanted {
            name: Uuid::now_v7().to_string(),
            kind,
            config: map(config),
            condition: None,
            scheme: None,
            enabled: true,
        };
        let saved = kept::create(&mut tx, self.tenant, &wanted, "me")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        saved.id
    }

    async fn bind(&self, trigger: TriggerId, filter: Value, target: triggers::Target) -> BindingId {
        let mut tx = self.tenants.begin(self.tenant).await.unwrap();
        let wanted = BindingWanted {
            filter: map(filter),
            condition: None,
            target,
            enabled: true,
        };
        let saved = bindings::create(&mut tx, self.tenant, trigger, &wanted, "me")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        saved.id
    }

    async fn happened(&self, trigger: TriggerId, ty: &str, data: &Value) -> EventId {
        self.add(AddedEvent::new(
            Uuid::now_v7().into(),
            self.tenant,
            trigger,
            ty,
            "/test",
            data.to_string(),
        ))
        .await
    }

    async fn add(&self, event: AddedEvent) -> EventId {
        let mut conn = self.rows.acquire().await.unwrap();
        assert!(add_event(&mut conn, &event).await.unwrap());
        event.id
    }

    async fn dispatch(&self, id: EventId) -> StatusCode {
        let event = Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", id.to_string())
            .header("ce-source", "/anywhere")
            .header("ce-type", "of.no.matter")
            .body(Body::empty())
            .unwrap();
        self.router.clone().oneshot(event).await.unwrap().status()
    }

    /// Each decision: the binding, the failed clause or the outcome of its job, and that job's payload.
    async fn decided(&self, id: EventId) -> Vec<(Uuid, String, Option<Value>)> {
        sqlx::query_as(
            "select d.binding_id, coalesce(d.clause, d.job_outcome), j.payload
             from switchyard.decisions d
             left join switchyard.jobs j on j.database_id = d.database_id and j.id = d.job_id
             where d.event_id = $1 order by d.binding_id",
        )
        .bind(id.uuid())
        .fetch_all(&self.rows)
        .await
        .unwrap()
    }
}

fn deploy(workload: Uuid) -> triggers::Target {
    triggers::Target::Workload {
        id: workload.into(),
        source: String::new(),
        overrides: Map::new(),
    }
}

fn task(payload: Value) -> triggers::Target {
    triggers::Target::Task {
        task: "build".to_owned(),
        payload,
        queue_name: Some("builds".to_owned()),
        key: Some("build-{{ event.data.branch }}".to_owned()),
        priority: 4,
    }
}

fn push(commit: char) -> Value {
    json!({
        "vendor": "gitea", "repository": {"path": "a/b"}, "ref_name": "refs/heads/main", "branch": "main",
        "before": null, "after": commit.to_string().repeat(40),
        "changed_paths": {"are": "unknown", "reason": "none"},
    })
}

const PUSHED: &str = "dev.switchyard.git.pushed.v1";

#[tokio::test]
async fn each_binding_decides_once_and_says_why() {
    let it = Served::new().await;
    let docs = it.workload("docs").await;
    let trigger = it
        .trigger(TriggerKind::Git, json!({"branches": ["main"]}))
        .await;
    let deploys = it.bind(trigger, json!({}), deploy(docs)).await;
    let builds = it
        .bind(
            trigger,
            json!({}),
            task(json!({"at": "{{ event.data.after | short }}", "n": 1})),
        )
        .await;
    let other = it
        .bind(trigger, json!({"branches": ["next"]}), deploy(docs))
        .await;
    let event = it.happened(trigger, PUSHED, &push('a')).await;
    assert_eq!(it.dispatch(event).await, StatusCode::ACCEPTED);
    assert_eq!(it.dispatch(event).await, StatusCode::ACCEPTED, "a repeat");
    let decided = it.decided(event).await;
    let told: Vec<_> = decided.iter().map(|it| (it.0, it.1.as_str())).collect();
    assert_eq!(
        told,
        [
            (deploys.uuid(), "added"),
            (builds.uuid(), "added"),
            (other.uuid(), "branch")
        ]
    );
    assert_eq!(decided[1].2, Some(json!({"at": "aaaaaaa", "n": 1})));
    let jobs: Vec<(String, Option<String>, Option<String>, i32)> =
        sqlx::query_as("select task, queue_name, key, priority from switchyard.jobs order by task")
            .fetch_all(&it.rows)
            .await
            .unwrap();
    assert_eq!(
        jobs[0],
        (
            "build".to_owned(),
            Some("builds".to_owned()),
            Some("build-main".to_owned()),
            4
        )
    );
    assert_eq!(jobs.len(), 2);
}

#[tokio::test]
async fn a_replay_asks_one_binding_alone_and_takes_a_new_number() {
    let it = Served::new().await;
    let trigger = it.trigger(TriggerKind::Git, json!({})).await;
    it.bind(trigger, json!({}), deploy(it.workload("docs").await))
        .await;
    let builds = it.bind(trigger, json!({}), task(json!({}))).await;
    let first = it.happened(trigger, PUSHED, &push('a')).await;
    it.dispatch(first).await;
    let replay = it
        .add(AddedEvent {
            only_binding: Some(builds),
            replays: Some(first),
            ..AddedEvent::new(
                Uuid::now_v7().into(),
                it.tenant,
                trigger,
                PUSHED,
                "/test",
                push('a').to_string(),
            )
        })
        .await;
    it.dispatch(replay).await;
    let decided = it.decided(replay).await;
    assert_eq!(decided.len(), 1);
    assert_eq!(
        (decided[0].0, decided[0].1.as_str()),
        (builds.uuid(), "added")
    );
}

#[tokio::test]
async fn the_newest_push_wins_in_whatever_order_they_arrive() {
    let it = Served::new().await;
    let trigger = it.trigger(TriggerKind::Git, json!({})).await;
    it.bind(trigger, json!({}), deploy(it.workload("docs").await))
        .await;
    let older = it.happened(trigger, PUSHED, &push('a')).await;
    let newer = it.happened(trigger, PUSHED, &push('b')).await;
    it.dispatch(newer).await;
    it.dispatch(older).await;
    assert_eq!(it.decided(newer).await[0].1, "added");
    assert_eq!(it.decided(older).await[0].1, "superseded");
    // While one runs, one waits: of two more pushes the newer.
    sqlx::query(
        "select from switchyard.claim_jobs(gen_random_uuid(), '{task-static}', 1, '1 min')",
    )
    .execute(&it.rows)
    .await
    .unwrap();
    let third = it.happened(trigger, PUSHED, &push('c')).await;
    let fourth = it.happened(trigger, PUSHED, &push('d')).await;
    it.dispatch(third).await;
    it.dispatch(fourth).await;
    let waiting: Vec<(String, String)> = sqlx::query_as(
        "select state::text, payload #>> '{action,asked}' from switchyard.jobs order by id",
    )
    .fetch_all(&it.rows)
    .await
    .unwrap();
    assert_eq!(
        waiting,
        [
            ("running".to_owned(), "b".repeat(40)),
            ("queued".to_owned(), "d".repeat(40))
        ]
    );
}

#[tokio::test]
async fn work_that_ended_leads_to_work_and_a_loop_ends() {
    let it = Served::new().await;
    let hears = json!({"exact": {"type": "dev.switchyard.job.finished.v1"}});
    let trigger = it.trigger(TriggerKind::Event, hears).await;
    it.trigger(
        TriggerKind::Event,
        json!({"prefix": {"type": "com.example."}}),
    )
    .await;
    it.bind(
        trigger,
        json!({}),
        triggers::Target::Task {
            task: "after".to_owned(),
            payload: json!({"of": "{{ event.data.job }}", "task": "{{ event.data.task }}"}),
            queue_name: None,
            key: None,
            priority: 0,
        },
    )
    .await;
    let own = it.tenant.uuid();
    let job = it.claimed("build").await;
    assert_eq!(it.heard().await, [], "only what ended is told");
    it.end(job).await;
    it.end(job).await;
    let heard = it.heard().await;
    assert_eq!(heard.len(), 1, "the second end changed nothing: {heard:?}");
    let (event, depth) = heard[0];
    assert_eq!(depth, 1);
    assert_eq!(it.dispatch(event.into()).await, StatusCode::ACCEPTED);
    let decided = it.decided(event.into()).await;
    assert_eq!(decided[0].2, Some(json!({"of": job.0, "task": "build"})));
    let (after, ended): (i32, String) = sqlx::query_as(
        "select j.depth, e.data ->> 'state' from switchyard.jobs j, switchyard.events e
         where j.task = 'after' and e.id = $1",
    )
    .bind(event)
    .fetch_one(&it.rows)
    .await
    .unwrap();
    assert_eq!((after, ended.as_str()), (1, "succeeded"));
    // What came of it ends too: a step deeper, until nobody is told any more.
    sqlx::query("update switchyard.jobs set depth = 17 where task = 'after'")
        .execute(&it.rows)
        .await
        .unwrap();
    let deep_job = it.taken("after").await;
    it.end(deep_job).await;
    assert_eq!(it.heard().await.len(), 1, "what is too deep tells nobody");
    let other = Uuid::now_v7();
    sqlx::query("insert into switchyard.tenants values ($1, 'other')")
        .bind(other)
        .execute(&it.rows)
        .await
        .unwrap();
    sqlx::query("select job_id from switchyard.add_job($1, 'build', '{}')")
        .bind(other)
        .execute(&it.rows)
        .await
        .unwrap();
    let theirs = it.taken("build").await;
    it.end(theirs).await;
    let events: i64 =
        sqlx::query_scalar("select count(*) from switchyard.events where database_id <> $1")
            .bind(own)
            .fetch_one(&it.rows)
            .await
            .unwrap();
    assert_eq!(events, 0, "nobody there hears");
    let deep = it
        .add(AddedEvent {
            depth: 17,
            ..AddedEvent::new(
                Uuid::now_v7().into(),
                it.tenant,
                trigger,
                "dev.switchyard.job.finished.v1",
                "/switchyard/jobs",
                json!({"job": 1, "task": "build"}).to_string(),
            )
        })
        .await;
    it.dispatch(deep).await;
    assert_eq!(it.decided(deep).await[0].1, "depth");
}

#[tokio::test]
async fn what_was_removed_starts_nothing_and_stays_told() {
    let it = Served::new().await;
    let trigger = it.trigger(TriggerKind::Git, json!({})).await;
    it.bind(trigger, json!({}), task(json!({}))).await;
    let before = it.happened(trigger, PUSHED, &push('a')).await;
    it.dispatch(before).await;
    let waits = it.happened(trigger, PUSHED, &push('b')).await;
    let mut tx = it.tenants.begin(it.tenant).await.unwrap();
    kept::remove(&mut tx, trigger, true, "me").await.unwrap();
    tx.commit().await.unwrap();
    it.dispatch(waits).await;
    assert_eq!(it.decided(waits).await, []);
    assert_eq!(it.decided(before).await.len(), 1);
}
