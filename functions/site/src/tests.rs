//! The function as it is served, on a database.

use axum::Router;
use axum::body::Body;
use blobs::Blobs;
use blobs::site::{Entry, MANIFEST, Manifest, Origin, Sha256Hex, SitePath, prefix};
use bytes::Bytes;
use host::{Env, Resources};
use http::HeaderMap;
use sqlx::PgPool;
use testkit::TestDb;
use tower::ServiceExt as _;

use super::*;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Served {
    router: Router,
    rows: PgPool,
    blobs: Blobs,
    folder: tempfile::TempDir,
    // Goes away when the test is over.
    _db: TestDb,
}

async fn served() -> Result<Served> {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let folder = tempfile::tempdir()?;
    let place = folder.path().to_str().ok_or("UTF-8")?;
    let tenant = store::people::ensure_member(
        &mut *rows.acquire().await?,
        "acme",
        "Ann",
        model::Role::Admin,
    )
    .await?
    .0;
    sqlx::query(
        "insert into switchyard.workloads (id, database_id, name, source, config, host)
         values (gen_random_uuid(), $1, 'Docs', 'static', '{}', 'docs')",
    )
    .bind(tenant.uuid())
    .execute(&rows)
    .await?;
    Ok(Served {
        router: mounted(&db.owner_url(), place)?,
        rows,
        blobs: Blobs::open(place)?,
        folder,
        _db: db,
    })
}

fn mounted(database: &str, blobs: &str) -> Result<Router> {
    let env = Env::default()
        .with("DATABASE_URL", database)
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
        .with("BLOBS_URL", blobs);
    Ok(FUNCTION.mount(&env, &Resources::new()?)?.router)
}

impl Served {
    /// Stores a site of one page and makes it live.
    async fn publish(&self, number: i32, text: &'static str) -> Result<BlobPath> {
        let digest = Sha256Hex::of(text.as_bytes());
        let prefix = prefix("w1", &digest)?;
        let mut manifest = Manifest::default();
        manifest.files.insert(
            SitePath::new("index.html")?,
            Entry {
                sha256: digest.clone(),
                size: text.len() as u64,
                content_type: "text/html".into(),
                origin: Origin::Verbatim,
            },
        );
        let blob = prefix.join(digest.as_str())?;
        self.blobs.put(&blob, Bytes::from(text)).await?;
        let manifest = serde_json::to_vec(&manifest)?;
        self.blobs
            .put(&prefix.join(MANIFEST)?, manifest.into())
            .await?;
        sqlx::query(
            "with r as (
                 insert into switchyard.revisions
                     (database_id, workload_id, number, commit, prefix, content_hash, files, bytes, warnings, job_id)
                 select database_id, id, $1, repeat('a', 40), $2, $3, 1, 1, '[]', 1 from switchyard.workloads
                 returning id
             )
             update switchyard.workloads set live_revision = r.id from r",
        )
        .bind(number)
        .bind(prefix.as_str())
        .bind(digest.as_str())
        .execute(&self.rows)
        .await?;
        Ok(blob)
    }
}

async fn ask(router: &Router, method: &str, host: &str) -> Result<(u16, HeaderMap, String)> {
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header("host", host)
        .body(Body::empty())?;
    let (parts, body) = router.clone().oneshot(request).await?.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    Ok((
        parts.status.as_u16(),
        parts.headers,
        String::from_utf8(body.into())?,
    ))
}

#[tokio::test]
async fn a_host_is_answered_from_what_is_live_now() -> Result {
    let it = served().await?;
    let (status, _, page) = ask(&it.router, "GET", "docs.localhost").await?;
    assert_eq!(status, 404, "nothing is deployed");
    assert!(page.contains("nothing has been deployed"), "{page}");
    for (number, text) in [(1, "<p>one"), (2, "<p>two")] {
        it.publish(number, text).await?;
        let (status, _, page) = ask(&it.router, "GET", "docs.localhost:8080").await?;
        assert_eq!((status, page.as_str()), (200, text));
    }
    let (status, headers, page) = ask(&it.router, "HEAD", "docs.localhost").await?;
    assert_eq!((status, page.as_str()), (200, ""));
    assert_eq!(headers["content-length"], "6");
    let (status, _, _) = ask(&it.router, "POST", "docs.localhost").await?;
    assert_eq!(status, 405);
    for host in ["other.localhost", "docs.example.com", "portal.localhost"] {
        let (status, _, page) = ask(&it.router, "GET", host).await?;
        assert_eq!(status, 404, "{host}");
        assert!(page.contains("No site is known"), "{page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_live_file_that_is_gone_is_an_error_of_ours() -> Result {
    let it = served().await?;
    let blob = it.publish(1, "<p>one").await?;
    std::fs::remove_file(it.folder.path().join(blob.as_str()))?;
    let (status, _, page) = ask(&it.router, "GET", "docs.localhost").await?;
    assert_eq!(status, 500);
    assert!(!page.contains(blob.as_str()), "{page}");
    Ok(())
}

#[tokio::test]
async fn while_the_database_is_away_clients_are_told_when_to_come_again() -> Result {
    let it = served().await?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let nobody = format!("postgres://x@{}/x", listener.local_addr()?);
    drop(listener);
    let env = Env::default()
        .with("DATABASE_URL", nobody)
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "1")
        .with("BLOBS_URL", it.folder.path().to_str().ok_or("UTF-8")?);
    let away = FUNCTION.mount(&env, &Resources::new()?)?.router;
    let (status, headers, _) = ask(&away, "GET", "docs.localhost").await?;
    assert_eq!(status, 503);
    assert_eq!(headers["retry-after"], "2");
    Ok(())
}

#[test]
fn a_missing_or_wrong_setting_stops_the_start() {
    for (env, name) in [
        (Env::default(), "BLOBS_URL"),
        (Env::default().with("BLOBS_URL", "ftp://x"), "BLOBS_URL"),
        (
            Env::default()
                .with("BLOBS_URL", "/tmp")
                .with("SITE_DOMAIN", "*.example.com"),
            "SITE_DOMAIN",
        ),
    ] {
        let error = (FUNCTION.routes)(&env).expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
    }
}
