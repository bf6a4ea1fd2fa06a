//! A long log in pieces, and jobs that runners work on.

use std::time::Duration;

use ::queue::Hold;
use ::queue::runs::{Begun, NewRun};
use http::StatusCode;
use model::Role;
use model::run::{RunEnd, RunNews, RunOver, RunReport, StepNews, StepState, Then};
use serde_json::json;

use super::{Served, Stream, served, served_with};

/// The numbers of the lines in a page or a piece of one.
fn numbers(page: &str) -> Vec<i64> {
    let found = page.split("id=\"L").skip(1);
    found
        .filter_map(|rest| rest.split('"').next()?.parse().ok())
        .collect()
}

impl Served {
    /// Writes lines into the log of the acme's job, as one statement.
    async fn flood(&self, epoch: i64, lines: i64) {
        sqlx::query(
            "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line, at)
             select database_id, id, $2, n, 'stdout', case when n % 1000 = 7 then 'Needle ' else 'hay ' end || n, now() - interval '1 hour'
             from switchyard.jobs, generate_series(1, $3::bigint) n
             where id = $1",
        )
        .bind(self.acme.job.0)
        .bind(epoch)
        .bind(lines)
        .execute(&self.rows)
        .await
        .expect("lines");
    }

    /// Lets the acme's job wait for a runner.
    async fn begin_run(&self, then: Then) -> Hold {
        let hold = self.claim(&self.acme).await;
        let begun = self
            .queue
            .begin_run(
                hold,
                &NewRun {
                    phase: "plan",
                    launcher: "local",
                    spec: b"sealed",
                    handle: &json!({}),
                    steps: &["init".to_owned(), "plan".to_owned()],
                    start_within: Duration::from_secs(60),
                    lease: Duration::from_secs(60),
                    time: Duration::from_secs(600),
                    then,
                    retry: false,
                },
            )
            .await;
        assert_eq!(begun.expect("a run"), Begun::Waiting);
        hold
    }

    async fn tell(&self, hold: Hold, news: RunNews) {
        let heard = self.queue.run_news(self.acme.tenant, hold, &news).await;
        heard.expect("an answer");
    }
}

#[tokio::test]
async fn any_line_of_a_long_log_has_an_address() {
    let it = served().await;
    let ann = it.sign_in("acme", "Ann", Role::Viewer).await;
    let hold = it.claim(&it.acme).await;
    it.flood(hold.epoch, 30_000).await;
    let job = it.acme.job;
    let (_, page) = it.get(Some(&ann), &format!("/jobs/{job}")).await;
    let shown = numbers(&page);
    assert_eq!(
        (shown.first(), shown.last()),
        (Some(&29_001), Some(&30_000))
    );
    let (status, page) = it.get(Some(&ann), &format!("/jobs/{job}?line=12345")).await;
    assert_eq!(status, StatusCode::OK);
    let shown = numbers(&page);
    assert_eq!((shown.first(), shown.len()), (Some(&12_145), 1_000));
    assert!(page.contains("/live/jobs/") && page.contains("?log=no"));
    for (query, first, last) in [
        ("before=12145", 11_645, 12_144),
        ("from=13145", 13_145, 13_644),
        ("from=29990", 29_990, 30_000),
        ("before=3", 1, 2),
    ] {
        let (status, piece) = it
            .get(Some(&ann), &format!("/jobs/{job}/lines?{query}"))
            .await;
        let shown = numbers(&piece);
        assert_eq!(status, StatusCode::OK, "{query}");
        assert_eq!(
            (shown.first(), shown.last()),
            (Some(&first), Some(&last)),
            "{query}"
        );
    }
    for odd in ["line=0", "line=-5", "line=9223372036854775807"] {
        let (status, _) = it.get(Some(&ann), &format!("/jobs/{job}?{odd}")).await;
        assert_eq!(status, StatusCode::OK, "{odd}");
    }
    let foreign = it.globex.job;
    for path in ["lines?from=1", "find?find=x", "log"] {
        let (status, _) = it.get(Some(&ann), &format!("/jobs/{foreign}/{path}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_text_is_found_wherever_in_the_log_it_is() {
    let it = served().await;
    let ann = it.sign_in("acme", "Ann", Role::Viewer).await;
    let hold = it.claim(&it.acme).await;
    it.flood(hold.epoch, 120_000).await;
    let job = it.acme.job;
    for (query, to) in [
        ("find=needle", format!("/jobs/{job}?line=7&find=needle#L7")),
        (
            "find=NEEDLE&from=7",
            format!("/jobs/{job}?line=1007&find=NEEDLE#L1007"),
        ),
        (
            "find=needle+119007",
            format!("/jobs/{job}?line=119007&find=needle+119007#L119007"),
        ),
        (
            "find=nowhere%25_&from=5",
            format!("/jobs/{job}?line=5&find=nowhere%25_&none=1"),
        ),
        ("find=", format!("/jobs/{job}")),
    ] {
        let request = super::get(Some(&ann), &format!("/jobs/{job}/find?{query}"));
        let response = it.send(request).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{query}");
        assert_eq!(response.headers()["location"], to.as_str(), "{query}");
    }
    let (_, page) = it
        .get(
            Some(&ann),
            &format!("/jobs/{job}?line=5&find=%3Cb%3E&none=1"),
        )
        .await;
    assert!(page.contains("“&lt;b&gt;”") && !page.contains("<b>"));
}

#[tokio::test]
async fn a_run_is_seen_as_it_goes() {
    let it = served().await;
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    let hold = it.begin_run(Then::Approve { within_secs: 600 }).await;
    let job = it.acme.job;
    let path = format!("/jobs/{job}");
    let (_, page) = it.get(Some(&olga), &path).await;
    assert!(
        page.contains("Starting") && page.contains(">init<"),
        "{page}"
    );
    let mut stream = Stream::open(&it, &olga, &format!("/live/jobs/{job}"), None).await;
    let step = |step, state| StepNews {
        step,
        state,
        exit_code: None,
        why: None,
    };
    let terraform = json!({"resources": [
        {"address": "terraform_data.one", "action": "create", "state": "running", "output": "half way"},
    ]});
    let report = RunReport {
        terraform: Some(terraform),
        ..RunReport::default()
    };
    it.tell(
        hold,
        RunNews {
            first: 1,
            lines: vec![(model::LogStream::Stdout, "hello".to_owned())],
            steps: vec![step(0, StepState::Succeeded), step(1, StepState::Running)],
            report: Some(report),
        },
    )
    .await;
    stream.until("half way").await;
    stream.until("hello").await;
    let sha256 = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9";
    let plan = json!({
        "changes": {"add": 1}, "complete": true,
        "resources": [{"address": "terraform_data.one", "provider": "p", "actions": ["create"], "attributes": [
            {"path": "input", "after": {"value": "seen"}}, {"path": "secret", "after": "sensitive"},
        ]}],
    });
    let over = RunOver {
        end: RunEnd::Succeeded,
        reason: None,
        report: RunReport {
            changes: true,
            plan: Some(plan),
            artifacts: [("plan".to_owned(), sha256.to_owned())].into(),
            ..RunReport::default()
        },
    };
    let heard = it.queue.end_run(it.acme.tenant, hold, &over).await;
    heard.expect("an end");
    stream.until(&format!("/jobs/{job}/approve")).await;
    let (_, page) = it.get(Some(&olga), &path).await;
    assert!(
        page.contains(sha256) && page.contains("&quot;seen&quot;"),
        "{page}"
    );
    let vera = it.sign_in("acme", "Vera", Role::Viewer).await;
    let (_, page) = it.get(Some(&vera), &path).await;
    assert!(!page.contains("/approve"), "a viewer decides nothing");

    let other = sha256.replace('5', "6");
    for (browser, plan, status) in [
        (&vera, sha256, StatusCode::FORBIDDEN),
        (&olga, other.as_str(), StatusCode::CONFLICT),
        (&olga, sha256, StatusCode::SEE_OTHER),
        (&olga, sha256, StatusCode::CONFLICT),
    ] {
        let body = format!("sha256={plan}");
        let answer = it.submit(browser, &format!("{path}/approve"), &body).await;
        assert_eq!(answer.status(), status);
    }
    let (_, page) = it.get(Some(&olga), &path).await;
    assert!(page.contains("Approved by Olga"), "{page}");
}

#[tokio::test]
async fn a_stop_is_seen_in_its_stages() {
    let it = served().await;
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    let hold = it.begin_run(Then::Finish).await;
    let job = it.acme.job;
    it.tell(hold, RunNews::default()).await;
    let mut stream = Stream::open(&it, &olga, &format!("/live/jobs/{job}"), None).await;
    let asked = it.post(&olga, &format!("/jobs/{job}/cancel")).await;
    assert_eq!(asked.status(), StatusCode::SEE_OTHER);
    stream.until("Not heard yet").await;
    let in_russian = async |stage: &str| {
        let (_, page) = it.get(Some(&olga), &format!("/jobs/{job}?lang=ru")).await;
        assert!(page.contains(stage), "{stage}: {page}");
    };
    in_russian("Ещё не услышана").await;
    it.tell(hold, RunNews::default()).await;
    stream.until("Not applied yet").await;
    in_russian("Ещё не выполнена").await;
    let over = RunOver {
        end: RunEnd::Cancelled,
        reason: None,
        report: RunReport::default(),
    };
    let heard = it.queue.end_run(it.acme.tenant, hold, &over).await;
    heard.expect("an end");
    stream.until("Applied: nothing of it runs any more").await;
    stream.until("event: finished").await;
    in_russian("Выполнена: ничего больше не работает").await;
}

fn fields(pairs: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

#[tokio::test]
async fn pages_about_runs_open_for_who_may_see_them() {
    let it = served().await;
    let vera = it.sign_in("acme", "Vera", Role::Viewer).await;
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    for path in ["/runs", "/states", "/notifications", "/log-rules"] {
        let (status, page) = it.get(Some(&vera), path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
    }
    let none = uuid::Uuid::nil();
    for path in [
        format!("/states/{none}"),
        format!("/workspaces/{none}"),
        format!("/artifacts/{none}"),
        format!("/notifications/{none}"),
        format!("/jobs/{}/topology", it.acme.job),
        "/runs/new?kind=unheard-of".to_owned(),
    ] {
        let (status, _) = it.get(Some(&olga), &path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, _) = it.get(Some(&vera), "/runs/new").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let form = "/runs/new?kind=task-terraform";
    let (status, page) = it.get(Some(&olga), form).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("main.tf"), "{page}");
    // A lab's template is its topology, a configuration its folder.
    let template = "labs/bgp/clos.clab.yml";
    let form = format!("/runs/new?kind=task-clabernetes&workspace={none}&folder={template}");
    let (_, page) = it.get(Some(&olga), &form).await;
    let filled = |text: &str| page.contains(&format!("value=\"{text}\""));
    assert!(filled("labs/bgp") && filled("clos.clab.yml"), "{page}");
    assert!(!filled(template), "{page}");
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test's server has no host to spawn by"
)]
async fn a_workspace_is_looked_at_when_somebody_asks_and_shown_with_what_was_found() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let reader = axum::Router::new().fallback(async move |headers: http::HeaderMap| {
        assert_eq!(headers["ce-type"], "dev.switchyard.tick.v1");
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        StatusCode::ACCEPTED
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move { axum::serve(listener, reader).await });
    let it = served_with("CRON_WORKSPACES_URL", &url).await;
    let id = uuid::Uuid::now_v7();
    sqlx::query(
        "insert into switchyard.workspaces (id, database_id, name, repository, branch, next_at, created_by)
         values ($1, $2, 'network', 'https://git.example.com/infra/network', 'main', now() + interval '1 hour', 'Ann')",
    )
    .bind(id)
    .bind(it.acme.tenant.uuid())
    .execute(&it.rows)
    .await
    .expect("a workspace");
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    let answer = it.post(&olga, &format!("/workspaces/{id}/sync")).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    let due: bool = sqlx::query_scalar("select next_at <= now() from switchyard.workspaces")
        .fetch_one(&it.rows)
        .await
        .expect("it is there");
    assert!(due, "whoever is asked finds it first");
    let vera = it.sign_in("acme", "Vera", Role::Viewer).await;
    let answer = it.post(&vera, &format!("/workspaces/{id}/sync")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    serving.abort();
}

#[tokio::test]
async fn a_run_is_started_from_its_form_and_what_has_no_field_goes_along() {
    let it = served().await;
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    let written = [
        ("kind", "task-terraform"),
        ("p.action", "plan"),
        ("p.state", "network"),
        ("n.0.source.inline.files", "main.tf"),
        (
            "v.0.source.inline.files",
            "output \"x\" {\r\n  value = 1\r\n}\r\n",
        ),
        ("n.1.source.inline.files", ""),
        ("v.1.source.inline.files", ""),
        ("p.variables", "{\"a\": [1]}"),
    ];
    let mut wrong = written.to_vec();
    wrong[2] = ("p.state", "../etc");
    wrong.push(("do", "save"));
    let refused = it.submit(&olga, "/runs", &fields(&wrong)).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = super::text(refused).await;
    assert!(
        page.contains("state: ") && page.contains("../etc"),
        "{page}"
    );

    let mut other = written.to_vec();
    other.extend([("rest", "{\"a_newer_key\": true}"), ("do", "json")]);
    let turned = it.submit(&olga, "/runs", &fields(&other)).await;
    assert_eq!(turned.status(), StatusCode::OK);
    let page = super::text(turned).await;
    assert!(page.contains("a_newer_key"), "{page}");

    let mut good = written.to_vec();
    good.push(("do", "save"));
    let started = it.submit(&olga, "/runs", &fields(&good)).await;
    assert_eq!(started.status(), StatusCode::SEE_OTHER);
    let payload: serde_json::Value =
        sqlx::query_scalar("select payload from switchyard.jobs where task = 'task-terraform'")
            .fetch_one(&it.rows)
            .await
            .expect("a job");
    assert_eq!(
        payload,
        json!({
            "action": "plan", "state": "network", "variables": {"a": [1]},
            "source": {"inline": {"files": {"main.tf": "output \"x\" {\n  value = 1\n}\n"}}},
        })
    );
}

/// What is done on pages of runs, with the least role: of one house's things.
async fn deeds(it: &Served, house: &super::House) -> Vec<(String, &'static str, Role)> {
    let mut ids = Vec::new();
    for made in [
        "insert into switchyard.terraform_states (id, database_id, name) values ($1, $2, 'net')",
        "insert into switchyard.workspaces (id, database_id, name, repository, branch, created_by)
         values ($1, $2, 'net', 'https://git.example.com/a/b', 'main', 'Ann')",
        "insert into switchyard.artifacts (id, database_id, job_id, epoch, name, media_type, bytes, sha256, blob, sealed)
         values ($1, $2, 0, 0, 'plan', 'text/plain', 1, sha256('x'), 'x', true)",
    ] {
        let id = uuid::Uuid::new_v4();
        sqlx::query(made)
            .bind(id)
            .bind(house.tenant.uuid())
            .execute(&it.rows)
            .await
            .expect("a row");
        ids.push(id);
    }
    let [state, workspace, artifact] = ids[..] else {
        panic!("three were made");
    };
    let job = house.job;
    vec![
        (format!("/jobs/{job}/approve"), "sha256=aa", Role::Operator),
        (format!("/jobs/{job}/reject"), "sha256=aa", Role::Operator),
        (format!("/jobs/{job}/cancel"), "", Role::Operator),
        (format!("/states/{state}/unlock"), "lock=x", Role::Operator),
        (format!("/states/{state}/promote"), "number=1", Role::Admin),
        (format!("/workspaces/{workspace}/sync"), "", Role::Operator),
        (format!("/artifacts/{artifact}"), "", Role::Admin),
    ]
}

#[tokio::test]
async fn nobody_does_on_pages_of_runs_what_is_not_theirs_to_do() {
    let it = served().await;
    let vera = it.sign_in("acme", "Vera", Role::Viewer).await;
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    let adam = it.sign_in("acme", "Adam", Role::Admin).await;
    let own = deeds(&it, &it.acme).await;
    let start = ("/runs".to_owned(), "kind=task-terraform", Role::Operator);
    for (path, form, least) in own.iter().chain([&start]) {
        let lower = [(&vera, Role::Viewer), (&olga, Role::Operator)];
        for (browser, role) in lower.into_iter().filter(|(_, role)| role < least) {
            let answer = it.submit(browser, path, form).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} by {role:?}");
        }
        // From a page of somebody else's, whoever is signed in.
        let forged = it.send(super::form(&adam, path, form)).await;
        assert_eq!(forged.status(), StatusCode::FORBIDDEN, "{path}");
    }
    for (path, form, _) in deeds(&it, &it.globex).await {
        let answer = it.submit(&adam, &path, form).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_admin_makes_a_version_of_a_state_count() {
    let it = served().await;
    let adam = it.sign_in("acme", "Adam", Role::Admin).await;
    let state = uuid::Uuid::new_v4();
    let tenant = it.acme.tenant.uuid();
    for made in [
        "insert into switchyard.terraform_states (id, database_id, name, versions) values ($1, $2, 'net', 1)",
        "insert into switchyard.terraform_versions (database_id, state_id, number, id, serial, lineage, sha256, bytes, sealed, by_whom)
         values ($2, $1, 1, gen_random_uuid(), 1, 'l', sha256('x'), 1, 'x', 'Ann')",
    ] {
        let query = sqlx::query(made).bind(state).bind(tenant);
        query.execute(&it.rows).await.expect("a row");
    }
    let path = format!("/states/{state}/promote");
    for (form, status) in [
        ("number=one", StatusCode::UNPROCESSABLE_ENTITY),
        ("number=2", StatusCode::NOT_FOUND),
        ("number=1", StatusCode::SEE_OTHER),
    ] {
        let answer = it.submit(&adam, &path, form).await;
        assert_eq!(answer.status(), status, "{form}");
    }
    let current: Option<i64> =
        sqlx::query_scalar("select current from switchyard.terraform_states")
            .fetch_one(&it.rows)
            .await
            .expect("a state");
    assert_eq!(current, Some(1));
}

#[tokio::test]
async fn what_runs_are_given_is_seen_whole_by_who_writes_it_alone() {
    let it = served().await;
    let payload = json!({
        "action": "plan", "state": "net", "source": {"workspace": "infra"},
        "variables": {"pin": "s3cret"}, "environment": {"API_TOKEN": "s3cret"},
    });
    let ada = it.sign_in("acme", "Ada", Role::Admin).await;
    let vera = it.sign_in("acme", "Vera", Role::Viewer).await;
    let schedule = fields(&[
        ("do", "save"),
        ("name", "nightly"),
        ("task", "task-terraform"),
        ("rule_as", "fields"),
        ("rule", "0 3 * * *"),
        ("missed", "all"),
        ("payload", &payload.to_string()),
    ]);
    let saved = it.submit(&ada, "/schedules", &schedule).await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    let schedule = saved.headers()["location"].to_str().expect("text");
    let trigger = it.own_trigger().await;
    sqlx::query(
        "update switchyard.bindings set workload_id = null, overrides = '{}', task = 'task-terraform', payload = $2, filter = '{}'
         where trigger_id = (select id from switchyard.triggers where database_id = $1 and name = 'pushes')",
    )
    .bind(it.acme.tenant.uuid())
    .bind(&payload)
    .execute(&it.rows)
    .await
    .expect("bindings");
    let dry_run = format!("/triggers/{trigger}/dry-run?last=5");
    for path in [schedule, &dry_run] {
        let (_, page) = it.get(Some(&ada), path).await;
        assert!(page.contains("s3cret"), "{path}: {page}");
        let (status, page) = it.get(Some(&vera), path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            page.contains("***") && !page.contains("s3cret"),
            "{path}: {page}"
        );
    }
}
