//! The function on a database, with a repository that a Git server serves to who has a token.

use axum::Router;
use axum::http::StatusCode;
use host::Resources;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::credentials::{CredentialKind, NewCredential};
use store::workspaces::{self, Saved, WantedWorkspace};
use store::{Keyring, credentials};
use tempfile::NamedTempFile;
use testkit::{GitBehaviour, GitOrigin, GitServer, TestDb};
use uuid::Uuid;

use super::*;

const TOKEN: &str = "s3cret";

struct Served {
    router: Router,
    rows: PgPool,
    tenants: database::TenantDb,
    tenant: Uuid,
    keyring: Keyring,
    origin: GitOrigin,
    server: GitServer,
    _key: NamedTempFile,
    _db: TestDb,
}

impl Served {
    async fn new() -> Self {
        let origin = GitOrigin::new().expect("a repository");
        let server = GitServer::start(&origin, GitBehaviour::GitWithToken(TOKEN)).await;
        let server = server.expect("a server");
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let key = Keyring::generate();
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key.expose_secret()).expect("a file");
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
            .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"))
            .with("EGRESS_ALLOW", format!("localhost:{}", server.port()))
            .with(
                "EGRESS_CA_FILE",
                server.certificate_file().to_str().expect("a path"),
            )
            .with("SCRATCH_DIR", origin.path("scratch").display().to_string())
            .with(
                "GIT_LOCAL_ROOTS",
                origin.path("owner").display().to_string(),
            );
        let resources = Resources::new().expect("an HTTP client");
        let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
        let tenants = database::TenantDb::new(&database::Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 1,
            acquire_timeout: Duration::from_secs(60),
        });
        let it = Self {
            router: mounted.router,
            rows,
            tenants: tenants.expect("a URL"),
            tenant: Uuid::new_v4(),
            keyring: Keyring::from_base64(&key).expect("a key"),
            origin,
            server,
            _key: file,
            _db: db,
        };
        sqlx::query("insert into switchyard.tenants values ($1, 'acme')")
            .bind(it.tenant)
            .execute(&it.rows)
            .await
            .expect("a tenant");
        it
    }

    async fn credential(&self, secret: &str) -> Uuid {
        let mut tx = self.tenants.begin(self.tenant.into()).await.expect("a tx");
        let host = format!("localhost:{}", self.server.port());
        let new = NewCredential {
            name: "git",
            kind: CredentialKind::Git,
            host: &host,
            username: "",
            config: json!({}),
            secret: &secret.to_owned().into(),
        };
        let made =
            credentials::create(&mut tx, self.tenant.into(), &self.keyring, "Ann", new).await;
        tx.commit().await.expect("a commit");
        made.expect("an answer").expect("a credential")
    }

    async fn workspace(&self, repository: &str, folder: &str, credential: Option<Uuid>) -> Uuid {
        let mut tx = self.tenants.begin(self.tenant.into()).await.expect("a tx");
        let host = format!("localhost:{}", self.server.port());
        let wanted = WantedWorkspace {
            name: "network",
            repository,
            host: Some(&host),
            branch: "main",
            folder,
            credential,
            interval_secs: 300,
        };
        let saved = workspaces::create(&mut tx, self.tenant.into(), "Ann", &wanted).await;
        tx.commit().await.expect("a commit");
        match saved.expect("an answer") {
            Saved::Done(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Has everything looked at now.
    async fn look(&self) {
        sqlx::query("update switchyard.workspaces set next_at = now()")
            .execute(&self.rows)
            .await
            .expect("it is due");
        assert_eq!(testkit::tick(&self.router).await, StatusCode::ACCEPTED);
    }

    async fn row(&self) -> Value {
        sqlx::query_scalar("select to_jsonb(w) from switchyard.workspaces w")
            .fetch_one(&self.rows)
            .await
            .expect("a workspace")
    }

    async fn templates(&self, id: Uuid) -> Vec<(String, String)> {
        let mut tx = self.tenants.begin(self.tenant.into()).await.expect("a tx");
        let found = workspaces::templates(&mut tx, id).await.expect("templates");
        tx.commit().await.expect("a commit");
        found
            .into_iter()
            .map(|it| (it.kind.as_str().to_owned(), it.path))
            .collect()
    }

    fn commit(&self, files: &[(&str, &str)]) -> String {
        self.origin.commit(files).expect("a commit")
    }
}

#[tokio::test]
async fn a_private_repository_is_kept_in_step_and_its_templates_are_listed() {
    let it = Served::new().await;
    let first = it.commit(&[
        ("infra/main.tf", "terraform {}"),
        ("infra/README.md", "# Base\n\nWhat all labs need.\n"),
        ("labs/bgp/topology.yml", "nodes: [a]"),
        (".github/main.tf", "no"),
    ]);
    let credential = it.credential(TOKEN).await;
    let id = it
        .workspace(&it.server.url("owner/site.git"), "", Some(credential))
        .await;
    it.look().await;
    let row = it.row().await;
    assert_eq!(
        (&row["commit"], &row["problem"]),
        (&json!(first), &Value::Null)
    );
    assert_eq!(
        it.templates(id).await,
        [
            ("terraform".to_owned(), "infra".to_owned()),
            ("netlab".to_owned(), "labs/bgp".to_owned()),
        ]
    );

    // Nothing changed: it was looked at, and not read.
    it.look().await;
    let again = it.row().await;
    assert_eq!(again["synced_at"], row["synced_at"]);
    assert_ne!(again["looked_at"], row["looked_at"]);

    it.origin
        .git(&["rm", "-r", "-q", "labs"])
        .expect("it is removed");
    let second = it.commit(&[("infra/main.tf", "# other")]);
    it.look().await;
    assert_eq!(it.row().await["commit"], json!(second));
    assert_eq!(
        it.templates(id).await,
        [("terraform".to_owned(), "infra".to_owned())]
    );

    let deeds: Vec<String> = sqlx::query_scalar("select deed from switchyard.audit order by id")
        .fetch_all(&it.rows)
        .await
        .expect("a record");
    assert_eq!(deeds, ["credential_create", "workspace_create"]);
}

#[tokio::test]
async fn a_failed_look_says_why_backs_off_and_keeps_what_was_found() {
    let it = Served::new().await;
    let commit = it.commit(&[("main.tf", "")]);
    let credential = it.credential(TOKEN).await;
    let id = it
        .workspace(&it.server.url("owner/site.git"), "", Some(credential))
        .await;
    it.look().await;
    it.origin
        .git(&["branch", "-m", "main", "trunk"])
        .expect("it moves");
    it.look().await;
    let row = it.row().await;
    assert_eq!(
        (&row["commit"], &row["failures"]),
        (&json!(commit), &json!(1))
    );
    let problem = row["problem"].as_str().expect("it says why");
    assert!(problem.contains("has no branch `main`"), "{problem}");
    assert_eq!(it.templates(id).await.len(), 1);
    it.look().await;
    let wait: f64 = sqlx::query_scalar(
        "select extract(epoch from next_at - now())::float8 from switchyard.workspaces",
    )
    .fetch_one(&it.rows)
    .await
    .expect("a time");
    assert!((590.0..=600.0).contains(&wait), "{wait}");
    let told: Vec<String> = sqlx::query_scalar("select message from switchyard.event_log")
        .fetch_all(&it.rows)
        .await
        .expect("a log");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("workspace network is not kept in step"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_wrong_credential_and_a_host_that_is_not_its_own_are_refused() {
    let it = Served::new().await;
    it.commit(&[("main.tf", "")]);
    let credential = it.credential("wrong").await;
    it.workspace(&it.server.url("owner/site.git"), "", Some(credential))
        .await;
    it.look().await;
    let row = it.row().await;
    let problem = row["problem"].as_str().expect("it says why").to_owned();
    assert!(problem.contains("answered 401"), "{problem}");
    assert!(!problem.contains("wrong"), "{problem}");

    sqlx::query("update switchyard.credentials set host = 'elsewhere.test'")
        .execute(&it.rows)
        .await
        .expect("the owner may");
    it.look().await;
    assert_eq!(
        it.row().await["problem"],
        "the credential is for elsewhere.test"
    );
}

#[tokio::test]
async fn a_repository_of_the_machine_is_read_inside_the_operators_folders_only() {
    let it = Served::new().await;
    let commit = it.commit(&[("labs/a.clab.yml", "name: a")]);
    let path = it.origin.repository().display().to_string();
    let id = it.workspace(&path, "labs", None).await;
    it.look().await;
    assert_eq!(it.row().await["commit"], json!(commit));
    assert_eq!(
        it.templates(id).await,
        [("containerlab".to_owned(), String::new())]
    );

    for (repository, part) in [
        ("/etc", "not inside a folder that the operator allows"),
        // What no one can save is refused where it is used, too.
        ("ext::sh -c id", "not the address of a repository"),
        ("--upload-pack=id", "not the address of a repository"),
    ] {
        sqlx::query("update switchyard.workspaces set repository = $1, commit = null")
            .bind(repository)
            .execute(&it.rows)
            .await
            .expect("the owner may");
        it.look().await;
        let row = it.row().await;
        let problem = row["problem"].as_str().expect("it says why");
        assert!(problem.contains(part), "{repository}: {problem}");
    }
}
