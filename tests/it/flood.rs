//! Fault 17 and 18 in their short form: more senders at once than there is room for, bodies larger than there is memory for, and
//! connections that say nothing. The senders are this process; the machine is another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{Machine, Sender, client, turn};

const POSTS: usize = 10_000;
const CONNECTIONS: usize = 4_000;
/// Posts with a body of the largest size and a bad signature.
const LARGE: usize = 200;
const LARGE_BYTES: usize = 25 * 1024 * 1024;
/// Everything but Postgres.
const MEMORY_MAX: u64 = 512 * 1024 * 1024;
/// Within this who says nothing, or next to nothing, is hung up on; and what a busy machine may take longer to notice.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(5);
/// For all of the posts, in a build that was not optimised.
const PATIENCE: Duration = Duration::from_secs(240);

/// One connection that is kept, and what is posted over it.
struct Poster {
    port: u16,
    path: Arc<str>,
    body: Arc<str>,
    signature: Arc<str>,
    stream: Option<TcpStream>,
}

impl Poster {
    /// Posts once: the status, and after how many seconds to come again.
    async fn post(&mut self, delivery: usize) -> std::io::Result<(u16, Option<u64>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(("127.0.0.1", self.port)).await?,
        };
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-gitea-event: push\r\n\
             x-gitea-delivery: flood-{delivery}\r\nx-gitea-signature: {}\r\ncontent-length: {}\r\n\r\n{}",
            self.path,
            self.signature,
            self.body.len(),
            self.body
        );
        stream.write_all(request.as_bytes()).await?;
        let mut heard = Vec::new();
        let (head, length) = loop {
            if stream.read_buf(&mut heard).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&heard);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let length = number(&head, "content-length: ").unwrap_or(0);
                if u64::try_from(body.len()).is_ok_and(|got| got >= length) {
                    break (head, length);
                }
            }
        };
        assert!(length < 10_000, "{head}");
        if !head.contains("connection: close") {
            self.stream = Some(stream);
        }
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok((status.expect("a status"), number(&head, "retry-after: ")))
    }
}

fn number(head: &str, name: &str) -> Option<u64> {
    let line = head.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_large_bodies_and_silence_are_withstood_and_what_was_acknowledged_is_there() {
    let _turn = turn().await;
    host::raise_open_files();
    let mut machine = Machine::new();
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "flood").await;
    // What starts nothing: the flood is of deliveries, not of deploys.
    let body = site
        .push("a page", "x")
        .body()
        .replace("refs/heads/main", "refs/heads/other");
    let mut mac = Hmac::<Sha256>::new_from_slice(site.push("b", "y").secret().as_bytes())
        .expect("any key is good");
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let path: Arc<str> = format!("/webhook-gitea/{}", site.trigger).into();

    let next = Arc::new(AtomicUsize::new(0));
    let first_try = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut posters = JoinSet::new();
    let (body, signature): (Arc<str>, Arc<str>) = (body.into(), signature.into());
    for _ in 0..CONNECTIONS {
        let (next, first_try) = (Arc::clone(&next), Arc::clone(&first_try));
        let mut poster = Poster {
            port: machine.port(),
            path: Arc::clone(&path),
            body: Arc::clone(&body),
            signature: Arc::clone(&signature),
            stream: None,
        };
        posters.spawn(async move {
            loop {
                let delivery = next.fetch_add(1, Ordering::Relaxed);
                if delivery >= POSTS {
                    return;
                }
                for attempt in 0.. {
                    let again = match poster.post(delivery).await {
                        Ok((200 | 202, _)) => {
                            first_try.fetch_add(usize::from(attempt == 0), Ordering::Relaxed);
                            break;
                        }
                        Ok((429 | 503, Some(secs))) => secs,
                        // A connection that was not accepted yet, or was idle for too long.
                        Err(_) => 1,
                        Ok(other) => panic!("{other:?}"),
                    };
                    tokio::time::sleep(Duration::from_secs(again)).await;
                }
            }
        });
    }
    let all = tokio::time::timeout(PATIENCE, posters.join_all()).await;
    assert!(
        all.is_ok(),
        "{} of {POSTS} after {PATIENCE:?}",
        next.load(Ordering::Relaxed)
    );
    let memory = machine.memory_max();
    // Not a moment to write anything down that was acknowledged.
    machine.kill();
    let took = began.elapsed();
    let first_try = first_try.load(Ordering::Relaxed);
    println!(
        "fault 17: {POSTS} posts over {CONNECTIONS} connections in {:.1} s, {first_try} at the first try, {} MiB",
        took.as_secs_f64(),
        memory >> 20
    );
    let there = database
        .count("select count(distinct delivery_key) from switchyard.deliveries where verdict = 'accepted'")
        .await;
    assert_eq!(there, i64::try_from(POSTS).expect("small"));
    assert!(first_try >= POSTS / 2, "{first_try}");
    assert!(memory <= MEMORY_MAX, "{memory}");

    machine.start().await;
    large_bodies(&machine, &path).await;
    let (closed, p99, last) = silence(&machine, &path).await;
    println!(
        "fault 18: {closed} silent or slow connections closed after {:.1} s (p99), {:.1} s (all)",
        p99.as_secs_f64(),
        last.as_secs_f64()
    );
    assert!(p99 <= SILENCE_MAX, "{p99:?}");
    assert!(last <= SILENCE_MAX + SLACK, "{last:?}");
    let push = site.push("another page", "honest");
    let url = machine.webhook(site.trigger);
    let honest = Sender::new().deliver(&url, &push, SLACK).await;
    assert!(honest.starts_with("dlv_"));
    let memory = machine.memory_max();
    println!("fault 18: {} MiB", memory >> 20);
    assert!(memory <= MEMORY_MAX, "{memory}");
}

/// Bodies of the largest size, all at once, with a signature that does not hold.
async fn large_bodies(machine: &Machine, path: &str) {
    let url = format!("{}{path}", machine.url());
    let body = bytes(LARGE_BYTES);
    let http = client();
    let mut posts = JoinSet::new();
    for _ in 0..LARGE {
        let post = http
            .post(&url)
            .timeout(PATIENCE)
            .header("x-gitea-event", "push")
            .header("x-gitea-signature", "0".repeat(64))
            .body(body.clone());
        posts.spawn(async move { post.send().await.map(|answer| answer.status()) });
    }
    let mut refused = 0;
    for answer in posts.join_all().await {
        match answer {
            Ok(StatusCode::UNAUTHORIZED) => refused += 1,
            // No room for it now; who is still sending may see the connection go before it sees why.
            Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => {}
            Ok(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "none was looked at");
}

fn bytes(count: usize) -> axum::body::Bytes {
    vec![b'a'; count].into()
}

/// Connections that say nothing, stop in the middle of a header, or send a byte a second of a body. How many were closed, and after
/// which time: of a hundred ninety-nine, and all.
async fn silence(machine: &Machine, path: &str) -> (usize, Duration, Duration) {
    let half = "POST / HTTP/1.1\r\nhost: localhost\r\nx-long: ".to_owned();
    let crawling =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n");
    let words = [String::new(), half, crawling];
    let port = machine.port();
    let mut held = JoinSet::new();
    let began = Instant::now();
    for n in 0..CONNECTIONS {
        let words = words[n % words.len()].clone();
        held.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let connected = Instant::now();
            stream.write_all(words.as_bytes()).await?;
            let (mut reading, mut writing) = stream.split();
            let mut heard = Vec::new();
            let ended = reading.read_to_end(&mut heard);
            let crawl = async {
                let mut beat = tokio::time::interval(Duration::from_secs(1));
                loop {
                    beat.tick().await;
                    if words.starts_with("POST /w") && writing.write_all(b"x").await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                _ = ended => {}
                () = crawl => {}
            }
            Ok::<_, std::io::Error>(connected.elapsed())
        });
    }
    let ended = tokio::time::timeout(SILENCE_MAX * 2 + SLACK, held.join_all()).await;
    let mut times: Vec<Duration> = ended
        .unwrap_or_else(|_| panic!("not all were closed after {:?}", began.elapsed()))
        .into_iter()
        .filter_map(Result::ok)
        .collect();
    times.sort_unstable();
    let (p99, last) = (times[times.len() * 99 / 100], times[times.len() - 1]);
    (times.len(), p99, last)
}
