//! Where a tenant has its functions: who may say so, and what is refused before it is saved.

use super::*;

async fn admin(it: &Served, tenant: &str) -> String {
    let mut owner = it.rows.acquire().await.expect("a connection");
    let (_, person) = people::ensure_member(&mut owner, tenant, "An admin", Role::Admin)
        .await
        .expect("a member");
    let link = people::create_sign_in_link(&mut owner, person)
        .await
        .expect("a link");
    let tenants = TenantDb::new(&connect(&it._db, DatabaseRole::Tenant)).expect("a URL");
    let session = people::open_session(&tenants, &link)
        .await
        .expect("an answer");
    session.expect("a session").expose().to_owned()
}

async fn send(it: &Served, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    let answered = it.router.clone().oneshot(request).await;
    let response = answered.expect("a router always answers");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    let json = serde_json::from_slice(&body.to_bytes()).expect("JSON");
    (status, json)
}

const URL: &str = "/executors/task-http/url";

#[tokio::test]
async fn a_tenant_says_where_its_function_is_and_only_for_itself() {
    let it = served().await;
    let acme = admin(&it, "acme").await;
    let wanted = json!({"url": "https://fn.example.com/hook"});
    let (status, shown) = send(&it, &acme, "PUT", URL, &wanted).await;
    assert_eq!((status, &shown["url"]), (200, &wanted["url"]));
    assert_eq!(shown["left_to_tenants"], true);

    let own = |token: String| {
        let it = &it;
        async move {
            let (_, shown) = send(it, &token, "GET", "/executors/task-http", &json!({})).await;
            shown["url"].clone()
        }
    };
    assert_eq!(own(it.acme.token.clone()).await, wanted["url"]);
    assert_eq!(own(it.umbra.token.clone()).await, Value::Null);
    let (_, listed) = send(&it, &it.umbra.token, "GET", "/executors", &json!({})).await;
    let all = listed["items"].as_array().expect("a list");
    assert!(all.iter().any(|task| task["task"] == "task-http"));
    assert!(all.iter().all(|task| task["url"].is_null()));

    let umbra = admin(&it, "umbra").await;
    let (status, _) = send(&it, &umbra, "DELETE", URL, &json!({})).await;
    assert_eq!(status, 404, "there is nothing of its own");
    let (status, shown) = send(&it, &acme, "DELETE", URL, &json!({})).await;
    assert_eq!((status, &shown["url"]), (200, &Value::Null));
}

#[tokio::test]
async fn what_leads_inward_is_refused_when_it_is_saved() {
    let it = served().await;
    let acme = admin(&it, "acme").await;
    for url in [
        "http://fn.example.com/",
        "https://169.254.169.254/",
        "https://[::ffff:127.0.0.1]/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://localhost./",
        "https://[64:ff9b::7f00:1]/",
        "https://a@b@c/",
        "file:///etc/passwd",
        "nonsense",
    ] {
        let (status, problem) = send(&it, &acme, "PUT", URL, &json!({"url": url})).await;
        assert_eq!(status, 422, "{url}: {problem}");
    }
    let (_, shown) = send(&it, &acme, "GET", "/executors/task-http", &json!({})).await;
    assert_eq!(shown["url"], Value::Null);
}

#[tokio::test]
async fn only_an_admin_says_it_and_only_where_the_operator_has_not() {
    let it = served().await;
    let wanted = json!({"url": "https://fn.example.com/hook"});
    let (status, _) = send(&it, &it.acme.token, "PUT", URL, &wanted).await;
    assert_eq!(status, 403, "a viewer");
    let acme = admin(&it, "acme").await;
    let (status, _) = send(&it, &acme, "PUT", "/executors/nothing/url", &wanted).await;
    assert_eq!(status, 404);
    sqlx::query(
        "update switchyard.tasks set url = 'http://hook.internal/x' where name = 'task-http'",
    )
    .execute(&it.rows)
    .await
    .expect("a task");
    let (status, problem) = send(&it, &acme, "PUT", URL, &wanted).await;
    assert_eq!(status, 409, "{problem}");
    let (_, shown) = send(&it, &acme, "GET", "/executors/task-http", &json!({})).await;
    assert!(!shown.to_string().contains("hook.internal"), "{shown}");
}
