//! Deliveries over HTTP: found, read, delivered again; what is another tenant's is not there.

use http::Method;
use http::header::CONTENT_TYPE;

use super::*;

impl Served {
    async fn as_operator(&self) {
        sqlx::query("update switchyard.memberships set role = 'operator'")
            .execute(&self.rows)
            .await
            .expect("the owner may");
    }

    async fn posted(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let answered = self.router.clone().oneshot(request).await;
        let response = answered.expect("a router always answers");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body");
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        (status, body)
    }
}

#[tokio::test]
async fn deliveries_are_found_by_what_is_known_of_them() {
    let it = served().await;
    let (token, one) = (&it.acme.token, &it.acme.delivery);
    for (query, found) in [
        ("vendor=gitea", true),
        ("vendor=github", false),
        ("event=push&verdict=accepted", true),
        ("event=star", false),
        ("verdict=rejected", false),
        (&format!("trigger={}", it.acme.trigger), true),
        (&format!("trigger={}", it.umbra.trigger), false),
        // Input 35: nothing of a query is SQL.
        ("vendor=gitea%27%20or%20%271%27%3D%271", false),
        ("event=%25", false),
    ] {
        let (status, body) = it.get(token, &format!("/deliveries?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {body}");
        let ids: Vec<_> = body["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| &it["id"])
            .collect();
        let expected: Vec<Value> = found.then(|| json!(one)).into_iter().collect();
        assert_eq!(ids, expected.iter().collect::<Vec<_>>(), "{query}");
    }
    for (query, status) in [
        ("limit=-1", 422),
        ("sort=pg_sleep(10)", 422),
        ("since=yesterday", 422),
        ("verdict=x", 422),
        ("cursor=6566", 400),
    ] {
        let (got, _) = it.get(token, &format!("/deliveries?{query}")).await;
        assert_eq!(got.as_u16(), status, "{query}");
    }
}

#[tokio::test]
async fn what_is_another_tenants_is_neither_read_nor_repeated() {
    let it = served().await;
    it.as_operator().await;
    let (token, own, theirs) = (&it.acme.token, &it.acme.delivery, &it.umbra.delivery);
    for path in [
        format!("/deliveries/{theirs}"),
        format!("/deliveries/{theirs}/body"),
        format!("/deliveries/{theirs}/diff?with={own}"),
        format!("/deliveries/{own}/diff?with={theirs}"),
        format!("/triggers/{}/health", it.umbra.trigger),
    ] {
        let (status, body) = it.get(token, &path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body}");
    }
    for path in ["redeliver", "replays"] {
        let (status, _) = it
            .posted(token, &format!("/deliveries/{theirs}/{path}"), json!({}))
            .await;
        assert_eq!(status, 404, "{path}");
    }
    let events = "select count(*) from switchyard.events";
    let before: i64 = sqlx::query_scalar(events)
        .fetch_one(&it.rows)
        .await
        .expect("a number");
    let foreign: String = sqlx::query_scalar(
        "select 'bnd_' || replace(b.id::text, '-', '') from switchyard.bindings b
         join switchyard.tenants t using (database_id) where t.name = 'umbra' limit 1",
    )
    .fetch_one(&it.rows)
    .await
    .expect("a row");
    for (path, body) in [
        (
            format!("/deliveries/{own}/replays"),
            json!({"binding": foreign}),
        ),
        (
            "/deliveries/replays".to_owned(),
            json!({"filter": {}, "binding": foreign}),
        ),
        (
            "/deliveries/replays".to_owned(),
            json!({"filter": {"verdict": "x"}}),
        ),
        (
            "/deliveries/replays".to_owned(),
            json!({"filter": {"x": 1}}),
        ),
    ] {
        let (status, answer) = it.posted(token, &path, body).await;
        assert_eq!(status, 422, "{path}: {answer}");
    }
    let after: i64 = sqlx::query_scalar(events)
        .fetch_one(&it.rows)
        .await
        .expect("a number");
    assert_eq!(after, before);
}

#[tokio::test]
async fn an_event_is_made_again_and_a_function_that_is_away_is_said_to_be() {
    let it = served().await;
    let (token, delivery) = (&it.acme.token, &it.acme.delivery);
    let replays = format!("/deliveries/{delivery}/replays");
    sqlx::query("update switchyard.memberships set role = 'viewer'")
        .execute(&it.rows)
        .await
        .expect("the owner may");
    assert_eq!(it.posted(token, &replays, json!({})).await.0, 403);
    it.as_operator().await;
    let (status, made) = it.posted(token, &replays, json!({})).await;
    assert_eq!(status, 200, "{made}");
    let replayed: Option<String> = sqlx::query_scalar(
        "select 'evt_' || replace(replays::text, '-', '') from switchyard.events where replays is not null",
    )
    .fetch_one(&it.rows)
    .await
    .expect("a row");
    assert_eq!(replayed.as_deref(), Some(&*it.acme.event));

    let redeliver = format!("/deliveries/{delivery}/redeliver");
    let (status, problem) = it.posted(token, &redeliver, json!({})).await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("urn:switchyard:problem:unreached"))
    );
    let (status, health) = it
        .get(token, &format!("/triggers/{}/health", it.acme.trigger))
        .await;
    assert_eq!(
        (status, &health["rejected_today"]),
        (StatusCode::OK, &json!(0)),
        "{health}"
    );
    sqlx::query("update switchyard.deliveries set body = null, body_dropped_at = now()")
        .execute(&it.rows)
        .await
        .expect("the owner may");
    assert_eq!(it.posted(token, &redeliver, json!({})).await.0, 409);
    let (status, _) = it.get(token, &format!("/deliveries/{delivery}/body")).await;
    assert_eq!(status, StatusCode::CONFLICT);
}
