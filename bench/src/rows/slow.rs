//! An honest sender alone, and beside thousands of connections that say nothing, stop in the middle of a header, or send a byte
//! a second of a body.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::Client;
use crate::machine::Data;
use crate::push::Push;
use crate::report::Figure;
use crate::stats::{Samples, listed, median, ms};

const CONNECTIONS: usize = 4_000;
/// They come within this, and not all in the same moment: what they hold is measured, not how they arrive.
const COME_WITHIN: Duration = Duration::from_secs(8);
/// Honest senders, each with one connection that it keeps.
const HONEST: usize = 4;
const PAUSE_MS: std::ops::Range<u64> = 5..35;
/// How long is measured.
const WINDOW: Duration = Duration::from_secs(20);
/// Pairs of measurements, without and with.
const PAIRS: usize = 3;
/// Within this who says nothing, or next to nothing, is to be hung up on.
const CLOSED_WITHIN: f64 = 10.0;

/// Measures it.
pub async fn measure(folder: &Path) -> anyhow::Result<Vec<Figure>> {
    host::raise_open_files();
    let data = Data::new(folder)?;
    let machine = data.start().await?;
    let (_, trigger) = data.trigger("slow").await?;
    let path = format!("/webhook-github/{trigger}");
    honest(machine.addr, &path, COME_WITHIN).await?;
    let (mut alone, mut beside, mut ratios) = (vec![], vec![], vec![]);
    let (mut held, mut slowest) = (usize::MAX, Duration::ZERO);
    for _ in 0..PAIRS {
        let without = honest(machine.addr, &path, WINDOW).await?;
        let slow = Slow::come(machine.addr, &path);
        tokio::time::sleep(COME_WITHIN + Duration::from_secs(1)).await;
        let before = slow.open.load(Ordering::Relaxed);
        let with = honest(machine.addr, &path, WINDOW).await?;
        held = held.min(before).min(slow.open.load(Ordering::Relaxed));
        slowest = slowest.max(slow.leave().await?);
        let p99 = |samples: &Samples| samples.percentile(99.0).as_secs_f64();
        ratios.push(p99(&with) / p99(&without));
        alone.push(p99(&without));
        beside.push(p99(&with));
    }
    machine.stop().await?;
    let shown = |values: &[f64]| median(values).map(|it| ms(Duration::from_secs_f64(it)));
    let slowest = slowest.as_secs_f64();
    Ok(vec![
        Figure::at_most("slow", "p99 of honest pushes beside 4 000 silent or slow connections, over p99 without", median(&ratios)?, 2.0)
            .showing(shown(&beside)?, shown(&alone)?)
            .noting(format!(
                "{HONEST} senders that pause {} to {} ms between pushes of 8 KiB, {PAIRS} pairs of {} s, ratios {}; a third of the \
                 others say nothing, a third stop in a header, a third send a byte of a body a second; who is hung up on comes \
                 again at once, so that at least {held} were open; all of them in this process on the same machine",
                PAUSE_MS.start,
                PAUSE_MS.end,
                WINDOW.as_secs(),
                listed(&ratios)
            )),
        Figure::at_most("slow", "until a silent or slow connection is closed, seconds", slowest, CLOSED_WITHIN)
            .showing(format!("{slowest:.1} s"), "-")
            .noting("the slowest of all, as the one who was hung up on sees it"),
    ])
}

/// What honest senders see for so long.
async fn honest(addr: SocketAddr, path: &str, time: Duration) -> anyhow::Result<Samples> {
    let push = Push::new()?;
    let until = Instant::now() + time;
    let mut senders = JoinSet::new();
    for _ in 0..HONEST {
        let mut client = Client::connect(addr).await?;
        let (push, path) = (push.clone(), path.to_owned());
        senders.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < until {
                let pause = rand::rng().random_range(PAUSE_MS);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let from = Instant::now();
                client.accepted(push.request(&path)).await?;
                took.push(from.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = senders.join_next().await {
        all.extend(ended??);
    }
    Samples::new(all)
}

/// Connections that say next to nothing.
struct Slow {
    holders: JoinSet<Duration>,
    stop: tokio_util::sync::CancellationToken,
    open: Arc<AtomicUsize>,
}

impl Slow {
    fn come(addr: SocketAddr, path: &str) -> Self {
        let words: [Arc<str>; 3] = [
            "".into(),
            "POST / HTTP/1.1\r\nhost: localhost\r\nx-long: ".into(),
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n")
                .into(),
        ];
        let stop = tokio_util::sync::CancellationToken::new();
        let open = Arc::new(AtomicUsize::new(0));
        let mut holders = JoinSet::new();
        for number in 0..CONNECTIONS {
            let words = Arc::clone(&words[number % words.len()]);
            let (stop, open) = (stop.clone(), Arc::clone(&open));
            let delay = COME_WITHIN.mul_f64(number as f64 / CONNECTIONS as f64);
            holders.spawn(async move {
                let mut slowest = Duration::ZERO;
                let held = async {
                    tokio::time::sleep(delay).await;
                    loop {
                        let Ok(stream) = TcpStream::connect(addr).await else {
                            continue;
                        };
                        open.fetch_add(1, Ordering::Relaxed);
                        slowest = slowest.max(hung_up_on(stream, &words).await);
                        open.fetch_sub(1, Ordering::Relaxed);
                    }
                };
                stop.run_until_cancelled(held).await;
                slowest
            });
        }
        Self {
            holders,
            stop,
            open,
        }
    }

    /// The longest time that one was let stay.
    async fn leave(mut self) -> anyhow::Result<Duration> {
        self.stop.cancel();
        let mut slowest = Duration::ZERO;
        while let Some(left) = self.holders.join_next().await {
            slowest = slowest.max(left.context("a slow connection's task failed")?);
        }
        Ok(slowest)
    }
}

/// How long it took.
async fn hung_up_on(mut stream: TcpStream, words: &str) -> Duration {
    let connected = Instant::now();
    let crawls = words.starts_with("POST /w");
    // Who is hung up on while writing is hung up on.
    if stream.write_all(words.as_bytes()).await.is_err() {
        return connected.elapsed();
    }
    let (mut reading, mut writing) = stream.split();
    let mut heard = Vec::new();
    let ended = reading.read_to_end(&mut heard);
    let crawl = async {
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        while crawls {
            beat.tick().await;
            if writing.write_all(b"x").await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = ended => {}
        () = crawl => {}
    }
    connected.elapsed()
}
