use std::io::Write as _;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use cluster_testkit::{Crds, Server};
use database::{Connect, SystemDb};
use host::{Clock, Env, Resources};
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use model::{JobId, JobState, TenantId};
use queue::{NewJob, Queue};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::Keyring;
use tempfile::{NamedTempFile, TempDir};
use testkit::{GitBehaviour, GitOrigin, GitServer, Https, TestDb};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

const TASK: &str = "task-clabernetes";

/// The function, served, a tenant, a cluster, and a registry of images.
struct World {
    router: Router,
    queue: Queue,
    rows: PgPool,
    tenant: TenantId,
    server: Server,
    registry: Https,
    origin: GitOrigin,
    git: GitServer,
    _folder: TempDir,
    _files: (NamedTempFile, NamedTempFile),
    _db: TestDb,
}

/// A registry that has the image `frr:1` and no other.
async fn registry() -> Https {
    let answer = |request: Request| async move {
        let there = request.uri().path() == "/v2/frr/manifests/1";
        let response = axum::http::Response::builder();
        let digest = format!("sha256:{}", "a".repeat(64));
        let response = if there {
            response.status(200).header("docker-content-digest", digest)
        } else {
            response.status(404)
        };
        response.body(Body::empty()).expect("a response")
    };
    Https::serve(Router::new().fallback(answer)).await
}

/// Nothing where what third parties publish is not on this machine.
async fn world() -> Option<World> {
    world_at(Clock::Machine).await
}

/// The same, with a function that has another clock than the database.
async fn world_at(clock: Clock) -> Option<World> {
    let server = Server::start(Crds::of_labs()?).await;
    let registry = registry().await;
    let origin = GitOrigin::new().expect("a repository");
    let git = GitServer::start(&origin, GitBehaviour::Git).await;
    let git = git.expect("a server");
    let mut roots = NamedTempFile::new().expect("a file");
    for certificate in [registry.certificate(), git.certificate_file()] {
        let pem = std::fs::read(certificate).expect("a certificate");
        roots.write_all(&pem).expect("a file");
    }
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut key = NamedTempFile::new().expect("a file");
    key.write_all(Keyring::generate().expose_secret().as_bytes())
        .expect("a file");
    let path = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "20")
        .with("MASTER_KEY_FILE", path(key.path()))
        .with("BLOBS_URL", path(&folder.path().join("blobs")))
        .with("CLUSTER_URL", server.url())
        .with(
            "EGRESS_ALLOW",
            format!("{},localhost:{}", registry.authority(), git.port()),
        )
        .with("EGRESS_CA_FILE", path(roots.path()));
    let resources = Resources::new().expect("an HTTP client").with_clock(clock);
    let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
    let system = SystemDb::new(&Connect {
        url: db.owner_url().into(),
        role: DatabaseRole::System,
        connections_max: 4,
        acquire_timeout: Duration::from_secs(20),
    })
    .expect("a URL");
    let tenant: Uuid = sqlx::query_scalar(
        "insert into switchyard.tenants (name) values ('acme') returning database_id",
    )
    .fetch_one(&rows)
    .await
    .expect("a tenant");
    Some(World {
        router: mounted.router,
        queue: Queue::new(system),
        rows,
        tenant: tenant.into(),
        server,
        registry,
        origin,
        git,
        _folder: folder,
        _files: (key, roots),
        _db: db,
    })
}

impl World {
    fn deploy(&self, image: &str) -> Value {
        let image = format!("{}/{image}", self.registry.authority());
        let clab = format!(
            "name: other\ntopology:\n  nodes:\n    R1: {{kind: linux, image: \"{image}\", binds: [\"hosts:/etc/hosts\"]}}\n    r2: {{kind: linux, image: \"{image}\"}}\n  links:\n    - endpoints: [\"R1:eth1\", \"r2:eth1\"]\n"
        );
        json!({"action": "deploy", "lab": "pair", "source": {"files": {"clab.yml": clab, "hosts": "127.0.0.1 x\n"}}})
    }

    async fn add(&self, payload: &Value) -> JobId {
        let job = NewJob::new(self.tenant, TASK, payload);
        self.queue.add(&job).await.expect("a job").job()
    }

    async fn wake(&self) {
        sqlx::query("update switchyard.jobs set run_at = now() - interval '1 s' where state = 'queued' and not due")
            .execute(&self.rows)
            .await
            .expect("jobs");
        let wakeup = Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", Uuid::new_v4().to_string())
            .header("ce-source", "/test")
            .header("ce-type", "dev.switchyard.job.queued.v1")
            .header("ce-task", TASK)
            .header("content-type", "application/json")
            .body(Body::from(json!({"task": TASK}).to_string()))
            .expect("a request");
        let answer = self.router.clone().oneshot(wakeup).await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::ACCEPTED);
    }

    async fn row(&self, job: JobId) -> (JobState, Option<String>, Option<Value>) {
        let (state, reason, result): (String, Option<String>, Option<Value>) = sqlx::query_as(
            "select state::text, last_error, null::jsonb from switchyard.jobs where id = $1
             union all
             select state::text, reason, result from switchyard.jobs_archive where id = $1",
        )
        .bind(job.0)
        .fetch_one(&self.rows)
        .await
        .expect("there is one row of a job");
        (state.parse().expect("a state"), reason, result)
    }

    fn topologies(&self) -> Api<DynamicObject> {
        let config = kube::Config::new(self.server.url().parse().expect("a URL"));
        let client = kube::Client::try_from(config).expect("a client");
        let gvk = GroupVersionKind::gvk("c9s.run", "v1alpha1", "Topology");
        let namespace = format!("lab-{}", self.tenant.uuid().simple());
        Api::namespaced_with(
            client,
            &namespace,
            &ApiResource::from_gvk_with_plural(&gvk, "topologies"),
        )
    }

    /// What the controller says of the lab.
    async fn status(&self, mut status: Value) {
        status["kind"] = "containerlab".into();
        status["conditions"] = json!([]);
        let patch = Patch::Merge(json!({ "status": status }));
        let patched = self
            .topologies()
            .patch("pair", &PatchParams::default(), &patch)
            .await;
        patched.expect("the lab is there");
    }
}

#[tokio::test]
async fn a_lab_is_applied_once_waited_for_and_described() {
    let Some(world) = world().await else { return };
    let job = world.add(&world.deploy("frr:1")).await;
    world.wake().await;
    assert_eq!(
        world.row(job).await.0,
        JobState::Queued,
        "it is looked at again later"
    );
    let found = world.topologies().get("pair").await.expect("it is applied");
    assert!(
        found.metadata.annotations.expect("some")["switchyard.dev/deploy"]
            .starts_with(&format!("{job}@"))
    );
    let patches = world.server.calls("PATCH", "/");
    world.status(json!({"topologyReady": false, "topologyState": "deploying", "nodeCount": 2, "readyNodeCount": 1})).await;
    world.wake().await;
    assert_eq!(world.row(job).await.0, JobState::Queued);
    assert_eq!(
        world.server.calls("PATCH", "/"),
        patches + 1,
        "the test's own: it is applied once"
    );
    world
        .status(json!({"topologyReady": true, "topologyState": "running"}))
        .await;
    world.wake().await;
    let (state, reason, result) = world.row(job).await;
    assert_eq!(state, JobState::Succeeded, "{reason:?}");
    let result = result.expect("a result");
    assert_eq!(result["renamed"], json!({"R1": "r1"}));
    assert_eq!(result["topology"]["edges"][0]["source"], "R1");
    let kept: String =
        sqlx::query_scalar("select name from switchyard.artifacts where job_id = $1")
            .bind(job.0)
            .fetch_one(&world.rows)
            .await
            .expect("an artifact");
    assert_eq!(kept, "topology.json");

    let status = world.add(&json!({"action": "status", "lab": "pair"})).await;
    world.wake().await;
    assert_eq!(
        world.row(status).await.2.expect("a result")["state"],
        "ready"
    );
    for _ in 0..2 {
        let destroy = world
            .add(&json!({"action": "destroy", "lab": "pair"}))
            .await;
        world.wake().await;
        let (state, reason, _) = world.row(destroy).await;
        assert_eq!(state, JobState::Succeeded, "{reason:?}");
    }
    let left = world
        .topologies()
        .list(&ListParams::default())
        .await
        .expect("a list");
    assert!(left.items.is_empty());
}

#[tokio::test]
async fn a_lab_of_a_workspace_stays_what_it_was_when_it_was_applied() {
    let Some(world) = world().await else { return };
    let node = |name: &str| {
        let image = format!("{}/frr:1", world.registry.authority());
        format!("    {name}: {{kind: linux, image: \"{image}\", binds: [\"hosts:/etc/hosts\"]}}\n")
    };
    let clab = |nodes: &str| format!("name: other\ntopology:\n  nodes:\n{nodes}  links: []\n");
    let commit = |nodes: &str| {
        let files = [
            ("labs/pair/pair.clab.yml", &*clab(nodes)),
            ("labs/pair/hosts", "127.0.0.1 x\n"),
            ("labs/other/clab.yml", "no topology"),
        ];
        world.origin.commit(&files).expect("a commit")
    };
    commit(&format!("{}{}", node("r1"), node("r2")));
    sqlx::query(
        "insert into switchyard.workspaces (id, database_id, name, repository, branch, folder, created_by)
         values ($1, $1, 'network', $2, 'main', 'labs', 'Ann')",
    )
    .bind(world.tenant.uuid())
    .bind(world.git.url("owner/site.git"))
    .execute(&world.rows)
    .await
    .expect("a workspace");
    let source = json!({"workspace": "network", "folder": "pair", "topology": "pair.clab.yml"});
    let job = world
        .add(&json!({"action": "deploy", "lab": "pair", "source": source}))
        .await;
    world.wake().await;
    let (state, why, _) = world.row(job).await;
    assert_eq!(state, JobState::Queued, "{why:?}");
    world.topologies().get("pair").await.expect("it is applied");
    commit(&node("r1"));
    world
        .status(json!({"topologyReady": true, "topologyState": "running"}))
        .await;
    world.wake().await;
    let (state, reason, result) = world.row(job).await;
    assert_eq!(state, JobState::Succeeded, "{reason:?}");
    let nodes = &result.expect("a result")["topology"]["nodes"];
    assert_eq!(nodes.as_array().map(Vec::len), Some(2), "{nodes}");

    let source = json!({"workspace": "nowhere"});
    let job = world
        .add(&json!({"action": "deploy", "lab": "pair", "source": source}))
        .await;
    world.wake().await;
    let (state, reason, _) = world.row(job).await;
    assert_eq!(state, JobState::Dead);
    assert!(
        reason
            .expect("a reason")
            .contains("there is no workspace \"nowhere\"")
    );
}

#[tokio::test]
async fn an_image_that_its_registry_does_not_have_is_named_before_anything_is_applied() {
    let Some(world) = world().await else { return };
    let job = world.add(&world.deploy("frr:2")).await;
    world.wake().await;
    let (state, reason, _) = world.row(job).await;
    let reason = reason.expect("a reason");
    assert_eq!(state, JobState::Dead);
    assert!(
        reason.contains("line 4") && reason.contains("has no image") && reason.contains("frr:2"),
        "{reason}"
    );
    assert_eq!(world.server.calls("PATCH", "/"), 0, "nothing was applied");
}

#[tokio::test]
async fn images_that_nobody_was_asked_for_are_told_of() {
    let Some(world) = world().await else { return };
    // Nobody is asked there, which is soon known.
    let nodes: String = (1..=52)
        .map(|n| format!("    r{n}: {{kind: linux, image: \"10.0.0.1/x:{n}\"}}\n"))
        .collect();
    let clab = format!("name: other\ntopology:\n  nodes:\n{nodes}");
    let payload =
        json!({"action": "deploy", "lab": "pair", "source": {"files": {"clab.yml": clab}}});
    let job = world.add(&payload).await;
    world.wake().await;
    let lines: Vec<String> =
        sqlx::query_scalar("select line from switchyard.job_logs where job_id = $1 order by seq")
            .bind(job.0)
            .fetch_all(&world.rows)
            .await
            .expect("a log");
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("could not be asked: "), 50, "{lines:?}");
    assert_eq!(
        count("the lab has 52 images, and for 2 of them nobody was asked"),
        1,
        "{lines:?}"
    );
    assert!(world.topologies().get("pair").await.is_ok(), "{lines:?}");
}

#[tokio::test]
async fn a_lab_that_will_not_come_up_fails_at_once() {
    let Some(world) = world().await else { return };
    let job = world.add(&world.deploy("frr:1")).await;
    world.wake().await;
    world.status(json!({"topologyReady": false, "topologyState": "deployfailed", "error": "no node has room"})).await;
    world.wake().await;
    let (state, reason, _) = world.row(job).await;
    assert_eq!(state, JobState::Dead);
    assert!(reason.expect("a reason").contains("no node has room"));
}

#[tokio::test]
async fn a_lab_is_waited_for_by_the_databases_clock_and_then_left_as_it_is() {
    let behind = chrono::DateTime::from_timestamp(1_000_000_000, 0).expect("a time");
    let Some(world) = world_at(Clock::Fixed(behind)).await else {
        return;
    };
    let job = world.add(&world.deploy("frr:1")).await;
    world.wake().await;
    let deploying = json!({"topologyReady": false, "topologyState": "deploying", "nodeCount": 2, "readyNodeCount": 1});
    world.status(deploying).await;
    world.wake().await;
    assert_eq!(world.row(job).await.0, JobState::Queued, "it has its time");
    // As if it had been applied a while ago, which only the database's clock can tell.
    let then: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("select now() - interval '16 minutes'")
            .fetch_one(&world.rows)
            .await
            .expect("the time");
    let by = format!("{job}@{}", then.to_rfc3339());
    let patch = json!({"metadata": {"annotations": {"switchyard.dev/deploy": by}}});
    world
        .topologies()
        .patch("pair", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("the lab is there");
    world.wake().await;
    let (state, reason, _) = world.row(job).await;
    let reason = reason.expect("a reason");
    assert_eq!(state, JobState::Dead, "{reason}");
    assert!(
        reason.contains("does not run after 900 s") && reason.contains("destroy takes it away"),
        "{reason}"
    );
    assert!(world.topologies().get("pair").await.is_ok());
}

#[tokio::test]
async fn what_a_lab_may_not_do_is_refused_with_its_line() {
    let Some(world) = world().await else { return };
    let clab = "name: x\ntopology:\n  nodes:\n    r1:\n      image: a/b:1\n      exec: [reboot]\n";
    let payload =
        json!({"action": "deploy", "lab": "pair", "source": {"files": {"clab.yml": clab}}});
    let job = world.add(&payload).await;
    world.wake().await;
    let (state, reason, _) = world.row(job).await;
    assert_eq!(state, JobState::Dead);
    assert!(reason.expect("a reason").contains("line 6: `exec`"));
    let job = world
        .add(&json!({"action": "deploy", "lab": "pair", "namespace": "kube-system"}))
        .await;
    world.wake().await;
    assert_eq!(world.row(job).await.0, JobState::Dead);
}
