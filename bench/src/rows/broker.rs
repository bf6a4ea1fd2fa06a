//! The local broker: events that are kept and given to a subscriber in this process, beside a bare handler that inserts
//! one row for the same requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use uuid::Uuid;

use super::served::{Served, bare};
use crate::ground::{Ground, POOL};
use crate::load::{Load, Requests};
use crate::report::Figure;
use crate::stats::median;
use crate::system::System;

/// Keep-alive connections, each with one request under way.
const CLIENTS: usize = 32;
const WARM: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(4);
/// Pairs of measurements, one side after the other.
const PAIRS: usize = 7;
/// The bytes of an event's data.
const DATA_BYTES: usize = 1024;
/// How long the subscriber may take for what is left when the clients have stopped.
const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// Measures it.
pub async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(ground).await?;
    let pool = ground.pool().await?;
    let baseline = Served::start(bare(pool.clone())).await?;
    let ours: Requests = Arc::new(|| event("/switchyard/bench"));
    let theirs: Requests = Arc::new(|| event("/"));
    let mut our_load = Load::connect(system.runtime.broker_ingress(), CLIENTS).await?;
    let mut their_load = Load::connect(baseline.addr, CLIENTS).await?;
    delivered(&mut our_load, WARM, &ours).await?;
    their_load.drive(WARM, &theirs).await?;
    let (mut our_rates, mut their_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let a = delivered(&mut our_load, WINDOW, &ours).await?;
        let b = their_load.drive(WINDOW, &theirs).await?.rate();
        our_rates.push(a);
        their_rates.push(b);
        ratios.push(a / b);
    }
    drop((our_load, their_load));
    baseline.stop().await?;
    pool.close().await;
    system.stop().await;
    let figure = Figure::at_least(
        "broker",
        "local broker, durable, to a subscriber in process, over a bare insert",
        median(&ratios)?,
        0.5,
    )
    .showing(
        format!("{:.0}/s", median(&our_rates)?),
        format!("{:.0}/s", median(&their_rates)?),
    )
    .noting(format!(
        "{CLIENTS} keep-alive clients, a pool of {POOL} for the baseline and of 8 for the broker, the host's server on both \
         sides; {PAIRS} pairs of {} s, one side after the other; the ratio is the median of {}",
        WINDOW.as_secs(),
        ratios.iter().map(|it| format!("{it:.2}")).collect::<Vec<_>>().join(" ")
    ))
    .noting(format!(
        "events of {DATA_BYTES} bytes of data; ours are counted when the subscriber has them, and take 2 rows each (event, \
         delivery) and an update; the baseline makes 1 row (bigint, bytea, timestamptz); the rest of the system idles beside"
    ));
    Ok(vec![figure])
}

/// Events that the subscriber has taken a second, from the first request to the last delivery.
async fn delivered(load: &mut Load, time: Duration, requests: &Requests) -> anyhow::Result<f64> {
    let (start, before) = (Instant::now(), System::heard());
    let accepted = load.drive(time, requests).await?.answered;
    let rest = async {
        while System::heard() - before < accepted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(REST_TIMEOUT, rest)
        .await
        .context("not every accepted event was delivered")?;
    let elapsed = start.elapsed();
    let heard = System::heard() - before;
    anyhow::ensure!(
        heard == accepted,
        "{accepted} events were accepted and {heard} delivered"
    );
    Ok(heard as f64 / elapsed.as_secs_f64())
}

fn event(path: &str) -> Request<Full<Bytes>> {
    static DATA: [u8; DATA_BYTES] = {
        let mut data = [b'7'; DATA_BYTES];
        // A JSON string.
        data[0] = b'"';
        data[DATA_BYTES - 1] = b'"';
        data
    };
    Request::post(path)
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", Uuid::new_v4().to_string())
        .header("ce-type", "com.example.measured")
        .header("ce-source", "/bench")
        .body(Full::new(Bytes::from_static(&DATA)))
        .expect("the headers are made of digits and letters")
}
