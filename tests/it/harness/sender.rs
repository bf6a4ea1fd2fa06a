//! Who sends webhooks: as Gitea does, and with a patience that Gitea has not.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::Instant;

use super::repository::Commit;

/// How long one post may take.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries of one delivery.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A sender with one connection pool.
#[derive(Clone)]
pub(crate) struct Sender {
    http: Client,
}

/// A push, signed and ready to be sent any number of times.
#[derive(Clone)]
pub(crate) struct Push {
    pub(crate) delivery: String,
    pub(crate) after: String,
    body: String,
    signature: String,
    secret: String,
}

impl Push {
    /// What Gitea 1.22 sends for a push of one commit.
    pub(crate) fn new(repository: &str, commit: &Commit, delivery: &str, secret: &str) -> Self {
        let person = json!({"id": 7, "login": "ann", "full_name": "Ann", "username": "ann"});
        let about = json!({
            "id": commit.after, "message": "Page\n", "timestamp": "2026-03-01T12:00:00Z",
            "author": {"name": "Ann", "email": "ann@example.test", "username": "ann"},
            "added": [], "removed": null, "modified": ["index.html"],
        });
        let (_, name) = repository.split_once('/').expect("owner/name");
        let body = json!({
            "ref": "refs/heads/main",
            "before": commit.before,
            "after": commit.after,
            "commits": [about],
            "total_commits": 1,
            "head_commit": about,
            "repository": {
                "id": 1, "name": name, "full_name": repository,
                "html_url": format!("http://git.example.test/{repository}"),
                "clone_url": format!("http://git.example.test/{repository}.git"),
                "ssh_url": format!("git@git.example.test:{repository}.git"),
                "default_branch": "main",
            },
            "pusher": person,
            "sender": person,
        })
        .to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key is good");
        mac.update(body.as_bytes());
        Self {
            delivery: delivery.to_owned(),
            after: commit.after.clone(),
            signature: hex::encode(mac.finalize().into_bytes()),
            body,
            secret: secret.to_owned(),
        }
    }

    /// What is posted.
    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    /// What it is signed with.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

/// A client of somebody outside.
pub(crate) fn client() -> Client {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is outside does not use our clients"
    )]
    let client = Client::builder().timeout(POST_TIMEOUT).no_proxy().build();
    client.expect("a client")
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self { http: client() }
    }

    /// Sends a push once.
    pub(crate) async fn post(
        &self,
        url: &str,
        push: &Push,
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let response = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("x-gitea-event", "push")
            .header("x-gitea-event-type", "push")
            .header("x-gitea-delivery", &push.delivery)
            .header("x-gitea-signature", &push.signature)
            .body(push.body.clone())
            .send()
            .await?;
        let status = response.status();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Sends a push until it is acknowledged, and returns the delivery's id. Whatever is not 2xx is sent again, but an answer
    /// that says that it never will be is a failure of the test.
    pub(crate) async fn deliver(&self, url: &str, push: &Push, limit: Duration) -> String {
        let end = Instant::now() + limit;
        let mut last = String::new();
        while Instant::now() < end {
            match self.post(url, push).await {
                Ok((status, body)) if status.is_success() => {
                    let id = body["delivery"]
                        .as_str()
                        .expect("an acknowledgement has an id");
                    return id.to_owned();
                }
                Ok((status, body)) => {
                    assert!(!status.is_client_error(), "{status}: {body}");
                    last = format!("{status}: {body}");
                }
                Err(error) => last = format!("{error:?}"),
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        panic!(
            "{} was not acknowledged within {limit:?}; at last: {last}",
            push.delivery
        );
    }

    /// A page of a site, as its text; the host name is asked for at the address of the gateway.
    pub(crate) async fn page(&self, port: u16, host: &str) -> Option<(StatusCode, String)> {
        let response = self
            .http
            .get(format!("http://127.0.0.1:{port}/"))
            .header("host", format!("{host}.localhost:{port}"))
            .send()
            .await
            .ok()?;
        Some((response.status(), response.text().await.ok()?))
    }
}
