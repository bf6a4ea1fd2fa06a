//! A loopback proxy that can stop forwarding without closing anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is forwarded at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A proxy; it ends when it is dropped.
pub struct Proxy {
    addr: SocketAddr,
    /// Whether nothing passes.
    frozen: Arc<watch::Sender<bool>>,
    /// Connections with a smaller number are dead for good.
    stranded_below: Arc<watch::Sender<u64>>,
    next: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens, and forwards to this port of the machine.
    pub async fn to(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let frozen = Arc::new(watch::Sender::new(false));
        let stranded_below = Arc::new(watch::Sender::new(0));
        let next = Arc::new(AtomicU64::new(0));
        let shared = (
            Arc::clone(&frozen),
            Arc::clone(&stranded_below),
            Arc::clone(&next),
        );
        #[expect(clippy::disallowed_methods, reason = "it ends with the proxy")]
        let accepting = tokio::spawn(async move {
            let (frozen, stranded_below, next) = shared;
            while let Ok((near, _)) = listener.accept().await {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let way = Way {
                    number,
                    frozen: frozen.subscribe(),
                    stranded_below: stranded_below.subscribe(),
                };
                #[expect(clippy::disallowed_methods, reason = "it ends with its connection")]
                tokio::spawn(async move {
                    // A server that is away closes what was opened to it.
                    if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                        let (near_read, near_write) = near.into_split();
                        let (far_read, far_write) = far.into_split();
                        tokio::join!(
                            way.clone().forward(near_read, far_write),
                            way.forward(far_read, near_write)
                        );
                    }
                });
            }
        });
        Ok(Self {
            addr,
            frozen,
            stranded_below,
            next,
            accepting,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Nothing passes any more; nobody is told.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// What was held passes.
    pub fn heal(&self) {
        self.frozen.send_replace(false);
    }

    /// Nothing of the connections of now passes any more, ever; new ones work.
    pub fn strand(&self) {
        self.stranded_below
            .send_replace(self.next.load(Ordering::SeqCst));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Way {
    number: u64,
    frozen: watch::Receiver<bool>,
    stranded_below: watch::Receiver<u64>,
}

impl Way {
    async fn forward(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count) = from.read(&mut piece).await {
            if self.frozen.wait_for(|frozen| !frozen).await.is_err() {
                break;
            }
            if *self.stranded_below.borrow() > self.number {
                // Held open, so that neither side learns of it.
                std::future::pending::<()>().await;
            }
            if count == 0 || to.write_all(&piece[..count]).await.is_err() {
                break;
            }
        }
        to.shutdown().await.ok();
    }
}
