//! Clients that keep their connections and send one request after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Makes one request after the other; called from all clients at once.
pub type Requests = Arc<dyn Fn() -> Request<Full<Bytes>> + Send + Sync>;

/// One connection.
pub struct Client(SendRequest<Full<Bytes>>);

impl Client {
    /// Connects.
    pub async fn connect(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr)
            .await
            .context("could not connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        #[expect(clippy::disallowed_methods, reason = "it ends with its sender")]
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self(sender))
    }

    /// Sends a request and reads the answer to its end.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Bytes>> {
        self.0.ready().await?;
        let (head, body) = self.0.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Sends a request that must be answered 202, the only answer that promises what is measured here.
    pub async fn accepted(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<()> {
        let answer = self.send(request).await?;
        anyhow::ensure!(
            answer.status() == 202,
            "answered {} {}",
            answer.status(),
            String::from_utf8_lossy(answer.body())
        );
        Ok(())
    }
}

/// How many requests were answered 202, and in what time.
#[derive(Debug, Clone, Copy)]
pub struct Driven {
    /// Answers.
    pub answered: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Driven {
    /// Answers per second.
    pub fn rate(self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }
}

/// So many clients at a server.
pub struct Load {
    clients: Vec<Client>,
}

impl Load {
    /// Connects them all; the connections stay for all that is driven.
    pub async fn connect(addr: SocketAddr, clients: usize) -> anyhow::Result<Self> {
        let mut connected = Vec::with_capacity(clients);
        for _ in 0..clients {
            connected.push(Client::connect(addr).await?);
        }
        Ok(Self { clients: connected })
    }

    /// Each client sends requests one after the other for so long. Any answer but 202 is an error.
    pub async fn drive(&mut self, time: Duration, requests: &Requests) -> anyhow::Result<Driven> {
        let start = Instant::now();
        let mut running = JoinSet::new();
        for mut client in self.clients.drain(..) {
            let requests = Arc::clone(requests);
            running.spawn(async move {
                let mut answered = 0;
                while start.elapsed() < time {
                    client.accepted(requests()).await?;
                    answered += 1;
                }
                anyhow::Ok((client, answered))
            });
        }
        let mut answered = 0;
        while let Some(ended) = running.join_next().await {
            let (client, count) = ended??;
            self.clients.push(client);
            answered += count;
        }
        Ok(Driven {
            answered,
            elapsed: start.elapsed(),
        })
    }
}
