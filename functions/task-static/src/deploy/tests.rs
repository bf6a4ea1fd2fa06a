//! The function as it is served: jobs go in, wake-ups come, a site is there.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use events::{EventType, encode_binary};
use host::{Env, Mounted, Resources};
use model::{JobQueued, TaskPolicy, TenantId, WorkloadId};
use queue::{NewJob, Queue};
use serde_json::{Map, json};
use sqlx::PgPool;
use testkit::{GitOrigin, TestDb};
use tower::ServiceExt as _;

use super::*;
use crate::{FUNCTION, POLICY};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A database with one workload, a repository that it follows, the task and the site.
struct Bench {
    origin: GitOrigin,
    rows: PgPool,
    queue: Queue,
    tenant: TenantId,
    workload: WorkloadId,
    env: Env,
    task: Mounted,
    site: Router,
    folder: tempfile::TempDir,
    // Goes away when the test is over.
    _db: TestDb,
}

/// How a job ended.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Ended {
    state: String,
    attempts: i32,
    epoch: i64,
    reason: Option<String>,
    result: Option<Value>,
}

/// Everything that a worker without a hold must leave as it is.
#[derive(Debug, PartialEq)]
struct Snapshot {
    revisions: Vec<(i32, String)>,
    live: Option<i32>,
    log: Vec<String>,
    ended: Ended,
    outbox: i64,
    page: (u16, String),
}

impl Bench {
    async fn new() -> Result<Self> {
        let origin = GitOrigin::new()?;
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let mut owner = rows.acquire().await?;
        let admin = model::Role::Admin;
        let (tenant, _) = store::people::ensure_member(&mut owner, "acme", "Ann", admin).await?;
        let at_once = TaskPolicy {
            backoff_max: Duration::ZERO,
            ..POLICY
        };
        queue::know_task(&mut owner, FUNCTION.name, &at_once).await?;
        let workload = sqlx::query_scalar::<_, sqlx::types::Uuid>(
            "insert into switchyard.workloads (id, database_id, name, source, config, host)
             values (gen_random_uuid(), $1, 'Docs', 'static', $2, 'docs') returning id",
        )
        .bind(tenant.uuid())
        .bind(json!({"source": {"kind": "local", "path": origin.repository()}}))
        .fetch_one(&rows)
        .await?
        .into();

        let folder = tempfile::tempdir()?;
        let path = |below: &str| folder.path().join(below).display().to_string();
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
            .with("BLOBS_URL", path("blobs"))
            .with("SCRATCH_DIR", path("scratch"))
            .with(
                "STATIC_LOCAL_ROOTS",
                origin.path("owner").display().to_string(),
            )
            .with("SLICE_SECS", "2");
        let resources = Resources::new()?;
        let system = database::SystemDb::new(&database::Connect {
            url: db.owner_url().into(),
            role: model::DatabaseRole::System,
            connections_max: 4,
            acquire_timeout: Duration::from_secs(60),
        })?;
        Ok(Self {
            queue: Queue::new(system),
            task: FUNCTION.mount(&env, &resources)?,
            site: site::FUNCTION.mount(&env, &resources)?.router,
            origin,
            rows,
            tenant,
            workload,
            env,
            folder,
            _db: db,
        })
    }

    async fn add(&self, action: WorkloadAction, overrides: Value) -> Result<i64> {
        let Value::Object(overrides) = overrides else {
            return Err("an object".into());
        };
        let payload = serde_json::to_value(WorkloadJob {
            workload: self.workload,
            action,
            overrides,
            untrusted: false,
        })?;
        let name = format!("workload:{}", self.workload);
        let job = NewJob {
            queue_name: Some(&name),
            workload: Some(self.workload),
            ..NewJob::new(self.tenant, FUNCTION.name, &payload)
        };
        Ok(self.queue.add(&job).await?.job().0)
    }

    async fn deploy(&self, asked: Option<&str>) -> Result<i64> {
        let asked = asked.map(str::parse).transpose()?;
        let job = self
            .add(WorkloadAction::Deploy { asked }, json!({}))
            .await?;
        wake(&self.task).await?;
        Ok(job)
    }

    async fn rollback(&self, number: i32) -> Result<i64> {
        let id = sqlx::query_scalar::<_, sqlx::types::Uuid>(
            "select id from switchyard.revisions where number = $1",
        )
        .bind(number)
        .fetch_one(&self.rows)
        .await?;
        let revision = id.into();
        let job = self
            .add(WorkloadAction::Rollback { revision }, json!({}))
            .await?;
        wake(&self.task).await?;
        Ok(job)
    }

    async fn configure(&self, config: Value) -> Result {
        sqlx::query("update switchyard.workloads set config = $1")
            .bind(config)
            .execute(&self.rows)
            .await?;
        Ok(())
    }

    async fn ended(&self, job: i64) -> Result<Ended> {
        Ok(sqlx::query_as(
            "select state::text, attempts, epoch, reason, result from switchyard.jobs_archive where id = $1",
        )
        .bind(job)
        .fetch_one(&self.rows)
        .await?)
    }

    async fn log(&self, job: i64) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(
            "select line from switchyard.job_logs where job_id = $1 order by epoch, seq",
        )
        .bind(job)
        .fetch_all(&self.rows)
        .await?)
    }

    /// Numbers and commits.
    async fn revisions(&self) -> Result<Vec<(i32, String)>> {
        Ok(
            sqlx::query_as("select number, commit from switchyard.revisions order by number")
                .fetch_all(&self.rows)
                .await?,
        )
    }

    async fn live(&self) -> Result<Option<i32>> {
        Ok(sqlx::query_scalar(
            "select r.number from switchyard.workloads w join switchyard.revisions r on r.id = w.live_revision",
        )
        .fetch_optional(&self.rows)
        .await?)
    }

    async fn page(&self, path: &str) -> Result<(u16, String)> {
        let request = http::Request::get(path)
            .header("host", "docs.localhost:8080")
            .body(Body::empty())?;
        let (parts, body) = self.site.clone().oneshot(request).await?.into_parts();
        let body = axum::body::to_bytes(body, 1024 * 1024).await?;
        Ok((parts.status.as_u16(), String::from_utf8(body.into())?))
    }

    /// Whether the job has not ended.
    async fn is_live(&self, job: i64) -> Result<bool> {
        Ok(
            sqlx::query_scalar("select exists (select from switchyard.jobs where id = $1)")
                .bind(job)
                .fetch_one(&self.rows)
                .await?,
        )
    }

    async fn snapshot(&self, job: i64) -> Result<Snapshot> {
        Ok(Snapshot {
            revisions: self.revisions().await?,
            live: self.live().await?,
            log: self.log(job).await?,
            ended: self.ended(job).await?,
            outbox: sqlx::query_scalar("select count(*) from switchyard.outbox")
                .fetch_one(&self.rows)
                .await?,
            page: self.page("/").await?,
        })
    }
}

/// What the relay sends when there may be work.
async fn wake(task: &Mounted) -> Result {
    let data = JobQueued {
        task: FUNCTION.name.to_owned(),
    };
    let message = EventType::JobQueued
        .message("/switchyard/queue", &["1"])?
        .with_json(&data)?;
    let (headers, body) = encode_binary(&message);
    let mut request = http::Request::post("/").body(Body::from(body))?;
    *request.headers_mut() = headers;
    let response = task.router.clone().oneshot(request).await?;
    assert_eq!(response.status(), 202);
    Ok(())
}

/// Whether a line of the log has this text.
fn says(log: &[String], text: &str) -> bool {
    log.iter().any(|line| line.contains(text))
}

#[tokio::test]
async fn a_deploy_makes_the_branch_live_and_says_what_it_did() -> Result {
    let it = Bench::new().await?;
    let head = it
        .origin
        .commit(&[("index.html", "<p>one"), ("a.md", "# Hi"), (".env", "x")])?;
    let job = it.deploy(Some(&head)).await?;

    assert_eq!(it.page("/").await?, (200, "<p>one".to_owned()));
    let (status, page) = it.page("/a").await?;
    assert!(status == 200 && page.contains("<h1"), "{status} {page}");
    assert_eq!(it.revisions().await?, [(1, head.as_str().to_owned())]);
    let ended = it.ended(job).await?;
    assert_eq!(
        (ended.state.as_str(), ended.attempts, &ended.reason),
        ("succeeded", 1, &None)
    );
    let result = ended.result.ok_or("a result")?;
    assert_eq!(result["deployed"], head.as_str());

    let log = it.log(job).await?;
    assert!(says(&log, "fetching /"), "{log:?}");
    assert!(says(&log, ", branch main"), "{log:?}");
    let at = format!("the branch is at {}", &head[..7]);
    assert!(says(&log, &at), "{log:?}");
    assert!(!says(&log, "asked for"), "{log:?}");
    assert!(says(&log, " files, "), "{log:?}");
    assert_eq!(
        log.last().map(String::as_str),
        Some("making it live at `docs`")
    );
    Ok(())
}

#[tokio::test]
async fn deploys_asked_for_in_reverse_end_at_the_head_of_the_branch() -> Result {
    let it = Bench::new().await?;
    let older = it.origin.commit(&[("index.html", "<p>one")])?;
    let newer = it.origin.commit(&[("index.html", "<p>two")])?;
    let first = it.deploy(Some(&newer)).await?;
    let second = it.deploy(Some(&older)).await?;

    assert_eq!(it.page("/").await?.1, "<p>two");
    assert_eq!(it.revisions().await?, [(1, newer.clone())]);
    assert!(!says(&it.log(first).await?, "asked for"));
    let log = it.log(second).await?;
    let both = format!(
        "asked for {}, the branch is at {}",
        &older[..7],
        &newer[..7]
    );
    assert!(says(&log, &both), "{log:?}");
    assert!(says(&log, "already live, as revision 1"), "{log:?}");
    let ended = it.ended(second).await?;
    assert_eq!(ended.reason.as_deref(), Some("already live"));
    assert_eq!(
        ended.result,
        Some(json!({
            "revision": ended.result.as_ref().map(|result| &result["revision"]), "number": 1,
            "asked": older, "deployed": newer, "already_live": true,
        }))
    );
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_not_there_fails_at_once_and_the_last_revision_stays() -> Result {
    let it = Bench::new().await?;
    it.origin.commit(&[("index.html", "<p>one")])?;
    it.deploy(None).await?;
    let gone = it.origin.path("owner/gone.git");
    let source = json!({"source": {"kind": "local", "path": gone}});
    it.configure(source).await?;
    let job = it.deploy(None).await?;

    let ended = it.ended(job).await?;
    assert_eq!((ended.state.as_str(), ended.attempts), ("dead", 1));
    let reason = ended.reason.ok_or("a reason")?;
    assert!(reason.contains("is not a Git repository"), "{reason}");
    let log = it.log(job).await?;
    assert!(says(&log, "revision 1 stays live"), "{log:?}");
    assert_eq!(log.last(), Some(&reason));
    assert_eq!(it.page("/").await?.1, "<p>one");
    Ok(())
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_tried_until_the_attempts_are_used_up() -> Result {
    let it = Bench::new().await?;
    it.origin.commit(&[("index.html", "<p>one")])?;
    it.deploy(None).await?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let nobody = listener.local_addr()?.to_string();
    drop(listener);
    it.configure(json!({"source": {
        "kind": "provider", "base_url": format!("https://{nobody}"), "repository": "owner/site",
    }}))
    .await?;
    let env = it.env.clone().with("EGRESS_ALLOW", nobody);
    let task = FUNCTION.mount(&env, &Resources::new()?)?;
    let asked = None;
    let job = it.add(WorkloadAction::Deploy { asked }, json!({})).await?;
    for _ in 0..POLICY.attempts_max {
        it.queue.make_due(10).await?;
        wake(&task).await?;
    }

    let ended = it.ended(job).await?;
    assert_eq!(
        (ended.state.as_str(), ended.attempts),
        ("dead", POLICY.attempts_max)
    );
    let reason = ended.reason.ok_or("a reason")?;
    assert!(
        reason.contains("could not reach https://127.0.0.1"),
        "{reason}"
    );
    assert!(reason.contains("check the provider's address"), "{reason}");
    assert_eq!(
        (it.live().await?, it.page("/").await?.1),
        (Some(1), "<p>one".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn a_config_that_cannot_be_used_is_a_failure_that_says_where() -> Result {
    let it = Bench::new().await?;
    it.origin.commit(&[("index.html", "<p>one")])?;
    let deploy = || WorkloadAction::Deploy { asked: None };
    let job = it.add(deploy(), json!({"branch": "--x"})).await?;
    wake(&it.task).await?;
    let reason = it.ended(job).await?.reason.ok_or("a reason")?;
    let place = "the binding's overrides for `Docs` cannot be used, mend it there: branch: `--x` is not a branch";
    assert!(reason.starts_with(place), "{reason}");

    it.configure(json!({"source": {"kind": "local", "path": "/x"}, "brunch": "main"}))
        .await?;
    let job = it.add(deploy(), json!({})).await?;
    wake(&it.task).await?;
    let ended = it.ended(job).await?;
    let reason = ended.reason.ok_or("a reason")?;
    assert_eq!(ended.state, "dead");
    let place =
        "the config of `Docs` cannot be used, mend it there: brunch: unknown field `brunch`";
    assert!(reason.starts_with(place), "{reason}");
    assert_eq!(it.page("/").await?.0, 404, "nothing was ever deployed");
    Ok(())
}

#[tokio::test]
async fn overrides_win_over_the_workloads_config() -> Result {
    let it = Bench::new().await?;
    it.origin
        .commit(&[("index.html", "<p>root"), ("docs/index.html", "<p>docs")])?;
    let deploy = WorkloadAction::Deploy { asked: None };
    it.add(deploy, json!({"folder": "docs"})).await?;
    wake(&it.task).await?;
    assert_eq!(it.page("/").await?.1, "<p>docs");
    Ok(())
}

#[tokio::test]
async fn a_rollback_serves_the_old_page_and_the_next_deploy_the_new_one() -> Result {
    let it = Bench::new().await?;
    it.origin.commit(&[("index.html", "<p>one")])?;
    it.deploy(None).await?;
    it.origin.commit(&[("index.html", "<p>two")])?;
    it.deploy(None).await?;
    assert_eq!(it.page("/").await?.1, "<p>two");
    let job = it.rollback(1).await?;
    assert_eq!(it.ended(job).await?.state, "succeeded");
    assert_eq!(
        (it.live().await?, it.page("/").await?.1),
        (Some(1), "<p>one".to_owned())
    );
    it.deploy(None).await?;
    assert_eq!(
        (it.live().await?, it.page("/").await?.1),
        (Some(3), "<p>two".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn a_rollback_to_files_that_are_gone_fails_and_changes_nothing() -> Result {
    let it = Bench::new().await?;
    it.origin.commit(&[("index.html", "<p>one")])?;
    it.deploy(None).await?;
    it.origin.commit(&[("index.html", "<p>two")])?;
    it.deploy(None).await?;
    let prefix: String =
        sqlx::query_scalar("select prefix from switchyard.revisions where number = 1")
            .fetch_one(&it.rows)
            .await?;
    std::fs::remove_dir_all(it.folder.path().join("blobs").join(prefix))?;
    let job = it.rollback(1).await?;
    let ended = it.ended(job).await?;
    assert_eq!(ended.state, "dead");
    let reason = ended.reason.ok_or("a reason")?;
    assert!(reason.contains("are not in the store any more"), "{reason}");
    assert_eq!(
        (it.live().await?, it.page("/").await?.1),
        (Some(2), "<p>two".to_owned())
    );

    let revision = RevisionId::from(sqlx::types::Uuid::from_u128(1));
    let job = it
        .add(WorkloadAction::Rollback { revision }, json!({}))
        .await?;
    wake(&it.task).await?;
    let reason = it.ended(job).await?.reason.ok_or("a reason")?;
    assert!(reason.contains("has no revision"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn a_worker_whose_job_was_taken_from_it_changes_nothing() -> Result {
    let it = Bench::new().await?;
    it.origin.commit(&[("index.html", "<p>one")])?;
    let hold = it.folder.path().join("hold");
    let reached = it.folder.path().join("hold.reached");
    std::fs::write(&hold, "")?;
    let env = it
        .env
        .clone()
        .with("SWITCHYARD_PAUSE_BEFORE_FINISH", hold.display().to_string());
    let slow = FUNCTION.mount(&env, &Resources::new()?)?;
    let asked = None;
    let job = it.add(WorkloadAction::Deploy { asked }, json!({})).await?;

    let overtaken = async {
        while !reached.exists() {
            tokio::task::yield_now().await;
        }
        // Its lease runs out, and another worker takes the job and finds a newer commit.
        let newer = it.origin.commit(&[("index.html", "<p>two")])?;
        // The first one may take it again while it has room for more; each time that costs it a place.
        let mut claims = 1;
        while it.is_live(job).await? {
            sqlx::query(
                "update switchyard.jobs set lease_until = now() - interval '1 second', attempts = 1",
            )
            .execute(&it.rows)
            .await?;
            assert_eq!(it.queue.reap(10).await?, 1);
            wake(&it.task).await?;
            claims += 1;
        }
        let before = it.snapshot(job).await?;
        assert_eq!(
            (before.ended.state.as_str(), before.ended.epoch),
            ("succeeded", claims)
        );
        assert!(claims >= 2, "nobody took it from the first one");
        assert_eq!(before.page.1, "<p>two");
        assert_eq!(before.revisions, [(1, newer.clone())]);
        // Now the first one goes on.
        std::fs::remove_file(&hold)?;
        Result::Ok(before)
    };
    let limit = Duration::from_secs(60);
    let (woken, before) =
        tokio::time::timeout(limit, async { tokio::join!(wake(&slow), overtaken) }).await?;
    woken?;
    assert_eq!(it.snapshot(job).await?, before?);
    Ok(())
}

#[test]
fn passing_troubles_are_tried_again_and_others_are_not() {
    let fetch = |error| not_built(BuildError::Fetch(error));
    let status = 502;
    let url = "https://git.example.com".to_owned();
    let provider = git::FetchError::Provider { url, status };
    assert!(matches!(fetch(provider), TaskError::Retry { .. }));
    let branch = "main".to_owned();
    let no_branch = git::FetchError::NoBranch { branch };
    assert!(matches!(fetch(no_branch), TaskError::Fail(_)));
    let cancelled = git::FetchError::Cancelled;
    assert!(matches!(fetch(cancelled), TaskError::Stopped));
}

#[test]
fn a_workload_of_another_kind_is_refused() {
    let workload = StoredWorkload {
        id: sqlx::types::Uuid::from_u128(1).into(),
        name: "Docs".to_owned(),
        source: "image".to_owned(),
        config: Map::new(),
        host: "docs".to_owned(),
        live: None,
    };
    let error = config(&workload, &Map::new()).expect_err("it is no static site");
    assert!(error.to_string().contains("`image`"), "{error}");
}
