//! Workspaces and credentials of all kinds over HTTP.

use http::Method;

use super::*;

fn wanted() -> Value {
    json!({"name": "network", "repository": "https://git.example.com/infra/network.git", "folder": "labs"})
}

#[tokio::test]
async fn a_workspace_is_made_changed_and_removed_on_record_by_an_admin() {
    let it = served().await;
    it.be("operator").await;
    it.must(403, Method::POST, "/workspaces", wanted()).await;
    it.be("admin").await;
    let made = it.must(201, Method::POST, "/workspaces", wanted()).await;
    assert_eq!(
        (&made["branch"], &made["found"], &made["commit"]),
        (&json!("main"), &json!([]), &Value::Null)
    );
    it.must(409, Method::POST, "/workspaces", wanted()).await;
    let path = format!("/workspaces/{}", made["id"].as_str().expect("an id"));
    sqlx::query("update switchyard.workspaces set commit = repeat('a', 40), synced_at = now()")
        .execute(&it.rows)
        .await
        .expect("the owner may");

    // Another name is the same place; another branch is another.
    let mut other = wanted();
    other["name"] = "net".into();
    let changed = it.must(200, Method::PUT, &path, other.clone()).await;
    assert_eq!(changed["commit"], "a".repeat(40));
    other["branch"] = "next".into();
    let changed = it.must(200, Method::PUT, &path, other).await;
    assert_eq!(changed["commit"], Value::Null);

    it.be("viewer").await;
    let all = it.must(200, Method::GET, "/workspaces", Value::Null).await;
    assert_eq!(all["items"][0]["name"], "net");
    it.must(403, Method::POST, &format!("{path}/sync"), Value::Null)
        .await;
    it.must(403, Method::DELETE, &path, Value::Null).await;
    let (status, _) = it.told_to(&it.umbra, Method::GET, &path, Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // Who reads does not answer here: it will look with the next tick.
    it.be("operator").await;
    let asked = it
        .must(202, Method::POST, &format!("{path}/sync"), Value::Null)
        .await;
    assert_eq!(asked["looked_at"], Value::Null);
    it.be("admin").await;
    it.must(204, Method::DELETE, &path, Value::Null).await;
    it.must(404, Method::GET, &path, Value::Null).await;
    let deeds: Vec<(String, String)> = sqlx::query_as(
        "select deed, by_whom from switchyard.audit where deed like 'workspace%' order by id",
    )
    .fetch_all(&it.rows)
    .await
    .expect("a record");
    let deeds: Vec<&str> = deeds.iter().map(|(deed, _)| deed.as_str()).collect();
    assert_eq!(
        deeds,
        [
            "workspace_create",
            "workspace_change",
            "workspace_change",
            "workspace_remove"
        ]
    );
}

#[tokio::test]
async fn what_is_no_repository_no_branch_and_no_folder_is_refused() {
    let it = served().await;
    it.be("admin").await;
    for (name, value) in [
        ("repository", "ext::sh -c id"),
        ("repository", "file:///etc/passwd"),
        ("repository", "--upload-pack=id"),
        ("repository", "-oProxyCommand=id"),
        ("repository", "ssh://git@git.example.com/a/b"),
        ("repository", "git@git.example.com:a/b"),
        ("repository", "http://git.example.com/a/b"),
        ("repository", "https://u:p@git.example.com/a/b"),
        ("repository", "https://git.example.com/a/--upload-pack=x"),
        ("repository", "https://169.254.169.254/a/b"),
        ("repository", "https://localhost/a/b"),
        ("repository", "/srv/../etc"),
        ("branch", "--output=x"),
        ("branch", "a..b"),
        ("branch", "refs/heads/main"),
        ("folder", "../.."),
        ("folder", "/etc"),
        ("folder", "a/.git"),
        ("name", ""),
        ("host", "x"),
    ] {
        let mut bad = wanted();
        bad[name] = value.into();
        let refused = it.must(422, Method::POST, "/workspaces", bad).await;
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(name), "{name} {value}: {detail}");
    }
    let all = it.must(200, Method::GET, "/workspaces", Value::Null).await;
    assert_eq!(all["items"], json!([]));
}

#[tokio::test]
async fn each_kind_of_run_comes_with_a_binding_that_can_be_saved() {
    let it = served().await;
    it.be("admin").await;
    let kinds = it.must(200, Method::GET, "/run-kinds", Value::Null).await;
    let kinds = kinds["items"].as_array().expect("a list").clone();
    assert!(!kinds.is_empty());
    let path = format!("/triggers/{}/bindings", it.acme.trigger);
    for kind in kinds {
        it.must(201, Method::POST, &path, kind["binding"].clone())
            .await;
        let mut bad = kind["binding"].clone();
        bad["payload"]["unheard-of"] = 1.into();
        let refused = it.must(422, Method::POST, &path, bad).await;
        assert!(
            refused["detail"].to_string().contains("unheard-of"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_credential_is_of_a_kind_and_says_who_needs_it() {
    let it = served().await;
    it.be("admin").await;
    let git = json!({"name": "git", "host": "git.example.com", "secret": "s3cret"});
    let git = it.must(201, Method::POST, "/credentials", git).await;
    assert_eq!(
        (&git["kind"], &git["state"]),
        (&json!("git"), &json!("unchecked"))
    );
    let mut workspace = wanted();
    workspace["credential"] = git["id"].clone();
    it.must(201, Method::POST, "/workspaces", workspace.clone())
        .await;
    let used = format!("/credentials/{}", git["id"].as_str().expect("an id"));
    it.must(409, Method::DELETE, &used, Value::Null).await;
    it.must(202, Method::POST, &format!("{used}/checks"), Value::Null)
        .await;
    let all = it.must(200, Method::GET, "/credentials", Value::Null).await;
    assert_eq!(all["items"][0]["uses"], json!(["workspace network"]));
    workspace["name"] = "other".into();
    workspace["repository"] = "https://git.example.com.evil.test/a/b".into();
    it.must(422, Method::POST, "/workspaces", workspace).await;

    let s3 = json!({"name": "s3", "kind": "s3", "username": "AK", "secret": "x", "config": {"bucket": "labs"}});
    let s3 = it.must(201, Method::POST, "/credentials", s3).await;
    assert_eq!(s3["host"], "s3.us-east-1.amazonaws.com");
    for bad in [
        json!({"name": "a", "secret": "x"}),
        json!({"name": "a", "kind": "s3", "secret": "x"}),
        json!({"name": "a", "kind": "gcp", "secret": "no key file"}),
        json!({"name": "a", "kind": "azure", "secret": "x", "config": {"directory": "a/b"}}),
        json!({"name": "a", "kind": "kube", "host": "k.test:6443", "secret": "x", "config": {"y": 1}}),
        json!({"name": "a", "kind": "ftp", "host": "h.test", "secret": "x"}),
    ] {
        it.must(422, Method::POST, "/credentials", bad).await;
    }
    let record: Vec<String> = sqlx::query_scalar("select data::text from switchyard.audit")
        .fetch_all(&it.rows)
        .await
        .expect("a record");
    assert!(!record.is_empty() && !record.iter().any(|data| data.contains("s3cret")));
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test's server has no host to spawn by"
)]
async fn who_asks_for_a_look_waits_for_who_reads_and_sees_what_came_of_it() {
    let mut it = served().await;
    it.be("admin").await;
    let made = it.must(201, Method::POST, "/workspaces", wanted()).await;
    let rows = it.rows.clone();
    let reader = axum::Router::new().route(
        "/",
        axum::routing::post(move |headers: http::HeaderMap| async move {
            assert_eq!(headers["ce-type"], "dev.switchyard.tick.v1");
            let done = sqlx::query(
                "update switchyard.workspaces set looked_at = now(), commit = repeat('b', 40) where next_at < now()",
            )
            .execute(&rows)
            .await
            .expect("it is due");
            assert_eq!(done.rows_affected(), 1);
            StatusCode::ACCEPTED
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move { axum::serve(listener, reader).await });
    let env = Env::default()
        .with("DATABASE_URL", it._db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
        .with("MASTER_KEY_FILE", it._key.path().to_str().expect("a path"))
        .with(
            "BLOBS_URL",
            std::env::temp_dir()
                .join("switchyard-api")
                .to_string_lossy(),
        )
        .with("CRON_WORKSPACES_URL", url);
    let resources = Resources::new().expect("an HTTP client");
    let mounted = FUNCTION.mount(&with_functions(env), &resources);
    it.router = mounted.expect("good settings").router;
    let path = format!("/workspaces/{}/sync", made["id"].as_str().expect("an id"));
    let shown = it.must(200, Method::POST, &path, Value::Null).await;
    assert_eq!(shown["commit"], "b".repeat(40));
    serving.abort();
}

#[tokio::test]
async fn a_secret_that_cannot_be_one_of_its_kind_is_not_written_over_another() {
    let it = served().await;
    it.be("admin").await;
    let key = json!({"client_email": "a@b.test", "private_key": "x"}).to_string();
    let made = json!({"name": "cloud", "kind": "gcp", "secret": key});
    let made = it.must(201, Method::POST, "/credentials", made).await;
    let path = format!("/credentials/{}", made["id"].as_str().expect("an id"));
    let wrong = json!({"secret": "s3cret"});
    let refused = it.must(422, Method::PUT, &path, wrong).await;
    assert!(!refused.to_string().contains("s3cret"), "{refused}");
    it.must(204, Method::PUT, &path, json!({"secret": key}))
        .await;
}
