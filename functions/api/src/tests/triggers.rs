//! Triggers, their bindings, decisions and dry runs over HTTP.

use http::Method;
use http::header::CONTENT_TYPE;

use super::*;

impl Served {
    async fn trigger_role(&self, role: &str) {
        sqlx::query("update switchyard.memberships set role = $1::switchyard.role")
            .bind(role)
            .execute(&self.rows)
            .await
            .expect("the owner may");
    }

    async fn trigger_ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).expect("JSON")
        };
        (status, body)
    }

    async fn trigger_post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.trigger_ask(&self.acme.token, Method::POST, path, body)
            .await
    }

    async fn trigger_number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.rows)
            .await
            .expect("a number")
    }
}

fn inline() -> Value {
    json!({
        "name": "site", "kind": "git",
        "config": {"branches": ["main"], "x-note": "kept"},
        "condition": {"language": "cel", "expression": "event.depth == 0"},
        "path_secret": true,
        "bindings": [
            {"new_workload": {
                "name": "new docs", "source": "static", "host": "new-docs",
                "config": {"source": {"kind": "provider", "base_url": "https://git.example.com", "repository": "team/site"}},
            }},
            {"task": "build", "payload": {"at": "{{ event.data.after }}"}, "filter": {"branches": ["next"]}},
        ],
    })
}

#[tokio::test]
async fn a_trigger_is_made_with_what_it_starts_and_its_secret_is_shown_once() {
    let it = served().await;
    it.trigger_role("admin").await;
    let (status, made) = it.trigger_post("/triggers", inline()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let id = made["id"].as_str().expect("an id").to_owned();
    assert!(
        made["path_secret"]
            .as_str()
            .is_some_and(|secret| secret.len() >= 22),
        "{made}"
    );
    assert_eq!(
        made["secret"],
        Value::Null,
        "a path that is secret is enough"
    );
    assert_eq!(made["bindings"].as_array().map(Vec::len), Some(2));
    assert!(
        made["warnings"][0]
            .as_str()
            .is_some_and(|it| it.contains("x-note")),
        "{made}"
    );
    let (status, shown) = it.get(&it.acme.token, &format!("/triggers/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        shown["config"]["x-note"], "kept",
        "what is not known comes back"
    );
    assert_eq!(shown["secrets"]["has_path"], true);
    assert!(
        !shown
            .to_string()
            .contains(made["path_secret"].as_str().expect("text"))
    );
    assert_eq!(shown["bindings"][0]["workload"]["name"], "new docs");
    assert_eq!(shown["bindings"][1]["task"], "build");
    let (status, rotated) = it
        .trigger_post(
            &format!("/triggers/{id}/secret"),
            json!({"overlap_hours": 1}),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    assert!(rotated["secret"].is_string());
    let (_, again) = it
        .trigger_post(
            &format!("/triggers/{id}/secret"),
            json!({"overlap_hours": 1}),
        )
        .await;
    assert_ne!(again["secret"], rotated["secret"]);
    assert_eq!(again["secrets"]["has_secret_previous"], true);
    assert!(again["secrets"]["previous_until"].is_string());
    let (status, _) = it
        .trigger_ask(
            &it.acme.token,
            Method::DELETE,
            &format!("/triggers/{id}/secret"),
            json!({}),
        )
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, shown) = it.get(&it.acme.token, &format!("/triggers/{id}")).await;
    assert_eq!(shown["secrets"]["has_secret_previous"], false);
    assert!(
        it.trigger_number("select count(*) from switchyard.audit where deed like 'trigger%'")
            .await
            >= 4
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_partly_written() {
    let it = served().await;
    it.trigger_role("admin").await;
    let with = |path: &str, value: Value| {
        let mut body = inline();
        *body.pointer_mut(path).expect("a place") = value;
        body
    };
    let before = it
        .trigger_number("select count(*) from switchyard.triggers")
        .await;
    let workloads = it
        .trigger_number("select count(*) from switchyard.workloads")
        .await;
    for (body, part) in [
        (with("/config", json!({"branchs": ["main"]})), "branches"),
        (with("/config", json!({"branches": [""]})), "branches[0]"),
        (with("/name", json!("")), "name"),
        (with("/kind", json!("telepathy")), "kind"),
        (with("/condition/expression", json!("event.")), "condition"),
        (
            with("/bindings/1/payload", json!({"at": "{% set a = 1 %}"})),
            "bindings[1]: payload",
        ),
        (
            with(
                "/bindings/1/filter",
                json!({"branches": ["x".repeat(500)], "y": "z".repeat(8000)}),
            ),
            "8192",
        ),
        (
            with("/bindings/1/task", json!("task-static")),
            "bindings[1]: task",
        ),
        (
            with("/bindings/0/new_workload/config", json!({})),
            "bindings[0]: config",
        ),
        (
            with("/bindings/0", json!({"workload": it.umbra.workload})),
            "bindings[0]: there is no such workload",
        ),
        (with("/bindings/0", json!({})), "starts one thing"),
    ] {
        let answer = it.trigger_post("/triggers", body).await;
        assert_eq!(problem(&answer), (422, "bad-body"), "{part}");
        let detail = answer.1["detail"].as_str().expect("a detail");
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(
        it.trigger_number("select count(*) from switchyard.triggers")
            .await,
        before
    );
    assert_eq!(
        it.trigger_number("select count(*) from switchyard.workloads")
            .await,
        workloads
    );
    let taken = it
        .trigger_post("/triggers", with("/name", json!("push")))
        .await;
    assert_eq!(problem(&taken), (409, "conflict"));
}

#[tokio::test]
async fn roles_decide_who_changes_and_another_tenants_is_not_found() {
    let it = served().await;
    let trigger = it.acme.trigger.clone();
    for (role, status) in [("viewer", 403), ("operator", 403)] {
        it.trigger_role(role).await;
        let answer = it.trigger_post("/triggers", inline()).await;
        assert_eq!(problem(&answer).0, status, "{role}");
        let answer = it
            .trigger_post(&format!("/triggers/{trigger}/secret"), json!({}))
            .await;
        assert_eq!(problem(&answer).0, status, "{role}");
    }
    let (status, run) = it
        .trigger_post(&format!("/triggers/{trigger}/runs"), json!({}))
        .await;
    assert_eq!(
        status,
        StatusCode::ACCEPTED,
        "an operator asks by hand: {run}"
    );
    it.trigger_role("viewer").await;
    let answer = it
        .trigger_post(&format!("/triggers/{trigger}/runs"), json!({}))
        .await;
    assert_eq!(problem(&answer), (403, "forbidden"));
    it.trigger_role("admin").await;
    let foreign = &it.umbra.trigger;
    for (method, path) in [
        (Method::GET, format!("/triggers/{foreign}")),
        (Method::DELETE, format!("/triggers/{foreign}")),
        (Method::POST, format!("/triggers/{foreign}/secret")),
        (Method::DELETE, format!("/triggers/{foreign}/secret")),
        (Method::POST, format!("/triggers/{foreign}/runs")),
        (Method::POST, format!("/triggers/{foreign}/dry-runs")),
        (Method::POST, format!("/triggers/{foreign}/enable")),
        (Method::POST, format!("/triggers/{foreign}/disable")),
    ] {
        let answer = it
            .trigger_ask(&it.acme.token, method, &path, json!({}))
            .await;
        assert_eq!(problem(&answer), (404, "not-found"), "{path}");
    }
    let answer = it
        .trigger_post(
            &format!("/triggers/{foreign}/bindings"),
            json!({"task": "build"}),
        )
        .await;
    assert_eq!(problem(&answer), (404, "not-found"));
    let (_, list) = it.get(&it.acme.token, "/triggers").await;
    assert!(!list.to_string().contains(foreign.as_str()));
}

#[tokio::test]
async fn a_change_that_breaks_a_binding_is_refused_and_names_it() {
    let it = served().await;
    it.trigger_role("admin").await;
    let (_, made) = it
        .trigger_post(
            "/triggers",
            json!({
                "name": "images", "kind": "registry", "config": {"tags": ["v*"]},
                "bindings": [{"task": "build", "filter": {"image": "team/app"}}],
            }),
        )
        .await;
    let id = made["id"].as_str().expect("an id");
    let binding = made["bindings"][0]["id"].as_str().expect("an id");
    let path = format!("/triggers/{id}");
    let wanted = |config: Value| json!({"name": "images", "kind": "registry", "config": config});
    let answer = it
        .trigger_ask(
            &it.acme.token,
            Method::PUT,
            &path,
            wanted(json!({"tags": [{"regex": "("}]})),
        )
        .await;
    assert_eq!(problem(&answer), (422, "bad-body"));
    let (status, _) = it
        .trigger_ask(
            &it.acme.token,
            Method::PUT,
            &path,
            wanted(json!({"tags": [{"semver": "^1"}]})),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    let kind = json!({"name": "images", "kind": "git", "config": {}});
    let answer = it
        .trigger_ask(&it.acme.token, Method::PUT, &path, kind)
        .await;
    assert_eq!(problem(&answer), (422, "bad-body"));
    let bound = it
        .trigger_ask(&it.acme.token, Method::DELETE, &path, json!({}))
        .await;
    assert_eq!(problem(&bound), (409, "conflict"));
    let (status, shown) = it
        .get(&it.acme.token, &format!("/bindings/{binding}"))
        .await;
    assert_eq!((status, &shown["trigger"]), (StatusCode::OK, &json!(id)));
    let (status, _) = it
        .trigger_ask(
            &it.acme.token,
            Method::DELETE,
            &format!("{path}?with_bindings=true"),
            json!({}),
        )
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let answer = it.get(&it.acme.token, &path).await;
    assert_eq!(problem(&answer), (404, "not-found"));
    let (status, _) = it
        .trigger_post("/triggers", json!({"name": "images", "kind": "manual"}))
        .await;
    assert_eq!(status, StatusCode::CREATED, "its name is free");
}

#[tokio::test]
async fn bindings_are_put_in_order_changed_and_removed() {
    let it = served().await;
    it.trigger_role("admin").await;
    let (_, made) = it.trigger_post("/triggers", inline()).await;
    let id = made["id"].as_str().expect("an id");
    let bindings: Vec<&str> = made["bindings"]
        .as_array()
        .expect("bindings")
        .iter()
        .filter_map(|binding| binding["id"].as_str())
        .collect();
    let order = format!("/triggers/{id}/bindings/order");
    let (status, _) = it
        .trigger_ask(
            &it.acme.token,
            Method::PUT,
            &order,
            json!({"bindings": [bindings[1], bindings[0]]}),
        )
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, shown) = it.get(&it.acme.token, &format!("/triggers/{id}")).await;
    assert_eq!(shown["bindings"][0]["id"], bindings[1]);
    let answer = it
        .trigger_ask(
            &it.acme.token,
            Method::PUT,
            &order,
            json!({"bindings": [bindings[1]]}),
        )
        .await;
    assert_eq!(problem(&answer), (422, "bad-body"));
    let path = format!("/bindings/{}", bindings[1]);
    let (status, changed) = it
        .trigger_ask(
            &it.acme.token,
            Method::PUT,
            &path,
            json!({"task": "build", "payload": {"b": 1}, "enabled": false, "priority": 7}),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(
        (&changed["enabled"], &changed["priority"]),
        (&json!(false), &json!(7))
    );
    let answer = it
        .trigger_ask(
            &it.acme.token,
            Method::PUT,
            &path,
            json!({"workload": it.acme.workload}),
        )
        .await;
    assert_eq!(
        problem(&answer),
        (422, "bad-body"),
        "it goes on starting what it starts"
    );
    let (status, _) = it
        .trigger_ask(&it.acme.token, Method::DELETE, &path, json!({}))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let answer = it.get(&it.acme.token, &path).await;
    assert_eq!(problem(&answer), (404, "not-found"));
}

#[tokio::test]
async fn a_dry_run_says_what_would_have_fired_and_changes_nothing() {
    let it = served().await;
    it.trigger_role("admin").await;
    let (_, made) = it.trigger_post("/triggers", inline()).await;
    let path = format!("/triggers/{}/dry-runs", made["id"].as_str().expect("an id"));
    let binding = made["bindings"][1]["id"].as_str().expect("an id");
    let pushed = json!({
        "type": "dev.switchyard.git.pushed.v1",
        "data": {
            "vendor": "gitea", "repository": {"path": "team/site"}, "ref_name": "refs/heads/main", "branch": "main",
            "before": null, "after": "a".repeat(40), "changed_paths": {"are": "unknown", "reason": "none"},
        },
    });
    let jobs = it
        .trigger_number("select count(*) from switchyard.jobs")
        .await;
    let (status, would) = it.trigger_post(&path, json!({"event": pushed})).await;
    assert_eq!(status, StatusCode::OK, "{would}");
    assert_eq!(would["jobs"], 1);
    let decisions = &would["tried"][0]["decisions"];
    assert_eq!(decisions[0]["matched"]["start"]["task"], "task-static");
    assert_eq!(decisions[1]["unmatched"]["failed"]["clause"], "branch");
    assert_eq!(decisions[1]["unmatched"]["failed"]["expected"], "next");
    let edited = json!({"event": pushed, "bindings": {binding: {"filter": {}}}});
    let (_, would) = it.trigger_post(&path, edited).await;
    assert_eq!(would["jobs"], 2, "{would}");
    assert_eq!(
        would["tried"][0]["decisions"][1]["matched"]["start"]["payload"]["at"],
        "a".repeat(40)
    );
    let answer = it
        .trigger_post(&path, json!({"event": pushed, "config": {"branchs": []}}))
        .await;
    assert_eq!(problem(&answer), (422, "bad-body"));
    assert_eq!(
        it.trigger_number("select count(*) from switchyard.jobs")
            .await,
        jobs
    );
    // Over what came in: the delivery of this trigger.
    let stored = format!("/triggers/{}/dry-runs", it.acme.trigger);
    let (_, would) = it.trigger_post(&stored, json!({"last": 200})).await;
    assert_eq!(would["tried"][0]["event"], it.acme.event, "{would}");
    assert_eq!(would["tried"][0]["delivery"], it.acme.delivery);
    let (_, would) = it
        .trigger_post(&stored, json!({"delivery": it.acme.delivery}))
        .await;
    assert_eq!(would["tried"].as_array().map(Vec::len), Some(1));
    for bad in [
        json!({"last": 201}),
        json!({"last": 0}),
        json!({"last": 1, "event": pushed}),
    ] {
        let answer = it.trigger_post(&stored, bad).await;
        assert_eq!(problem(&answer), (422, "bad-body"));
    }
    let answer = it
        .trigger_post(&stored, json!({"delivery": it.umbra.delivery}))
        .await;
    assert_eq!(problem(&answer), (409, "conflict"));
}

#[tokio::test]
async fn what_a_binding_gives_to_runs_is_seen_whole_by_who_writes_it_alone() {
    let it = served().await;
    it.trigger_role("admin").await;
    let mut wanted = inline();
    wanted["bindings"] = json!([{"task": "task-terraform", "payload": {
        "action": "plan", "state": "net", "source": {"workspace": "infra"},
        "variables": {"pin": "s3cret"}, "environment": {"API_TOKEN": "s3cret"},
    }}]);
    let (status, made) = it.trigger_post("/triggers", wanted.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let trigger = format!("/triggers/{}", made["id"].as_str().expect("an id"));
    let binding = made["bindings"][0]["id"].as_str().expect("an id");
    let binding = format!("/bindings/{binding}");
    let pushed = json!({"event": {
        "type": "dev.switchyard.git.pushed.v1",
        "data": {
            "vendor": "gitea", "repository": {"path": "team/site"}, "ref_name": "refs/heads/main", "branch": "main",
            "before": null, "after": "a".repeat(40), "changed_paths": {"are": "unknown", "reason": "none"},
        },
    }});
    let (_, whole) = it.get(&it.acme.token, &binding).await;
    assert_eq!(whole["payload"], wanted["bindings"][0]["payload"]);
    for role in ["operator", "viewer"] {
        it.trigger_role(role).await;
        let tried = it
            .trigger_post(&format!("{trigger}/dry-runs"), pushed.clone())
            .await;
        assert_eq!(tried.1["jobs"], 1, "{tried:?}");
        for (status, answer) in [
            it.get(&it.acme.token, &trigger).await,
            it.get(&it.acme.token, &binding).await,
            tried,
        ] {
            assert_eq!(status, StatusCode::OK);
            let answer = answer.to_string();
            assert!(
                answer.contains("\"pin\":\"***\"") && !answer.contains("s3cret"),
                "{role}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_schedule_trigger_tells_when_it_fires_and_its_schedule_is_a_part_of_it() {
    let it = served().await;
    it.trigger_role("admin").await;
    let wrong = json!({"name": "nightly", "kind": "schedule", "config": {"rule": "0 99 * * *"}});
    let answer = it.trigger_post("/triggers", wrong).await;
    assert_eq!(problem(&answer), (422, "bad-body"));
    let nightly = json!({
        "name": "nightly", "kind": "schedule", "config": {"rule": "0 4 * * *", "time_zone": "Europe/Berlin"},
        "bindings": [{"task": "build"}],
    });
    let (status, made) = it.trigger_post("/triggers", nightly).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert!(made["clock"]["next_at"].is_string(), "{made}");
    assert_eq!(made["secret"], Value::Null);
    let (_, schedules) = it.get(&it.acme.token, "/schedules").await;
    assert_eq!(
        schedules["items"],
        json!([]),
        "it is shown with its trigger"
    );
    let schedule = it
        .trigger_number("select id from switchyard.schedules")
        .await;
    let run = it
        .trigger_post(&format!("/schedules/{schedule}/run"), json!({}))
        .await;
    assert_eq!(problem(&run), (404, "not-found"));
    let id = made["id"].as_str().expect("an id");
    let (_, off) = it
        .trigger_post(&format!("/triggers/{id}/disable"), json!({}))
        .await;
    assert_eq!(off["clock"]["next_at"], Value::Null, "{off}");
    let (_, on) = it
        .trigger_post(&format!("/triggers/{id}/enable"), json!({}))
        .await;
    assert!(on["clock"]["next_at"].is_string(), "{on}");
    let answer = it
        .trigger_post(&format!("/triggers/{id}/secret"), json!({}))
        .await;
    assert_eq!(problem(&answer), (409, "conflict"), "it has no senders");
    let (status, _) = it
        .trigger_ask(
            &it.acme.token,
            Method::DELETE,
            &format!("/triggers/{id}?with_bindings=true"),
            json!({}),
        )
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        it.trigger_number("select count(*) from switchyard.schedules")
            .await,
        0
    );
}

#[tokio::test]
async fn kinds_and_decisions_are_told() {
    let it = served().await;
    let (_, kinds) = it.get(&it.acme.token, "/trigger-kinds").await;
    assert_eq!(kinds["items"].as_array().map(Vec::len), Some(7));
    let (_, shown) = it
        .get(&it.acme.token, &format!("/triggers/{}", it.acme.trigger))
        .await;
    let binding = shown["bindings"][0]["id"].as_str().expect("an id");
    let path = format!("/bindings/{binding}/decisions");
    let (status, decisions) = it.get(&it.acme.token, &path).await;
    assert_eq!(status, StatusCode::OK, "{decisions}");
    assert_eq!(decisions["items"][0]["job"], it.acme.job);
    let foreign = it.get(&it.umbra.token, &path).await;
    assert_eq!(problem(&foreign), (404, "not-found"));
}
