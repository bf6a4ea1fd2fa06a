//! The database behind a test, and what a tenant's admin makes in it.

use std::path::Path;
use std::time::Duration;

use database::{Connect, TenantDb};
use model::{
    DatabaseRole, GitTrigger, Role, SourceKind, TenantId, TriggerId, TriggerKind, WorkloadId,
};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use store::watched::{self, NewWatch, Watched};
use store::{Keyring, people, setup};

use super::{Push, Repository};
use crate::harness::repository::Commit;

/// What senders sign with.
const SECRET: &str = "a secret that is only good for tests";

/// A database that everything is allowed in.
pub(crate) struct Database {
    /// The superuser's connections.
    pub(crate) rows: PgPool,
    tenants: TenantDb,
    keyring: Keyring,
    pub(crate) tenant: TenantId,
}

/// A workload that is made of a repository's `main`, with a trigger and two bindings: one that matches every push of the
/// repository, and one that wants another branch.
pub(crate) struct Site {
    pub(crate) repository: Repository,
    pub(crate) workload: WorkloadId,
    pub(crate) trigger: TriggerId,
    /// The label of its host name.
    pub(crate) host: String,
}

impl Site {
    /// Moves the branch to a commit with this page, and returns the push that tells of it.
    pub(crate) fn push(&self, page: &str, delivery: &str) -> Push {
        self.told(&self.repository.commit(page), delivery)
    }

    /// The push that tells of a commit.
    pub(crate) fn told(&self, commit: &Commit, delivery: &str) -> Push {
        Push::new(&self.repository.name, commit, delivery, SECRET)
    }
}

impl Database {
    /// Opens a database that has its schema; connections are made again when it was away.
    pub(crate) async fn open(url: &str, master_key: &Path) -> Self {
        let rows = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(20))
            .connect_lazy(url)
            .expect("a URL");
        let key = std::fs::read_to_string(master_key).expect("the master key");
        let keyring = Keyring::from_base64(&SecretString::from(key.trim())).expect("a key");
        let tenants = TenantDb::new(&Connect {
            url: url.into(),
            role: DatabaseRole::Tenant,
            connections_max: 2,
            acquire_timeout: Duration::from_secs(20),
        })
        .expect("a URL");
        let mut owner = rows.acquire().await.expect("a connection");
        let (tenant, _) = people::ensure_member(&mut owner, "acme", "Ann", Role::Admin)
            .await
            .expect("a tenant");
        drop(owner);
        Self {
            rows,
            tenants,
            keyring,
            tenant,
        }
    }

    /// Makes a site of a new repository below a folder.
    pub(crate) async fn site(&self, repositories: &Path, host: &str) -> Site {
        let repository = Repository::new(repositories, &format!("acme/{host}"));
        let config = json!({"source": {"kind": "local", "path": repository.path()}});
        let filter: GitTrigger =
            serde_json::from_value(json!({"repository": repository.name})).expect("a filter");
        let mut tx = self
            .tenants
            .begin(self.tenant)
            .await
            .expect("a transaction");
        let workload = setup::create_workload(
            &mut tx,
            self.tenant,
            host,
            SourceKind::Static,
            &object(config),
            &host.parse().expect("a label"),
        )
        .await
        .expect("a workload");
        let secret = SecretString::from(SECRET);
        let trigger =
            setup::create_git_trigger(&mut tx, self.tenant, &self.keyring, host, &filter, &secret)
                .await
                .expect("a trigger");
        for (position, filter) in [json!({}), json!({"branches": ["release"]})]
            .into_iter()
            .enumerate()
        {
            let position = i32::try_from(position).expect("there are two");
            setup::create_binding(
                &mut tx,
                self.tenant,
                trigger,
                workload,
                &object(filter),
                position,
            )
            .await
            .expect("a binding");
        }
        tx.commit().await.expect("a commit");
        Site {
            repository,
            workload,
            trigger,
            host: host.to_owned(),
        }
    }

    /// Signs somebody in who is of the tenant, and returns the session's token.
    pub(crate) async fn session(&self, name: &str, role: Role) -> String {
        let mut owner = self.rows.acquire().await.expect("a connection");
        let member = people::ensure_member(&mut owner, "acme", name, role).await;
        let (_, person) = member.expect("a person");
        let link = people::create_sign_in_link(&mut owner, person).await;
        let session = people::open_session(&self.tenants, &link.expect("a link")).await;
        let session = session.expect("an answer").expect("a session");
        session.expose().to_owned()
    }

    /// A trigger whose senders prove nothing and come from these networks.
    pub(crate) async fn open_trigger(&self, name: &str, networks: &[&str]) -> TriggerId {
        let scheme = json!({"kind": "none", "networks": networks});
        let scheme = serde_json::from_value(scheme).expect("a scheme");
        let new = setup::NewTrigger {
            name,
            kind: TriggerKind::Webhook,
            config: Map::new(),
            scheme: Some(&scheme),
            secret: None,
            path_sha256: None,
        };
        let begun = self.tenants.begin(self.tenant).await;
        let mut tx = begun.expect("a transaction");
        let made = setup::create_trigger(&mut tx, self.tenant, &self.keyring, new).await;
        tx.commit().await.expect("a commit");
        made.expect("a trigger")
    }

    /// The ids of a trigger's bindings, in their order.
    pub(crate) async fn bindings(&self, trigger: TriggerId) -> Vec<String> {
        sqlx::query_scalar(
            "select 'bnd_' || replace(id::text, '-', '') from switchyard.bindings where trigger_id = $1 order by position",
        )
        .bind(trigger.uuid())
        .fetch_all(&self.rows)
        .await
        .expect("the database answers")
    }

    /// A column of texts.
    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<String> {
        let rows = sqlx::query_scalar(sql).fetch_all(&self.rows).await;
        rows.expect("the database answers")
    }

    /// Makes a trigger whose senders show this token in `x-token`, bound to a site.
    pub(crate) async fn bound(
        &self,
        site: &Site,
        kind: TriggerKind,
        name: &str,
        token: &str,
    ) -> TriggerId {
        let scheme: model::Scheme =
            serde_json::from_value(json!({"kind": "token", "header": "x-token"}))
                .expect("a scheme");
        let new = setup::NewTrigger {
            name,
            kind,
            config: Map::new(),
            scheme: Some(&scheme),
            secret: Some(&SecretString::from(token)),
            path_sha256: None,
        };
        let mut tx = self
            .tenants
            .begin(self.tenant)
            .await
            .expect("a transaction");
        let trigger = setup::create_trigger(&mut tx, self.tenant, &self.keyring, new)
            .await
            .expect("a trigger");
        let none = Map::new();
        setup::create_binding(&mut tx, self.tenant, trigger, site.workload, &none, 0)
            .await
            .expect("a binding");
        tx.commit().await.expect("a commit");
        trigger
    }

    /// Has a place looked at for a trigger: of which kind, at which URL, which repository of it, and which names.
    pub(crate) async fn watch(&self, trigger: TriggerId, new: NewWatch<'_>) {
        let mut tx = self
            .tenants
            .begin(self.tenant)
            .await
            .expect("a transaction");
        let watched = watched::watch(&mut tx, self.tenant, trigger, new).await;
        assert_eq!(watched.expect("an answer"), Watched::Done);
        tx.commit().await.expect("a commit");
    }

    /// A number, as SQL counts it. Fails when the database does not answer.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        self.try_count(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same while the database may be away.
    pub(crate) async fn try_count(&self, sql: &'static str) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(sql).fetch_one(&self.rows).await
    }

    /// Commit and number of the revision that is live.
    pub(crate) async fn live(&self, site: &Site) -> Option<(String, i32)> {
        sqlx::query_as(
            "select r.commit, r.number from switchyard.workloads w
             join switchyard.revisions r on r.database_id = w.database_id and r.id = w.live_revision
             where w.id = $1",
        )
        .bind(site.workload.uuid())
        .fetch_optional(&self.rows)
        .await
        .expect("the database answers")
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}
