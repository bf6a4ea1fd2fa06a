//! Somebody outside who sends webhooks, and what takes them in: the function, the relay to `inbound` and `dispatch`.

use std::time::Duration;

use database::{Connect, TenantDb};
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::{DatabaseRole, GitTrigger, SourceKind};
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Map, json};
use sha2::Sha256;
use store::setup;
use tokio::time::Instant;

use crate::board::client;
use crate::{Cluster, Process};

/// What pushes are signed with.
const SECRET: &str = "a secret that is only good for tests";
/// How long the setting up may wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);

/// A trigger for pushes with one binding, and whoever works for it. What was started ends with it.
pub struct Hook {
    url: String,
    body: String,
    signature: String,
    http: reqwest::Client,
    _processes: [Process; 3],
}

/// What a sender was answered.
#[derive(Debug, Clone)]
pub struct Told {
    /// With which status.
    pub status: StatusCode,
    /// After how long.
    pub took: Duration,
    /// In which words.
    pub body: String,
}

impl Hook {
    /// A trigger of the cluster's tenant.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn of(cluster: &mut Cluster) -> Self {
        let tenant = cluster.tenant;
        let tenants = TenantDb::new(&Connect {
            url: cluster.url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 1,
            acquire_timeout: ACQUIRE_TIMEOUT,
        })
        .expect("a URL");
        let mut tx = tenants.begin(tenant).await.expect("a transaction");
        let source = SourceKind::Static;
        let host = "pages".parse().expect("a label");
        let workload =
            setup::create_workload(&mut tx, tenant, "site", source, &Map::new(), &host).await;
        let secret = SecretString::from(SECRET);
        let filter = GitTrigger::default();
        let trigger =
            setup::create_git_trigger(&mut tx, tenant, &cluster.keyring, "push", &filter, &secret)
                .await
                .expect("a trigger");
        let workload = workload.expect("a workload");
        setup::create_binding(&mut tx, tenant, trigger, workload, &Map::new(), 0)
            .await
            .expect("a binding");
        tx.commit().await.expect("a commit");
        tenants.close().await;

        let webhook = cluster.process("webhook-github", &[]).await;
        let dispatch = cluster.process("dispatch", &[]).await;
        let sink = format!("http://{}/", dispatch.address());
        let relay = cluster.relay_of("inbound", &sink).await;
        let body = push().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key is good");
        mac.update(body.as_bytes());
        Self {
            url: format!("http://{}/{trigger}", webhook.address()),
            signature: format!("sha256={}", hex::encode(mac.finalize().into_bytes())),
            body,
            http: client(),
            _processes: [webhook, dispatch, relay],
        }
    }

    /// Sends a push once.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn post(&self, delivery: &str) -> Told {
        let asked = Instant::now();
        let request = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .header("x-github-event", "push")
            .header("x-github-delivery", delivery)
            .header("x-hub-signature-256", &self.signature)
            .body(self.body.clone());
        let response = request.send().await.expect("it answers");
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        Told {
            status,
            took: asked.elapsed(),
            body,
        }
    }
}

/// What GitHub sends for a push of one commit.
fn push() -> serde_json::Value {
    let after = "2222222222222222222222222222222222222222";
    let commit = json!({
        "id": after, "message": "Change the page", "timestamp": "2026-03-01T12:00:00Z",
        "author": {"name": "Ann", "email": "ann@example.test", "username": "ann"},
        "added": [], "removed": [], "modified": ["index.md"],
    });
    json!({
        "ref": "refs/heads/main",
        "before": "1111111111111111111111111111111111111111",
        "after": after,
        "created": false, "deleted": false, "forced": false,
        "commits": [commit],
        "head_commit": commit,
        "repository": {
            "id": 1, "name": "site", "full_name": "team/site",
            "html_url": "https://github.example.test/team/site",
            "clone_url": "https://github.example.test/team/site.git",
            "ssh_url": "git@github.example.test:team/site.git",
            "default_branch": "main",
        },
        "pusher": {"name": "ann", "email": "ann@example.test"},
        "sender": {"login": "ann", "id": 7},
    })
}
