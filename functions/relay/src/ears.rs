//! Hears when somebody has written for the relay, and knows whether it hears at all.
//!
//! A pooler in transaction mode takes `listen` and swallows what is notified; a network may lose a connection without telling
//! either side. So the relay notifies itself at the start and every now and then. While that does not arrive it looks by the
//! clock, more often than it otherwise would; nothing here ever stops it from looking.

use std::time::Duration;

use host::Ctx;
use model::Broker;
use queue::Claimable;
use sqlx::postgres::PgListener;
use tokio::time::Instant;

/// How long a lost wake-up may stay lost.
const POLL: Duration = Duration::from_secs(5);
/// The same while none arrives.
const POLL_DEAF: Duration = Duration::from_secs(1);
/// How long a notification may take.
const TEST_TIMEOUT: Duration = Duration::from_secs(2);
/// After one that arrived.
const TEST_EVERY: Duration = Duration::from_secs(60);
/// After one that did not, and between attempts to listen.
const RETRY: Duration = Duration::from_secs(10);
/// How long the database may take to be listened to.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

const CHANNEL: &str = "switchyard_relay";

/// The ears of one relay.
pub(crate) struct Ears {
    ctx: Ctx,
    broker: Broker,
    listener: Option<PgListener>,
    /// What was notified and when it must have arrived; the time begins when somebody listens for it.
    test: Option<(String, Option<Instant>)>,
    /// Nothing before the first test.
    hears: Option<bool>,
    /// The database does not know it yet.
    unrecorded: bool,
    test_at: Instant,
}

impl Ears {
    pub(crate) fn new(ctx: Ctx, broker: Broker) -> Self {
        Self {
            ctx,
            broker,
            listener: None,
            test: None,
            hears: None,
            unrecorded: false,
            test_at: Instant::now(),
        }
    }

    /// How long a wake-up may stay lost now.
    pub(crate) fn poll(&self) -> Duration {
        if self.hears == Some(false) {
            POLL_DEAF
        } else {
            POLL
        }
    }

    /// Listens, unless it does already, and tries whether notifications arrive when it is time to. True when it has only
    /// begun to listen: what was notified before is lost, so look.
    pub(crate) async fn prick(&mut self) -> bool {
        self.record().await;
        if Instant::now() < self.test_at {
            return false;
        }
        self.test_at = Instant::now() + RETRY;
        let begins = self.listener.is_none();
        if begins {
            match tokio::time::timeout(LISTEN_TIMEOUT, self.listen()).await {
                Ok(Ok(listener)) => self.listener = Some(listener),
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the database cannot be listened to; looking by the clock"
                    );
                    return false;
                }
                Err(_) => {
                    tracing::warn!(
                        "the database could not be listened to in time; looking by the clock"
                    );
                    return false;
                }
            }
        }
        if self.test.is_none() {
            let token = format!("test:{}", self.ctx.new_id());
            match self.ctx.store().test_notify(&token).await {
                Ok(()) => self.test = Some((token, None)),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "it could not be tried whether notifications arrive"
                ),
            }
        }
        begins
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = self.ctx.system_db().listener().await?;
        // A connection that breaks is opened again here, where it has a limit.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }

    /// Waits until somebody has written for this relay, or may have. Returns which job, when that was said. Can be dropped at
    /// any time and called again.
    pub(crate) async fn hear(&mut self) -> Option<Claimable> {
        loop {
            let Some(listener) = &mut self.listener else {
                return std::future::pending().await;
            };
            let deadline = self
                .test
                .as_mut()
                .map(|(_, until)| *until.get_or_insert_with(|| Instant::now() + TEST_TIMEOUT));
            let heard = tokio::select! {
                biased;
                heard = listener.try_recv() => heard,
                () = until(deadline) => {
                    self.test = None;
                    self.listener = None;
                    self.test_at = Instant::now() + RETRY;
                    self.found(false);
                    return None;
                }
            };
            match heard {
                Ok(Some(notification)) => {
                    let token = notification.payload();
                    if token.split(' ').next() == Some(self.broker.as_str()) {
                        return Claimable::told(token);
                    }
                    if self.test.as_ref().is_some_and(|(test, _)| test == token) {
                        self.test = None;
                        self.test_at = Instant::now() + TEST_EVERY;
                        self.found(true);
                        return None;
                    }
                }
                // What was sent since is lost.
                broken => {
                    if let Err(error) = broken {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the connection that listens broke"
                        );
                    }
                    self.test = None;
                    self.listener = None;
                    self.test_at = Instant::now();
                    return None;
                }
            }
        }
    }

    fn found(&mut self, hears: bool) {
        match (self.hears, hears) {
            (None | Some(true), false) => tracing::error!(
                broker = %self.broker,
                "notifications do not arrive: is there a pooler in transaction mode between here and the database? \
                 Everything goes on, up to {} s later than it could; give the relay a direct DATABASE_URL",
                POLL_DEAF.as_secs()
            ),
            (None | Some(false), true) => tracing::info!(
                broker = %self.broker,
                "notifications arrive"
            ),
            (Some(true), true) | (Some(false), false) => {}
        }
        self.hears = Some(hears);
        self.unrecorded = true;
    }

    /// Records what was found; apart from finding it, which may be dropped half-way.
    async fn record(&mut self) {
        let Some(hears) = self.hears.filter(|_| self.unrecorded) else {
            return;
        };
        match self.ctx.store().note_hearing(self.broker, hears).await {
            Ok(()) => self.unrecorded = false,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether notifications arrive could not be recorded"
            ),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
