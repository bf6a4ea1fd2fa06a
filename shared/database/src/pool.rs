//! Connections that are kept between uses, behind a bounded queue.
//!
//! sqlx has a pool of its own. When a server has ended all sessions it lets everybody open a connection at once, so that
//! nobody has one before all have one, hands out those that lay idle until each has failed somebody, and asks each
//! connection that comes back whether it is well. Here few are opened at a time and whoever waits takes what comes back
//! first; what lay idle when another broke is closed; and a connection whose statements all came to their ends
//! ([`crate::guarded`]) is well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Error};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::guarded::Conn;
use crate::is_broken;

/// A connection is replaced after this time, so that a silently dead one does not stay for ever.
const LIFETIME_MAX: Duration = Duration::from_secs(15 * 60);
/// One that nobody has needed for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);
/// One that lay idle for less is taken for good without asking it: a round trip for each use would cost more than the
/// statement.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long one that lay idle may take to answer before another is opened in its place.
const PING_MAX: Duration = Duration::from_millis(500);
/// Connections that are opened at a time. Opening one costs both sides as much as many statements: when all have to be
/// opened anew, four that are there soon serve more than sixteen that are there late.
const OPENED_AT_ONCE: usize = 4;
/// Which part of the acquire timeout may be spent on waiting for a place; the rest is for opening a connection. Whoever
/// waits longer is told that the database is not available.
const PLACE_WAIT_PART: f64 = 0.3;
/// For so long after a connection broke the wait for a place is the whole acquire timeout: the server has ended sessions or
/// restarted, places are taken by those who connect again, and soon there will be enough.
const RECOVERY: Duration = Duration::from_secs(5);
/// How many may wait for each connection that there may be. Whoever comes after them is told at once.
const WAITERS_PER_CONNECTION: usize = 16;

/// The pool. Cheap to clone; what is idle is closed with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    connections_max: u32,
    acquire_timeout: Duration,
    /// One for each connection that may be in use. What is idle, in use or being opened is never more than that: only who
    /// has a place and finds nothing idle opens one.
    places: Arc<Semaphore>,
    waiters: Semaphore,
    opening: Semaphore,
    /// The last to come back is the first to go, so that the others grow old.
    idle: Mutex<Vec<Kept>>,
    came_back: Notify,
    /// When a connection broke the last time.
    broke_at: Mutex<Option<Instant>>,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) conn: PgConnection,
    opened_at: Instant,
    /// When it was well the last time, as far as is known: opened, given back, or asked.
    well_at: Instant,
}

impl Pool {
    /// Opens connections when they are needed. Inside a runtime alone.
    pub(crate) fn new(
        options: PgConnectOptions,
        connections_max: u32,
        acquire_timeout: Duration,
    ) -> Self {
        let connections = usize::try_from(connections_max).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            options,
            connections_max,
            acquire_timeout,
            places: Arc::new(Semaphore::new(connections)),
            waiters: Semaphore::new(connections.saturating_mul(WAITERS_PER_CONNECTION)),
            opening: Semaphore::new(OPENED_AT_ONCE),
            idle: Mutex::default(),
            came_back: Notify::new(),
            broke_at: Mutex::default(),
        });
        #[expect(clippy::disallowed_methods, reason = "ends with the pool")]
        tokio::spawn(close_unused(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// A connection, or [`Error::PoolTimedOut`] when there is no place or none can be opened for too long, or too many wait.
    pub(crate) async fn acquire(&self) -> Result<Conn, Error> {
        let end = Instant::now() + self.0.acquire_timeout;
        let place = self.place().await?;
        let kept = tokio::time::timeout_at(end, self.connection()).await;
        let kept = kept.map_err(|_| Error::PoolTimedOut)??;
        Ok(Conn::new(kept, self.clone(), place))
    }

    /// Whether connections broke a moment ago, so that what cannot be had now may soon be.
    pub(crate) fn recovers(&self) -> bool {
        lock(&self.0.broke_at).is_some_and(|at| at.elapsed() < RECOVERY)
    }

    /// A connection apart from those that have places. It is closed with its listener: one that is kept for the next would
    /// be kept through a failover as well, for a standby answers.
    pub(crate) async fn listener(&self) -> Result<PgListener, Error> {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.0.acquire_timeout)
            .connect_lazy_with(self.0.options.clone());
        PgListener::connect_with(&own).await
    }

    /// Waits for what is in use, closes everything, and refuses whoever comes later.
    pub(crate) async fn close(&self) {
        let all = self.0.places.acquire_many(self.0.connections_max).await;
        self.0.places.close();
        drop(all);
        let idle = std::mem::take(&mut *lock(&self.0.idle));
        for kept in idle {
            // A server that went away has closed it already.
            kept.conn.close().await.ok();
        }
    }

    /// Keeps a connection for the next.
    pub(crate) fn give_back(&self, mut kept: Kept) {
        kept.well_at = Instant::now();
        if kept.opened_at.elapsed() < LIFETIME_MAX {
            lock(&self.0.idle).push(kept);
        }
        self.0.came_back.notify_one();
    }

    /// A connection broke that was well at that time. What was opened before then and lies idle will have, too.
    pub(crate) fn broke(&self, well_at: Instant) {
        *lock(&self.0.broke_at) = Some(Instant::now());
        lock(&self.0.idle).retain(|kept| kept.opened_at > well_at);
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() {
            return Ok(place);
        }
        let waiter = self.0.waiters.try_acquire();
        let _waiter = waiter.map_err(|_| Error::PoolTimedOut)?;
        let wait_max = if self.recovers() {
            self.0.acquire_timeout
        } else {
            self.0.acquire_timeout.mul_f64(PLACE_WAIT_PART)
        };
        let place = Arc::clone(&self.0.places).acquire_owned();
        tokio::time::timeout(wait_max, place)
            .await
            .map_err(|_| Error::PoolTimedOut)?
            .map_err(|_| Error::PoolClosed)
    }

    /// One that lies idle, or a new one; whichever is there first.
    async fn connection(&self) -> Result<Kept, Error> {
        loop {
            while let Some(kept) = self.idle() {
                if let Some(kept) = self.well(kept).await {
                    return Ok(kept);
                }
            }
            tokio::select! {
                biased;
                // What came back since we looked is remembered.
                () = self.0.came_back.notified() => {}
                permit = self.0.opening.acquire() => {
                    let _permit = permit.map_err(|_| Error::PoolClosed)?;
                    return self.open().await;
                }
            }
        }
    }

    fn idle(&self) -> Option<Kept> {
        lock(&self.0.idle).pop()
    }

    /// One that lay idle, unless it does not answer.
    async fn well(&self, mut kept: Kept) -> Option<Kept> {
        if kept.opened_at.elapsed() >= LIFETIME_MAX {
            return None;
        }
        if kept.well_at.elapsed() < TRUSTED_IDLE {
            return Some(kept);
        }
        let answer = tokio::time::timeout(PING_MAX, kept.conn.ping()).await;
        if !matches!(answer, Ok(Ok(()))) {
            self.broke(kept.well_at);
            return None;
        }
        kept.well_at = Instant::now();
        Some(kept)
    }

    /// A new one, sooner or later: a server that starts, stops or is full refuses some, and a connection may break while it
    /// is made. Nothing was asked by then, so that it is tried until nobody waits for it any more.
    async fn open(&self) -> Result<Kept, Error> {
        let mut backoff = Backoff::new();
        loop {
            match self.0.options.connect().await {
                Ok(conn) => {
                    let now = Instant::now();
                    return Ok(Kept {
                        conn,
                        opened_at: now,
                        well_at: now,
                    });
                }
                Err(error) if is_broken(&error) || is_not_there(&error) => backoff.wait().await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Kept {
    /// When it was well the last time, as far as is known.
    pub(crate) const fn well_at(&self) -> Instant {
        self.well_at
    }
}

/// Whether a server that refuses connections may soon take them: it starts or stops, or has as many as it may.
fn is_not_there(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["53300", "57P03"].contains(&code.as_ref()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn close_unused(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(IDLE_MAX / 10).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        lock(&shared.idle).retain(|kept| kept.well_at.elapsed() < IDLE_MAX);
    }
}
