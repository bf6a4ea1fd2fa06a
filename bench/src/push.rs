//! A push as GitHub sends it, of 8 KiB.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

/// The bytes of the body.
pub const BODY_BYTES: usize = 8 * 1024;
/// What it is signed with.
pub const SECRET: &str = "a secret that nobody guesses";

/// A push with its signature. The sender's id for it is new each time it is sent.
#[derive(Debug, Clone)]
pub struct Push {
    body: Bytes,
    signature: String,
}

impl Push {
    /// Commits with random names, as many as the size takes; a message makes up what is missing to the byte.
    pub fn new() -> anyhow::Result<Self> {
        Self::signed_with(SECRET)
    }

    /// The same, signed with another secret.
    pub fn signed_with(secret: &str) -> anyhow::Result<Self> {
        let mut commits = Vec::new();
        let length = |commits: &[Value], fill: usize| payload(commits, fill).to_string().len();
        while length(&commits, 0) + 512 < BODY_BYTES {
            commits.push(commit("Change what the page says"));
        }
        let missing = BODY_BYTES
            .checked_sub(length(&commits, 0))
            .ok_or_else(|| anyhow::anyhow!("the push is too long"))?;
        let body = payload(&commits, missing).to_string();
        anyhow::ensure!(
            body.len() == BODY_BYTES,
            "the push has {} bytes",
            body.len()
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        Ok(Self {
            body: body.into(),
            signature,
        })
    }

    /// A request to this path.
    pub fn request(&self, path: &str) -> Request<Full<Bytes>> {
        self.named(path, &Uuid::new_v4().to_string())
    }

    /// The same under a name of the sender's, by which it is known when it comes again.
    pub fn named(&self, path: &str, delivery: &str) -> Request<Full<Bytes>> {
        Request::post(path)
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("accept", "*/*")
            .header("x-github-event", "push")
            .header("x-github-delivery", delivery)
            .header("x-github-hook-id", "292430182")
            .header("x-hub-signature-256", &self.signature)
            .body(Full::new(self.body.clone()))
            .expect("the headers are made of digits and letters")
    }
}

fn hash() -> String {
    let (a, b) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
    format!("{a}{b}")[..40].to_owned()
}

fn commit(message: &str) -> Value {
    let id = hash();
    json!({
        "id": id,
        "tree_id": hash(),
        "distinct": true,
        "message": message,
        "timestamp": "2026-03-01T12:00:00Z",
        "url": format!("https://github.example.test/team/site/commit/{id}"),
        "author": {"name": "Ann", "email": "ann@example.test", "username": "ann"},
        "committer": {"name": "Ann", "email": "ann@example.test", "username": "ann"},
        "added": [format!("pages/{}.md", &hash()[..8])],
        "removed": [],
        "modified": ["menu.toml", "index.md"],
    })
}

fn payload(commits: &[Value], fill: usize) -> Value {
    let after = commits
        .last()
        .map_or_else(|| json!("3".repeat(40)), |last| last["id"].clone());
    json!({
        "ref": "refs/heads/main",
        "before": "1111111111111111111111111111111111111111",
        "after": after,
        "created": false,
        "deleted": false,
        "forced": false,
        "base_ref": null,
        "compare": "x".repeat(fill),
        "commits": commits,
        "head_commit": commits.last(),
        "repository": {
            "id": 1,
            "name": "site",
            "full_name": "team/site",
            "html_url": "https://github.example.test/team/site",
            "clone_url": "https://github.example.test/team/site.git",
            "ssh_url": "git@github.example.test:team/site.git",
            "default_branch": "main",
        },
        "pusher": {"name": "ann", "email": "ann@example.test"},
        "sender": {"login": "ann", "id": 7},
    })
}
