//! The function as it is served, on a database: what is answered and what is kept.

use futures::future::join_all;
use host::{Env, Resources};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::{DeliveryId, EventId, TriggerId};
use serde_json::{Value, json};
use store::Slot;
use uuid::Uuid;
use webhook::BODY_BYTES_MAX;
use webhook::conformance::{SECRET, signed};
use webhook_testkit::{Answer, respond};

use super::*;
use crate::tests::DIALECT;

const PUSH: &str = include_str!("../testdata/push.branch.json");

/// The served function and the trigger that it takes deliveries for.
struct Served {
    it: webhook_testkit::Served,
    trigger: TriggerId,
}

async fn served() -> Served {
    let it = webhook_testkit::Served::new(&FUNCTION).await;
    let trigger = it.git_trigger().await;
    Served { it, trigger }
}

/// Which delivery an answer speaks of.
fn delivered(answer: &Answer) -> DeliveryId {
    let id = answer.body["delivery"].as_str().expect("an id");
    id.parse().expect("a delivery's id")
}

/// A delivery of GitHub, rightly signed, under an id of its own.
fn delivery(event: &str, id: &str, body: &[u8]) -> (HeaderMap, Vec<u8>) {
    let mut headers = signed(DIALECT, event, body);
    let id = HeaderValue::from_str(id).expect("a header's value");
    headers.insert("x-github-delivery", id);
    (headers, body.to_vec())
}

impl Served {
    async fn post(&self, (headers, body): (HeaderMap, Vec<u8>)) -> Answer {
        self.post_to(&self.trigger.to_string(), headers, body).await
    }

    async fn post_to(&self, trigger: &str, headers: HeaderMap, body: Vec<u8>) -> Answer {
        self.it.post(&format!("/{trigger}"), headers, body).await
    }

    async fn count(&self, table_query: &'static str) -> i64 {
        sqlx::query_scalar(table_query)
            .fetch_one(&self.it.rows)
            .await
            .expect("a count")
    }

    async fn events(&self) -> i64 {
        self.count("select count(*) from switchyard.events").await
    }

    async fn published(&self) -> i64 {
        self.count("select count(*) from switchyard.outbox where broker = 'inbound'")
            .await
    }

    async fn verdicts(&self) -> Vec<(String, i64)> {
        sqlx::query_as(
            "select verdict::text, count(*) from switchyard.deliveries group by verdict order by 1",
        )
        .fetch_all(&self.it.rows)
        .await
        .expect("rows")
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement)
            .execute(&self.it.rows)
            .await
            .expect("the owner may");
    }
}

#[tokio::test]
async fn a_push_is_kept_sealed_and_masked_and_becomes_one_event() {
    let it = served().await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let (mut headers, body) = delivery("push", "d-1", PUSH.as_bytes());
    headers.insert("traceparent", HeaderValue::from_static(traceparent));
    headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
    let answer = it.post((headers, body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body["verdict"], "accepted");

    let (id, vendor, event, key, verdict, kept, sealed): (
        Uuid,
        String,
        String,
        String,
        String,
        Value,
        Vec<u8>,
    ) = sqlx::query_as(
        "select id, vendor, vendor_event, delivery_key, verdict::text, headers, body from switchyard.deliveries",
    )
    .fetch_one(&it.it.rows)
    .await
    .expect("one delivery");
    assert_eq!(DeliveryId::from(id), delivered(&answer));
    assert_eq!(
        (&*vendor, &*event, &*key, &*verdict),
        ("github", "push", "d-1", "accepted")
    );
    assert_eq!(kept["x-hub-signature-256"], "***");
    assert_eq!(kept["authorization"], "***");
    assert!(!kept.to_string().contains("hunter2"), "{kept}");
    let readable = |text: &str| {
        sealed
            .windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(!readable("refs/heads"));
    let slot = Slot {
        tenant: it.it.tenant,
        column: store::inbox::BODY,
        row: id,
    };
    let opened = it.it.keyring.open(slot, &sealed).expect("it is its place");
    assert_eq!(**opened, *PUSH.as_bytes());

    let (event, ty, source, subject, data, trace, correlation): (
        Uuid,
        String,
        String,
        String,
        Value,
        String,
        String,
    ) = sqlx::query_as(
        "select id, type, source, subject, data, traceparent, correlation_id from switchyard.events",
    )
    .fetch_one(&it.it.rows)
    .await
    .expect("one event");
    let trigger = it.trigger.to_string();
    let expected = events::deterministic_uuid(&[&trigger, "d-1", "0"]);
    assert_eq!(
        event, expected,
        "the same delivery must make the same event"
    );
    assert_eq!(ty, "dev.switchyard.git.pushed.v1");
    assert_eq!(source, format!("/switchyard/triggers/{trigger}"));
    assert_eq!(subject, "refs/heads/main");
    assert_eq!(
        (&*trace, correlation),
        (traceparent, delivered(&answer).to_string())
    );
    let pushed: model::git::GitPushed = serde_json::from_value(data).expect("a push");
    assert_eq!(pushed.branch, "main");

    let (ce_id, extensions): (String, Value) =
        sqlx::query_as("select ce_id, extensions from switchyard.outbox where broker = 'inbound'")
            .fetch_one(&it.it.rows)
            .await
            .expect("one publication");
    assert_eq!(ce_id, EventId::from(event).to_string());
    assert_eq!(extensions["traceparent"], traceparent);
    assert_eq!(extensions["tenantid"], json!(it.it.tenant.uuid()));
}

#[tokio::test]
async fn two_hundred_posts_of_one_push_make_one_event() {
    let it = served().await;
    let posts = (0..200).map(|_| it.post(delivery("push", "d-1", PUSH.as_bytes())));
    let answers = join_all(posts).await;
    let (new, repeats): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.status == StatusCode::ACCEPTED);
    let [first] = new[..] else {
        panic!("{} posts were the first", new.len());
    };
    assert_eq!(repeats.len(), 199);
    for repeat in repeats {
        assert_eq!(repeat.status, StatusCode::OK);
        assert_eq!(repeat.body["verdict"], "duplicate");
        assert_eq!(delivered(repeat), delivered(first));
    }
    assert_eq!((it.events().await, it.published().await), (1, 1));
    assert_eq!(
        it.verdicts().await,
        [("accepted".to_owned(), 1), ("duplicate".to_owned(), 199)]
    );
}

#[tokio::test]
async fn the_same_id_with_another_body_is_a_conflict() {
    let it = served().await;
    let first = it.post(delivery("push", "d-1", PUSH.as_bytes())).await;
    let other = format!("{PUSH} ");
    let second = it.post(delivery("push", "d-1", other.as_bytes())).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert_eq!(delivered(&second), delivered(&first));
    assert_eq!((it.events().await, it.published().await), (1, 1));
    let alerts = || async {
        let all: Vec<(Option<String>, Value, Value)> = sqlx::query_as(
            "select ce_subject, extensions, data::jsonb from switchyard.outbox
             where ce_type = 'dev.switchyard.delivery.conflicted.v1' order by id",
        )
        .fetch_all(&it.it.rows)
        .await
        .expect("rows");
        all
    };
    let told = alerts().await;
    let [(subject, extensions, data)] = &told[..] else {
        panic!("one alert is expected, not {told:?}");
    };
    assert_eq!(subject.as_deref(), Some(it.trigger.to_string().as_str()));
    assert_eq!(extensions["severity"], "warning");
    assert_eq!(data["first"], delivered(&first).to_string());

    // One alert for an id and hour, however often it comes.
    let third = it.post(delivery("push", "d-1", b"{}")).await;
    assert_eq!(third.status, StatusCode::BAD_REQUEST);
    let fourth = it.post(delivery("push", "d-1", other.as_bytes())).await;
    assert_eq!(fourth.status, StatusCode::CONFLICT);
    assert_eq!(alerts().await.len(), 1);
    it.execute("update switchyard.delivery_keys set conflict_told_at = now() - interval '1 hour'")
        .await;
    it.post(delivery("push", "d-1", other.as_bytes())).await;
    assert_eq!(alerts().await.len(), 2);
}

#[tokio::test]
async fn a_secret_that_was_replaced_is_good_until_its_time_and_no_longer() {
    let it = served().await;
    let slot = Slot {
        tenant: it.it.tenant,
        column: "triggers.secret",
        row: it.trigger.uuid(),
    };
    sqlx::query(
        "update switchyard.triggers
         set secret_previous = secret, secret = $1, secret_previous_until = now() + interval '1 hour'",
    )
    .bind(it.it.keyring.seal(slot, b"another"))
    .execute(&it.it.rows)
    .await
    .expect("the owner may");
    let before = it.post(delivery("push", "d-1", PUSH.as_bytes())).await;
    assert_eq!(before.status, StatusCode::ACCEPTED);
    // Nobody has cleared it away yet.
    it.execute("update switchyard.triggers set secret_previous_until = now()")
        .await;
    let after = it.post(delivery("push", "d-2", PUSH.as_bytes())).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_trigger_is_found_as_soon_as_it_is_there_though_it_was_asked_for_before() {
    let it = served().await;
    let id = TriggerId::from(Uuid::now_v7());
    let asked = || async {
        let (headers, body) = delivery("push", "d-1", PUSH.as_bytes());
        it.post_to(&id.to_string(), headers, body).await.status
    };
    assert_eq!(asked().await, StatusCode::UNAUTHORIZED);
    let slot = Slot {
        tenant: it.it.tenant,
        column: "triggers.secret",
        row: id.uuid(),
    };
    let secret = it.it.keyring.seal(slot, SECRET.as_bytes());
    sqlx::query(
        "insert into switchyard.triggers (id, database_id, name, kind, secret) values ($1, $2, 'new', 'git', $3)",
    )
    .bind(id.uuid())
    .bind(it.it.tenant.uuid())
    .bind(secret)
    .execute(&it.it.rows)
    .await
    .expect("the owner may");
    assert_eq!(asked().await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_does_not_verify_is_counted_and_not_kept() {
    let it = served().await;
    it.execute(
        "insert into switchyard.triggers (id, database_id, name, kind)
         select '00000000-0000-7000-8000-000000000001', database_id, 'by hand', 'manual' from switchyard.tenants",
    )
    .await;
    let (good, body) = delivery("push", "d-1", PUSH.as_bytes());
    let digits = good["x-hub-signature-256"]
        .to_str()
        .expect("text")
        .to_owned();
    let bare = digits.strip_prefix("sha256=").expect("a prefix");
    let mut answers = Vec::new();
    for signature in [
        None,
        Some(String::new()),
        Some("sha256=".to_owned()),
        Some(format!("sha256={}", bare.to_uppercase())),
        Some(format!("sha1={}", &bare[..40])),
        Some(digits[..digits.len() - 2].to_owned()),
        Some(format!("sha256={}", "0".repeat(64))),
        Some(format!("sha256={}", "0".repeat(10_000))),
    ] {
        let mut headers = good.clone();
        headers.remove("x-hub-signature-256");
        if let Some(signature) = signature {
            let signature = signature.parse().expect("a header's value");
            headers.insert("x-hub-signature-256", signature);
        }
        answers.push(it.post((headers, body.clone())).await);
    }
    let reordered = format!(" {PUSH}").into_bytes();
    answers.push(it.post((good.clone(), reordered)).await);
    let known = answers.len();
    let by_hand = "trg_00000000000070008000000000000001";
    let nobody = TriggerId::from(Uuid::from_u128(1)).to_string();
    for trigger in [by_hand, &nobody, "nonsense", "%ff", "evt_0"] {
        answers.push(it.post_to(trigger, good.clone(), body.clone()).await);
    }
    let told = json!({
        "title": "the delivery is not verified",
        "status": 401,
        "detail": answers[0].body["detail"],
    });
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.body, told);
    }

    let of_trigger = "select coalesce(sum(count), 0)::bigint from switchyard.rejections where trigger_id is not null";
    let of_none = "select coalesce(sum(count), 0)::bigint from switchyard.rejections where trigger_id is null";
    assert_eq!(
        it.count(of_trigger).await,
        i64::try_from(known).expect("few")
    );
    assert_eq!(it.count(of_none).await, 5);
    assert_eq!((it.events().await, it.published().await), (0, 0));
    let bodies = "select count(*) from switchyard.deliveries where body is not null or verdict <> 'rejected'";
    assert_eq!(it.count(bodies).await, 0);

    let later = it.post((good, body)).await;
    assert_eq!(
        later.status,
        StatusCode::ACCEPTED,
        "a refused id is not used up"
    );
}

#[tokio::test]
async fn of_many_rejections_ten_an_hour_are_kept_as_samples() {
    let it = served().await;
    let (mut headers, body) = delivery("push", "d-1", PUSH.as_bytes());
    headers.remove("x-hub-signature-256");
    for _ in 0..15 {
        it.post((headers.clone(), body.clone())).await;
    }
    let counted = "select sum(count)::bigint from switchyard.rejections";
    assert_eq!(it.count(counted).await, 15);
    let samples = it.count("select count(*) from switchyard.deliveries").await;
    // The hour may turn while this runs.
    assert!((10..=15).contains(&samples), "{samples} samples");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_kept() {
    let it = served().await;
    let with = |from: &str, to: &str| {
        assert!(PUSH.contains(from), "the fixture has {from}");
        PUSH.replacen(from, to, 1).into_bytes()
    };
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("nested", "[".repeat(100_000).into_bytes()),
        ("nested where nothing is read", {
            let deep = format!("{{\"x\": {}{},", "[".repeat(50_000), "]".repeat(50_000));
            PUSH.replacen('{', &deep, 1).into_bytes()
        }),
        ("a million keys", {
            let keys: Vec<_> = (0..1_000_002).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", keys.join(",")).into_bytes()
        }),
        (
            "escaped NUL",
            with("refs/heads/main", "refs/heads/ma\\u0000in"),
        ),
        ("raw NUL", with("refs/heads/main", "refs/heads/ma\0in")),
        (
            "lone surrogate",
            with("refs/heads/main", "refs/heads/\\ud800"),
        ),
        ("invalid UTF-8", {
            let mut body = PUSH.as_bytes().to_vec();
            let at = PUSH.find("refs/heads/main").expect("the fixture has it");
            body[at + 11] = 0xff;
            body
        }),
        ("a number beyond all", {
            PUSH.replacen("\"forced\": false", "\"forced\": 1e400", 1)
                .replacen("\"forced\":false", "\"forced\":1e400", 1)
                .into_bytes()
        }),
        ("not JSON", b"payload".to_vec()),
        ("nothing", Vec::new()),
        ("a body of Gitea", {
            let mut body: Value = serde_json::from_str(PUSH).expect("JSON");
            body["pusher"] = json!({"login": "ann"});
            body.to_string().into_bytes()
        }),
    ];
    let sent = bombs.len();
    for (what, body) in bombs {
        let answer = it.post(delivery("push", "d-1", &body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}");
        let reason: String =
            sqlx::query_scalar("select reason from switchyard.deliveries where id = $1")
                .bind(delivered(&answer).uuid())
                .fetch_one(&it.it.rows)
                .await
                .expect("it is recorded");
        assert_eq!(answer.body["detail"], reason, "{what}");
    }
    let (mut headers, body) = delivery("push", "d-1", PUSH.as_bytes());
    headers.insert("x-gitea-event", HeaderValue::from_static("push"));
    let answer = it.post((headers, body)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.body["detail"]
            .to_string()
            .contains("use the URL for gitea")
    );
    assert_eq!(
        it.verdicts().await,
        [(
            "malformed".to_owned(),
            i64::try_from(sent + 1).expect("few")
        )]
    );
    assert_eq!(it.events().await, 0);

    let good = it.post(delivery("push", "d-1", PUSH.as_bytes())).await;
    assert_eq!(
        good.status,
        StatusCode::ACCEPTED,
        "a refused id is not used up"
    );
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused() {
    let it = served().await;
    let (headers, _) = delivery("push", "d-1", b"");
    let answer = it.post((headers, vec![b' '; BODY_BYTES_MAX + 1])).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(it.verdicts().await, []);
}

#[tokio::test]
async fn a_ping_and_an_unknown_event_are_kept_and_start_nothing() {
    let it = served().await;
    let ping = include_bytes!("../testdata/ping.hook.json");
    let answer = it.post(delivery("ping", "d-1", ping)).await;
    assert_eq!(
        (answer.status, &answer.body["verdict"]),
        (StatusCode::ACCEPTED, &json!("ping"))
    );
    let answer = it.post(delivery("star", "d-2", b"{}")).await;
    assert_eq!(
        (answer.status, &answer.body["verdict"]),
        (StatusCode::ACCEPTED, &json!("ignored"))
    );
    assert_eq!(
        it.verdicts().await,
        [("ignored".to_owned(), 1), ("ping".to_owned(), 1)]
    );
    assert_eq!((it.events().await, it.published().await), (0, 0));
}

#[tokio::test]
async fn a_trigger_that_is_switched_off_still_keeps_what_it_is_sent() {
    let it = served().await;
    it.execute("update switchyard.triggers set enabled = false")
        .await;
    let answer = it.post(delivery("push", "d-1", PUSH.as_bytes())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(it.events().await, 1);
}

#[tokio::test]
async fn nothing_is_taken_while_the_database_is_down() {
    let it = served().await;
    // A port that was free a moment ago: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let env = it
        .it
        .env
        .clone()
        .with(
            "DATABASE_URL",
            format!("postgres://nobody@127.0.0.1:{port}/none"),
        )
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "1");
    let (headers, body) = delivery("push", "d-1", PUSH.as_bytes());
    let resources = Resources::new().expect("an HTTP client");
    let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
    let path = format!("/{}", it.trigger);
    let response = respond(&mounted.router, &path, headers, body).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
}

#[tokio::test]
async fn a_delivery_whose_transaction_is_cut_off_is_not_taken_and_may_come_again() {
    let it = served().await;
    let mut owner = it.it.rows.acquire().await.expect("a connection");
    for statement in [
        "begin",
        "lock table switchyard.delivery_keys in access exclusive mode",
    ] {
        let done = sqlx::query(statement).execute(&mut *owner).await;
        done.expect("the owner may");
    }
    // It waits for the lock in the middle of its transaction, and there its connection ends.
    let cut = async {
        let statement =
            "select count(*) filter (where pg_terminate_backend(pid, 5000)) from pg_stat_activity
             where datname = current_database() and application_name = 'switchyard_system'
               and wait_event_type = 'Lock'";
        while it.count(statement).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    let post = || it.post(delivery("push", "d-1", PUSH.as_bytes()));
    let (answer, ()) = futures::join!(post(), cut);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let done = sqlx::query("rollback").execute(&mut *owner).await;
    done.expect("the owner may");
    assert_eq!((it.verdicts().await, it.events().await), (vec![], 0));

    assert_eq!(post().await.status, StatusCode::ACCEPTED);
    assert_eq!((it.events().await, it.published().await), (1, 1));
}

#[tokio::test]
async fn without_a_master_key_it_does_not_start() {
    let env = Env::default().with("DATABASE_URL", "postgres://nobody@127.0.0.1/none");
    let resources = Resources::new().expect("an HTTP client");
    let error = FUNCTION
        .mount(&env, &resources)
        .expect_err("a setting is missing");
    assert!(error.to_string().contains("MASTER_KEY_FILE"), "{error}");
}
