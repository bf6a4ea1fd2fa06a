//! Publishes: outbox rows, and wake-ups for jobs that somebody could claim now. The only publisher there is.
//!
//! One relay serves one broker. It publishes at least once and in no order; a row goes when its broker has answered 2xx.
//! It wakes by a notification, by the next due time and by a poll. While it is idle it arms the notification; while it
//! is busy writers pay nothing for it.

mod answer;
mod ears;
mod publish;
mod rows;
mod rush;
mod settings;
mod wakeups;

use std::time::Duration;

use anyhow::Context as _;
use events::EventType;
use host::metrics::{Repair, Stopped};
use host::{Ctx, Function, Kind};
use model::{Broker, DatabaseRole, JobState};
use queue::Claimable;
use store::outbox::{OutboxEvent, OutboxRow};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::ears::Ears;
use crate::publish::{Counted, Sink};
use crate::rows::{Rows, Settled};
use crate::rush::Rush;
use crate::settings::Settings;
use crate::wakeups::{Wakeup, Wakeups};

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

/// A writer that read the flag before it was armed may commit after the look that follows the arming: another look is
/// taken after this time.
const SHORTLY: Duration = Duration::from_millis(25);
/// Of the events that are published at a time, the part that wake-ups may take: a backlog does not keep a cancel waiting.
const WAKEUPS_PART: (usize, usize) = (3, 4);
/// How often the workers are asked on how many jobs they work at a time.
const SLOTS_EVERY: Duration = Duration::from_secs(15);
/// Jobs taken back or made due at a time.
const BATCH: i32 = 500;
/// The shortest sleep, whatever the due times say.
const SLEEP_MIN: Duration = Duration::from_millis(5);
/// The longest pause after failures; the first is half a second, each further one twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(15);
const PAUSE_MIN: Duration = Duration::from_millis(500);

async fn run(ctx: Ctx, settings: Settings) -> anyhow::Result<()> {
    let sink = Sink::new(&ctx, &settings)?;
    let broker = settings.relay_broker;
    ctx.metrics().know_sink(broker.as_str());
    let mut ears = Ears::new(ctx.clone(), broker);
    let mut relay = Relay {
        broker,
        concurrency: settings.relay_concurrency,
        sink,
        ctx,
        posts: JoinSet::new(),
        rows: Rows::default(),
        wakeups: Wakeups::default(),
        waking: 0,
        slots_at: Instant::now(),
        // Whoever was here before may have.
        asks: broker == Broker::Work,
        found: false,
        failures: 0,
        pause_until: Instant::now(),
        rush: Rush::default(),
    };
    tracing::info!(broker = %relay.broker, sink = %relay.sink.url(), "relaying");
    while !relay.ctx.stopping().is_cancelled() {
        if relay.look().await? {
            // Once is soon over: those who add jobs may as well look.
            if std::mem::replace(&mut relay.found, true) {
                relay.say_heard().await?;
            }
            relay.progress().await?;
            continue;
        }
        relay.found = false;
        if relay.rush.is_on(Instant::now()) {
            relay.say_heard().await?;
            relay.doze(&mut ears).await?;
            continue;
        }
        // Nothing to do as far as one can see: ask to be woken, and look again for what came in between.
        relay
            .ctx
            .store()
            .arm_relay(relay.broker)
            .await
            .context("could not arm the wake-up")?;
        relay.asks = true;
        if ears.prick().await || relay.look().await? {
            relay.progress().await?;
            continue;
        }
        relay.sleep(&mut ears).await?;
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
    posts: JoinSet<(Post, publish::Posted)>,
    rows: Rows,
    wakeups: Wakeups,
    /// Wake-ups that are being published.
    waking: usize,
    slots_at: Instant,
    /// Whether those who add jobs look if it is to be told.
    asks: bool,
    /// Whether the last look found something.
    found: bool,
    failures: u32,
    pause_until: Instant,
    rush: Rush,
}

/// What was posted.
enum Post {
    Event {
        row: i64,
        place: i64,
        counted: Option<Counted>,
    },
    Wakeup {
        task: String,
    },
}

impl Relay {
    /// Publishes what is due. True when there was something, so that another look is worth it once a post has ended.
    async fn look(&mut self) -> anyhow::Result<bool> {
        if Instant::now() < self.pause_until {
            return Ok(false);
        }
        let mut found = false;
        if self.broker == Broker::Work {
            found |= self.wake_tasks().await?;
        }
        if self.free() == 0 {
            return Ok(true);
        }
        found |= self.rows.has_unsent();
        if !self.rows.has_unsent() {
            for row in self.due().await? {
                found = true;
                if let Some(settled) = self.rows.add(row) {
                    self.settle_rows(vec![settled]).await?;
                }
            }
        }
        while self.free() > 0
            && let Some((row, event)) = self.rows.next()
        {
            self.post(row, &event).await?;
        }
        Ok(found)
    }

    /// While it is awake nobody has to look whether it is to be told.
    async fn say_heard(&mut self) -> anyhow::Result<()> {
        if self.asks && self.broker == Broker::Work {
            self.ctx
                .store()
                .relay_heard(self.broker)
                .await
                .context("could not say that it is awake")?;
        }
        self.asks = false;
        Ok(())
    }

    async fn due(&self) -> anyhow::Result<Vec<OutboxRow>> {
        self.ctx
            .store()
            .outbox_due(
                self.broker,
                i64::try_from(self.free()).unwrap_or(i64::MAX),
                &self.rows.under_way(),
            )
            .await
            .context("could not read the outbox")
    }

    /// How many events more may be published at a time.
    fn free(&self) -> usize {
        self.concurrency.saturating_sub(self.posts.len())
    }

    async fn post(&mut self, row: i64, event: &OutboxEvent) -> anyhow::Result<()> {
        match publish::message(event) {
            Ok(message) => {
                let posting = self.sink.post(message);
                let post = Post::Event {
                    row,
                    place: event.place,
                    counted: publish::counted(event),
                };
                self.posts.spawn(async move { (post, posting.await) });
            }
            // No broker will ever take it: set aside where people see it, so that it does not stop the others.
            Err(error) => {
                let text = format!("it is no event: {error:#}");
                let settled = self.rows.answered(row, event.place, Answer::Refused(text));
                self.settle_rows(settled.into_iter().collect()).await?;
            }
        }
        Ok(())
    }

    /// Tells the tasks of these jobs that were not told of them lately. True when there was one.
    fn wake(&mut self, claimable: &[Claimable]) -> anyhow::Result<bool> {
        let (part, of) = WAKEUPS_PART;
        let room = (self.concurrency * part / of)
            .max(1)
            .saturating_sub(self.waking)
            .min(self.free());
        let due = self.wakeups.due(claimable, room, Instant::now());
        let found = !due.is_empty();
        for Wakeup { task, executor } in due {
            let message = publish::wakeup(&task, executor, self.ctx.new_id())?;
            let posting = self.sink.post(message);
            self.waking += 1;
            self.posts
                .spawn(async move { (Post::Wakeup { task }, posting.await) });
        }
        Ok(found)
    }

    async fn wake_tasks(&mut self) -> anyhow::Result<bool> {
        if Instant::now() >= self.slots_at {
            self.slots_at = Instant::now() + SLOTS_EVERY;
            let slots = self.ctx.queue().slots().await;
            self.wakeups
                .know_slots(slots.context("could not ask who works")?);
        }
        let claimable = self
            .ctx
            .queue()
            .claimable(wakeups::PER_TASK)
            .await
            .context("could not look for ready jobs")?;
        let mut found = self.wake(&claimable)?;
        // What was ready comes first; only then what the clock makes ready.
        let queue = self.ctx.queue();
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
                self.ctx.metrics().repaired(
                    Repair::LeaseExpired,
                    u64::try_from(reaped).unwrap_or_default(),
                );
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
        first: Option<Result<(Post, publish::Posted), tokio::task::JoinError>>,
    ) -> anyhow::Result<()> {
        let mut settled = Vec::new();
        let mut next = first;
        while let Some(ended) = next {
            let (post, posted) = ended.context("publishing panicked")?;
            self.heed(&posted.answer);
            self.count(&post, &posted);
            match (post, posted.answer) {
                (Post::Event { row, place, .. }, answer) => {
                    settled.extend(self.rows.answered(row, place, answer));
                }
                // A broker that answers only when the task is done is no failure: the wake-up is there.
                (
                    Post::Wakeup { .. },
                    Answer::Taken
                    | Answer::Later {
                        timed_out: true, ..
                    },
                ) => self.waking -= 1,
                (Post::Wakeup { task }, Answer::Later { error, .. } | Answer::Refused(error)) => {
                    self.waking -= 1;
                    tracing::warn!(task.type = task, "a wake-up was not published: {error}");
                    self.wakeups.forget(&task);
                }
            }
            next = self.posts.try_join_next();
        }
        self.settle_rows(settled).await
    }

    async fn settle_rows(&mut self, settled: Vec<Settled>) -> anyhow::Result<()> {
        let mut published = Vec::new();
        for row in settled {
            match row {
                Settled::Published(row) => published.push(row),
                Settled::Failed {
                    row,
                    sent,
                    error,
                    delay,
                } => {
                    tracing::warn!(
                        outbox.row = row,
                        "not everything was published; the rest is tried again in {} ms: {error}",
                        delay.as_millis()
                    );
                    self.ctx
                        .store()
                        .outbox_failed(row, &sent, &error, delay)
                        .await
                        .context("could not keep a row for later")?;
                }
                Settled::Refused { row, sent, error } => {
                    tracing::error!(
                        outbox.row = row,
                        "an event is refused for good and set aside: {error}"
                    );
                    self.ctx
                        .store()
                        .outbox_refused(row, &sent, &error)
                        .await
                        .context("could not set a row aside")?;
                }
            }
        }
        if !published.is_empty() {
            self.ctx
                .store()
                .outbox_published(&published)
                .await
                .context("could not mark events as published; they are published again")?;
        }
        Ok(())
    }

    fn count(&self, post: &Post, posted: &publish::Posted) {
        let metrics = self.ctx.metrics();
        metrics.delivered(self.broker.as_str(), posted.status);
        match &posted.answer {
            Answer::Taken
            | Answer::Later {
                timed_out: true, ..
            } => {}
            Answer::Later { .. } => metrics.publish_failed(self.broker),
            Answer::Refused(_) => {
                metrics.publish_failed(self.broker);
                metrics.dead_lettered(self.broker.as_str());
            }
        }
        // What became of jobs is counted here, because everybody's word of it passes here, whoever ended them.
        let Post::Event {
            counted: Some(counted),
            ..
        } = post
        else {
            return;
        };
        if posted.answer != Answer::Taken {
            return;
        }
        match (counted.ty, counted.state) {
            (EventType::JobCancelRequested, _) => metrics.stop_requested(&counted.task),
            (_, Some(state)) => {
                metrics.finished(&counted.task, state);
                if state == JobState::Cancelled {
                    metrics.stopped(&counted.task, Stopped::Ok);
                }
            }
            (_, None) => {}
        }
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

    /// Waits for a moment without being armed, while so much is written that nobody needs to tell.
    async fn doze(&mut self, ears: &mut Ears) -> anyhow::Result<()> {
        let stopping = self.ctx.stopping().clone();
        let until = Instant::now() + rush::LOOK_EVERY;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                ended = self.posts.join_next(), if !self.posts.is_empty() => {
                    self.settle(ended).await?;
                }
                // From before; the look that follows finds what it told of.
                _ = ears.hear() => {}
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    /// Sleeps until there may be something to do.
    async fn sleep(&mut self, ears: &mut Ears) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut until = now + ears.poll();
        if self.rows.is_empty()
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
        // The questions above take long when much is written, which is when it matters how soon it is told.
        let asleep = Instant::now();
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
                told = ears.hear() => {
                    let heard = Instant::now();
                    self.rush.woken(asleep, heard);
                    // Whether there is more shows the look that follows.
                    if heard >= self.pause_until {
                        self.wake(told.as_slice())?;
                    }
                    return Ok(());
                }
                () = tokio::time::sleep_until(wake) => {
                    self.rush.slept();
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

#[cfg(test)]
mod tests;
