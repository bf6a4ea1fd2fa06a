use std::time::Duration;

use artifacts::Artifacts;
use axum::http::HeaderValue;
use chrono::TimeDelta;
use futures::future::join_all;
use model::run::{ARTIFACT_PART_BYTES, Then};
use queue::runs::{Begun, NewRun};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::S3;
use tower::ServiceExt as _;

use super::*;
use crate::tests::{World, world, world_with};

/// What a runner gets as an answer.
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn outcome(&self) -> (u16, String) {
        let outcome = self.json()["outcome"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (self.status, outcome)
    }
}

fn outcome(status: u16, outcome: &str) -> (u16, String) {
    (status, outcome.to_owned())
}

fn spec() -> Value {
    json!({
        "phase": "plan",
        "steps": [{"name": "one", "run": {"local": {"argv": ["true"]}}}],
        "limits": {"time_secs": 60, "log_bytes": 1, "artifact_bytes": 1, "artifacts": 1},
        "heartbeat_ms": 1000,
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Bytes that are not all the same.
fn some_bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n % 251) as u8 ^ (n / 4096) as u8)
        .collect()
}

/// A runner with the token of a run that has begun.
struct Runner<'a> {
    world: &'a World,
    hold: Hold,
    token: String,
}

async fn runner(world: &World) -> Runner<'_> {
    runner_of(world, &spec(), Then::Finish).await
}

async fn runner_of<'a>(world: &'a World, spec: &Value, then: Then) -> Runner<'a> {
    let hold = world.called().await;
    begin(world, hold, spec, then).await;
    Runner {
        world,
        hold,
        token: world.token(hold),
    }
}

async fn begin(world: &World, hold: Hold, spec: &Value, then: Then) {
    let slot = run_spec_slot(world.tenant, hold.job, hold.epoch);
    let sealed = world.keyring.seal_packed(slot, spec.to_string().as_bytes());
    let run = NewRun {
        phase: "plan",
        launcher: "local",
        spec: &sealed,
        handle: &json!({"local": {}}),
        steps: &["one".to_owned()],
        start_within: Duration::from_secs(30),
        lease: Duration::from_secs(30),
        time: Duration::from_secs(600),
        then,
        retry: false,
    };
    let begun = world.queue.begin_run(hold, &run).await;
    assert_eq!(begun.expect("an answer"), Begun::Waiting);
}

impl Runner<'_> {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let answer = self.world.router.clone().oneshot(request).await;
        let answer = answer.expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .expect("a body");
        Answered {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_vec(),
        }
    }

    async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Answered {
        let headers = [("x-worker-id", self.token.as_str())];
        self.ask(method, path, &headers, body).await
    }

    async fn says(&self, path: &str, body: &Value) -> Answered {
        self.call("POST", path, body.to_string()).await
    }

    async fn news(&self, first: u64, lines: &[&str]) -> Answered {
        let lines: Vec<_> = lines.iter().map(|line| json!(["stdout", line])).collect();
        self.says("/run/news", &json!({"first": first, "lines": lines}))
            .await
    }

    async fn ends(&self, end: &str) -> (u16, String) {
        let over = json!({"end": end, "report": {}});
        self.says("/run/end", &over).await.outcome()
    }

    async fn log(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select line from switchyard.job_logs where job_id = $1 order by epoch, seq",
        )
        .bind(self.hold.job.0)
        .fetch_all(&self.world.rows)
        .await
        .expect("lines")
    }

    async fn state(&self) -> model::JobState {
        self.world.row(self.hold.job).await.0
    }

    /// Sends all parts of an artifact, the last one first.
    async fn send(&self, name: &str, bytes: &[u8]) -> u32 {
        let parts: Vec<_> = bytes.chunks(ARTIFACT_PART_BYTES).enumerate().collect();
        for (number, part) in parts.iter().rev() {
            let path = format!("/run/artifacts/{name}/parts/{number}");
            let answer = self.call("PUT", &path, part.to_vec()).await;
            assert_eq!(
                answer.status,
                204,
                "{}",
                String::from_utf8_lossy(&answer.body)
            );
        }
        u32::try_from(parts.len()).expect("few")
    }

    async fn announce(&self, name: &str, bytes: &[u8], sealed: bool) -> Answered {
        let parts = bytes.chunks(ARTIFACT_PART_BYTES).len();
        let said = json!({
            "bytes": bytes.len(), "sha256": sha256(bytes), "sealed": sealed, "parts": parts,
        });
        // As a runner does: while the same is under way, it is told to come again.
        loop {
            let answer = self.says(&format!("/run/artifacts/{name}"), &said).await;
            let text = String::from_utf8_lossy(&answer.body);
            if answer.status != 503 || !text.contains("too much to do") {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn leaves(&self, name: &str, bytes: &[u8], sealed: bool) -> String {
        self.send(name, bytes).await;
        let answer = self.announce(name, bytes, sealed).await;
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    async fn artifacts(&self) -> Vec<(String, i64, bool)> {
        sqlx::query_as(
            "select name, bytes, sealed from switchyard.artifacts where job_id = $1 order by name",
        )
        .bind(self.hold.job.0)
        .fetch_all(&self.world.rows)
        .await
        .expect("rows")
    }
}

#[tokio::test]
async fn a_run_is_told_what_to_do_by_its_token_alone() {
    let world = world().await;
    let run = runner(&world).await;
    let told = run.call("GET", "/run", "").await;
    assert_eq!((told.status, told.json()), (200, spec()));

    let other = runner(&world).await;
    let (job, other_job) = (run.hold.job.to_string(), other.hold.job.to_string());
    let until = world.ctx.now() - TimeDelta::seconds(1);
    let over = world.token_until(run.hold, until).sign(&world.keyring);
    let query = format!("/run?token={0}&x-worker-id={0}", run.token);
    for (what, path, headers) in [
        ("no token", "/run", vec![]),
        ("in the query", query.as_str(), vec![]),
        (
            "in the query, with a job",
            query.as_str(),
            vec![("x-job-id", job.as_str())],
        ),
        (
            "where a gateway puts it",
            "/run",
            vec![("x-call-id", run.token.as_str())],
        ),
        ("over", "/run", vec![("x-worker-id", over.as_str())]),
        ("made up", "/run", vec![("x-worker-id", "AQAAAA")]),
        (
            "of another job",
            "/run",
            vec![
                ("x-worker-id", run.token.as_str()),
                ("x-job-id", other_job.as_str()),
            ],
        ),
    ] {
        let answer = run.ask("GET", path, &headers, "").await;
        assert_eq!(answer.status, 401, "{what}");
        assert!(answer.json()["error"].is_string(), "{what}");
    }
    // Each call is, not the first alone.
    for (method, path) in [
        ("POST", "/run/news"),
        ("POST", "/run/end"),
        ("GET", "/run/artifacts/x/parts"),
        ("PUT", "/run/artifacts/x/parts/0"),
        ("POST", "/run/artifacts/x"),
        ("GET", "/run/artifacts/x"),
    ] {
        let answer = run.ask(method, path, &[], "{}").await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }

    let called = world.called().await;
    let none = Runner {
        world: &world,
        hold: called,
        token: world.token(called),
    };
    assert_eq!(
        none.call("GET", "/run", "").await.outcome(),
        outcome(404, "unknown")
    );
    assert_eq!(none.news(0, &[]).await.outcome(), outcome(404, "unknown"));
    assert_eq!(none.ends("failed").await, outcome(404, "unknown"));
}

#[tokio::test]
async fn a_spec_that_was_sealed_before_the_key_was_changed_is_still_told() {
    let world = world().await;
    let hold = world.called().await;
    begin(&world, hold, &spec(), Then::Finish).await;
    let slot = run_spec_slot(world.tenant, hold.job, hold.epoch);
    let sealed = world
        .previous
        .seal_packed(slot, spec().to_string().as_bytes());
    sqlx::query("update switchyard.runs set spec = $2 where job_id = $1")
        .bind(hold.job.0)
        .bind(sealed)
        .execute(&world.rows)
        .await
        .expect("a row");
    let run = Runner {
        world: &world,
        hold,
        token: world.token(hold),
    };
    assert_eq!(run.call("GET", "/run", "").await.json(), spec());
}

#[tokio::test]
async fn news_count_once_in_whatever_order_and_however_often_they_come() {
    let world = world().await;
    let run = runner(&world).await;
    let beat = run.news(0, &[]).await;
    assert_eq!(
        (beat.status, beat.json()),
        (200, json!({"lines": 0, "cancel": false}))
    );
    // After a gap nothing is taken, and it says from where to send again.
    assert_eq!(run.news(3, &["three"]).await.json()["lines"], 0);
    let batch = ["one", "two", "three"];
    let many = join_all((0..10).map(|_| run.news(1, &batch))).await;
    assert!(
        many.iter()
            .all(|answer| answer.status == 200 && answer.json()["lines"] == 3)
    );
    assert_eq!(
        run.news(2, &["two", "three", "four"]).await.json()["lines"],
        4
    );
    assert_eq!(run.log().await, ["one", "two", "three", "four"]);

    assert_eq!(run.ends("succeeded").await, outcome(200, "applied"));
    // Out of order: news that were under way when the run ended.
    assert_eq!(
        run.news(5, &["five"]).await.outcome(),
        outcome(409, "stale")
    );
    assert_eq!(
        run.call("GET", "/run", "").await.outcome(),
        outcome(409, "stale")
    );
    assert_eq!(run.log().await.len(), 4);
}

#[tokio::test]
async fn the_first_end_counts_and_no_other_changes_it() {
    let world = world().await;
    let run = runner(&world).await;
    let ends = join_all((0..10).map(|_| run.ends("failed"))).await;
    let applied = ends
        .iter()
        .filter(|end| **end == outcome(200, "applied"))
        .count();
    let duplicate = ends
        .iter()
        .filter(|end| **end == outcome(200, "duplicate"))
        .count();
    assert_eq!((applied, duplicate), (1, 9), "{ends:?}");
    let before = world.row(run.hold.job).await;
    assert_eq!(before.0, model::JobState::Dead);
    assert_eq!(run.ends("succeeded").await, outcome(409, "stale"));
    assert_eq!(run.ends("cancelled").await, outcome(409, "stale"));
    assert_eq!(run.ends("failed").await, outcome(200, "duplicate"));
    assert_eq!(world.row(run.hold.job).await, before);
}

#[tokio::test]
async fn what_an_old_epoch_says_changes_nothing() {
    let world = world().await;
    let run = runner(&world).await;
    let bytes = some_bytes(10);
    run.send("half", &bytes).await;
    for statement in [
        "update switchyard.reaper set ticked_at = clock_timestamp(), resumed_at = '-infinity'",
        "update switchyard.jobs set lease_until = now() - interval '1 minute'",
        "select switchyard.reap_jobs(100, true)",
    ] {
        sqlx::query(statement)
            .execute(&world.rows)
            .await
            .expect("a lease that is over");
    }
    let next = world.claimed().await;
    assert_eq!((next.job, next.epoch), (run.hold.job, run.hold.epoch + 1));
    begin(&world, next, &spec(), Then::Finish).await;
    let before = world.row(next.job).await;
    assert_eq!(
        run.news(1, &["late"]).await.outcome(),
        outcome(409, "stale")
    );
    assert_eq!(run.ends("succeeded").await, outcome(409, "stale"));
    assert_eq!(
        run.call("GET", "/run", "").await.outcome(),
        outcome(409, "stale")
    );
    let part = run
        .call("PUT", "/run/artifacts/half/parts/0", bytes.clone())
        .await;
    assert_eq!(part.outcome(), outcome(409, "stale"));
    assert_eq!(
        run.announce("half", &bytes, false).await.outcome(),
        outcome(409, "stale")
    );
    let parts = run.call("GET", "/run/artifacts/half/parts", "").await;
    assert_eq!(parts.outcome(), outcome(409, "stale"));
    assert_eq!(world.row(next.job).await, before);
    assert_eq!(
        (run.artifacts().await, run.log().await),
        (vec![], Vec::<String>::new())
    );
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_the_run_goes_on() {
    let world = world().await;
    let run = runner(&world).await;
    let long = "x".repeat(LOG_LINE_BYTES_MAX);
    assert_eq!(run.news(1, &[&long]).await.status, 200);
    let longer = format!("{long}x");
    assert_eq!(run.news(2, &["a", &longer]).await.status, 413);
    let many = vec!["x"; LOG_BATCH_LINES_MAX + 1];
    assert_eq!(run.news(2, &many).await.status, 413);
    let wide = vec![long.as_str(); 40];
    assert_eq!(run.news(2, &wide).await.status, 413);
    let huge = run
        .call("POST", "/run/news", vec![b' '; NEWS_BYTES_MAX + 1])
        .await;
    assert_eq!(huge.status, 413);
    let report = json!({"plan": "x".repeat(REPORT_BYTES_MAX)});
    assert_eq!(
        run.says("/run/news", &json!({"report": report}))
            .await
            .status,
        413
    );
    let over = json!({"end": "succeeded", "report": report});
    assert_eq!(run.says("/run/end", &over).await.status, 413);
    let part = vec![0; ARTIFACT_PART_BYTES + 1];
    assert_eq!(
        run.call("PUT", "/run/artifacts/x/parts/0", part)
            .await
            .status,
        413
    );
    for wrong in [
        "",
        "3",
        "{\"first\": -1}",
        "\u{0}",
        "{\"steps\": [{\"step\": 0, \"state\": \"odd\"}]}",
    ] {
        let answer = run.call("POST", "/run/news", wrong).await;
        assert_eq!(answer.status, 400, "{wrong:?}");
    }
    assert_eq!(run.news(0, &["unnumbered"]).await.status, 422);
    assert_eq!(run.news(u64::MAX, &["a", &longer]).await.status, 413);
    assert_eq!(run.news(u64::MAX, &["a", "b"]).await.status, 422);
    // A runner that went wild is slowed down.
    let mut slowed = None;
    for _ in 0..2_000 {
        let answer = run.news(0, &[]).await;
        if answer.status != 200 {
            slowed = Some(answer);
            break;
        }
    }
    if let Some(slowed) = slowed {
        assert_eq!(slowed.status, 429);
        assert_eq!(slowed.headers["retry-after"], "1");
    }
    assert_eq!(run.log().await, [long]);
    assert_eq!(run.state().await, model::JobState::Waiting);
    assert_eq!(run.ends("succeeded").await, outcome(200, "applied"));
}

#[tokio::test]
async fn an_artifact_is_sent_in_parts_and_goes_on_where_it_broke_off() {
    let world = world().await;
    let run = runner(&world).await;
    // More than is gathered in memory, and not a multiple of anything.
    let bytes = some_bytes(2 * ARTIFACT_PART_BYTES + ARTIFACT_PART_BYTES / 2 + 17);
    let first = bytes[..ARTIFACT_PART_BYTES].to_vec();
    let answer = run
        .call("PUT", "/run/artifacts/big%2Fimage.bin/parts/0", first)
        .await;
    assert_eq!(answer.status, 204);
    let early = run.announce("big%2Fimage.bin", &bytes, false).await;
    assert_eq!(
        (early.status, early.json()["missing"].as_u64()),
        (422, Some(1))
    );
    let there = run
        .call("GET", "/run/artifacts/big%2Fimage.bin/parts", "")
        .await;
    assert_eq!(there.json(), json!({"parts": [0]}));
    let id = run.leaves("big%2Fimage.bin", &bytes, false).await;
    assert_eq!(
        run.artifacts().await,
        [("big/image.bin".to_owned(), bytes.len() as i64, false)]
    );

    // Said again, whether the answer was lost or ten did it at once, it is the same.
    let again = join_all((0..10).map(|_| run.announce("big%2Fimage.bin", &bytes, false))).await;
    assert!(
        again
            .iter()
            .all(|answer| answer.status == 200 && answer.json()["id"] == id.as_str())
    );
    let other = run.announce("big%2Fimage.bin", b"other", false).await;
    assert_eq!(other.status, 422);

    // What came on the way is gone, what was kept is what was sent.
    let staged = world.folder.path().join("blobs/staged");
    assert_eq!(files_below(&staged), 0);
    let artifact = world
        .ctx
        .store()
        .artifact(world.tenant, id.parse().expect("an id"))
        .await
        .expect("an answer")
        .expect("it is there");
    let kept = Artifacts::of(&world.ctx).expect("settings");
    let kept = kept.bytes(world.tenant, &artifact).await.expect("bytes");
    assert_eq!(sha256(&kept), sha256(&bytes));
}

fn files_below(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn ten_that_announce_at_once_make_one_artifact() {
    let world = world().await;
    let run = runner(&world).await;
    let bytes = some_bytes(100_000);
    run.send("x", &bytes).await;
    let answers = join_all((0..10).map(|_| run.announce("x", &bytes, true))).await;
    let first = answers[0].json()["id"].clone();
    for answer in &answers {
        assert_eq!((answer.status, &answer.json()["id"]), (200, &first));
    }
    assert_eq!(run.artifacts().await.len(), 1);
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_dropped() {
    let world = world().await;
    let run = runner(&world).await;
    let bytes = some_bytes(1000);
    for announced in [
        json!({"bytes": 1000, "sha256": sha256(b"other"), "parts": 1}),
        json!({"bytes": 999, "sha256": sha256(&bytes), "parts": 1}),
        json!({"bytes": 1001, "sha256": sha256(&bytes), "parts": 1}),
        // As large ones are read.
        json!({"bytes": 20_000_000, "sha256": sha256(&bytes), "parts": 1}),
    ] {
        run.send("x", &bytes).await;
        let answer = run.says("/run/artifacts/x", &announced).await;
        assert_eq!(answer.status, 422, "{announced}");
        let there = run.call("GET", "/run/artifacts/x/parts", "").await;
        assert_eq!(there.json(), json!({"parts": []}), "{announced}");
    }
    for wrong in [
        json!({"bytes": 1, "sha256": "abc", "parts": 1}),
        json!({"bytes": 1, "sha256": sha256(b"x")}),
        json!({"bytes": 1, "sha256": sha256(b"x"), "parts": 1, "blob": "x"}),
        json!({"bytes": 1, "sha256": sha256(b"x"), "blob": "artifacts/of/another"}),
    ] {
        assert_eq!(
            run.says("/run/artifacts/x", &wrong).await.status,
            422,
            "{wrong}"
        );
    }
    assert_eq!(run.artifacts().await, []);
    run.leaves("x", &bytes, false).await;
    run.leaves("nothing", b"", false).await;
    assert_eq!(run.artifacts().await.len(), 2);
}

#[tokio::test]
async fn names_that_would_lead_elsewhere_are_refused() {
    let world = world().await;
    let run = runner(&world).await;
    for name in [
        "..%2F..%2Fetc%2Fpasswd",
        "%2Fetc%2Fpasswd",
        "a%2F..%2Fb",
        "a%00b",
        "a%0Ab",
        "a%5Cb",
        "a%2F%2Fb",
        "%2E%2E",
    ] {
        let part = run
            .call("PUT", &format!("/run/artifacts/{name}/parts/0"), "x")
            .await;
        assert!(matches!(part.status, 404 | 422), "{name}: {}", part.status);
        let whole = run.announce(name, b"x", false).await;
        assert!(
            matches!(whole.status, 404 | 422),
            "{name}: {}",
            whole.status
        );
    }
    let long = "a".repeat(513);
    assert_eq!(run.announce(&long, b"x", false).await.status, 422);
    assert_eq!(files_below(&world.folder.path().join("blobs")), 0);
}

#[tokio::test]
async fn what_is_sealed_cannot_be_read_in_the_store() {
    let world = world().await;
    let run = runner(&world).await;
    let secret = b"a password in a plan, a password in a plan".to_vec();
    let id = run.leaves("plan", &secret, true).await;
    let mut found = Vec::new();
    walk(&world.folder.path().join("blobs/artifacts"), &mut found);
    assert_eq!(found.len(), 1);
    let at_rest = std::fs::read(&found[0]).expect("a file");
    assert!(!at_rest.windows(8).any(|window| window == b"password"));
    let artifact = world
        .ctx
        .store()
        .artifact(world.tenant, id.parse().expect("an id"));
    let artifact = artifact.await.expect("an answer").expect("it is there");
    let artifacts = Artifacts::of(&world.ctx).expect("settings");
    let opened = artifacts.bytes(world.tenant, &artifact).await;
    assert_eq!(opened.expect("bytes"), secret);
    let large =
        json!({"bytes": 65 * 1024 * 1024, "sha256": sha256(b""), "sealed": true, "parts": 17});
    assert_eq!(run.says("/run/artifacts/large", &large).await.status, 413);
}

#[tokio::test]
async fn what_will_be_too_large_is_refused_before_any_of_it_is_sent() {
    let world = world().await;
    let run = runner(&world).await;
    sqlx::query("select switchyard.set_artifact_quota($1, 300000000, 200000000, 'an operator')")
        .bind(world.tenant.uuid())
        .execute(&world.rows)
        .await
        .expect("a quota");
    for (asked, status) in [
        ("", 200),
        ("?bytes=67108864&sealed=true", 200),
        ("?bytes=67108865&sealed=true", 413),
        ("?bytes=67108865&sealed=false", 200),
        ("?bytes=200000001", 413),
        ("?bytes=-1", 400),
    ] {
        let path = format!("/run/artifacts/{}/parts{asked}", asked.len());
        let answer = run.call("GET", &path, "").await;
        assert_eq!(answer.status, status, "{asked}");
    }
    // What was said to come takes its room.
    let path = "/run/artifacts/other/parts?bytes=190000000";
    assert_eq!(run.call("GET", path, "").await.status, 413);
}

#[tokio::test]
async fn a_number_of_parts_that_cannot_be_takes_nobodys_memory() {
    let world = world().await;
    let run = runner(&world).await;
    let said = json!({"bytes": 1, "sha256": sha256(b"x"), "parts": u32::MAX});
    let answer = run.says("/run/artifacts/x", &said).await;
    assert_eq!(answer.status, 422);
    let why = answer.json()["error"].as_str().map(str::to_owned);
    assert!(
        why.as_deref().is_some_and(|why| why.contains("16384")),
        "{why:?}"
    );
}

fn walk(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn a_tenant_keeps_no_more_than_it_may() {
    let world = world().await;
    let run = runner(&world).await;
    sqlx::query("select switchyard.set_artifact_quota($1, 3000, 2000, 'an operator')")
        .bind(world.tenant.uuid())
        .execute(&world.rows)
        .await
        .expect("a quota");
    let large = run
        .call("PUT", "/run/artifacts/large/parts/0", some_bytes(2001))
        .await;
    assert_eq!(large.status, 413);
    run.leaves("one", &some_bytes(1600), false).await;
    let second = run
        .call("PUT", "/run/artifacts/two/parts/0", some_bytes(1600))
        .await;
    assert_eq!(second.status, 413);
    assert!(
        second.json()["error"]
            .as_str()
            .expect("why")
            .contains("delete some")
    );
    // What is on its way counts, too.
    let path = "/run/artifacts/three/parts/0";
    assert_eq!(run.call("PUT", path, some_bytes(1000)).await.status, 204);
    let path = "/run/artifacts/four/parts/0";
    assert_eq!(run.call("PUT", path, some_bytes(1000)).await.status, 413);
    assert_eq!(run.artifacts().await.len(), 1);
    let kept: i64 = sqlx::query_scalar("select bytes from switchyard.artifact_quotas")
        .fetch_one(&world.rows)
        .await
        .expect("a row");
    assert_eq!(kept, 1600);
}

#[tokio::test]
async fn a_run_reads_the_artifacts_that_its_spec_names_and_no_others() {
    let world = world().await;
    let bytes = some_bytes(10_000);
    let (named, other) = {
        let before = runner(&world).await;
        let named = before.leaves("source.tar", &bytes, false).await;
        let other = before.leaves("other", b"other", false).await;
        assert_eq!(before.ends("succeeded").await, outcome(200, "applied"));
        (named, other)
    };
    let mut spec = spec();
    spec["files"] = json!([{
        "path": "source", "content": {"archive": {"id": named, "sha256": sha256(&bytes)}},
    }]);
    let run = runner_of(&world, &spec, Then::Finish).await;
    let read = run
        .call("GET", &format!("/run/artifacts/{named}"), "")
        .await;
    assert_eq!((read.status, sha256(&read.body)), (200, sha256(&bytes)));
    let rest = run
        .ask(
            "GET",
            &format!("/run/artifacts/{named}"),
            &[
                ("x-worker-id", run.token.as_str()),
                ("range", "bytes=9000-"),
            ],
            "",
        )
        .await;
    assert_eq!((rest.status, rest.body.as_slice()), (206, &bytes[9000..]));
    for id in [other.as_str(), "00000000-0000-0000-0000-000000000000", "x"] {
        let answer = run.call("GET", &format!("/run/artifacts/{id}"), "").await;
        assert_eq!(answer.status, 404, "{id}");
    }
    run.ends("succeeded").await;
    let late = run
        .call("GET", &format!("/run/artifacts/{named}"), "")
        .await;
    assert_eq!(late.outcome(), outcome(409, "stale"));
}

#[tokio::test]
async fn while_the_store_of_artifacts_takes_nothing_the_run_is_told_and_nothing_is_lost() {
    let world = world().await;
    let run = runner(&world).await;
    let bytes = some_bytes(5000);
    run.send("result", &bytes).await;
    let blobs = world.folder.path().join("blobs");
    let away = world.folder.path().join("away");
    std::fs::rename(&blobs, &away).expect("a folder");
    std::fs::write(&blobs, "in the way").expect("a file");

    let part = run.call("PUT", "/run/artifacts/other/parts/0", "x").await;
    assert_eq!(part.status, 503);
    assert_eq!(part.headers["retry-after"], HeaderValue::from_static("2"));
    let error = part.json()["error"].as_str().expect("why").to_owned();
    assert!(
        error.contains("store of artifacts") && error.contains("Not a directory"),
        "{error}"
    );
    assert_eq!(run.announce("result", &bytes, false).await.status, 503);
    let mut told = String::new();
    world.ctx.metrics().encode(&mut told).expect("text");
    assert!(
        told.contains("switchyard_artifact_store_failures_total 2"),
        "{told}"
    );
    // The run itself goes on, and so does its job.
    assert_eq!(run.news(1, &["still here"]).await.status, 200);
    assert_eq!(run.artifacts().await, []);

    std::fs::remove_file(&blobs).expect("a file");
    std::fs::rename(&away, &blobs).expect("a folder");
    let answer = run.announce("result", &bytes, false).await;
    assert_eq!(answer.status, 200);
    assert_eq!(run.ends("succeeded").await, outcome(200, "applied"));
    assert_eq!(run.artifacts().await.len(), 1);
}

#[tokio::test]
async fn a_bucket_keeps_artifacts_as_a_folder_does() {
    let Some(mut s3) = S3::start() else { return };
    let settings = s3.settings();
    let url = s3.url();
    let world = world_with(|env| {
        let env = env.with("BLOBS_URL", url);
        settings
            .iter()
            .fold(env, |env, (name, value)| env.with(name, value.clone()))
    })
    .await;
    let bytes = some_bytes(2 * ARTIFACT_PART_BYTES + 5_000_000);
    let run = runner(&world).await;
    let big = run.leaves("big.bin", &bytes, false).await;
    let small = run.leaves("small.bin", &bytes[..1000], true).await;
    let empty = run.leaves("empty", b"", false).await;

    // A place in the bucket that a runner may write, and nobody else's.
    let artifacts = Artifacts::of(&world.ctx).expect("settings");
    let given = artifacts
        .presigned(
            world.tenant,
            run.hold,
            "direct.bin",
            Duration::from_secs(600),
        )
        .await
        .expect("an answer")
        .expect("a bucket can be written by URL");
    let direct = json!({"bytes": bytes.len(), "sha256": sha256(&bytes), "blob": given.blob});
    let early = run.says("/run/artifacts/direct.bin", &direct).await;
    assert_eq!(early.status, 422, "nothing was sent");
    let foreign = run.says("/run/artifacts/another.bin", &direct).await;
    assert_eq!(foreign.status, 422, "the place is another artifact's");
    let (_, signed) = given
        .url
        .split_once(S3::BUCKET)
        .expect("a URL of the bucket");
    let signed = format!("/{}{signed}", S3::BUCKET);
    assert_eq!(
        s3.request("PUT", &signed, b"not that").expect("an answer"),
        200
    );
    let differs = run.says("/run/artifacts/direct.bin", &direct).await;
    assert_eq!(differs.status, 422, "something else was sent");
    // The same place is good for another try.
    assert_eq!(s3.request("PUT", &signed, &bytes).expect("an answer"), 200);
    let kept = run.says("/run/artifacts/direct.bin", &direct).await;
    assert_eq!(kept.status, 200, "{}", String::from_utf8_lossy(&kept.body));
    let direct = kept.json()["id"].as_str().expect("an id").to_owned();
    // Written once more by who still has the URL, it stays what it was.
    assert_eq!(
        s3.request("PUT", &signed, b"changed").expect("an answer"),
        200
    );

    for (id, expected) in [
        (&big, bytes.as_slice()),
        (&small, &bytes[..1000]),
        (&empty, b""),
        (&direct, bytes.as_slice()),
    ] {
        let id = id.parse().expect("an id");
        let artifact = world.ctx.store().artifact(world.tenant, id).await;
        let artifact = artifact.expect("an answer").expect("it is there");
        let there = artifacts
            .bytes(world.tenant, &artifact)
            .await
            .expect("bytes");
        assert_eq!(sha256(&there), sha256(expected), "{}", artifact.name);
        let asked = HeaderMap::from_iter([(
            axum::http::header::RANGE,
            HeaderValue::from_static("bytes=-100"),
        )]);
        let part = artifacts
            .download(world.tenant, &artifact, &asked)
            .await
            .expect("an answer");
        let part = axum::body::to_bytes(part.into_body(), usize::MAX)
            .await
            .expect("bytes");
        let rest = &expected[expected.len().saturating_sub(100)..];
        assert_eq!(part, rest, "{}", artifact.name);
    }

    let blobs = world.ctx.blobs().expect("settings");
    let swept = artifacts::sweep(world.ctx.store(), blobs, 100).await;
    let swept = swept.expect("an answer");
    assert!(swept.uploads >= 4, "{swept:?}");

    s3.stop();
    let part = run.call("PUT", "/run/artifacts/late/parts/0", "x").await;
    assert_eq!(part.status, 503);
    assert_eq!(run.ends("succeeded").await, outcome(200, "applied"));
}

#[tokio::test]
async fn without_leave_of_the_operator_no_bucket_is_spoken_to_in_plain_text() {
    let env = host::Env::default()
        .with("AWS_ENDPOINT", "http://127.0.0.1:9")
        .with("AWS_ACCESS_KEY_ID", "somebody")
        .with("AWS_SECRET_ACCESS_KEY", "secret");
    let blobs = env.open_blobs("s3://bucket/prefix").expect("a place");
    let path = blobs::BlobPath::new("x").expect("a path");
    let error = blobs.put(&path, "x".into()).await.expect_err("it may not");
    let mut chain = format!("{error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    assert!(chain.contains("scheme"), "{chain}");
}

#[tokio::test]
async fn how_long_steps_take_is_counted_once() {
    let world = world().await;
    let run = runner(&world).await;
    let step = |state: &str| json!({"steps": [{"step": 0, "state": state}]});
    assert_eq!(run.says("/run/news", &step("running")).await.status, 200);
    let ended = step("succeeded");
    assert_eq!(run.says("/run/news", &ended).await.status, 200);
    let mut told = String::new();
    world.ctx.metrics().encode(&mut told).expect("text");
    let count = "switchyard_task_step_duration_seconds_count{task=\"hello\",step=\"_other\",outcome=\"succeeded\"} 1";
    assert!(told.contains(count), "{told}");
    sqlx::query("update switchyard.run_steps set ended_at = ended_at - interval '1 minute', started_at = started_at - interval '1 minute'")
        .execute(&world.rows)
        .await
        .expect("a step");
    assert_eq!(run.says("/run/news", &ended).await.status, 200);
    let mut told = String::new();
    world.ctx.metrics().encode(&mut told).expect("text");
    assert!(told.contains(count), "{told}");
}
