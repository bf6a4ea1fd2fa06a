//! What starts runs: a push to a workspace's path, a change of a fork, a tick, and runs that ended. The bindings are those of
//! docs/runs.md.

use runs::terraform::{Action, Payload, TASK};

use super::*;

const WORKSPACE: &str = "018f0000-0000-7000-8000-000000000009";
const CHANGED: &str = "dev.switchyard.git.change.opened.v1";
const FIRED: &str = "dev.switchyard.schedule.fired.v1";

fn runs_of(payload: Value) -> triggers::Target {
    triggers::Target::Task {
        task: TASK.to_owned(),
        payload,
        queue_name: None,
        key: None,
        priority: 0,
    }
}

fn plan_of(commit: &str) -> Value {
    json!({
        "action": "plan", "state": "vpc",
        "source": {"workspace": WORKSPACE, "folder": "vpc", "commit": commit},
    })
}

fn push_of(paths: &[&str]) -> Value {
    let mut push = push('a');
    push["changed_paths"] = json!({"are": "known", "paths": paths});
    push
}

impl Served {
    /// What a binding's job is to do, as its task reads it, and under which key.
    async fn payload(&self, event: EventId) -> (Payload, Option<String>) {
        let (payload, key): (Value, Option<String>) = sqlx::query_as(
            "select j.payload, j.key
             from switchyard.decisions d
             join switchyard.jobs j on j.database_id = d.database_id and j.id = d.job_id
             where d.event_id = $1",
        )
        .bind(event.uuid())
        .fetch_one(&self.rows)
        .await
        .unwrap();
        let payload: Payload = runs::read(&payload).unwrap();
        payload.check().unwrap();
        (payload, key)
    }

    /// A run of ours with this payload that ended so.
    async fn ran(&self, payload: Value, state: &str, result: Value) {
        sqlx::query("select job_id from switchyard.add_job($1, $2, $3)")
            .bind(self.tenant.uuid())
            .bind(TASK)
            .bind(payload)
            .execute(&self.rows)
            .await
            .unwrap();
        let (id, epoch) = self.taken(TASK).await;
        sqlx::query(
            "select from switchyard.finish_jobs(
                array[$1], array[$2], array[$3::text::switchyard.job_state], array[null], array[$4]::jsonb[]
             )",
        )
        .bind(id)
        .bind(epoch)
        .bind(state)
        .bind(result)
        .execute(&self.rows)
        .await
        .unwrap();
    }

    /// The event that was made last.
    async fn last(&self) -> EventId {
        self.heard().await.last().expect("one was made").0.into()
    }
}

#[tokio::test]
async fn a_push_to_a_workspaces_path_plans_what_was_pushed() {
    let it = Served::new().await;
    let trigger = it
        .trigger(
            TriggerKind::Git,
            json!({"branches": ["main"], "paths": ["vpc/**"]}),
        )
        .await;
    it.bind(
        trigger,
        json!({}),
        runs_of(plan_of("{{ event.data.after }}")),
    )
    .await;
    let elsewhere = it.happened(trigger, PUSHED, &push_of(&["docs/a.md"])).await;
    it.dispatch(elsewhere).await;
    assert_eq!(it.decided(elsewhere).await[0].1, "paths");
    let here = it
        .happened(trigger, PUSHED, &push_of(&["vpc/main.tf"]))
        .await;
    it.dispatch(here).await;
    let (payload, key) = it.payload(here).await;
    assert_eq!((payload.action, payload.untrusted), (Action::Plan, false));
    assert_eq!(payload.source.commit, Some("a".repeat(40)));
    // Of plans of one state the newest counts.
    assert_eq!(key.as_deref(), Some("terraform:vpc"));
    let newer = it.happened(trigger, PUSHED, &push_of(&["vpc/b.tf"])).await;
    it.dispatch(newer).await;
    let jobs: i64 = sqlx::query_scalar("select count(*) from switchyard.jobs")
        .fetch_one(&it.rows)
        .await
        .unwrap();
    assert_eq!(jobs, 1);
}

#[tokio::test]
async fn a_change_of_a_fork_plans_without_trust_and_beside_what_is_trusted() {
    let it = Served::new().await;
    let config = json!({"changes": {"forks": true}});
    let trigger = it.trigger(TriggerKind::Git, config).await;
    let mut plan = plan_of("{{ event.data.head.sha }}");
    plan["approve_within_secs"] = 0.into();
    // Who writes the binding cannot say otherwise.
    plan["untrusted"] = false.into();
    it.bind(trigger, json!({}), runs_of(plan)).await;
    let change = |from_fork: bool| {
        json!({
            "vendor": "github", "repository": {"path": "a/b"}, "number": 7, "action": "opened",
            "vendor_action": "opened", "title": "More", "head": {"branch": "more", "sha": "c".repeat(40)},
            "base": {"branch": "main"}, "from_fork": from_fork,
        })
    };
    let theirs = it.happened(trigger, CHANGED, &change(true)).await;
    it.dispatch(theirs).await;
    let (payload, key) = it.payload(theirs).await;
    assert!(payload.untrusted);
    assert_eq!(key.as_deref(), Some("untrusted:terraform:vpc"));
    let ours = it.happened(trigger, CHANGED, &change(false)).await;
    it.dispatch(ours).await;
    let (payload, key) = it.payload(ours).await;
    assert!(!payload.untrusted);
    assert_eq!(key.as_deref(), Some("terraform:vpc"));
}

#[tokio::test]
async fn a_fork_never_gets_what_a_binding_would_give_it() {
    let it = Served::new().await;
    let config = json!({"changes": {"forks": true}});
    let trigger = it.trigger(TriggerKind::Git, config).await;
    for (name, value) in [
        (
            "environment",
            json!({"REGION": "{{ event.data.base.branch }}"}),
        ),
        ("action", json!("destroy")),
    ] {
        let mut plan = plan_of("{{ event.data.head.sha }}");
        plan[name] = value;
        it.bind(trigger, json!({}), runs_of(plan)).await;
    }
    let change = json!({
        "vendor": "github", "repository": {"path": "a/b"}, "number": 7, "action": "opened",
        "vendor_action": "opened", "title": "More", "head": {"branch": "more", "sha": "c".repeat(40)},
        "base": {"branch": "main"}, "from_fork": true,
    });
    let event = it.happened(trigger, CHANGED, &change).await;
    it.dispatch(event).await;
    let decided = it.decided(event).await;
    let clauses: Vec<&str> = decided.iter().map(|it| it.1.as_str()).collect();
    assert_eq!(clauses, ["payload", "payload"]);
}

#[tokio::test]
async fn a_tick_looks_for_drift_and_drift_that_was_found_plans() {
    let it = Served::new().await;
    let clock = it
        .trigger(TriggerKind::Schedule, json!({"rule": "@daily"}))
        .await;
    let drift = json!({"action": "drift", "state": "vpc", "source": {"workspace": WORKSPACE, "folder": "vpc"}});
    it.bind(clock, json!({}), runs_of(drift.clone())).await;
    let tick = it.happened(clock, FIRED, &json!({"schedule": 1})).await;
    it.dispatch(tick).await;
    let (payload, key) = it.payload(tick).await;
    assert_eq!(payload.action, Action::Drift);
    assert_eq!(key.as_deref(), Some("terraform-drift:vpc"));
    sqlx::query("delete from switchyard.jobs")
        .execute(&it.rows)
        .await
        .unwrap();

    let hears = json!({"exact": {"type": "dev.switchyard.job.finished.v1"}});
    let after = it.trigger(TriggerKind::Event, hears).await;
    let plan = json!({
        "action": "plan", "state": "{{ event.job.payload.state }}", "source": "{{ event.job.payload.source }}",
    });
    let when = |expression: &str| json!({"language": "cel", "expression": expression});
    let found = it.bind(after, json!({}), runs_of(plan)).await;
    let page = triggers::Target::Task {
        task: "page".to_owned(),
        payload: json!({"about": "{{ event.data.job }}", "why": "{{ event.data.reason | default('') }}"}),
        queue_name: None,
        key: None,
        priority: 0,
    };
    let failed = it.bind(after, json!({}), page).await;
    for (binding, condition) in [
        (
            found,
            when("event.job.payload.action == 'drift' && event.job.changes"),
        ),
        (failed, when("event.data.state == 'dead'")),
    ] {
        sqlx::query("update switchyard.bindings set condition = $2 where id = $1")
            .bind(binding.uuid())
            .bind(condition)
            .execute(&it.rows)
            .await
            .unwrap();
    }
    it.ran(drift.clone(), "succeeded", json!({"changes": true}))
        .await;
    let event = it.last().await;
    it.dispatch(event).await;
    let decided = it.decided(event).await;
    let told: Vec<&str> = decided.iter().map(|it| it.1.as_str()).collect();
    assert_eq!(told, ["added", "condition"]);
    let (payload, key) = it.payload(event).await;
    assert_eq!(
        (payload.action, payload.state.as_str()),
        (Action::Plan, "vpc")
    );
    assert_eq!(payload.source.folder, "vpc");
    assert_eq!(key.as_deref(), Some("terraform:vpc"));
    sqlx::query("delete from switchyard.jobs")
        .execute(&it.rows)
        .await
        .unwrap();

    // No drift starts nothing, and what failed pages.
    it.ran(drift.clone(), "succeeded", json!({"changes": false}))
        .await;
    let event = it.last().await;
    it.dispatch(event).await;
    assert!(it.decided(event).await.iter().all(|it| it.1 == "condition"));
    it.ran(drift, "dead", Value::Null).await;
    let event = it.last().await;
    it.dispatch(event).await;
    let told: Vec<String> = it.decided(event).await.into_iter().map(|it| it.1).collect();
    assert_eq!(told, ["condition", "added"]);
}

#[tokio::test]
async fn what_an_untrusted_run_leads_to_is_untrusted() {
    let it = Served::new().await;
    let hears = json!({"exact": {"type": "dev.switchyard.job.finished.v1"}});
    let after = it.trigger(TriggerKind::Event, hears).await;
    let next =
        json!({"action": "plan", "state": "next", "source": "{{ event.job.payload.source }}"});
    it.bind(after, json!({}), runs_of(next)).await;
    let mut theirs = plan_of(&"c".repeat(40));
    theirs["untrusted"] = true.into();
    it.ran(theirs, "succeeded", json!({"changes": true})).await;
    let event = it.last().await;
    it.dispatch(event).await;
    let (payload, key) = it.payload(event).await;
    assert!(payload.untrusted);
    assert_eq!(key.as_deref(), Some("untrusted:terraform:next"));
}

#[tokio::test]
async fn a_payload_that_the_task_would_refuse_starts_nothing_and_says_why() {
    let it = Served::new().await;
    let trigger = it.trigger(TriggerKind::Git, json!({})).await;
    it.bind(
        trigger,
        json!({}),
        runs_of(json!({
            "action": "plan", "state": "{{ event.data.branch }}/x", "source": {"workspace": WORKSPACE},
        })),
    )
    .await;
    let event = it.happened(trigger, PUSHED, &push('a')).await;
    it.dispatch(event).await;
    let why: (String, String) =
        sqlx::query_as("select clause, actual from switchyard.decisions where event_id = $1")
            .bind(event.uuid())
            .fetch_one(&it.rows)
            .await
            .unwrap();
    assert_eq!(why.0, "payload");
    assert!(why.1.starts_with("state: "), "{}", why.1);

    // What depends on no event is refused when it is saved.
    let mut tx = it.tenants.begin(it.tenant).await.unwrap();
    let wanted = BindingWanted {
        filter: Map::new(),
        condition: None,
        target: runs_of(json!({"action": "plan", "state": "vpc", "source": {}})),
        enabled: true,
    };
    let refused = bindings::create(&mut tx, it.tenant, trigger, &wanted, "me").await;
    assert!(
        format!("{refused:?}").contains("payload.source"),
        "{refused:?}"
    );
}

/// What every path on which a fork's job could be followed has in common.
struct Forked {
    it: Served,
    /// The fork's job.
    job: i64,
    epoch: i64,
}

impl Forked {
    /// A fork's change was planned, under a task that keeps this history, and is being worked on.
    async fn new(history: &str) -> Self {
        let it = Served::new().await;
        sqlx::query(
            "insert into switchyard.tasks (name, history) values ($1, $2::text::switchyard.history)",
        )
        .bind(TASK)
        .bind(history)
        .execute(&it.rows)
        .await
        .unwrap();
        let forks = it
            .trigger(TriggerKind::Git, json!({"changes": {"forks": true}}))
            .await;
        let mut plan = plan_of("{{ event.data.head.sha }}");
        plan["approve_within_secs"] = 0.into();
        it.bind(forks, json!({}), runs_of(plan)).await;
        let jobs = json!({"prefix": {"type": "dev.switchyard.job."}});
        let after = it.trigger(TriggerKind::Event, jobs).await;
        let next = json!({
            "action": "apply", "state": "next", "source": {"workspace": WORKSPACE},
            "environment": {"TOKEN": "secret"},
        });
        it.bind(after, json!({}), runs_of(next)).await;
        let next = json!({"action": "plan", "state": "next", "source": {"workspace": WORKSPACE}});
        it.bind(after, json!({}), runs_of(next)).await;
        let change = json!({
            "vendor": "github", "repository": {"path": "a/b"}, "number": 7, "action": "opened",
            "vendor_action": "opened", "title": "More", "head": {"branch": "more", "sha": "c".repeat(40)},
            "base": {"branch": "main"}, "from_fork": true,
        });
        let event = it.happened(forks, CHANGED, &change).await;
        it.dispatch(event).await;
        let (job, epoch) = it.taken(TASK).await;
        Self { it, job, epoch }
    }

    async fn run(&self, statement: &'static str) {
        let done = sqlx::query(statement)
            .bind(self.it.tenant.uuid())
            .bind(self.job)
            .bind(self.epoch)
            .fetch_all(&self.it.rows)
            .await;
        assert_eq!(done.unwrap().len(), 1, "{statement}");
    }

    /// Its worker says that it ended so.
    async fn ends(&self, state: &str) {
        let applied: Option<String> = sqlx::query_scalar(
            "select applied::text from switchyard.finish_jobs(
                array[$1::bigint], array[$2::bigint], array[$3::text]::switchyard.job_state[], array['as it was'],
                array[null]::jsonb[]
            )",
        )
        .bind(self.job)
        .bind(self.epoch)
        .bind(state)
        .fetch_one(&self.it.rows)
        .await
        .unwrap();
        assert_eq!(applied.as_deref(), Some(state));
    }

    /// What the last event leads to is a plan without trust, and nothing else.
    async fn leads_to_nothing_trusted(&self) {
        let event = self.it.last().await;
        self.it.dispatch(event).await;
        let mut told: Vec<String> = self
            .it
            .decided(event)
            .await
            .into_iter()
            .map(|it| it.1)
            .collect();
        told.sort();
        assert_eq!(told, ["added", "payload"]);
        let (payload, key) = self.it.payload(event).await;
        assert!(payload.untrusted);
        assert_eq!(key.as_deref(), Some("untrusted:terraform:next"));
    }
}

#[tokio::test]
async fn what_follows_a_fork_is_untrusted_whatever_history_its_task_keeps() {
    for history in ["full", "failures", "none"] {
        let forked = Forked::new(history).await;
        forked.ends("succeeded").await;
        forked.leads_to_nothing_trusted().await;
        // One by one is another way to the archive.
        let forked = Forked::new(history).await;
        forked
            .run("select switchyard.cancel_job($1, $2, 'Ann') where $3::bigint is not null")
            .await;
        forked.ends("cancelled").await;
        forked.leads_to_nothing_trusted().await;
    }
}

#[tokio::test]
async fn what_follows_a_forks_retry_is_untrusted() {
    let forked = Forked::new("none").await;
    forked
        .run("select switchyard.retry_job($2, $3, 'no route') where $1::uuid is not null")
        .await;
    forked.leads_to_nothing_trusted().await;
}

#[tokio::test]
async fn what_follows_a_fork_is_untrusted_when_its_job_is_gone_meanwhile() {
    let forked = Forked::new("full").await;
    forked.ends("dead").await;
    forked
        .run("select switchyard.purge_job($1, $2) where $3::bigint is not null")
        .await;
    forked.leads_to_nothing_trusted().await;
}

#[tokio::test]
async fn a_forks_job_that_is_replayed_stays_untrusted() {
    let forked = Forked::new("none").await;
    forked.ends("dead").await;
    forked
        .run("select switchyard.replay_job($1, $2, 'Ann') where $3::bigint is not null")
        .await;
    let again: (Value, Option<String>) =
        sqlx::query_as("select payload, key from switchyard.jobs where replay_of = $1")
            .bind(forked.job)
            .fetch_one(&forked.it.rows)
            .await
            .unwrap();
    assert_eq!(again.0["untrusted"], true);
    assert_eq!(again.1.as_deref(), Some("untrusted:terraform:vpc"));
    let (job, epoch) = forked.it.taken(TASK).await;
    assert_ne!(job, forked.job);
    let again = Forked {
        job,
        epoch,
        ..forked
    };
    again.ends("succeeded").await;
    again.leads_to_nothing_trusted().await;
}

#[tokio::test]
async fn what_a_line_in_the_log_of_a_forks_job_starts_is_untrusted() {
    let forked = Forked::new("none").await;
    let it = &forked.it;
    let lines = it.trigger(TriggerKind::Log, json!({})).await;
    let next = json!({"action": "plan", "state": "next", "source": {"workspace": WORKSPACE}});
    it.bind(lines, json!({}), runs_of(next)).await;
    let chain: String =
        sqlx::query_scalar("select correlation_id from switchyard.jobs where id = $1")
            .bind(forked.job)
            .fetch_one(&it.rows)
            .await
            .unwrap();
    let nobody = EventId::from(Uuid::now_v7()).to_string();
    // Of a job that is gone meanwhile the chain tells.
    for (job, chain, untrusted) in [
        (forked.job, &chain, true),
        (i64::MAX, &chain, true),
        (i64::MAX, &nobody, false),
    ] {
        let data =
            json!({"rule": "fell over", "severity": "error", "job": job, "correlation_id": chain});
        let event = it
            .add(AddedEvent::new(
                Uuid::now_v7().into(),
                it.tenant,
                lines,
                "dev.switchyard.log.matched.v1",
                "/switchyard/cron-logs",
                data.to_string(),
            ))
            .await;
        it.dispatch(event).await;
        let (payload, _) = it.payload(event).await;
        assert_eq!(payload.untrusted, untrusted, "{data}");
    }
}
