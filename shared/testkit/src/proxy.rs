//! A stretch of network on loopback that can be made to fail as networks do: without a word.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes taken at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing arrives and nobody is told: connections stay open, new ones are accepted and led nowhere.
    Silent,
}

/// Passes TCP connections on to an address until it is told to fall silent. Ends with its value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// The number of the network: connections of an earlier one are cut.
    network: watch::Sender<usize>,
    /// The same for those that are lost without being cut.
    lost: watch::Sender<usize>,
    accepted: Arc<AtomicUsize>,
    open: Open,
    accepting: JoinHandle<()>,
}

/// The numbers of the connections that there are.
type Open = Arc<Mutex<BTreeSet<usize>>>;

impl Proxy {
    /// Listens on a free port and leads to `target`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("there are free ports");
        let address = listener.local_addr().expect("it listens");
        let (way, ways) = watch::channel(Way::Open);
        let (network, networks) = watch::channel(0);
        let (lost, losses) = watch::channel(0);
        let accepted = Arc::new(AtomicUsize::new(0));
        let open = Open::default();
        let (count, opened) = (Arc::clone(&accepted), Arc::clone(&open));
        #[expect(clippy::disallowed_methods, reason = "ended when the proxy is dropped")]
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let opened = Arc::clone(&opened);
                lock(&opened).insert(number);
                let (ways, losses) = (ways.clone(), losses.clone());
                let mut networks = networks.clone();
                tokio::spawn(async move {
                    let now = *networks.borrow_and_update();
                    tokio::select! {
                        () = pass(client, target, ways, losses) => {}
                        // An error says that the proxy is gone: then so are its connections.
                        _ = networks.wait_for(|network| *network != now) => {}
                    }
                    lock(&opened).remove(&number);
                });
            }
        });
        Self {
            address,
            way,
            network,
            lost,
            accepted,
            open,
            accepting,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing arrives on either side, and neither is told.
    pub fn fall_silent(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// What was sent meanwhile arrives, late.
    pub fn heal(&self) {
        self.way.send_replace(Way::Open);
    }

    /// The connections that there are stay open and lead nowhere from now on; new ones are as before.
    pub fn lose(&self) {
        self.lost.send_modify(|network| *network += 1);
    }

    /// Closes all connections that there are.
    pub fn cut(&self) {
        self.network.send_modify(|network| *network += 1);
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The number, counted from 0, of the oldest connection that is not closed.
    #[must_use]
    pub fn oldest_open(&self) -> Option<usize> {
        lock(&self.open).first().copied()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(open: &Open) -> MutexGuard<'_, BTreeSet<usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(
    client: TcpStream,
    target: SocketAddr,
    mut ways: watch::Receiver<Way>,
    mut losses: watch::Receiver<usize>,
) {
    let known = *losses.borrow_and_update();
    if !open(&mut ways).await {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    for stream in [&client, &server] {
        // Small messages both ways; without it each would wait for the one before.
        stream.set_nodelay(true).ok();
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut also = ways.clone();
    tokio::select! {
        biased;
        lost = async { losses.wait_for(|network| *network != known).await.is_ok() } => {
            if lost {
                // Held open, and never read from again.
                std::future::pending::<()>().await;
            }
        }
        () = copy(&mut from_client, &mut to_server, &mut ways) => {}
        () = copy(&mut from_server, &mut to_client, &mut also) => {}
    }
}

async fn copy(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, ways: &mut watch::Receiver<Way>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            // Also the end of a connection does not arrive while nothing does.
            open(ways).await;
            return;
        };
        if !open(ways).await || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits until things arrive. False when they never will.
async fn open(ways: &mut watch::Receiver<Way>) -> bool {
    ways.wait_for(|way| *way == Way::Open).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_in_silence_arrives_when_it_is_over() -> std::io::Result<()> {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let proxy = Proxy::to(server.local_addr()?).await;
        let mut client = TcpStream::connect(proxy.address()).await?;
        let (mut served, _) = server.accept().await?;
        client.write_all(b"one").await?;
        let mut heard = [0; 3];
        served.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"one");

        proxy.fall_silent();
        client.write_all(b"two").await?;
        let nothing = served.try_read(&mut heard).expect_err("nothing arrives");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        proxy.heal();
        served.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"two");

        proxy.lose();
        client.write_all(b"lost").await?;
        let mut second = TcpStream::connect(proxy.address()).await?;
        let (mut also_served, _) = server.accept().await?;
        second.write_all(b"new").await?;
        also_served.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"new", "new connections are as before");
        let nothing = served.try_read(&mut heard).expect_err("nothing arrives");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);

        assert_eq!(proxy.oldest_open(), Some(0), "also one that is lost");
        proxy.cut();
        assert_eq!(served.read(&mut heard).await?, 0, "the end is told");
        assert_eq!(client.read(&mut heard).await?, 0, "on both sides");
        assert_eq!(proxy.accepted(), 2);
        Ok(())
    }
}
