//! Labs under a whole Switchyard: made by the real netlab in real runners, and on a host over a real SSH server.

use std::path::Path;
use std::time::Duration;

use model::{DatabaseRole, JobId, Role, TenantId};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::Keyring;
use store::credentials::{self, CredentialKind, NewCredential};
use store::workspaces::{self, Saved, WantedWorkspace};
use tempfile::TempDir;
use testkit::{GitBehaviour, GitOrigin, GitServer, NetlabApi, Sshd, TestDb};
use uuid::Uuid;

use crate::harness::{Process, turn, until};
use crate::outside;

const WITHIN: Duration = Duration::from_secs(120);
/// How long netlab on a host may take to stop; what ends by itself does not wait for the end of it.
const GRACE: Duration = Duration::from_secs(60);
const TRIANGLE: &str = "provider: clab\ndefaults.device: frr\nmodule: [ospf]\nnodes: [r1, r2, r3]\nlinks: [r1-r2, r2-r3, r1-r3]\n";

struct World {
    rows: PgPool,
    tenant: TenantId,
    keyring: Keyring,
    tenants: database::TenantDb,
    _process: Process,
    _folder: TempDir,
    _db: TestDb,
}

impl World {
    /// With what tasks may call besides what is public.
    async fn new(allowed: &str) -> Self {
        Self::trusting(allowed, Path::new("")).await
    }

    /// The same, with certificates that are trusted besides the system's.
    async fn trusting(allowed: &str, authorities: &Path) -> Self {
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let mut owner = rows.acquire().await.expect("a connection");
        let (tenant, _) = store::people::ensure_member(&mut owner, "acme", "Ann", Role::Admin)
            .await
            .expect("a tenant");
        for function in bundle::functions::FUNCTIONS {
            if let host::Kind::Task(policy) = &function.kind {
                queue::know_task(&mut owner, function.name, policy)
                    .await
                    .expect("a task");
            }
        }
        drop(owner);
        let folder = tempfile::tempdir().expect("a folder");
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("ours");
        let key = Keyring::generate();
        std::fs::write(folder.path().join("key"), key.expose_secret()).expect("ours");
        manifests(folder.path(), allowed, authorities);
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let settings = [
            ("DATABASE_URL", db.owner_url().to_owned()),
            ("FOLDER", folder.path().display().to_string()),
            ("PORT", port.expect("a port").port().to_string()),
            ("RUST_LOG", "info".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let log = folder.path().join("log");
        let mut process = Process::start(&log, &["up-with-inline"], settings);
        process.says("everything is running").await;
        let tenants = database::TenantDb::new(&database::Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 1,
            acquire_timeout: Duration::from_secs(60),
        });
        Self {
            rows,
            tenant,
            keyring: Keyring::from_base64(&key).expect("a key"),
            tenants: tenants.expect("a URL"),
            _process: process,
            _folder: folder,
            _db: db,
        }
    }

    async fn add(&self, payload: &Value) -> JobId {
        let mut owner = self.rows.acquire().await.expect("a connection");
        let new = queue::NewJob::new(self.tenant, "task-netlab", payload);
        queue::enqueue(&mut owner, &new).await.expect("a job").job()
    }

    async fn create(&self, topology: &str) -> JobId {
        let source = json!({"files": {"topology.yml": topology}});
        self.add(&json!({"action": "create", "lab": "triangle", "source": source}))
            .await
    }

    /// The state of a job that has ended, and why.
    async fn ended(&self, job: JobId) -> (String, String) {
        until("the end of the job", WITHIN, async || {
            sqlx::query_as("select state::text, coalesce(reason, '') from switchyard.jobs_archive where id = $1")
                .bind(job.0)
                .fetch_optional(&self.rows)
                .await
                .expect("the archive can be read")
        })
        .await
    }

    async fn succeeds(&self, job: JobId) {
        let (state, reason) = self.ended(job).await;
        assert_eq!(state, "succeeded", "{reason}: {:?}", self.lines(job).await);
    }

    async fn lines(&self, job: JobId) -> Vec<String> {
        sqlx::query_scalar(
            "select line from switchyard.job_logs where job_id = $1 order by epoch, seq",
        )
        .bind(job.0)
        .fetch_all(&self.rows)
        .await
        .expect("the log can be read")
    }

    async fn artifacts(&self, job: JobId) -> Vec<(String, String)> {
        sqlx::query_as(
            "select name, encode(sha256, 'hex') from switchyard.artifacts where job_id = $1 order by name",
        )
        .bind(job.0)
        .fetch_all(&self.rows)
        .await
        .expect("the artifacts can be read")
    }

    /// A workspace that a credential opens.
    async fn workspace(&self, git: &GitServer, folder: &str, token: &str) {
        let mut tx = self
            .tenants
            .begin(self.tenant)
            .await
            .expect("a transaction");
        let host = format!("localhost:{}", git.port());
        let new = NewCredential {
            name: "git",
            kind: CredentialKind::Git,
            host: &host,
            username: "",
            config: json!({}),
            secret: &token.to_owned().into(),
        };
        let made = credentials::create(&mut tx, self.tenant, &self.keyring, "Ann", new).await;
        let wanted = WantedWorkspace {
            name: "blueprints",
            repository: &git.url("owner/site.git"),
            host: Some(&host),
            branch: "main",
            folder,
            credential: made.expect("an answer"),
            interval_secs: 3_600,
        };
        let saved = workspaces::create(&mut tx, self.tenant, "Ann", &wanted).await;
        assert!(matches!(saved, Ok(Saved::Done(_))), "{saved:?}");
        tx.commit().await.expect("a commit");
    }

    async fn host(&self, sshd: &Sshd) -> Uuid {
        self.credential(NewCredential {
            name: "lab host",
            kind: CredentialKind::Ssh,
            host: &sshd.address().to_string(),
            username: sshd.user(),
            config: json!({"host_keys": [sshd.host_key()]}),
            secret: &sshd.key().to_owned().into(),
        })
        .await
    }

    async fn api_host(&self, api: &NetlabApi) -> Uuid {
        self.credential(NewCredential {
            name: "lab API",
            kind: CredentialKind::NetlabApi,
            host: &format!("localhost:{}", api.address().port()),
            username: NetlabApi::USER,
            config: json!({"folder": api.folder()}),
            secret: &NetlabApi::PASSWORD.to_owned().into(),
        })
        .await
    }

    async fn credential(&self, new: NewCredential<'_>) -> Uuid {
        let mut tx = self
            .tenants
            .begin(self.tenant)
            .await
            .expect("a transaction");
        let made = credentials::create(&mut tx, self.tenant, &self.keyring, "Ann", new).await;
        tx.commit().await.expect("a commit");
        made.expect("an answer").expect("a credential")
    }

    async fn cancel(&self, job: JobId) {
        sqlx::query("select switchyard.cancel_job($1, $2, 'Ann')")
            .bind(self.tenant.uuid())
            .bind(job.0)
            .execute(&self.rows)
            .await
            .expect("it can be asked to stop");
    }
}

/// The manifests as they are, with what the tasks may call.
fn manifests(folder: &Path, allowed: &str, authorities: &Path) {
    for name in ["knative", "triggers"] {
        let to = folder.join("manifests").join(name);
        std::fs::create_dir_all(&to).expect("a folder");
        for entry in std::fs::read_dir(outside::root().join(name)).expect("the manifests") {
            let path = entry.expect("an entry").path();
            std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    let path = folder.join("manifests/knative/task-netlab.yaml");
    let text = std::fs::read_to_string(&path).expect("a manifest");
    let env = "          env:\n";
    // The netlab of a virtual environment may lie where only its owner can look.
    let mut more = format!(
        "{env}            - name: EGRESS_ALLOW\n              value: \"{allowed}\"\n            - name: RUN_AS\n              value: same\n"
    );
    if authorities != Path::new("") {
        let path = authorities.display();
        more.push_str(&format!(
            "            - name: EGRESS_CA_FILE\n              value: {path}\n"
        ));
    }
    std::fs::write(path, text.replacen(env, &more, 1)).expect("a manifest");
}

/// Where netlab is.
#[expect(clippy::disallowed_methods, reason = "a test asks the machine")]
fn has_netlab() -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .any(|folder| Path::new(folder).join("netlab").exists());
    if !found {
        outside::skipped("netlab is not on this machine");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn netlab_makes_a_lab_and_says_when_it_is_unchanged() {
    if !has_netlab() {
        return;
    }
    let _turn = turn().await;
    let world = World::new("").await;
    let first = world.create(TRIANGLE).await;
    world.succeeds(first).await;
    let kept = world.artifacts(first).await;
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["netlab.tar", "topology.json", "triangle.content.sha256"]
    );
    let lines = world.lines(first).await;
    assert!(
        lines.iter().any(|line| line.starts_with("content: ")),
        "{lines:?}"
    );

    let again = world.create(TRIANGLE).await;
    world.succeeds(again).await;
    let lines = world.lines(again).await;
    let unchanged = format!("as job {first} made it");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("unchanged: ") && line.ends_with(&unchanged)),
        "{lines:?}"
    );
    let archive = |kept: &[(String, String)]| kept[0].1.clone();
    assert_eq!(
        archive(&world.artifacts(again).await),
        archive(&kept),
        "the same bytes"
    );

    let wrong = world
        .create("provider: clab\ndefaults.device: frr\nnodes: [r1]\nlinks: [r1-r9]\n")
        .await;
    let (state, reason) = world.ended(wrong).await;
    assert_eq!(state, "dead", "{reason}");
    let lines = world.lines(wrong).await;
    assert!(
        lines.iter().any(|line| line.contains("unknown node r9")),
        "{lines:?}"
    );
    assert!(world.artifacts(wrong).await.is_empty());

    let hostile = world.create("nodes:\n  r1:\n    clab.exec: [id]\n").await;
    let (state, reason) = world.ended(hostile).await;
    assert!(
        state == "dead" && reason.contains("line 3: `clab.exec`"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blueprint_of_a_workspace_is_made_at_the_commit_that_is_named() {
    if !has_netlab() {
        return;
    }
    let _turn = turn().await;
    let origin = GitOrigin::new().expect("a repository");
    let blueprint = |topology: &str| {
        let files = [
            ("blueprints/triangle/topology.yml", topology),
            ("blueprints/triangle/README.md", "# A triangle"),
            ("blueprints/other/topology.yml", "nodes: ["),
            ("elsewhere/clab.yml", "name: x"),
        ];
        origin.commit(&files).expect("a commit")
    };
    let first = blueprint(TRIANGLE);
    blueprint("provider: clab\ndefaults.device: frr\nnodes: [r1, r2]\nlinks: [r1-r2]\n");
    let git = GitServer::start(&origin, GitBehaviour::GitWithToken("a-token")).await;
    let git = git.expect("a server");
    let allowed = format!("localhost:{}", git.port());
    let world = World::trusting(&allowed, git.certificate_file()).await;
    world.workspace(&git, "blueprints", "a-token").await;
    let create = async |source: Value| {
        let payload = json!({"action": "create", "lab": "triangle", "source": source});
        let job = world.add(&payload).await;
        world.succeeds(job).await;
        world.artifacts(job).await
    };
    let pinned = json!({"workspace": "blueprints", "folder": "triangle", "commit": first});
    let pinned = create(pinned).await;
    let names: Vec<&str> = pinned.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "netlab.tar",
            "source.tar",
            "topology.json",
            "triangle.content.sha256"
        ]
    );
    let inline = create(json!({"files": {"topology.yml": TRIANGLE}})).await;
    assert_eq!(inline[0], pinned[0], "the same lab, wherever it comes from");
    let newest = create(json!({"workspace": "blueprints", "folder": "triangle"})).await;
    assert_ne!(newest[0], pinned[0], "the branch has moved");

    for (source, part) in [
        (
            json!({"workspace": "blueprints", "folder": "square"}),
            "square",
        ),
        (
            json!({"workspace": "blueprints", "folder": "other"}),
            "topology.yml",
        ),
        (
            json!({"workspace": "blueprints", "folder": "triangle", "topology": "ring.yml"}),
            "ring.yml is not among the lab's files",
        ),
    ] {
        let payload = json!({"action": "create", "lab": "triangle", "source": source});
        let (state, reason) = world.ended(world.add(&payload).await).await;
        assert!(
            state == "dead" && reason.contains(part),
            "{state}: {reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_asked_for_its_labs_and_a_cancel_reaches_it() {
    let Some(asked) = Sshd::start() else { return };
    if !has_netlab() {
        return;
    }
    let _turn = turn().await;
    // One that is slow, asked to stop, and takes its time. It leaves something behind that does not hear of it.
    let tools = tempfile::tempdir().expect("a folder");
    let slow = tools.path().join("netlab");
    let script = "#!/bin/sh\ntrap 'echo asked; sleep 1; exit 1' INT TERM\nsetsid sleep 300 &\necho working >&2\necho >\"$0.$1\"\nwhile :; do sleep 0.1; done\n";
    std::fs::write(&slow, script).expect("ours");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let Some(busy) = Sshd::with_path(Some(tools.path())) else {
        return;
    };
    let world = World::new(&format!("{},{}", asked.address(), busy.address())).await;

    let host = world.host(&asked).await;
    let status = world
        .add(&json!({"action": "status", "lab": "triangle", "host": host}))
        .await;
    world.succeeds(status).await;
    let said = world.lines(status).await.join("\n");
    assert!(said.contains("No netlab-managed labs"), "{said}");

    let remove = "delete from switchyard.credentials";
    sqlx::query(remove)
        .execute(&world.rows)
        .await
        .expect("ours");
    let host = world.host(&busy).await;
    let source = json!({"files": {"topology.yml": TRIANGLE}});
    // One is asked by SIGINT, the other by way of the shell that reads what it says.
    for payload in [
        json!({"action": "up", "lab": "triangle", "source": source, "host": host}),
        json!({"action": "status", "lab": "triangle", "host": host}),
    ] {
        let action = payload["action"].as_str().expect("one");
        let job = world.add(&payload).await;
        until("netlab to run there", WITHIN, async || {
            slow.with_extension(action).exists().then_some(())
        })
        .await;
        let mark: String = sqlx::query_scalar(
            "select runner -> 'local' ->> 'mark' from switchyard.jobs where id = $1",
        )
        .bind(job.0)
        .fetch_one(&world.rows)
        .await
        .expect("the job waits");
        world.cancel(job).await;
        let asked = std::time::Instant::now();
        let (state, reason) = world.ended(job).await;
        assert_eq!(state, "cancelled", "{action}: {reason}");
        assert!(
            asked.elapsed() < GRACE,
            "{action}: what it left behind is not given its grace"
        );
        // The runner itself, which has the mark alone, may just be leaving.
        let left = exec::Processes::marked_beginning(&format!("{mark}-")).find();
        assert!(
            left.is_empty(),
            "{action}: nothing of it is left there when it is recorded"
        );
        let said = world.lines(job).await;
        assert!(
            said.iter().any(|line| line == "asked"),
            "{action}: {said:?}"
        );
    }
    let there = format!("switchyard-labs/{}", world.tenant.uuid().simple());
    let home = std::env::home_dir().expect("a home");
    std::fs::remove_dir_all(home.join(there)).expect("the lab was put there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_netlabs_own_api_does_what_it_can_and_says_what_it_cannot() {
    let Some(api) = NetlabApi::start() else {
        return;
    };
    let _turn = turn().await;
    api.lab("triangle", TRIANGLE);
    api.lab("wrong", "nodes: [r1]\nlinks: [r1-r9]\n");
    api.ring("ring", 16);
    let allowed = format!("localhost:{}", api.address().port());
    let world = World::trusting(&allowed, &api.certificate_file()).await;
    let host = world.api_host(&api).await;
    let add = async |action: &str, lab: &str| {
        let payload = json!({"action": action, "lab": lab, "host": host});
        world.add(&payload).await
    };

    let made = add("create", "triangle").await;
    world.succeeds(made).await;
    let said = world.lines(made).await.join("\n");
    assert!(
        said.contains("Created provider configuration file: clab.yml"),
        "{said}"
    );
    assert!(api.folder().join("triangle/clab.yml").exists());
    assert!(!said.contains(NetlabApi::PASSWORD), "{said}");

    let status = add("status", "triangle").await;
    world.succeeds(status).await;
    let said = world.lines(status).await.join("\n");
    assert!(said.contains("No netlab-managed labs"), "{said}");

    let (state, reason) = world.ended(add("create", "wrong").await).await;
    assert!(
        state == "dead" && reason.contains("netlab gave up"),
        "{state}: {reason}"
    );

    let payload = json!({
        "action": "up", "lab": "triangle", "host": host, "source": {"files": {"topology.yml": TRIANGLE}},
    });
    let (state, reason) = world.ended(world.add(&payload).await).await;
    assert!(
        state == "dead" && reason.contains("takes no files"),
        "{state}: {reason}"
    );

    // It cannot be stopped, and is not said to have been.
    let long = add("create", "ring").await;
    until("netlab to take it", WITHIN, async || {
        let said = world.lines(long).await;
        said.iter()
            .any(|line| line.contains("netlab's API took it"))
            .then_some(())
    })
    .await;
    world.cancel(long).await;
    let (state, reason) = world.ended(long).await;
    let said = world.lines(long).await.join("\n");
    assert_eq!(state, "succeeded", "{reason}: {said}");
    assert!(said.contains("cannot stop what it has begun"), "{said}");
    assert!(api.folder().join("ring/clab.yml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_public_needs_the_operators_word() {
    let Some(sshd) = Sshd::start() else { return };
    let _turn = turn().await;
    let world = World::new("").await;
    let api = world
        .credential(NewCredential {
            name: "lab API",
            kind: CredentialKind::NetlabApi,
            host: "localhost:8090",
            username: "labs",
            config: json!({"folder": "/srv/labs"}),
            secret: &"a password".to_owned().into(),
        })
        .await;
    for host in [world.host(&sshd).await, api] {
        let job = world
            .add(&json!({"action": "status", "lab": "triangle", "host": host}))
            .await;
        let (state, reason) = world.ended(job).await;
        assert!(
            state == "dead" && reason.contains("egress denied"),
            "{reason}"
        );
    }
}
