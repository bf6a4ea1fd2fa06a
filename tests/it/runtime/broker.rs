//! What was published about Knative's brokers, and what this one promises beyond it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use sqlx::{Connection as _, PgConnection, PgPool};

use super::fixture::{Answer, PATIENCE, Subscriber, broker, post, says, start, trigger};

const DONE: u16 = 202;

/// How deliveries ended, once none is pending: state and attempts, in the order of Triggers.
async fn settled(pool: &PgPool) -> Result<Vec<(String, i32)>> {
    let mut waited = tokio::time::interval(Duration::from_millis(10));
    let begun = tokio::time::Instant::now();
    loop {
        let rows: Vec<(String, i32)> = sqlx::query_as(
            "select state::text, attempts from switchyard_local.deliveries order by trigger, event_id",
        )
        .fetch_all(pool)
        .await?;
        if !rows.is_empty() && rows.iter().all(|(state, _)| state != "pending") {
            return Ok(rows);
        }
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "deliveries stay pending: {rows:?}"
        );
        waited.tick().await;
    }
}

#[derive(Deserialize)]
struct IngressRows {
    tests: Vec<IngressRow>,
}

#[derive(Deserialize)]
struct IngressRow {
    method: String,
    path: String,
    #[serde(default)]
    event: String,
    status: serde_json::Value,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
}

#[tokio::test]
async fn the_ingress_answers_as_published() -> Result<()> {
    let Some(path) = testkit::conformance("knative/ingress-http.yaml") else {
        return Ok(());
    };
    let rows: IngressRows = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    assert!(rows.tests.len() > 15);
    let db = testkit::database().await;
    let runtime = start(&db, &[broker("name", "")]).await?;
    for row in rows.tests {
        let url = format!("http://{}{}", runtime.broker_ingress(), row.path);
        let mut request =
            reqwest::Client::new().request(Method::from_bytes(row.method.as_bytes())?, url);
        let structured = "application/cloudevents+json";
        let content_type = row
            .event
            .split("content-type ")
            .nth(1)
            .unwrap_or("text/plain");
        let version = row.event.strip_prefix("specversion ").unwrap_or("1.0");
        request = if row.event.starts_with("structured") {
            request
                .header("content-type", structured)
                .body(r#"{"specversion":"1.0","id":"1"}"#)
        } else if row.event.starts_with("body") {
            request
                .header("content-type", structured)
                .body("not an event")
        } else {
            let event = [
                ("specversion", version),
                ("id", "1"),
                ("source", "/s"),
                ("type", "t"),
            ];
            let request = event
                .into_iter()
                .fold(request, |request, (name, value)| {
                    request.header(format!("ce-{name}"), value)
                })
                .header("content-type", content_type)
                .body("data");
            match row.event.strip_prefix("extension knativebrokerttl = ") {
                Some(ttl) => request.header(
                    "ce-knativebrokerttl",
                    ttl.split(' ').next().unwrap_or_default(),
                ),
                None => request,
            }
        };
        let response = request.send().await?;
        let status = response.status();
        let expected = row.status.to_string().replace('"', "");
        let as_expected = match expected.strip_suffix("xx") {
            Some(class) => status.as_str().starts_with(class),
            None => status.as_str() == expected,
        };
        assert!(
            as_expected,
            "{} {} {:?}: {status}, not {expected}",
            row.method, row.path, row.event
        );
        for (name, value) in row.headers {
            let given = response
                .headers()
                .get(&name)
                .and_then(|value| value.to_str().ok());
            assert_eq!(given, Some(value.as_str()), "{} {name}", row.method);
        }
    }
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_event_is_delivered_byte_for_byte_with_the_clusters_headers_and_without_its_ttl()
-> Result<()> {
    let db = testkit::database().await;
    let mut wants = Subscriber::start(vec![says(DONE, "")]).await?;
    let mut other = Subscriber::start(vec![says(DONE, "")]).await?;
    let filter = ", filter: {attributes: {type: other}}";
    let files = [
        broker("b", ""),
        trigger("other", &other.url, filter),
        trigger("wants", &wants.url, ""),
    ];
    let runtime = start(&db, &files).await?;
    assert_eq!(post(&runtime, "1", "t").await?, StatusCode::ACCEPTED);
    let seen = wants.next().await?;
    assert_eq!(seen.header("ce-id"), Some("1"));
    assert_eq!(seen.header("prefer"), Some("reply"));
    assert_eq!(seen.header("kn-namespace"), Some("ns"));
    assert!(seen.header("ce-knativearrivaltime").is_some());
    assert_eq!(seen.header("ce-knativebrokerttl"), None);
    assert_eq!(seen.body, [0, 255, b'\n'].as_slice());
    let pool = db.pool(None).await;
    assert_eq!(settled(&pool).await?, [("delivered".to_owned(), 1)]);
    let why: String = sqlx::query_scalar("select unmatched->>'other' from switchyard_local.events")
        .fetch_one(&pool)
        .await?;
    assert_eq!(why, r#"type is "t", not "other""#);
    assert!(!other.was_asked());
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_failed_is_made_again_whatever_retry_after_says() -> Result<()> {
    let db = testkit::database().await;
    let busy = Answer {
        status: 503,
        headers: vec![("retry-after", "3600")],
        body: "",
    };
    let mut flaky = Subscriber::start(vec![
        busy.clone(),
        busy,
        says(200, "no event"),
        says(DONE, ""),
    ])
    .await?;
    let delivery = ", delivery: {retry: 5, backoffPolicy: linear, backoffDelay: PT0.01S}";
    let runtime = start(&db, &[broker("b", ""), trigger("t", &flaky.url, delivery)]).await?;
    post(&runtime, "1", "t").await?;
    for _ in 0..4 {
        flaky.next().await?;
    }
    assert_eq!(
        settled(&db.pool(None).await).await?,
        [("delivered".to_owned(), 4)]
    );
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_says_who_refused_it_and_why() -> Result<()> {
    let reply = Answer {
        status: 200,
        // What the Broker's ingress refuses.
        headers: vec![("ce-specversion", "1.0"), ("ce-id", "2")],
        body: "",
    };
    // What the subscriber answers, how often it is asked, then code, data and whether the Broker refused the reply.
    let rows = [
        (
            vec![says(400, "destination-response")],
            1,
            "400",
            Some("ZGVzdGluYXRpb24tcmVzcG9uc2U="),
            false,
        ),
        (vec![says(422, "")], 1, "422", None, false),
        (
            vec![says(422, "{ \"message\": \"catastrophic failure\" }")],
            1,
            "422",
            Some("eyAibWVzc2FnZSI6ICJjYXRhc3Ryb3BoaWMgZmFpbHVyZSIgfQ=="),
            false,
        ),
        (
            vec![says(400, "two\nlines")],
            1,
            "400",
            Some("dHdvCmxpbmVz"),
            false,
        ),
        (vec![says(301, "")], 1, "301", None, false),
        (
            vec![says(503, "a"), says(503, "b")],
            3,
            "503",
            Some("Yg=="),
            false,
        ),
        (vec![says(200, "OK")], 3, "502", Some("T0s="), false),
        (vec![reply], 1, "400", None, true),
    ];
    for (answers, attempts, code, data, by_broker) in rows {
        let db = testkit::database().await;
        let mut refuses = Subscriber::start(answers).await?;
        let mut letters =
            Subscriber::start(vec![says(503, ""), says(200, "this is nobody's")]).await?;
        let delivery = format!(
            ", delivery: {{retry: 2, deadLetterSink: {{uri: \"{}\"}}}}",
            letters.url
        );
        let runtime = start(
            &db,
            &[broker("b", ""), trigger("t", &refuses.url, &delivery)],
        )
        .await?;
        post(&runtime, "1", "t").await?;
        for _ in 0..attempts {
            refuses.next().await?;
        }
        letters.next().await?;
        let letter = letters.next().await.context("the sink has retries too")?;
        let dest = if by_broker {
            "http://broker-ingress.knative-eventing.svc.cluster.local/ns/b".to_owned()
        } else {
            refuses.url.clone()
        };
        assert_eq!(letter.header("ce-knativeerrordest"), Some(dest.as_str()));
        assert_eq!(letter.header("ce-knativeerrorcode"), Some(code));
        if !by_broker {
            assert_eq!(letter.header("ce-knativeerrordata"), data);
        }
        assert_eq!(
            (letter.header("ce-id"), letter.header("ce-type")),
            (Some("1"), Some("t"))
        );
        assert_eq!(letter.body, [0, 255, b'\n'].as_slice());
        assert_eq!(
            settled(&db.pool(None).await).await?,
            [("dead_lettered".to_owned(), attempts)]
        );
        assert!(!refuses.was_asked());
        runtime.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_at_the_address_is_a_dispatch_error_of_code_500() -> Result<()> {
    let db = testkit::database().await;
    let mut letters = Subscriber::start(vec![says(DONE, "")]).await?;
    let delivery = format!(
        ", delivery: {{deadLetterSink: {{uri: \"{}\"}}}}",
        letters.url
    );
    // Port 9 (discard) is not served.
    let runtime = start(
        &db,
        &[
            broker("b", ""),
            trigger("t", "http://127.0.0.1:9/", &delivery),
        ],
    )
    .await?;
    post(&runtime, "1", "t").await?;
    let letter = letters.next().await?;
    assert_eq!(letter.header("ce-knativeerrorcode"), Some("500"));
    assert_eq!(
        letter.header("ce-knativeerrordest"),
        Some("http://127.0.0.1:9/")
    );
    // The beginning of base64 of "dispatch error: ".
    let data = letter.header("ce-knativeerrordata").unwrap_or_default();
    assert!(data.starts_with("ZGlzcGF0Y2ggZXJyb3I6"), "{data}");
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_has_failed() -> Result<()> {
    let db = testkit::database().await;
    // A listener that nobody accepts from.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", silent.local_addr()?);
    let runtime = start(
        &db,
        &[
            broker("b", ""),
            trigger("t", &url, ", delivery: {retry: 1, timeout: PT0.05S}"),
        ],
    )
    .await?;
    post(&runtime, "1", "t").await?;
    assert_eq!(
        settled(&db.pool(None).await).await?,
        [("lost".to_owned(), 2)]
    );
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_reply_is_routed_again_and_a_loop_of_replies_ends() -> Result<()> {
    let db = testkit::database().await;
    let reply = Answer {
        status: 200,
        headers: vec![
            ("ce-specversion", "1.0"),
            ("ce-id", "again"),
            ("ce-source", "/loop"),
            ("ce-type", "reply"),
        ],
        body: "",
    };
    let mut replies = Subscriber::start(vec![reply]).await?;
    let mut sees = Subscriber::start(vec![says(DONE, "")]).await?;
    let filter = ", filter: {attributes: {type: reply}}";
    let files = [
        broker("b", "delivery: {retry: 0}"),
        trigger("a", &replies.url, ""),
        trigger("c", &sees.url, filter),
    ];
    let runtime = start(&db, &files).await?;
    post(&runtime, "1", "t").await?;
    replies.next().await?;
    // A TTL of 16 is 16 deliveries in a row, 15 of them of replies.
    for _ in 0..15 {
        let seen = sees.next().await?;
        assert_eq!(seen.header("ce-type"), Some("reply"));
        replies.next().await?;
    }
    let ended = settled(&db.pool(None).await).await?;
    assert_eq!(ended.iter().filter(|(state, _)| state == "lost").count(), 1);
    assert!(!replies.was_asked() && !sees.was_asked());
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_was_under_way_when_the_process_ended_is_delivered_by_the_next() -> Result<()> {
    let db = testkit::database().await;
    let mut down = Subscriber::start(vec![says(503, "down")]).await?;
    let delivery = ", delivery: {retry: 5, backoffPolicy: linear, backoffDelay: PT2S}";
    let files = [broker("b", ""), trigger("t", &down.url, delivery)];
    let runtime = start(&db, &files).await?;
    for id in 0..200 {
        assert_eq!(
            post(&runtime, &id.to_string(), "t").await?,
            StatusCode::ACCEPTED
        );
    }
    down.next().await?;
    // Without a word, as when it is killed.
    drop(runtime);
    let mut up = Subscriber::start(vec![says(DONE, "")]).await?;
    let runtime = start(&db, &[broker("b", ""), trigger("t", &up.url, delivery)]).await?;
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < 200 {
        let seen = up.next().await?;
        ids.insert(seen.header("ce-id").context("an id")?.to_owned());
    }
    let ended = settled(&db.pool(None).await).await?;
    assert!(
        ended.iter().all(|(state, _)| state == "delivered"),
        "{ended:?}"
    );
    assert_eq!(ended.len(), 200);
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn more_than_memory_holds_is_delivered_from_the_database_once_each() -> Result<()> {
    const EVENTS: usize = 3000;
    let db = testkit::database().await;
    let mut slow = Subscriber::start(vec![says(DONE, "")]).await?;
    let runtime = start(&db, &[broker("b", ""), trigger("t", &slow.url, "")]).await?;
    let mut posts = tokio::task::JoinSet::new();
    let url = format!("http://{}/ns/b", runtime.broker_ingress());
    let client = reqwest::Client::new();
    for lane in 0..20 {
        let (client, url) = (client.clone(), url.clone());
        posts.spawn(async move {
            for n in 0..EVENTS / 20 {
                let request = client
                    .post(&url)
                    .header("ce-specversion", "1.0")
                    .header("ce-id", format!("{lane}-{n}"))
                    .header("ce-source", "/test")
                    .header("ce-type", "t");
                assert_eq!(
                    request.send().await.expect("an answer").status(),
                    StatusCode::ACCEPTED
                );
            }
        });
    }
    posts.join_all().await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..EVENTS {
        let seen = slow.next().await?;
        assert!(
            ids.insert(seen.header("ce-id").context("an id")?.to_owned()),
            "delivered twice"
        );
    }
    let ended = settled(&db.pool(None).await).await?;
    assert_eq!(ended.len(), EVENTS);
    assert!(!slow.was_asked());
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn without_its_database_the_broker_says_503_and_goes_on_by_itself_afterwards() -> Result<()> {
    let db = testkit::database().await;
    let mut up = Subscriber::start(vec![says(DONE, "")]).await?;
    let runtime = start(&db, &[broker("b", ""), trigger("t", &up.url, "")]).await?;
    assert_eq!(post(&runtime, "1", "t").await?, StatusCode::ACCEPTED);
    up.next().await?;
    let mut url = url::Url::parse(&db.owner_url())?;
    let name = url.path().trim_start_matches('/').to_owned();
    url.set_path("/postgres");
    let mut admin = PgConnection::connect(url.as_str()).await?;
    let allow = |yes: bool| {
        sqlx::AssertSqlSafe(format!(
            "alter database {name} with allow_connections {yes}"
        ))
    };
    sqlx::raw_sql(allow(false)).execute(&mut admin).await?;
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
        .bind(&name)
        .execute(&mut admin)
        .await?;
    assert_eq!(
        post(&runtime, "2", "t").await?,
        StatusCode::SERVICE_UNAVAILABLE
    );
    sqlx::raw_sql(allow(true)).execute(&mut admin).await?;
    let mut tries = 0;
    while post(&runtime, "3", "t").await? != StatusCode::ACCEPTED {
        tries += 1;
        anyhow::ensure!(tries < 20, "it does not come back");
    }
    while up.next().await?.header("ce-id") != Some("3") {}
    runtime.stop().await;
    Ok(())
}
