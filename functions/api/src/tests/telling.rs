//! Watches, credentials, log rules and notifications over HTTP.

use http::Method;
use http::header::CONTENT_TYPE;

use super::*;

impl Served {
    pub(super) async fn be(&self, role: &str) {
        sqlx::query("update switchyard.memberships set role = $1::switchyard.role")
            .bind(role)
            .execute(&self.rows)
            .await
            .expect("the owner may");
    }

    /// What acme's person is answered.
    async fn told(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.told_to(&self.acme, method, path, body).await
    }

    pub(super) async fn told_to(
        &self,
        tenant: &Tenant,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", tenant.token))
            .header(CONTENT_TYPE, "application/json");
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let request = request.body(body).expect("a request");
        let answered = self.router.clone().oneshot(request).await;
        let response = answered.expect("a router always answers");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body");
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        (status, body)
    }

    /// Expects a status, and gives the body.
    pub(super) async fn must(&self, status: u16, method: Method, path: &str, body: Value) -> Value {
        let (got, answer) = self.told(method.clone(), path, body).await;
        assert_eq!(got.as_u16(), status, "{method} {path}: {answer}");
        answer
    }
}

fn watch() -> Value {
    json!({"kind": "git", "url": "https://git.example.com/team/site.git/"})
}

#[tokio::test]
async fn a_place_is_watched_for_a_trigger_with_a_credential_of_its_host() {
    let it = served().await;
    it.be("admin").await;
    let made = json!({"name": "git", "host": "git.example.com", "secret": "s3cret"});
    let made = it.must(201, Method::POST, "/credentials", made).await;
    assert!(!made.to_string().contains("s3cret"), "{made}");
    let path = format!("/triggers/{}/watch", it.acme.trigger);
    it.must(404, Method::GET, &path, Value::Null).await;
    let mut wanted = watch();
    wanted["credential"] = made["id"].clone();
    let shown = it.must(200, Method::PUT, &path, wanted.clone()).await;
    assert_eq!(shown["url"], "https://git.example.com/team/site.git");
    assert_eq!(shown["names"], json!(["refs/heads/**", "refs/tags/**"]));
    assert_eq!(shown["interval_secs"], 300);
    wanted["url"] = "https://git.example.com.evil.test/team/site.git".into();
    let refused = it.must(422, Method::PUT, &path, wanted).await;
    assert!(
        refused["detail"].to_string().contains("credential"),
        "{refused}"
    );
    let used = format!("/credentials/{}", made["id"].as_str().expect("an id"));
    it.must(409, Method::DELETE, &used, Value::Null).await;
    it.must(204, Method::PUT, &used, json!({"secret": "another"}))
        .await;
    it.must(202, Method::POST, &format!("{path}/looks"), Value::Null)
        .await;
    it.must(204, Method::DELETE, &path, Value::Null).await;
    it.must(204, Method::DELETE, &used, Value::Null).await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused() {
    let it = served().await;
    it.be("admin").await;
    let path = format!("/triggers/{}/watch", it.acme.trigger);
    for (name, value, why) in [
        ("url", json!("http://git.example.com/a"), "only https"),
        ("url", json!("https://169.254.169.254/a"), "egress denied"),
        ("url", json!("https://localhost:3000/a"), "loopback"),
        ("url", json!("https://git.example.com/"), "repository"),
        ("interval_secs", json!(59), "60 to 86400"),
        ("names", json!([]), "1 to 50"),
        ("repository", json!("team/app"), "by its url alone"),
    ] {
        let mut wanted = watch();
        wanted[name] = value.clone();
        let refused = it.must(422, Method::PUT, &path, wanted).await;
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(why), "{name} {value}: {detail}");
    }
    let registry = json!({"kind": "registry", "url": "https://ghcr.io", "repository": "team/app"});
    it.must(404, Method::PUT, &path, registry).await;
    let theirs = format!("/triggers/{}/watch", it.umbra.trigger);
    it.must(404, Method::PUT, &theirs, watch()).await;
    it.be("operator").await;
    it.must(403, Method::PUT, &path, watch()).await;
}

#[tokio::test]
async fn a_log_rule_is_made_changed_counted_and_removed() {
    let it = served().await;
    it.be("admin").await;
    let wanted = json!({
        "name": "oops", "pattern": r"code (?<code>\d+)", "severity": "error",
        "overrides": [{"workload": it.acme.workload, "enabled": false}],
    });
    let made = it
        .must(201, Method::POST, "/log-rules", wanted.clone())
        .await;
    assert_eq!(made["streams"].as_array().map(Vec::len), Some(4));
    assert_eq!(made["overrides"][0]["enabled"], false);
    it.must(409, Method::POST, "/log-rules", wanted.clone())
        .await;
    let path = format!("/log-rules/{}", made["id"].as_str().expect("an id"));
    let mut changed = wanted.clone();
    changed["severity"] = "info".into();
    let shown = it.must(200, Method::PUT, &path, changed).await;
    assert_eq!(shown["severity"], "info");
    let stats = it
        .must(200, Method::GET, &format!("{path}/stats"), Value::Null)
        .await;
    assert_eq!(stats["items"], json!([]));
    let (status, _) = it.told_to(&it.umbra, Method::GET, &path, Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    it.be("viewer").await;
    it.must(403, Method::PUT, &path, wanted.clone()).await;
    it.be("admin").await;
    it.must(204, Method::DELETE, &path, Value::Null).await;
    it.must(404, Method::GET, &path, Value::Null).await;
    for (name, value, why) in [
        ("pattern", json!("(a"), "unclosed"),
        ("pattern", json!(r"(\w{100}){100}"), "too large"),
        ("pattern", json!("a*"), "every line"),
        ("cooldown_secs", json!(-1), "0 to 86400"),
        ("streams", json!([]), "one is the least"),
        ("severity", json!("fatal"), "fatal"),
        ("workload", json!(it.umbra.workload), "itself what holds"),
        ("trigger", json!(it.acme.trigger), "kind log"),
    ] {
        let mut wrong = wanted.clone();
        wrong[name] = value.clone();
        let refused = it.must(422, Method::POST, "/log-rules", wrong).await;
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(why), "{name} {value}: {detail}");
    }
    let mut theirs = wanted;
    theirs["overrides"] = json!([]);
    theirs["workload"] = json!(it.umbra.workload);
    it.must(422, Method::POST, "/log-rules", theirs).await;
}

#[tokio::test]
async fn a_pattern_is_tried_on_a_pasted_text() {
    let it = served().await;
    let tried = json!({"pattern": r"code (?<code>\d+)", "text": "fine\nexit code 137\ncode x"});
    let found = it.must(200, Method::POST, "/log-rules/test", tried).await;
    assert_eq!(
        found,
        json!({
            "lines": 3, "cut": false, "matched": 1,
            "matches": [{"line": 2, "text": "exit code 137", "groups": {"code": "137"}}],
        })
    );
    let wrong = json!({"pattern": "(", "text": ""});
    it.must(422, Method::POST, "/log-rules/test", wrong).await;
}

#[tokio::test]
async fn an_endpoint_shows_its_secret_once_and_a_rule_tells_it() {
    let it = served().await;
    it.be("admin").await;
    let wanted = json!({"name": "chat", "url": "https://hooks.example.com/in", "format": "slack"});
    let made = it
        .must(201, Method::POST, "/notification-endpoints", wanted.clone())
        .await;
    let secret = made["secret"].as_str().expect("it is shown");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let id = made["id"].as_str().expect("an id");
    let path = format!("/notification-endpoints/{id}");
    // The path of a chat's URL is all that lets a sender in.
    it.be("viewer").await;
    let seen = it.must(200, Method::GET, &path, Value::Null).await;
    assert_eq!(seen["url"], "https://hooks.example.com/…");
    let list = it
        .must(200, Method::GET, "/notification-endpoints", Value::Null)
        .await;
    assert_eq!(list["items"][0]["url"], "https://hooks.example.com/…");
    it.be("admin").await;
    let shown = it.must(200, Method::GET, &path, Value::Null).await;
    assert!(shown.get("secret").is_none(), "{shown}");
    let rotated = it
        .must(200, Method::POST, &format!("{path}/secret"), Value::Null)
        .await;
    assert_ne!(rotated["secret"], secret);
    assert!(rotated["secret_previous_until"].is_string());
    let mut inside = wanted;
    inside["name"] = "inside".into();
    inside["url"] = "https://10.0.0.1/".into();
    let refused = it
        .must(422, Method::POST, "/notification-endpoints", inside)
        .await;
    assert!(
        refused["detail"].to_string().contains("egress denied"),
        "{refused}"
    );

    let rule = json!({
        "endpoint": id, "name": "bad", "types": ["dev.switchyard.job.*"], "severity": "warning",
        "condition": {"language": "cel", "expression": "event.data.state == 'dead'"},
    });
    let made = it
        .must(201, Method::POST, "/notification-rules", rule.clone())
        .await;
    let rule_path = format!(
        "/notification-rules/{}",
        made["id"].as_str().expect("an id")
    );
    let shown = it.must(200, Method::GET, &rule_path, Value::Null).await;
    assert_eq!(shown, made);
    for (name, value) in [
        ("types", json!(["a b"])),
        ("severity", json!("fatal")),
        ("contains", json!("")),
        ("condition", json!({"language": "cel", "expression": "("})),
        ("endpoint", json!("018f0000-0000-7000-8000-000000000001")),
    ] {
        let mut wrong = rule.clone();
        wrong["name"] = "wrong".into();
        wrong[name] = value;
        it.must(422, Method::POST, "/notification-rules", wrong)
            .await;
    }
    it.must(409, Method::POST, "/notification-rules", rule)
        .await;
    let (status, _) = it
        .told_to(&it.umbra, Method::GET, &rule_path, Value::Null)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn messages_are_listed_with_their_attempts_and_sent_once_more() {
    let it = served().await;
    it.be("admin").await;
    let wanted = json!({"name": "chat", "url": "https://hooks.example.com/in"});
    let made = it
        .must(201, Method::POST, "/notification-endpoints", wanted)
        .await;
    let endpoint = made["id"].as_str().expect("an id");
    let message = "018f0000-0000-7000-8000-000000000002";
    sqlx::query(
        "with told as (
            select switchyard.write_notifications(database_id, 'evt_1', 'type',
                jsonb_build_array(jsonb_build_object('endpoint', id, 'id', $1, 'body', '{}')))
            from switchyard.notification_endpoints
         ) select * from told",
    )
    .bind(message)
    .execute(&it.rows)
    .await
    .expect("a message");
    sqlx::query(
        "insert into switchyard.notification_attempts (database_id, notification_id, number, status, took_ms)
         select database_id, id, 1, 500, 5 from switchyard.notifications",
    )
    .execute(&it.rows)
    .await
    .expect("an attempt");
    let listed = it
        .must(
            200,
            Method::GET,
            &format!("/notifications?endpoint={endpoint}"),
            Value::Null,
        )
        .await;
    assert_eq!(listed["items"][0]["id"], message);
    let path = format!("/notifications/{message}");
    let shown = it.must(200, Method::GET, &path, Value::Null).await;
    assert_eq!(
        (&shown["body"], &shown["log"][0]["status"]),
        (&json!("{}"), &json!(500))
    );
    it.be("viewer").await;
    let again = format!("{path}/redeliveries");
    it.must(403, Method::POST, &again, Value::Null).await;
    it.be("operator").await;
    let (status, _) = it
        .told_to(&it.umbra, Method::POST, &again, Value::Null)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let sent = it.must(202, Method::POST, &again, Value::Null).await;
    let path = format!(
        "/notifications/{}",
        sent["notification"].as_str().expect("an id")
    );
    let repeat = it.must(200, Method::GET, &path, Value::Null).await;
    assert_eq!(repeat["redelivery_of"], message);
    assert_eq!(repeat["message_id"], shown["message_id"]);
}

#[tokio::test]
async fn what_people_declare_is_on_record_and_an_endpoint_is_tried_one_at_a_time() {
    let it = served().await;
    it.be("admin").await;
    let rule = json!({"name": "panics", "pattern": "panicked", "severity": "error"});
    let rule = it.must(201, Method::POST, "/log-rules", rule).await;
    let rule = format!("/log-rules/{}", rule["id"].as_str().expect("an id"));
    it.must(204, Method::DELETE, &rule, Value::Null).await;
    it.must(404, Method::DELETE, &rule, Value::Null).await;
    let chat = json!({"name": "chat", "url": "https://chat.example.com/hooks/t0ken"});
    let chat = it
        .must(201, Method::POST, "/notification-endpoints", chat)
        .await;
    let tests = format!(
        "/notification-endpoints/{}/tests",
        chat["id"].as_str().expect("an id")
    );
    it.must(202, Method::POST, &tests, Value::Null).await;
    let refused = it.must(409, Method::POST, &tests, Value::Null).await;
    assert!(
        refused["detail"].to_string().contains("still to be sent"),
        "{refused}"
    );
    let watch_path = format!("/triggers/{}/watch", it.acme.trigger);
    it.must(200, Method::PUT, &watch_path, watch()).await;
    it.must(204, Method::DELETE, &watch_path, Value::Null).await;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select deed, data::text from switchyard.audit where by_whom <> '' order by id",
    )
    .fetch_all(&it.rows)
    .await
    .expect("rows");
    let deeds: Vec<_> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(
        deeds,
        [
            "log_rule_create",
            "log_rule_remove",
            "endpoint_create",
            "endpoint_test",
            "watch_change",
            "watch_remove"
        ]
    );
    assert!(!format!("{rows:?}").contains("t0ken"), "{rows:?}");
}
