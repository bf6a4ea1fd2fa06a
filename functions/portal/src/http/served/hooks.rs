//! Triggers and bindings as people make, try and change them.

use http::StatusCode;
use model::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Browser, Served, served, text};

pub(super) fn fields(pairs: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

/// The address behind a mark in a page.
fn after<'a>(page: &'a str, mark: &str) -> &'a str {
    let rest = page
        .split(mark)
        .nth(1)
        .unwrap_or_else(|| panic!("{mark}: {page}"));
    rest.split(['"', '<']).next().expect("a piece")
}

impl Served {
    async fn rows_of(&self, sql: &'static str) -> Vec<Value> {
        sqlx::query_scalar(sql)
            .fetch_all(&self.rows)
            .await
            .expect("rows")
    }

    async fn triggers_named(&self, name: &str) -> Vec<Value> {
        sqlx::query_scalar("select to_jsonb(t) from switchyard.triggers t where t.name = $1")
            .bind(name)
            .fetch_all(&self.rows)
            .await
            .expect("rows")
    }

    /// The trigger that every house has.
    pub(super) async fn own_trigger(&self) -> String {
        let id: Uuid = sqlx::query_scalar(
            "select id from switchyard.triggers where database_id = $1 and name = 'pushes'",
        )
        .bind(self.acme.tenant.uuid())
        .fetch_one(&self.rows)
        .await
        .expect("a trigger");
        model::TriggerId::from(id).to_string()
    }

    /// The page that answers a form.
    async fn page_of(&self, browser: &Browser, path: &str, form: &str) -> String {
        text(self.submit(browser, path, form).await).await
    }

    async fn makes(&self, browser: &Browser, pairs: &[(&str, &str)]) -> (StatusCode, String) {
        let response = self.submit(browser, "/triggers", &fields(pairs)).await;
        (response.status(), text(response).await)
    }
}

#[tokio::test]
async fn a_trigger_is_made_with_a_secret_that_is_shown_once() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let (status, page) = served.get(Some(&ada), "/triggers/new?kind=git").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("name=\"config.branches\""), "{page}");
    let made = [
        ("do", "save"),
        ("kind", "git"),
        ("name", "releases"),
        ("config_as", "fields"),
        ("config.repository", "acme/*"),
        ("config.branches", "main\r\nrelease/*"),
        ("rest", "{\"later\": 1}"),
        ("scheme_as", "usual"),
    ];
    let (status, page) = served.makes(&ada, &made).await;
    assert_eq!(status, StatusCode::CREATED);
    let secret = after(&page, "id=\"shown-once\"").to_owned();
    assert!(
        page.contains("The secret. It is shown this once"),
        "{secret}"
    );
    let row = &served.triggers_named("releases").await[0];
    assert_eq!(
        row["config"],
        json!({"repository": "acme/*", "branches": ["main", "release/*"], "later": 1})
    );
    assert!(row["secret"].is_string(), "it has one");
    let id =
        model::TriggerId::from(Uuid::parse_str(row["id"].as_str().expect("an id")).expect("an id"));
    let (_, page) = served.get(Some(&ada), &format!("/triggers/{id}")).await;
    assert!(!page.contains("shown-once"), "not twice: {page}");
    assert!(page.contains(&format!("/webhook-any/{id}")), "{page}");

    // The same name again: nothing is made, what was written is there.
    let (status, page) = served.makes(&ada, &made).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.contains("another trigger with the name") && page.contains("acme/*"),
        "{page}"
    );
    assert_eq!(served.triggers_named("releases").await.len(), 1);

    // A new secret; the one before stays good until it is dropped.
    let page = format!("/triggers/{id}/secret");
    let response = served.submit(&ada, &page, "secret=").await;
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    assert!(text(response).await.contains("shown-once"));
    let row = &served.triggers_named("releases").await[0];
    assert!(row["secret_previous"].is_string(), "{row}");
    let response = served
        .post(&ada, &format!("/triggers/{id}/secret/drop"))
        .await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        served.triggers_named("releases").await[0]["secret_previous"],
        Value::Null
    );
}

#[tokio::test]
async fn a_filter_goes_from_fields_to_json_and_back_with_all_its_keys() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let (status, page) = served
        .makes(
            &ada,
            &[
                ("do", "json"),
                ("kind", "registry"),
                ("config_as", "fields"),
                ("config.image", "acme/app"),
                (
                    "rest",
                    "{\"tags\": [{\"semver\": \">=1\"}], \"later\": null}",
                ),
            ],
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    for piece in ["acme/app", "semver", "later"] {
        assert!(
            after(&page, "name=\"config_json\"").contains(piece) || page.contains(piece),
            "{page}"
        );
    }
    let json = "{\"image\": \"acme/app\", \"tags\": [{\"semver\": \">=1\"}], \"later\": null}";
    let (_, page) = served
        .makes(
            &ada,
            &[
                ("do", "fields"),
                ("kind", "registry"),
                ("config_as", "json"),
                ("config_json", json),
            ],
        )
        .await;
    assert!(
        page.contains("name=\"config.image\" type=\"text\" value=\"acme/app\""),
        "{page}"
    );
    let (status, page) = served
        .makes(
            &ada,
            &[
                ("do", "fields"),
                ("kind", "git"),
                ("config_as", "json"),
                ("config_json", "{"),
            ],
        )
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("this is no JSON object"), "{page}");
}

#[tokio::test]
async fn a_binding_is_made_changed_put_in_order_and_removed() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let trigger = served.own_trigger().await;
    let workload = served.acme.workload.to_string();
    let (_, page) = served
        .get(Some(&ada), &format!("/triggers/{trigger}/bindings/new"))
        .await;
    assert!(page.contains(&workload), "{page}");
    let path = format!("/triggers/{trigger}/bindings");
    let bind = |branches: &'static str, overrides: &'static str| {
        fields(&[
            ("workload", &workload),
            ("config.branches", branches),
            ("overrides", overrides),
            ("enabled", "on"),
        ])
    };
    let response = served
        .submit(&ada, &path, &bind("dev", "{\"brach\": 1}"))
        .await;
    assert_eq!(
        response.status(),
        StatusCode::UNPROCESSABLE_ENTITY,
        "a config that is none"
    );
    let task = fields(&[
        ("workload", ""),
        ("task", "report"),
        ("payload", "{\"of\": \"{{ event.type }}\"}"),
        ("config.branches", "dev"),
        ("enabled", "on"),
    ]);
    let response = served.submit(&ada, &path, &task).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let newest = "select to_jsonb(b) from switchyard.bindings b where b.task is not null";
    let row = served.rows_of(newest).await.remove(0);
    assert_eq!(row["filter"], json!({"branches": ["dev"]}));
    assert_eq!(row["payload"], json!({"of": "{{ event.type }}"}));
    let id = Uuid::parse_str(row["id"].as_str().expect("an id")).expect("an id");
    let id = model::BindingId::from(id);
    let (_, page) = served
        .get(Some(&ada), &format!("/bindings/{id}/edit"))
        .await;
    assert!(page.contains(">dev</textarea>"), "{page}");
    let changed = task.replace("=dev", "=next").replace("&enabled=on", "");
    let response = served
        .submit(&ada, &format!("/bindings/{id}"), &changed)
        .await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let row = served.rows_of(newest).await.remove(0);
    assert_eq!(
        (&row["filter"], &row["enabled"]),
        (&json!({"branches": ["next"]}), &json!(false))
    );
    let order = "select to_jsonb(b.task is not null) from switchyard.bindings b join switchyard.tenants t using (database_id)
        where t.name = 'acme' order by b.position";
    let place = |rows: Vec<Value>| rows.iter().position(|is_task| *is_task == json!(true));
    assert_eq!(place(served.rows_of(order).await), Some(2));
    served.post(&ada, &format!("/bindings/{id}/up")).await;
    assert_eq!(place(served.rows_of(order).await), Some(1));
    let response = served.post(&ada, &format!("/bindings/{id}/remove")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let (_, page) = served
        .get(Some(&ada), &format!("/triggers/{trigger}"))
        .await;
    assert!(!page.contains(&id.to_string()), "{page}");
}

#[tokio::test]
async fn a_bindings_payload_is_written_in_the_fields_of_a_run_and_may_be_templates() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let trigger = served.own_trigger().await;
    let path = format!("/triggers/{trigger}/bindings");
    let filter = [("config.branches", "dev"), ("enabled", "on")];
    let sent = |more: &[(&str, &str)]| fields(&[&filter[..], more].concat());

    // Each kind of run fills in a sample that it would take, and keeps what else was written.
    for kind in runs::kinds() {
        let page = served
            .page_of(&ada, &path, &sent(&[("payload_do", kind.name)]))
            .await;
        assert!(page.contains(">dev</textarea>"), "{page}");
        assert!(page.contains(&format!("value=\"{}\"", kind.name)), "{page}");
        let as_json = sent(&[
            ("task", kind.name),
            ("payload_of", kind.name),
            ("payload_do", "json"),
            ("p.action", "x"),
            ("payload", "{\"more\": 1}"),
        ]);
        let page = served.page_of(&ada, &path, &as_json).await;
        assert!(page.contains("&quot;more&quot;: 1"), "{page}");
    }

    let written = [
        ("task", "task-terraform"),
        ("payload_of", "task-terraform"),
        ("p.action", "plan"),
        ("p.state", "net-{{ event.data.ref_name }}"),
        ("p.source.workspace", "infra"),
        ("p.source.commit", "{{ event.data.after }}"),
        ("p.time_limit_secs", "{{ event.data.secs }}"),
        ("n.0.environment", "REGION"),
        ("v.0.environment", "north"),
    ];
    let wrong = [&written[..], &[("p.approve_within_secs", "soon")]].concat();
    let response = served.submit(&ada, &path, &sent(&wrong)).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    // Another way of writing the filter leaves the payload alone.
    let page = served
        .page_of(
            &ada,
            &path,
            &sent(&[&written[..], &[("do", "json")]].concat()),
        )
        .await;
    assert!(page.contains("net-{{ event.data.ref_name }}"), "{page}");
    let response = served.submit(&ada, &path, &sent(&written)).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let stored = "select to_jsonb(b) from switchyard.bindings b where b.task = 'task-terraform'";
    let row = served.rows_of(stored).await.remove(0);
    let payload = json!({
        "action": "plan", "state": "net-{{ event.data.ref_name }}", "time_limit_secs": "{{ event.data.secs }}",
        "source": {"workspace": "infra", "commit": "{{ event.data.after }}"},
        "environment": {"REGION": "north"},
    });
    assert_eq!(row["payload"], payload);

    // It is changed in the fields that it was written in.
    let id = Uuid::parse_str(row["id"].as_str().expect("an id")).expect("an id");
    let id = model::BindingId::from(id);
    let (_, page) = served
        .get(Some(&ada), &format!("/bindings/{id}/edit"))
        .await;
    for text in [
        "name=\"p.time_limit_secs\"",
        "{{ event.data.secs }}",
        "value=\"REGION\"",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn a_workload_is_made_with_its_binding_or_neither_is() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let trigger = served.own_trigger().await;
    let path = format!("/triggers/{trigger}/bindings");
    let config = json!({
        "source": {"kind": "provider", "base_url": "https://git.example.com", "repository": "acme/docs"},
    });
    let config = config.to_string();
    let bind = |branches: &'static str, host: &'static str, own: &'static str| {
        fields(&[
            ("workload", "new"),
            ("new_name", "docs"),
            ("new_host", host),
            ("new_config", &config),
            ("config.branches", branches),
            ("overrides", own),
            ("enabled", "on"),
        ])
    };
    let docs = "select to_jsonb(w) from switchyard.workloads w where w.name = 'docs'";
    for (host, own, why) in [
        ("not a host", "", "host: "),
        ("docs", "{\"brach\": 1}", "brach"),
        ("acme-hello", "", "taken"),
    ] {
        let response = served.submit(&ada, &path, &bind("main", host, own)).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{why}");
        let page = text(response).await;
        assert!(page.contains(why), "{why}: {page}");
        assert!(page.contains("value=\"new\" selected"), "{page}");
        assert!(served.rows_of(docs).await.is_empty(), "{why}");
    }
    let response = served.submit(&ada, &path, &bind("main", "docs", "")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let made = served.rows_of(docs).await.remove(0);
    let bound = "select to_jsonb(b) from switchyard.bindings b order by b.created_at desc limit 1";
    let bound = served.rows_of(bound).await.remove(0);
    assert_eq!(bound["workload_id"], made["id"]);
    // It goes on starting that: its form offers nothing else.
    let id = Uuid::parse_str(bound["id"].as_str().expect("an id")).expect("an id");
    let edit = format!("/bindings/{}/edit", model::BindingId::from(id));
    let (_, page) = served.get(Some(&ada), &edit).await;
    assert!(
        page.contains("docs") && !page.contains("<select id=\"workload\""),
        "{page}"
    );
    assert!(!page.contains("name=\"task\""), "{page}");
}

#[tokio::test]
async fn a_delivery_is_handed_in_again_to_the_function_that_took_it() {
    use axum::extract::Request;
    use axum::{Json, Router};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (heard, mut requests) = mpsc::channel(4);
    let again = Uuid::now_v7();
    let function = Router::new().fallback(move |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1024).await.expect("a body");
        heard.send((head, body)).await.expect("the test listens");
        (
            StatusCode::ACCEPTED,
            Json(json!({"delivery": model::DeliveryId::from(again).to_string()})),
        )
    });
    let server = std::future::IntoFuture::into_future(axum::serve(listener, function));
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the test, and no process waits for it"
    )]
    let _server = tokio::spawn(server);
    let served = super::served_with("WEBHOOK_GITEA_URL", &url).await;
    let olga = served.sign_in("acme", "Olga", Role::Operator).await;
    let vera = served.sign_in("acme", "Vera", Role::Viewer).await;
    let path = format!("/deliveries/{}/redeliver", served.acme.delivery);
    assert_eq!(
        served.post(&vera, &path).await.status(),
        StatusCode::FORBIDDEN
    );
    let response = served.post(&olga, &path).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let place = response.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(place, format!("/deliveries/{again}"));
    let (head, body) = requests.recv().await.expect("a request");
    assert!(head.uri.path().contains("trg_"), "{}", head.uri);
    assert_eq!(&body[..], b"{\"note\": \"<script>alert(1)</script>\"}");
    assert_eq!(head.headers["x-gitea-event"], "push");
    let deeds = "select to_jsonb(deed) from switchyard.audit order by id desc limit 1";
    assert_eq!(served.rows_of(deeds).await, [json!("redeliver")]);
    let theirs = format!("/deliveries/{}/redeliver", served.globex.delivery);
    assert_eq!(
        served.post(&olga, &theirs).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn two_deliveries_are_compared_and_all_that_match_are_replayed_by_a_job() {
    let served = served().await;
    let olga = served.sign_in("acme", "Olga", Role::Operator).await;
    let vera = served.sign_in("acme", "Vera", Role::Viewer).await;
    let own = served.acme.delivery;
    let same = format!("/deliveries/{own}/diff?with={own}");
    assert_eq!(
        served.get(Some(&vera), &same).await.0,
        StatusCode::FORBIDDEN
    );
    let (status, page) = served.get(Some(&olga), &same).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("No difference."), "{page}");
    let foreign = format!("/deliveries/{own}/diff?with={}", served.globex.delivery);
    assert_eq!(
        served.get(Some(&olga), &foreign).await.0,
        StatusCode::NOT_FOUND
    );

    let all = "/deliveries/replay?verdict=accepted&trigger=pushes";
    assert_eq!(served.get(Some(&vera), all).await.0, StatusCode::FORBIDDEN);
    let (status, page) = served.get(Some(&olga), all).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("verdict=accepted"), "{page}");
    let response = served.submit(&olga, all, "binding=").await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let place = response.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(place.starts_with("/jobs/"), "{place}");
    let jobs = "select to_jsonb(j) from switchyard.jobs j where task = 'task-bulk'";
    let job = served.rows_of(jobs).await.remove(0);
    assert_eq!(job["database_id"], json!(served.acme.tenant.uuid()));
    assert_eq!(job["payload"]["filter"]["verdict"], "accepted", "{job}");
    let wrong = served
        .submit(&olga, "/deliveries/replay?verdict=odd", "binding=")
        .await;
    assert_eq!(wrong.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_dry_run_says_what_each_binding_would_do_and_starts_nothing() {
    let served = served().await;
    let ann = served.sign_in("acme", "Vera", Role::Viewer).await;
    let trigger = served.own_trigger().await;
    let jobs = "select to_jsonb(count(*)) from switchyard.jobs";
    let before = served.rows_of(jobs).await;
    let (status, page) = served
        .get(Some(&ann), &format!("/triggers/{trigger}/dry-run?last=5"))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("Would match") && page.contains("Would not match"),
        "{page}"
    );
    assert!(page.contains("release/*"), "{page}");
    assert!(
        !page.contains("/replay"),
        "a viewer replays nothing: {page}"
    );
    let delivery = served.acme.delivery;
    let (_, page) = served
        .get(
            Some(&ann),
            &format!("/triggers/{trigger}/dry-run?delivery={delivery}"),
        )
        .await;
    assert!(page.contains("Would match"), "{page}");
    let foreign = served.globex.delivery;
    let (_, page) = served
        .get(
            Some(&ann),
            &format!("/triggers/{trigger}/dry-run?delivery={foreign}"),
        )
        .await;
    assert!(
        page.contains("Nothing came in that could be tried"),
        "{page}"
    );
    let pasted = fields(&[
        ("type", "dev.switchyard.git.pushed.v1"),
        ("data", super::DATA),
    ]);
    let response = served
        .submit(&ann, &format!("/triggers/{trigger}/dry-run"), &pasted)
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(text(response).await.contains("Would match"));
    let response = served
        .submit(
            &ann,
            &format!("/triggers/{trigger}/dry-run"),
            "type=a&data=%7B",
        )
        .await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(served.rows_of(jobs).await, before);
}

#[tokio::test]
async fn a_delivery_is_replayed_to_one_binding_by_who_may() {
    let served = served().await;
    let trigger: Vec<Value> = served
        .rows_of("select to_jsonb(b) from switchyard.bindings b order by b.database_id, b.position")
        .await;
    let of = |tenant: Uuid| {
        let own = trigger
            .iter()
            .filter(move |row| row["database_id"] == json!(tenant));
        let ids =
            own.map(|row| Uuid::parse_str(row["id"].as_str().expect("an id")).expect("an id"));
        ids.map(|id| model::BindingId::from(id).to_string())
            .collect::<Vec<_>>()
    };
    let (own, foreign) = (
        of(served.acme.tenant.uuid()),
        of(served.globex.tenant.uuid()),
    );
    let path = format!("/deliveries/{}/replay", served.acme.delivery);
    let vera = served.sign_in("acme", "Vera", Role::Viewer).await;
    let response = served
        .submit(&vera, &path, &fields(&[("binding", &own[1])]))
        .await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let oleg = served.sign_in("acme", "Oleg", Role::Operator).await;
    for wrong in [&foreign[0], "x"] {
        let response = served
            .submit(&oleg, &path, &fields(&[("binding", wrong)]))
            .await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{wrong}");
    }
    let (_, page) = served
        .get(
            Some(&oleg),
            &format!("/deliveries/{}", served.acme.delivery),
        )
        .await;
    assert!(page.contains(&own[1]), "{page}");
    let response = served
        .submit(&oleg, &path, &fields(&[("binding", &own[1])]))
        .await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let place = response.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(place.starts_with("/events/"), "{place}");
    let replays = "select to_jsonb(e) from switchyard.events e where e.replays is not null";
    let rows = served.rows_of(replays).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["replays"], json!(served.acme.event.uuid()));
}

#[tokio::test]
async fn only_an_admin_changes_triggers_and_only_their_own() {
    let served = served().await;
    let trigger = served.own_trigger().await;
    let oleg = served.sign_in("acme", "Oleg", Role::Operator).await;
    let stranger = served.sign_in("globex", "Gus", Role::Admin).await;
    let (status, page) = served.get(Some(&oleg), "/triggers").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("pushes") && !page.contains("/triggers/new"),
        "{page}"
    );
    for (path, body) in [
        (format!("/triggers/{trigger}"), "name=x&kind=git"),
        (format!("/triggers/{trigger}/secret"), "secret="),
        (format!("/triggers/{trigger}/disable"), ""),
        (format!("/triggers/{trigger}/remove"), ""),
        (format!("/triggers/{trigger}/bindings"), "task=x"),
    ] {
        let response = served.submit(&oleg, &path, body).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        let response = served.submit(&stranger, &path, body).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for page in ["", "/edit", "/bindings/new", "/dry-run"] {
        let (status, _) = served
            .get(Some(&stranger), &format!("/triggers/{trigger}{page}"))
            .await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{page}");
    }
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    served
        .post(&ada, &format!("/triggers/{trigger}/disable"))
        .await;
    let (_, page) = served
        .get(Some(&ada), &format!("/triggers/{trigger}"))
        .await;
    assert!(page.contains("Switched off"), "{page}");
    let response = served
        .post(&ada, &format!("/triggers/{trigger}/remove"))
        .await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let (status, _) = served
        .get(Some(&ada), &format!("/triggers/{trigger}"))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
