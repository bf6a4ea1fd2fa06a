//! Hostile inputs over the wire of a whole machine: what is answered, what is kept, and that it lives on. Numbers are those of the list
//! of inputs that the system is held to:
//!
//! | input | also held by |
//! | --- | --- |
//! | 1, 2, 3, 5, 6 | `functions/webhook-github/src/served.rs`, `shared/webhook/src/mutation.rs` for every scheme |
//! | 4 | `shared/webhook/src/scheme/standard.rs` |
//! | 7 | `shared/webhook/src/endpoint/tests.rs`: an unknown trigger takes the way of a known one |
//! | 8 | `shared/webhook/src/any/tests.rs` |
//! | 9 | `functions/webhook-github/src/served.rs`, `shared/host/tests/host.rs` |
//! | 10 | `shared/webhook/src/json.rs`, `functions/webhook-github/src/served.rs` |
//! | 11, 12 | `functions/webhook-cloudevents/src/tests.rs`, `shared/events/tests` |
//! | 13 | `functions/dispatch/src/tests.rs`: work that leads to work, and what is too deep |
//! | 19, 20, 21, 22 | `shared/egress/src` |
//! | 31 | `shared/triggers`: conditions, templates, patterns of tags |
//! | 33 | `shared/triggers/src/check.rs`; nobody hands in a schema |
//! | 32 | `functions/api/src/schedules.rs` |
//! | 34, 35 | `functions/api/src/tests.rs`, `shared/database/tests/isolation.rs` |
//! | 37 | `shared/webhook/src/scheme/oidc.rs` |
//! | 39 | `shared/host/tests/host.rs` |

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Database, Machine, client, turn};

const HANGS_UP_WITHIN: Duration = Duration::from_secs(20);

struct Victim {
    machine: Machine,
    database: Database,
    http: Client,
    trigger: String,
    other: String,
    secret: String,
}

impl Victim {
    async fn new() -> Self {
        let mut machine = Machine::new();
        machine.start().await;
        let database = machine.database().await;
        let site = database.site(&machine.repositories(), "victim").await;
        let other = database.site(&machine.repositories(), "other").await;
        let secret = site.push("a page", "x").secret().to_owned();
        Self {
            http: client(),
            trigger: site.trigger.to_string(),
            other: other.trigger.to_string(),
            machine,
            database,
            secret,
        }
    }

    fn signature(&self, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("a key");
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    async fn send(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> (u16, Value) {
        let mut request = self.http.post(format!("{}{path}", self.machine.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.into()).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// Posts what GitHub would, signed.
    async fn github(&self, event: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let signature = format!("sha256={}", self.signature(body));
        let headers = [
            ("x-github-event", event),
            ("content-type", kind),
            ("x-hub-signature-256", signature.as_str()),
        ];
        self.send(&format!("/webhook-any/{}", self.trigger), &headers, body)
            .await
    }

    /// What the machine says to these bytes until it hangs up.
    async fn raw(&self, words: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.machine.port()))
            .await
            .expect("a connection");
        // It may hang up before it has heard all.
        stream.write_all(words).await.ok();
        let mut heard = Vec::new();
        let read = tokio::time::timeout(HANGS_UP_WITHIN, stream.read_to_end(&mut heard)).await;
        drop(read.expect("it hangs up"));
        String::from_utf8_lossy(&heard).into_owned()
    }

    async fn events(&self) -> i64 {
        self.database
            .count("select count(*) from switchyard.events")
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_webhooks_get_their_answers_and_start_nothing() {
    let _turn = turn().await;
    let it = Victim::new().await;
    let any = format!("/webhook-any/{}", it.trigger);
    let body = r#"{"zen":"x","hook_id":1}"#;
    let good = it.signature(body.as_bytes());

    // 1, 2, 3, 7: nothing but the exact signature, over these very bytes, with this trigger's secret.
    let upper = format!("sha256={}", good.to_uppercase());
    let (sha1, cut) = (format!("sha1={good}"), format!("sha256={}", &good[..60]));
    let (long, exact) = (
        format!("sha256={}", "a".repeat(10_000)),
        format!("sha256={good}"),
    );
    for signature in ["", "sha256=", &upper, &sha1, &cut, &long] {
        let headers = [
            ("x-github-event", "ping"),
            ("x-hub-signature-256", signature),
        ];
        assert_eq!(it.send(&any, &headers, body).await.0, 401, "{signature}");
    }
    let headers = [
        ("x-github-event", "ping"),
        ("x-hub-signature-256", exact.as_str()),
    ];
    assert_eq!(it.send(&any, &headers[..1], body).await.0, 401);
    let spaced = r#"{ "zen": "x", "hook_id": 1 }"#;
    assert_eq!(it.send(&any, &headers, spaced).await.0, 401);
    let nobody = format!("/webhook-any/trg_{}", "0".repeat(32));
    let unknown = it.send(&nobody, &headers, body).await;
    let mistaken = it
        .send(
            &any,
            &[
                ("x-gitlab-event", "x"),
                ("x-gitlab-token", it.other.as_str()),
            ],
            body,
        )
        .await;
    assert_eq!((unknown.0, &unknown), (401, &mistaken));
    let bodies = "select count(*) from switchyard.deliveries where body is not null";
    assert_eq!(it.database.count(bodies).await, 0);
    let counted = "select sum(count)::bigint from switchyard.rejections";
    assert_eq!(it.database.count(counted).await, 10);

    // 5, 6: one id, many times at once and with another body.
    let push = json!({"ref": "refs/heads/main", "before": "0".repeat(40), "after": "1".repeat(40), "created": true,
        "deleted": false, "forced": false, "commits": [], "repository": {"id": 1, "full_name": "acme/a",
        "html_url": "https://github.com/acme/a", "clone_url": "https://github.com/acme/a.git", "default_branch": "main"},
        "pusher": {"name": "ann"}, "sender": {"id": 1, "login": "ann"}})
    .to_string();
    let signature = format!("sha256={}", it.signature(push.as_bytes()));
    let named = [
        ("x-github-event", "push"),
        ("x-github-delivery", "one"),
        ("content-type", "application/json"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let posts = (0..100).map(|_| it.send(&any, &named, push.as_str()));
    let answers = futures::future::join_all(posts).await;
    let with = |status| answers.iter().filter(|answer| answer.0 == status).count();
    assert_eq!((with(202), with(200)), (1, 99), "{answers:?}");
    let other = push.replace("refs/heads/main", "refs/heads/other");
    let signature = format!("sha256={}", it.signature(other.as_bytes()));
    let conflicting = [
        named[0],
        named[1],
        named[2],
        ("x-hub-signature-256", signature.as_str()),
    ];
    assert_eq!(it.send(&any, &conflicting, other.as_str()).await.0, 409);
    let before = it.events().await;
    assert_eq!(before, 1);

    // 8, 9, 10: signed, and not what it says it is. GitHub's function has the last word.
    let gitlab = r#"{"object_kind":"push","ref":"refs/heads/main"}"#;
    let deep = "[".repeat(100_000);
    let many = format!(
        "{{{}\"z\":1}}",
        (0..1_100_000)
            .map(|n| format!("\"{n}\":1,"))
            .collect::<String>()
    );
    let with_nul = push.replace("acme/a", "acme\\u0000");
    let cases: [(&str, &str, &[u8], u16); 9] = [
        ("push", "application/json", gitlab.as_bytes(), 400),
        ("star", "application/json", br#"{"action":"../../x"}"#, 400),
        ("push", "text/plain", push.as_bytes(), 415),
        ("push", "application/json", deep.as_bytes(), 400),
        ("push", "application/json", many.as_bytes(), 400),
        ("push", "application/json", b"{\"ref\": 1e400}", 400),
        ("push", "application/json", b"{\"ref\": \"\\ud800\"}", 400),
        ("push", "application/json", b"{\"ref\": \"\xff\"}", 400),
        ("push", "application/json", with_nul.as_bytes(), 400),
    ];
    for (event, kind, body, status) in cases {
        let (answered, told) = it.github(event, kind, body).await;
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(answered, status, "{event} {kind} {start}: {told}");
        let generic = told["vendor"] == json!("generic");
        assert!(!generic, "{start}: {told}");
    }
    assert_eq!(it.events().await, before);
    let fell_through =
        "select count(*) from switchyard.deliveries where function = 'webhook-generic'";
    assert_eq!(it.database.count(fell_through).await, 0);

    // 11, 12: CloudEvents that are none, and those that say that they are ours.
    let token = format!("Bearer {}", it.secret);
    let event = |id: &str, version: &str, ty: &str| {
        json!({"specversion": version, "id": id, "source": "/a", "type": ty}).to_string()
    };
    let batch = format!("[{}]", vec![event("a", "1.0", "t"); 10_000].join(","));
    for (kind, body, status) in [
        ("application/cloudevents+json", event("", "1.0", "t"), 400),
        ("application/cloudevents+json", event("a", "0.3", "t"), 400),
        ("application/cloudevents+json", event("a", "3.0", "t"), 400),
        (
            "application/cloudevents+json",
            event("a", "1.0", "dev.switchyard.git.pushed.v1"),
            403,
        ),
        ("application/cloudevents-batch+json", batch, 413),
    ] {
        let headers = [("authorization", token.as_str()), ("content-type", kind)];
        let (answered, told) = it.send(&any, &headers, body.as_str()).await;
        assert_eq!(
            answered,
            status,
            "{kind} {}: {told}",
            &body[..body.len().min(80)]
        );
    }
    assert_eq!(it.events().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_headers_and_framing_are_refused_and_hung_up_on() {
    let _turn = turn().await;
    let it = Victim::new().await;
    let post = format!(
        "POST /webhook-github/{} HTTP/1.1\r\nhost: localhost\r\n",
        it.trigger
    );
    let many: String = (0..1000).map(|n| format!("x-{n}: a\r\n")).collect();
    let large = format!("x-large: {}\r\n", "a".repeat(100_000));
    let token = format!("authorization: Bearer {}\r\n", "a".repeat(1_000_000));
    // 37 (a token of a megabyte), 39.
    let cases: [(&str, &[&str]); 6] = [
        (many.as_str(), &["431"]),
        (&large, &["431"]),
        (&token, &["431", ""]),
        ("x-a: b\r\x00c\r\n", &["400"]),
        ("content-length: 2\r\ncontent-length: 3\r\n", &["400"]),
        ("host: elsewhere\r\n", &["400"]),
    ];
    for (headers, statuses) in cases {
        let heard = it.raw(format!("{post}{headers}\r\n{{}}").as_bytes()).await;
        let status = heard.split(' ').nth(1).unwrap_or_default();
        assert!(
            statuses.contains(&status),
            "{}: {heard}",
            &headers[..headers.len().min(40)]
        );
    }
    // Of a length and chunks at once the chunks count, and the connection ends: what follows is never a request (RFC 9112 §6.1).
    let smuggled = format!(
        "{post}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /webhook-github/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
    );
    let heard = it.raw(smuggled.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 401"), "{heard}");
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");

    // HTTP/2: streams that are opened and reset, over and over, end the connection.
    let mut rapid = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    rapid.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for n in 0..20_000_u32 {
        let stream = (2 * n + 1).to_be_bytes();
        // `:method: GET`, `:path: /`, `:scheme: http` of the static table, and an authority.
        let block = b"\x82\x84\x86\x41\x09localhost";
        rapid.extend([0, 0, u8::try_from(block.len()).expect("short"), 1, 5]);
        rapid.extend(stream);
        rapid.extend(block);
        rapid.extend([0, 0, 4, 3, 0]);
        rapid.extend(stream);
        rapid.extend([0, 0, 0, 8]);
    }
    let heard = it.raw(&rapid).await;
    assert!(!heard.is_empty());
    assert_eq!(it.events().await, 0);
    let (status, _) = it
        .github("ping", "application/json", b"{\"zen\":\"x\",\"hook_id\":1}")
        .await;
    assert_eq!(status, 202, "it lives on");
}
