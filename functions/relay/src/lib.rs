//! Publishes: outbox rows, and wake-ups for jobs that somebody could claim now. The only publisher there is.
//!
//! One relay serves one broker. It publishes at least once and in no order; a row goes when its broker has answered 2xx.
//! It wakes by a notification, by the next due time and by a poll. While it is idle it arms the notification; while it
//! is busy writers pay nothing for it.

mod answer;
mod publish;
mod settings;
mod wakeups;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use host::{Ctx, Function, Kind};
use model::{Broker, DatabaseRole};
use sqlx::postgres::PgListener;
use store::outbox::OutboxEvent;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::publish::Sink;
use crate::settings::Settings;
use crate::wakeups::Wakeups;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Relay,
    routes: |env| {
        let settings: Settings = env.parse()?;
        settings.check()?;
        Ok(host::background(move |ctx| run(ctx, settings.clone())))
    },
};

/// How long a lost wake-up may stay lost.
const POLL: Duration = Duration::from_secs(5);
/// A writer that read the flag before it was armed may commit after the look that follows the arming: another look is
/// taken after this time.
const SHORTLY: Duration = Duration::from_millis(25);
/// Jobs taken back or made due at a time.
const BATCH: i32 = 500;
/// The shortest sleep, whatever the due times say.
const SLEEP_MIN: Duration = Duration::from_millis(5);
/// The longest pause after failures; the first is half a second, each further one twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(15);
const PAUSE_MIN: Duration = Duration::from_millis(500);

async fn run(ctx: Ctx, settings: Settings) -> anyhow::Result<()> {
    let sink = Sink::new(&ctx, &settings)?;
    let mut relay = Relay {
        broker: settings.relay_broker,
        concurrency: settings.relay_concurrency,
        sink,
        ctx,
        posts: JoinSet::new(),
        under_way: HashSet::new(),
        wakeups: Wakeups::default(),
        failures: 0,
        pause_until: Instant::now(),
    };
    tracing::info!(broker = %relay.broker, sink = %relay.sink.url(), "relaying");
    let mut listener = relay.listen().await?;
    while !relay.ctx.stopping().is_cancelled() {
        if relay.look().await? {
            relay.progress().await?;
            continue;
        }
        // Nothing to do as far as one can see: ask to be woken, and look again for what came in between.
        relay
            .ctx
            .store()
            .arm_relay(relay.broker)
            .await
            .context("could not arm the wake-up")?;
        if relay.look().await? {
            relay.progress().await?;
            continue;
        }
        relay.sleep(&mut listener).await?;
    }
    // What is being published may still be acknowledged; what is not is published again by whoever comes next.
    while !relay.posts.is_empty() {
        relay.progress().await?;
    }
    Ok(())
}

struct Relay {
    broker: Broker,
    concurrency: usize,
    sink: Sink,
    ctx: Ctx,
    posts: JoinSet<(Post, Answer)>,
    under_way: HashSet<i64>,
    wakeups: Wakeups,
    failures: u32,
    pause_until: Instant,
}

/// What was posted.
enum Post {
    Row { row: i64, attempts: i32 },
    Wakeup { task: String },
}

impl Relay {
    async fn listen(&self) -> anyhow::Result<PgListener> {
        let mut listener = self
            .ctx
            .system_db()
            .listener()
            .await
            .context("could not listen to the database")?;
        listener
            .listen("switchyard_relay")
            .await
            .context("could not listen to the database")?;
        Ok(listener)
    }

    /// Publishes what is due. True when there was something, so that another look is worth it once a post has ended.
    async fn look(&mut self) -> anyhow::Result<bool> {
        if Instant::now() < self.pause_until {
            return Ok(false);
        }
        let mut found = false;
        if self.broker == Broker::Work {
            found |= self.wake_tasks().await?;
        }
        let free = self.concurrency.saturating_sub(self.posts.len());
        if free == 0 {
            return Ok(true);
        }
        let under_way: Vec<i64> = self.under_way.iter().copied().collect();
        let due = self
            .ctx
            .store()
            .outbox_due(
                self.broker,
                i64::try_from(free).unwrap_or(i64::MAX),
                &under_way,
            )
            .await
            .context("could not read the outbox")?;
        for event in due {
            found = true;
            self.post_row(event).await?;
        }
        Ok(found)
    }

    async fn post_row(&mut self, event: OutboxEvent) -> anyhow::Result<()> {
        let (row, attempts) = (event.row, event.attempts);
        match publish::message(&event) {
            Ok(message) => {
                self.under_way.insert(row);
                let posting = self.sink.post(message);
                self.posts
                    .spawn(async move { (Post::Row { row, attempts }, posting.await) });
            }
            // No broker will ever take it: set aside where people see it, so that it does not stop the others.
            Err(error) => {
                let text = format!("it is no event: {error:#}");
                tracing::error!(outbox.row = row, "{text}");
                self.ctx
                    .store()
                    .outbox_refused(row, &text)
                    .await
                    .context("could not set an outbox row aside")?;
            }
        }
        Ok(())
    }

    async fn wake_tasks(&mut self) -> anyhow::Result<bool> {
        let queue = self.ctx.queue();
        let claimable = queue
            .claimable(wakeups::PER_TASK)
            .await
            .context("could not look for ready jobs")?;
        let mut found = false;
        for task in self.wakeups.due(&claimable, Instant::now()) {
            found = true;
            let message = publish::wakeup(&task, self.ctx.new_id())?;
            let posting = self.sink.post(message);
            self.posts
                .spawn(async move { (Post::Wakeup { task }, posting.await) });
        }
        // What was ready comes first; only then what the clock makes ready.
        if queue
            .next_due()
            .await
            .context("could not look at due times")?
            == Some(Duration::ZERO)
        {
            let reaped = queue
                .reap(BATCH)
                .await
                .context("could not take jobs back")?;
            let made_due = queue
                .make_due(BATCH)
                .await
                .context("could not make jobs ready")?;
            if reaped > 0 {
                tracing::warn!("took back {reaped} jobs whose leases were over");
            }
            found |= reaped + made_due > 0;
        }
        Ok(found)
    }

    /// Waits until a post has ended and settles all that have, or returns at once when none is under way.
    async fn progress(&mut self) -> anyhow::Result<()> {
        if self.posts.len() >= self.concurrency || self.ctx.stopping().is_cancelled() {
            let ended = self.posts.join_next().await;
            self.settle(ended).await
        } else {
            let ended = self.posts.try_join_next();
            self.settle(ended).await
        }
    }

    /// Settles a post and all others that have ended meanwhile.
    async fn settle(
        &mut self,
        first: Option<Result<(Post, Answer), tokio::task::JoinError>>,
    ) -> anyhow::Result<()> {
        let mut published = Vec::new();
        let mut next = first;
        while let Some(ended) = next {
            let (post, answer) = ended.context("publishing panicked")?;
            self.heed(&answer);
            match (post, answer) {
                (Post::Row { row, .. }, Answer::Taken) => published.push(row),
                (Post::Row { row, .. }, Answer::Refused(error)) => {
                    tracing::error!(
                        outbox.row = row,
                        "the broker refused an event for good: {error}"
                    );
                    self.ctx.store().outbox_refused(row, &error).await?;
                    self.under_way.remove(&row);
                }
                (Post::Row { row, attempts }, Answer::Later { error, after, .. }) => {
                    let delay = after.unwrap_or_else(|| answer::backoff(attempts));
                    tracing::warn!(
                        outbox.row = row,
                        "an event was not published and is tried again in {} ms: {error}",
                        delay.as_millis()
                    );
                    self.ctx.store().outbox_failed(row, &error, delay).await?;
                    self.under_way.remove(&row);
                }
                (Post::Wakeup { .. }, Answer::Taken) => {}
                // A broker that answers only when the task is done is no failure: the wake-up is there.
                (
                    Post::Wakeup { .. },
                    Answer::Later {
                        timed_out: true, ..
                    },
                ) => {}
                (Post::Wakeup { task }, Answer::Later { error, .. } | Answer::Refused(error)) => {
                    tracing::warn!(task.type = task, "a wake-up was not published: {error}");
                    self.wakeups.forget(&task);
                }
            }
            next = self.posts.try_join_next();
        }
        if !published.is_empty() {
            self.ctx
                .store()
                .outbox_published(&published)
                .await
                .context("could not mark events as published; they are published again")?;
            for row in published {
                self.under_way.remove(&row);
            }
        }
        Ok(())
    }

    /// A broker that is down or asks for time is left alone for a while, all rows together.
    fn heed(&mut self, answer: &Answer) {
        match answer {
            Answer::Taken
            | Answer::Refused(_)
            | Answer::Later {
                timed_out: true, ..
            } => self.failures = 0,
            Answer::Later { after, .. } => {
                self.failures = self.failures.saturating_add(1);
                let pause = after.unwrap_or_else(|| {
                    (PAUSE_MIN * 2_u32.saturating_pow(self.failures.min(10) - 1)).min(PAUSE_MAX)
                });
                self.pause_until = self.pause_until.max(Instant::now() + pause);
            }
        }
    }

    /// Sleeps until there may be something to do.
    async fn sleep(&mut self, listener: &mut PgListener) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut until = now + POLL;
        if self.under_way.is_empty()
            && let Some(next) = self.ctx.store().outbox_next(self.broker).await?
        {
            until = until.min(now + next);
        }
        if self.broker == Broker::Work
            && let Some(next) = self.ctx.queue().next_due().await?
        {
            until = until.min(now + next);
        }
        let until = until.max(self.pause_until).max(now + SLEEP_MIN);
        let stopping = self.ctx.stopping().clone();
        let mut looked_shortly = false;
        loop {
            let wake = if looked_shortly {
                until
            } else {
                until.min(now + SHORTLY)
            };
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                ended = self.posts.join_next(), if !self.posts.is_empty() => {
                    return self.settle(ended).await;
                }
                // None says that the connection broke: what was sent meanwhile is lost, so look.
                notified = listener.try_recv() => {
                    match notified.context("could not listen to the database")? {
                        Some(notification) if notification.payload() != self.broker.as_str() => {}
                        Some(_) | None => return Ok(()),
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    if looked_shortly || wake >= until {
                        return Ok(());
                    }
                    looked_shortly = true;
                    if self.look().await? {
                        return Ok(());
                    }
                }
            }
        }
    }
}
