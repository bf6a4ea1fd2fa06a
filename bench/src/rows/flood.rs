//! More senders at once than there is room for. Each comes again when it is told to; all of them get in.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::header::{CONNECTION, RETRY_AFTER};
use tokio::task::JoinSet;

use crate::load::Client;
use crate::machine::Data;
use crate::push::{BODY_BYTES, Push};
use crate::report::Figure;

const POSTS: usize = 10_000;
const CONNECTIONS: usize = 4_000;
/// When a sender comes again whose connection was refused or closed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// When it is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// Measures it.
pub async fn measure(folder: &Path) -> anyhow::Result<Vec<Figure>> {
    host::raise_open_files();
    let data = Data::new(folder)?;
    let machine = data.start().await?;
    let (_, trigger) = data.trigger("flood").await?;
    let path: Arc<str> = format!("/webhook-github/{trigger}").into();
    let push = Push::new()?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    let from = Instant::now();
    for _ in 0..CONNECTIONS {
        let (path, push, next) = (Arc::clone(&path), push.clone(), Arc::clone(&next));
        let addr = machine.addr;
        senders.spawn(async move {
            let mut kept = None;
            let (mut first_tries, mut told_to_wait) = (0_usize, 0_usize);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= POSTS {
                    return anyhow::Ok((first_tries, told_to_wait));
                }
                let delivery = format!("flood-{number}");
                for attempt in 0.. {
                    let request = push.named(&path, &delivery);
                    let Some((answer, client)) = sent(addr, kept.take(), request).await else {
                        tokio::time::sleep(AGAIN_AFTER).await;
                        continue;
                    };
                    kept = client;
                    match (answer.status().as_u16(), answer.headers().get(RETRY_AFTER)) {
                        (200 | 202, _) => {
                            first_tries += usize::from(attempt == 0);
                            break;
                        }
                        (429 | 503, Some(secs)) => {
                            told_to_wait += 1;
                            let secs = secs.to_str()?.parse()?;
                            tokio::time::sleep(Duration::from_secs(secs)).await;
                        }
                        other => anyhow::bail!("answered {other:?}"),
                    }
                }
            }
        });
    }
    let all = async {
        let (mut first_tries, mut told_to_wait) = (0, 0);
        while let Some(ended) = senders.join_next().await {
            let (first, waited) = ended??;
            first_tries += first;
            told_to_wait += waited;
        }
        anyhow::Ok((first_tries, told_to_wait))
    };
    let (first_tries, told_to_wait) = tokio::time::timeout(PATIENCE, all)
        .await
        .context("not all got in in time")??;
    let took = from.elapsed().as_secs_f64();
    let memory = machine.memory_max_mib()?;
    let kept: i64 = sqlx::query_scalar(
        "select count(distinct delivery_key) from switchyard.deliveries where verdict = 'accepted'",
    )
    .fetch_one(&mut data.connection().await?)
    .await?;
    anyhow::ensure!(
        usize::try_from(kept)? == POSTS,
        "{POSTS} were acknowledged and {kept} are there"
    );
    machine.stop().await?;
    let share = first_tries as f64 / POSTS as f64;
    Ok(vec![
        Figure::at_most("flood", "10 000 signed posts over 4 000 connections at once, until all are in, seconds", took, 60.0)
            .showing(format!("{took:.1} s"), "-")
            .noting(format!(
                "pushes of {BODY_BYTES} bytes through the gateway of `switchyard up`, from this process on the same machine; \
                 {told_to_wait} answers said to come again, and who was told did when it was said; all were counted afterwards"
            )),
        Figure::at_least("flood", "of them in at the first try", share, 0.5)
            .showing(format!("{first_tries}"), format!("{POSTS}")),
        Figure::at_most("flood", "memory meanwhile without Postgres, MiB", memory, 512.0)
            .showing(format!("{memory:.1} MiB"), "-")
            .noting("the largest resident set that its process has had"),
    ])
}

/// Sends over the connection that is there, or a new one. Gives it back where it can be used again.
async fn sent(
    addr: std::net::SocketAddr,
    kept: Option<Client>,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
) -> Option<(http::Response<bytes::Bytes>, Option<Client>)> {
    let mut client = match kept {
        Some(client) => client,
        None => Client::connect(addr).await.ok()?,
    };
    let answer = client.send(request).await.ok()?;
    let closes = answer.headers().get(CONNECTION);
    let closes = closes.is_some_and(|value| value == "close");
    Some((answer, (!closes).then_some(client)))
}
