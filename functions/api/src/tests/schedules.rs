//! Schedules over HTTP.

use http::Method;
use http::header::{CONTENT_TYPE, LOCATION};

use super::*;

/// Who asks, and how.
struct By<'a> {
    token: &'a str,
    header: &'static str,
}

impl Served {
    /// Lets the person be of this role in their tenant.
    async fn promote(&self, tenant: &str, role: &str) {
        sqlx::query(
            "update switchyard.memberships m set role = $2::switchyard.role
             from switchyard.tenants t where t.database_id = m.database_id and t.name = $1",
        )
        .bind(tenant)
        .bind(role)
        .execute(&self.rows)
        .await
        .expect("the owner may");
    }

    /// What is answered: the status, `Location`, and the body where there is one.
    async fn sent_by(
        &self,
        by: &By<'_>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Option<String>, Value) {
        let value = match by.header {
            "cookie" => format!("switchyard_session={}", by.token),
            _ => format!("Bearer {}", by.token),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(by.header, value);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status();
        let place = response.headers().get(LOCATION);
        let place = place.map(|value| value.to_str().expect("text").to_owned());
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
        (status, place, body)
    }

    async fn jobs_of(&self, task: &str) -> i64 {
        sqlx::query_scalar("select count(*) from switchyard.jobs where task = $1")
            .bind(task)
            .fetch_one(&self.rows)
            .await
            .expect("a number")
    }
}

fn nightly() -> Value {
    json!({
        "name": "nightly", "task": "report", "rule": "30 2 * * *", "time_zone": "Europe/Paris",
        "payload": {"full": true}, "missed": "all", "jitter_secs": 60, "priority": -1, "key": "report",
    })
}

fn bearer(token: &str) -> By<'_> {
    By {
        token,
        header: "authorization",
    }
}

#[tokio::test]
async fn a_schedule_is_declared_read_changed_paused_resumed_run_and_removed() {
    let it = served().await;
    it.promote("acme", "admin").await;
    let me = bearer(&it.acme.token);
    let (status, place, declared) = it
        .sent_by(&me, Method::POST, "/schedules", Some(nightly()))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{declared}");
    let place = place.expect("where it is");
    assert_eq!(place, format!("/schedules/{}", declared["id"]));
    assert!(
        declared["next_at"]
            .as_str()
            .is_some_and(|at| at.ends_with(":30:00Z")),
        "{declared}"
    );
    assert_eq!(
        (&declared["missed"], &declared["created_by"]),
        (&json!("all"), &json!("acme"))
    );

    let (status, _, shown) = it.sent_by(&me, Method::GET, &place, None).await;
    assert_eq!(status, StatusCode::OK);
    for (name, value) in nightly().as_object().expect("an object") {
        if name == "jitter_secs" {
            assert_eq!(shown[name].as_f64(), value.as_f64());
        } else {
            assert_eq!(&shown[name], value, "{name}");
        }
    }
    assert!(
        shown["shortest_interval_secs"]
            .as_i64()
            .is_some_and(|secs| secs >= 82_800),
        "{shown}"
    );
    assert_eq!((&shown["ticks"], &shown["end"]), (&json!([]), &Value::Null));

    let mut changed = nightly();
    changed["rule"] = json!({"hour": [3, 15], "minute": 0});
    changed["start"] = json!("2026-01-01T00:00:00Z");
    let (status, _, body) = it
        .sent_by(&me, Method::PUT, &place, Some(changed.clone()))
        .await;
    assert_eq!(
        (status, &body["rule"]),
        (StatusCode::OK, &changed["rule"]),
        "{body}"
    );
    assert!(
        body["next_at"]
            .as_str()
            .is_some_and(|at| at.ends_with(":00:00Z")),
        "{body}"
    );

    it.promote("acme", "operator").await;
    let pause = format!("{place}/pause");
    let (status, _, body) = it
        .sent_by(&me, Method::POST, &pause, Some(json!({"why": "moving"})))
        .await;
    assert_eq!(
        (status, &body["paused_why"]),
        (StatusCode::OK, &json!("moving")),
        "{body}"
    );
    assert_eq!(body["paused_by"], "acme");
    let (status, _, body) = it
        .sent_by(&me, Method::POST, &format!("{place}/run"), None)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert!(body["job"].is_i64());
    assert_eq!(it.jobs_of("report").await, 1);
    let (status, _, body) = it
        .sent_by(&me, Method::POST, &format!("{place}/resume"), None)
        .await;
    assert_eq!(
        (status, &body["paused_at"]),
        (StatusCode::OK, &Value::Null),
        "{body}"
    );
    assert!(body["next_at"].is_string());

    it.promote("acme", "admin").await;
    let (status, _, body) = it.sent_by(&me, Method::DELETE, &place, None).await;
    assert_eq!((status, body), (StatusCode::NO_CONTENT, Value::Null));
    let (status, _, body) = it.sent_by(&me, Method::GET, &place, None).await;
    assert_eq!(problem(&(status, body)), (404, "not-found"));
    assert_eq!(it.jobs_of("report").await, 1, "its job stays");
}

#[tokio::test]
async fn what_a_schedule_gives_to_runs_is_seen_whole_by_who_writes_it_alone() {
    let it = served().await;
    it.promote("acme", "admin").await;
    let me = bearer(&it.acme.token);
    let mut wanted = nightly();
    wanted["task"] = json!("task-terraform");
    wanted["payload"] = json!({
        "action": "drift", "state": "net", "source": {"workspace": "infra"},
        "variables": {"pin": "s3cret"}, "environment": {"REGION": "eu", "API_TOKEN": "s3cret"},
    });
    let (status, place, declared) = it
        .sent_by(&me, Method::POST, "/schedules", Some(wanted.clone()))
        .await;
    assert_eq!(
        (status, &declared["payload"]),
        (StatusCode::CREATED, &wanted["payload"])
    );
    let place = place.expect("where it is");
    for role in ["operator", "viewer"] {
        it.promote("acme", role).await;
        let (_, _, shown) = it.sent_by(&me, Method::GET, &place, None).await;
        assert_eq!(shown["payload"]["state"], "net", "{shown}");
        assert_eq!(shown["payload"]["environment"]["REGION"], "eu", "{shown}");
        let (_, _, listed) = it.sent_by(&me, Method::GET, "/schedules", None).await;
        for answer in [shown, listed] {
            assert!(!answer.to_string().contains("s3cret"), "{role}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_wrong_declaration_is_refused_with_what_is_wrong_and_where() {
    let it = served().await;
    it.promote("acme", "admin").await;
    let me = bearer(&it.acme.token);
    for (name, value, words) in [
        ("rule", json!("61 * * * *"), vec!["rule", "minute", "0-59"]),
        ("rule", json!({"hours": 1}), vec!["\"hours\""]),
        ("rule", json!("2020-01-01T00:00:00Z"), vec!["never comes"]),
        ("time_zone", json!("Paris"), vec!["Europe/Paris"]),
        ("name", json!(""), vec!["name", "1 to 200"]),
        ("task", json!("x".repeat(127)), vec!["task", "126"]),
        ("missed", json!("some"), vec!["missed: ", "some"]),
        ("jitter_secs", json!(90_000), vec!["jitter_secs", "86400"]),
        ("attempts_max", json!(0), vec!["attempts_max"]),
        ("priority", json!("high"), vec!["priority: ", "i32"]),
        ("payload", json!({"a": "\u{0}"}), vec!["refused"]),
        ("key", json!("a\u{0}b"), vec!["refused"]),
        (
            "database_id",
            json!("00000000-0000-0000-0000-000000000000"),
            vec!["database_id"],
        ),
    ] {
        let mut body = nightly();
        body[name] = value;
        let (status, _, answer) = it
            .sent_by(&me, Method::POST, "/schedules", Some(body))
            .await;
        let detail = answer["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            problem(&(status, answer)),
            (422, "bad-body"),
            "{name}: {detail}"
        );
        for word in words {
            assert!(
                detail.contains(word),
                "{name}: {detail:?} does not say {word:?}"
            );
        }
    }
    let (status, _, _) = it
        .sent_by(&me, Method::POST, "/schedules", Some(nightly()))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, _, answer) = it
        .sent_by(&me, Method::POST, "/schedules", Some(nightly()))
        .await;
    assert_eq!(problem(&(status, answer)), (409, "conflict"));

    let large = json!({"name": "x".repeat(300 * 1024)});
    let (status, _, answer) = it
        .sent_by(&me, Method::POST, "/schedules", Some(large))
        .await;
    assert_eq!(problem(&(status, answer)), (413, "too-large"));
    let text = Request::post("/schedules")
        .header("authorization", format!("Bearer {}", it.acme.token))
        .header(CONTENT_TYPE, "text/plain")
        .body(Body::from("{}"))
        .expect("a request");
    let response = it.router.clone().oneshot(text).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_role_that_is_too_small_a_cookie_and_another_tenant_change_nothing() {
    let it = served().await;
    it.promote("acme", "admin").await;
    it.promote("umbra", "admin").await;
    let (_, place, _) = it
        .sent_by(
            &bearer(&it.acme.token),
            Method::POST,
            "/schedules",
            Some(nightly()),
        )
        .await;
    let place = place.expect("where it is");
    let all = [
        (Method::POST, "/schedules".to_owned(), Some(nightly())),
        (Method::PUT, place.clone(), Some(nightly())),
        (Method::DELETE, place.clone(), None),
        (Method::POST, format!("{place}/pause"), Some(json!({}))),
        (Method::POST, format!("{place}/resume"), None),
        (Method::POST, format!("{place}/run"), None),
    ];
    let before: Value =
        sqlx::query_scalar("select jsonb_agg(to_jsonb(s)) from switchyard.schedules s")
            .fetch_one(&it.rows)
            .await
            .expect("rows");
    for (method, path, body) in &all {
        let ask = async |by: &By<'_>| {
            let (status, _, body) = it.sent_by(by, method.clone(), path, body.clone()).await;
            (status, body)
        };
        if path != "/schedules" {
            let theirs = ask(&bearer(&it.umbra.token)).await;
            assert_eq!(problem(&theirs), (404, "not-found"), "{method} {path}");
        }
        let cookie = By {
            token: &it.acme.token,
            header: "cookie",
        };
        assert_eq!(
            problem(&ask(&cookie).await),
            (403, "forbidden"),
            "{method} {path}"
        );
        it.promote("acme", "viewer").await;
        let viewer = ask(&bearer(&it.acme.token)).await;
        assert_eq!(problem(&viewer), (403, "forbidden"), "{method} {path}");
        it.promote("acme", "admin").await;
        let nobody = ask(&bearer("nobody's")).await;
        assert_eq!(problem(&nobody), (401, "unauthorized"), "{method} {path}");
    }
    it.promote("acme", "operator").await;
    for (method, path, body) in &all[..3] {
        let me = bearer(&it.acme.token);
        let (status, _, body) = it.sent_by(&me, method.clone(), path, body.clone()).await;
        assert_eq!(
            problem(&(status, body)),
            (403, "forbidden"),
            "{method} {path}"
        );
    }
    let after: Value =
        sqlx::query_scalar("select jsonb_agg(to_jsonb(s)) from switchyard.schedules s")
            .fetch_one(&it.rows)
            .await
            .expect("rows");
    assert_eq!(after, before);
    assert_eq!(it.jobs_of("report").await, 0);
    let (_, _, list) = it
        .sent_by(&bearer(&it.umbra.token), Method::GET, "/schedules", None)
        .await;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn a_drained_task_does_not_run_by_hand_and_its_ticks_say_why() {
    let it = served().await;
    it.promote("acme", "admin").await;
    let me = bearer(&it.acme.token);
    let (_, place, declared) = it
        .sent_by(&me, Method::POST, "/schedules", Some(nightly()))
        .await;
    let place = place.expect("where it is");
    for statement in [
        "insert into switchyard.pauses (kind, task, by_whom, why) values ('drain', 'report', 'someone', 'moving')".to_owned(),
        format!("select switchyard.fire_next_tick({})", declared["id"]),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&it.rows)
            .await
            .expect("the owner may");
    }
    let (status, _, answer) = it
        .sent_by(&me, Method::POST, &format!("{place}/run"), None)
        .await;
    let detail = answer["detail"].to_string();
    assert_eq!(problem(&(status, answer)), (409, "conflict"));
    assert!(detail.contains("someone"), "{detail}");
    let (_, _, shown) = it.sent_by(&me, Method::GET, &place, None).await;
    assert_eq!(shown["ticks"][0]["outcome"], "refused", "{shown}");
    assert!(
        shown["ticks"][0]["reason"].to_string().contains("someone"),
        "{shown}"
    );
}
