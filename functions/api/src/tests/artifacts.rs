//! Artifacts by the API: who may read, bring and delete them, and how they are sent.

use bytes::Bytes;
use http::HeaderMap;

use super::*;

/// An answer that may be no JSON.
struct Sent {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Sent {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }
}

impl Served {
    async fn bytes_of(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Sent {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("authorization", format!("Bearer {}", self.acme.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let (parts, body) = response.into_parts();
        Sent {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.expect("a body").to_bytes(),
        }
    }

    async fn deeds(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select deed from switchyard.audit where deed like 'artifact%' order by id",
        )
        .fetch_all(&self.rows)
        .await
        .expect("deeds")
    }
}

#[tokio::test]
async fn what_a_person_brings_is_listed_downloaded_and_deleted() {
    let it = served().await;
    it.be("operator").await;
    let brought = it
        .bytes_of(
            "PUT",
            "/shelf/notes%2Fa.html",
            &[],
            "<script>alert(1)</script>",
        )
        .await;
    assert_eq!(brought.status, 201, "{:?}", brought.body);
    let id = brought.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(brought.header("location"), format!("/artifacts/{id}"));
    // The same again is the first; something else has to wait until it is gone.
    let again = it
        .bytes_of(
            "PUT",
            "/shelf/notes%2Fa.html",
            &[],
            "<script>alert(1)</script>",
        )
        .await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(id)));
    assert_eq!(
        it.bytes_of("PUT", "/shelf/notes%2Fa.html", &[], "other")
            .await
            .status,
        409
    );

    let job = it.acme.job;
    let path = format!("/jobs/{job}/artifacts/plan.json");
    let typed = [("content-type", "application/json")];
    assert_eq!(it.bytes_of("PUT", &path, &typed, "{}").await.status, 201);
    assert_eq!(
        it.bytes_of("PUT", "/jobs/999999/artifacts/x", &[], "x")
            .await
            .status,
        404
    );
    let of_umbra = format!("/jobs/{}/artifacts/x", it.umbra.job);
    assert_eq!(it.bytes_of("PUT", &of_umbra, &[], "x").await.status, 404);

    for (path, names) in [
        ("/artifacts".to_owned(), vec!["plan.json", "notes/a.html"]),
        ("/artifacts?shelf=true".to_owned(), vec!["notes/a.html"]),
        ("/artifacts?name=PLAN".to_owned(), vec!["plan.json"]),
        (format!("/artifacts?job={job}"), vec!["plan.json"]),
        (format!("/jobs/{job}/artifacts"), vec!["plan.json"]),
    ] {
        let (status, list) = it.get(&it.acme.token, &path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {list}");
        let items = list["items"].as_array().expect("a list");
        let found: Vec<_> = items
            .iter()
            .map(|item| item["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(found, names, "{path}");
    }
    let (_, first) = it.get(&it.acme.token, "/artifacts?limit=1").await;
    let next = first["next"].as_str().expect("a cursor");
    let (_, second) = it
        .get(&it.acme.token, &format!("/artifacts?limit=1&cursor={next}"))
        .await;
    assert_eq!(second["items"][0]["name"], "notes/a.html");

    // However it is asked for, it is a file and no page.
    let content = it
        .bytes_of("GET", &format!("/artifacts/{id}/content"), &[], "")
        .await;
    assert_eq!(
        (content.status, &content.body[..]),
        (200, &b"<script>alert(1)</script>"[..])
    );
    assert_eq!(content.header("content-type"), "text/html");
    assert_eq!(content.header("x-content-type-options"), "nosniff");
    assert_eq!(
        content.header("content-security-policy"),
        "sandbox; default-src 'none'"
    );
    assert_eq!(
        content.header("content-disposition"),
        "attachment; filename=\"a.html\"; filename*=UTF-8''a.html"
    );
    let tag = content.header("etag").to_owned();
    assert_eq!(
        tag,
        format!(
            "\"{}\"",
            brought.json()["sha256"].as_str().expect("a digest")
        )
    );

    let gone = it
        .bytes_of("DELETE", &format!("/artifacts/{id}"), &[], "")
        .await;
    assert_eq!(gone.status, 204);
    assert_eq!(
        it.bytes_of("GET", &format!("/artifacts/{id}"), &[], "")
            .await
            .status,
        404
    );
    assert_eq!(
        it.bytes_of("DELETE", &format!("/artifacts/{id}"), &[], "")
            .await
            .status,
        404
    );
    assert_eq!(
        it.bytes_of("PUT", "/shelf/notes%2Fa.html", &[], "other")
            .await
            .status,
        201
    );
    assert_eq!(
        it.deeds().await,
        [
            "artifact_upload",
            "artifact_upload",
            "artifact_delete",
            "artifact_upload"
        ]
    );
}

#[tokio::test]
async fn a_part_is_sent_to_who_asks_for_one_and_nothing_to_who_has_it() {
    let it = served().await;
    it.be("operator").await;
    let brought = it
        .bytes_of("PUT", "/shelf/ten", &[], "0123456789")
        .await
        .json();
    let path = format!(
        "/artifacts/{}/content",
        brought["id"].as_str().expect("an id")
    );
    let tag = format!("\"{}\"", brought["sha256"].as_str().expect("a digest"));
    let part = it
        .bytes_of("GET", &path, &[("range", "bytes=7-")], "")
        .await;
    assert_eq!((part.status, &part.body[..]), (206, &b"789"[..]));
    assert_eq!(part.header("content-range"), "bytes 7-9/10");
    assert_eq!(part.header("content-length"), "3");
    let behind = it
        .bytes_of("GET", &path, &[("range", "bytes=10-")], "")
        .await;
    assert_eq!(
        (behind.status, behind.header("content-range")),
        (416, "bytes */10")
    );
    let other = [("range", "bytes=7-"), ("if-range", "\"other\"")];
    assert_eq!(it.bytes_of("GET", &path, &other, "").await.status, 200);
    let known = it
        .bytes_of("GET", &path, &[("if-none-match", &tag)], "")
        .await;
    assert_eq!(
        (known.status, known.body.len(), known.header("etag")),
        (304, 0, tag.as_str())
    );
}

#[tokio::test]
async fn who_may_not_does_not() {
    let it = served().await;
    it.be("operator").await;
    let sealed = it
        .bytes_of("PUT", "/shelf/plan?sealed=true", &[], "a password")
        .await;
    assert_eq!(sealed.status, 201);
    let id = sealed.json()["id"].as_str().expect("an id").to_owned();
    let content = format!("/artifacts/{id}/content");
    // It is seen that it is there; its bytes are an admin's.
    assert_eq!(
        it.bytes_of("GET", &format!("/artifacts/{id}"), &[], "")
            .await
            .status,
        200
    );
    let refused = it.bytes_of("GET", &content, &[], "").await;
    assert_eq!(refused.status, 403);
    assert!(!refused.body.windows(8).any(|bytes| bytes == b"password"));
    it.be("admin").await;
    let part = it
        .bytes_of("GET", &content, &[("range", "bytes=2-")], "")
        .await;
    assert_eq!((part.status, &part.body[..]), (206, &b"password"[..]));
    assert_eq!(part.header("cache-control"), "no-store");
    assert_eq!(it.deeds().await, ["artifact_upload", "artifact_download"]);

    it.be("viewer").await;
    assert_eq!(it.bytes_of("PUT", "/shelf/x", &[], "x").await.status, 403);
    assert_eq!(
        it.bytes_of("DELETE", &format!("/artifacts/{id}"), &[], "")
            .await
            .status,
        403
    );
    // Another tenant's are not there.
    for path in [format!("/artifacts/{id}"), content] {
        let (status, _) = it.get(&it.umbra.token, &path).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let (_, list) = it.get(&it.umbra.token, "/artifacts").await;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn what_is_too_large_badly_named_or_cannot_be_kept_leaves_nothing() {
    let it = served().await;
    it.be("operator").await;
    let length = [("content-length", "104857601")];
    assert_eq!(
        it.bytes_of("PUT", "/shelf/x", &length, "x").await.status,
        413
    );
    for name in ["..%2Fx", "%2Fx", "a%0Ab", "a%5Cb"] {
        let answer = it
            .bytes_of("PUT", &format!("/shelf/{name}"), &[], "x")
            .await;
        assert_eq!(answer.status, 422, "{name}");
    }
    sqlx::query("select switchyard.set_artifact_quota(database_id, 100, 50, 'an operator') from switchyard.tenants")
        .execute(&it.rows)
        .await
        .expect("quotas");
    assert_eq!(
        it.bytes_of("PUT", "/shelf/x", &[], vec![1; 51])
            .await
            .status,
        413
    );
    assert_eq!(
        it.bytes_of("PUT", "/shelf/x", &[], vec![1; 50])
            .await
            .status,
        201
    );
    assert_eq!(
        it.bytes_of("PUT", "/shelf/y", &[], vec![2; 50])
            .await
            .status,
        201
    );
    let full = it.bytes_of("PUT", "/shelf/z", &[], "z").await;
    assert_eq!(full.status, 409);
    assert!(
        full.json()["detail"]
            .as_str()
            .expect("why")
            .contains("delete some")
    );

    // A store that takes nothing.
    let (_, list) = it.get(&it.acme.token, "/artifacts?name=y").await;
    let id = list["items"][0]["id"].as_str().expect("an id").to_owned();
    std::fs::remove_dir_all(it.folder.path()).expect("a folder");
    std::fs::write(it.folder.path(), "in the way").expect("a file");
    it.bytes_of("DELETE", &format!("/artifacts/{id}"), &[], "")
        .await;
    let away = it.bytes_of("PUT", "/shelf/late", &[], "late").await;
    assert_eq!((away.status, away.header("retry-after")), (503, "5"));
    assert_eq!(
        away.json()["type"],
        "urn:switchyard:problem:store-unavailable"
    );
    let (_, list) = it.get(&it.acme.token, "/artifacts").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    std::fs::remove_file(it.folder.path()).expect("a file");
    std::fs::create_dir(it.folder.path()).expect("a folder");
    assert_eq!(
        it.bytes_of("PUT", "/shelf/late", &[], "late").await.status,
        201
    );
}
