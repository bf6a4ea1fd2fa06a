//! The deliveries of one Trigger.
//!
//! Events come from the Broker's writer while they are being written and are sent at once; what became of them is
//! recorded when they are rows. Memory is bounded: what does not fit
//! stays in the database, and the lane fetches it when there is room, as it does at the start with what an earlier run left.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use events::catalogue::extension;
use events::{Decoded, Limits, Message};
use store::Store;
use store::broker::{DeliveryFailure, DeliveryProgress, DeliveryState, SettledDelivery};
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::policy::{Failed, Next, Policy, is_retryable};
use super::settle::Settled;
use super::sink::{Answer, Sink, Sinks};
use super::stored::{Event, is_structured, passed_on};
use crate::local::manifests::Format;

/// Requests to a subscriber at a time; a Service's own `containerConcurrency` may be less.
const IN_FLIGHT_MAX: usize = 64;
/// Deliveries that a lane has in hand: under way, or waiting for an attempt or for their record.
const IN_HAND_MAX: usize = 1024;
/// Bytes of their events; one may be larger.
const IN_HAND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Deliveries fetched from the database at once.
const FETCH_MAX: usize = 128;
/// Before a fetch that failed is tried again.
const FETCH_WAIT: Duration = Duration::from_secs(1);

/// What others know of a lane. Cheap to clone.
#[derive(Clone)]
pub(super) struct LaneHandle(Arc<Shared>);

struct Shared {
    inbox: mpsc::Sender<Arc<Event>>,
    in_hand: Mutex<InHand>,
    /// Something is only in the database.
    behind: AtomicBool,
    /// Something that did not fit may not be a row yet: to be looked for again when it is.
    overflowed: AtomicBool,
    wake: Notify,
}

/// The events that are in memory, and their sizes.
#[derive(Default)]
struct InHand {
    events: HashMap<Uuid, usize>,
    bytes: usize,
}

impl InHand {
    fn let_go(&mut self, event: Uuid) {
        self.bytes -= self.events.remove(&event).unwrap_or_default();
    }
}

pub(super) fn channel() -> (LaneHandle, mpsc::Receiver<Arc<Event>>) {
    let (inbox, receiver) = mpsc::channel(IN_HAND_MAX);
    let shared = Shared {
        inbox,
        in_hand: Mutex::default(),
        // Whatever an earlier run left.
        behind: AtomicBool::new(true),
        overflowed: AtomicBool::new(false),
        wake: Notify::new(),
    };
    (LaneHandle(Arc::new(shared)), receiver)
}

impl LaneHandle {
    /// Gives an event to the lane; never waits. One that does not fit is fetched when it is a row.
    pub(super) fn offer(&self, event: Arc<Event>) {
        if self.0.inbox.try_send(event).is_err() {
            self.overflow();
        }
    }

    /// Says that what was offered is rows now.
    pub(super) fn written(&self) {
        if self.0.overflowed.swap(false, Ordering::AcqRel) {
            self.fall_behind();
        }
    }

    /// An event does not fit. If it is a row it is fetched from now on, and else when [`LaneHandle::written`] is called:
    /// in this order, so that one of the two finds it.
    fn overflow(&self) {
        self.0.overflowed.store(true, Ordering::Release);
        self.fall_behind();
    }

    /// The end of a delivery is recorded: it will not be fetched again.
    pub(super) fn forget(&self, event: Uuid) {
        self.in_hand().let_go(event);
        if self.0.behind.load(Ordering::Acquire) {
            self.0.wake.notify_one();
        }
    }

    fn fall_behind(&self) {
        self.0.behind.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }

    fn in_hand(&self) -> std::sync::MutexGuard<'_, InHand> {
        self.0
            .in_hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event in hand; false when it is there already.
    fn hold(&self, event: &Event) -> bool {
        let mut in_hand = self.in_hand();
        let fresh = in_hand.events.insert(event.id, event.body.len()).is_none();
        if fresh {
            in_hand.bytes += event.body.len();
        }
        fresh
    }

    /// How many more fit.
    fn room(&self) -> usize {
        let in_hand = self.in_hand();
        if in_hand.bytes >= IN_HAND_BYTES_MAX {
            return 0;
        }
        IN_HAND_MAX.saturating_sub(in_hand.events.len())
    }
}

/// What a lane is made of.
pub(super) struct Parts {
    pub(super) trigger: String,
    pub(super) broker: String,
    pub(super) subscriber: Sink,
    pub(super) dead_letter_sink: Option<Sink>,
    pub(super) policy: Policy,
    pub(super) sinks: Arc<Sinks>,
    pub(super) store: Store,
    pub(super) settler: mpsc::Sender<Settled>,
    pub(super) inbox: mpsc::Receiver<Arc<Event>>,
    pub(super) handle: LaneHandle,
}

/// The task that delivers for one Trigger.
pub(super) struct Lane {
    to: Arc<Sender>,
    store: Store,
    settler: mpsc::Sender<Settled>,
    inbox: mpsc::Receiver<Arc<Event>>,
    handle: LaneHandle,
    ready: VecDeque<Delivery>,
    waiting: BTreeMap<(Instant, Uuid), Delivery>,
    running: JoinSet<Attempted>,
    running_ids: HashMap<Id, Uuid>,
    fetch_at: Instant,
}

/// One event on its way to one Trigger's subscriber.
struct Delivery {
    event: Arc<Event>,
    progress: DeliveryProgress,
}

/// A delivery and what came of one attempt.
type Attempted = (Delivery, Result<(), Failed>);

impl Lane {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            to: Arc::new(Sender {
                trigger: parts.trigger,
                broker: parts.broker,
                subscriber: parts.subscriber,
                dead_letter_sink: parts.dead_letter_sink,
                policy: parts.policy,
                sinks: parts.sinks,
            }),
            store: parts.store,
            settler: parts.settler,
            inbox: parts.inbox,
            handle: parts.handle,
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
            running: JoinSet::new(),
            running_ids: HashMap::new(),
            fetch_at: Instant::now(),
        }
    }

    /// Delivers until asked to stop, then waits for what is under way. The rest stays in the database.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.wants_to_fetch() && self.fetch_at <= Instant::now() {
                self.fetch().await;
            }
            self.start();
            let alarm = self.alarm();
            tokio::select! {
                // An event is taken before the end of one is: what the database has just told of is then known.
                biased;
                () = stop.cancelled() => {}
                Some(event) = self.inbox.recv() => self.take(event),
                Some(ended) = self.running.join_next_with_id() => self.ended(ended).await,
                () = self.handle.0.wake.notified() => {}
                () = until(alarm) => self.due(),
            }
        }
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended).await;
        }
    }

    fn wants_to_fetch(&self) -> bool {
        self.handle.0.behind.load(Ordering::Acquire) && self.handle.room() >= FETCH_MAX
    }

    /// When there is something to do even if nothing happens.
    fn alarm(&self) -> Option<Instant> {
        let due = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let fetch = self.wants_to_fetch().then_some(self.fetch_at);
        due.into_iter().chain(fetch).min()
    }

    fn take(&mut self, event: Arc<Event>) {
        if self.handle.room() == 0 {
            self.handle.overflow();
        } else if self.handle.hold(&event) {
            let progress = DeliveryProgress::default();
            self.ready.push_back(Delivery { event, progress });
        }
    }

    async fn fetch(&mut self) {
        // Before the look: what falls behind during it is looked for again.
        self.handle.0.behind.store(false, Ordering::Release);
        let in_hand: Vec<Uuid> = self.handle.in_hand().events.keys().copied().collect();
        let found = self
            .store
            .broker_pending(&self.to.trigger, &in_hand, FETCH_MAX as i64)
            .await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(
                    trigger = self.to.trigger,
                    "deliveries could not be fetched: {error}"
                );
                self.handle.0.behind.store(true, Ordering::Release);
                self.fetch_at = Instant::now() + FETCH_WAIT;
                return;
            }
        };
        if found.len() == FETCH_MAX {
            self.handle.0.behind.store(true, Ordering::Release);
        }
        for row in found {
            let event = Arc::new(Event::stored(row.event_id, &row.head, row.body, row.ttl));
            if self.handle.hold(&event) {
                let delivery = Delivery {
                    event,
                    progress: row.progress,
                };
                self.wait(delivery, row.wait);
            }
        }
    }

    fn wait(&mut self, delivery: Delivery, wait: Duration) {
        if wait.is_zero() {
            self.ready.push_back(delivery);
        } else {
            self.waiting
                .insert((Instant::now() + wait, delivery.event.id), delivery);
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > now {
                return;
            }
            self.ready.push_back(first.remove());
        }
    }

    fn start(&mut self) {
        while self.running.len() < IN_FLIGHT_MAX {
            let Some(delivery) = self.ready.pop_front() else {
                return;
            };
            let (id, to) = (delivery.event.id, Arc::clone(&self.to));
            let task = self.running.spawn(async move {
                let outcome = to.attempt(&delivery).await;
                // What is recorded of it needs the row that it is recorded in.
                delivery.event.written.cancelled().await;
                (delivery, outcome)
            });
            self.running_ids.insert(task.id(), id);
        }
    }

    async fn ended(&mut self, ended: Result<(Id, Attempted), JoinError>) {
        let (mut delivery, outcome) = match ended {
            Ok((id, done)) => {
                self.running_ids.remove(&id);
                done
            }
            Err(error) => {
                tracing::error!(
                    trigger = self.to.trigger,
                    "an attempt broke off and is made again: {error}"
                );
                if let Some(event) = self.running_ids.remove(&error.id()) {
                    self.handle.in_hand().let_go(event);
                }
                self.fetch_at = Instant::now() + FETCH_WAIT;
                self.handle.0.behind.store(true, Ordering::Release);
                return;
            }
        };
        let next = self.to.policy.after(&mut delivery.progress, outcome);
        let (state, wait) = match next {
            Next::Again(wait) => (DeliveryState::Pending, wait),
            Next::End(state) => (state, Duration::ZERO),
        };
        self.to.say(&delivery, &next);
        let settled = SettledDelivery {
            event_id: delivery.event.id,
            trigger: self.to.trigger.clone(),
            state,
            progress: delivery.progress.clone(),
            wait,
        };
        if let Next::Again(wait) = next {
            self.wait(delivery, wait);
        }
        // Fails only when the runtime stops: the delivery is then made once more by the next.
        self.settler.send((settled, self.handle.clone())).await.ok();
    }
}

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What an attempt needs.
struct Sender {
    trigger: String,
    broker: String,
    subscriber: Sink,
    dead_letter_sink: Option<Sink>,
    policy: Policy,
    sinks: Arc<Sinks>,
}

impl Sender {
    async fn attempt(&self, delivery: &Delivery) -> Result<(), Failed> {
        match (&self.dead_letter_sink, &delivery.progress.failure) {
            (Some(sink), Some(failure)) if delivery.progress.dead_lettering => {
                self.dead_letter(sink, &delivery.event, failure).await
            }
            _ => self.deliver(&delivery.event).await,
        }
    }

    async fn deliver(&self, event: &Event) -> Result<(), Failed> {
        let dest = || self.sinks.url(&self.subscriber);
        let (mut headers, body) = self.form(event);
        headers.insert(
            HeaderName::from_static("prefer"),
            HeaderValue::from_static("reply"),
        );
        self.mark(&mut headers);
        let answer = self
            .sinks
            .post(&self.subscriber, headers, body, self.policy.timeout)
            .await
            .map_err(|why| Failed::unanswered(dest(), &why))?;
        if !answer.status.is_success() {
            return Err(Failed::answered(dest(), answer.status, &answer.body));
        }
        match reply_of(answer) {
            Reply::None => Ok(()),
            Reply::Event(message, answer) => self.reply(event, *message, &answer).await,
            // As the cluster's filter answers for a subscriber that answers with something else.
            Reply::NoEvent(body) => Err(Failed::answered(dest(), StatusCode::BAD_GATEWAY, &body)),
            // The filter lets it through, and the ingress refuses it: the reply has failed.
            Reply::Incomplete(why) => {
                let broker = self.sinks.url(&Sink::Broker(self.broker.clone()));
                Err(Failed::answered(
                    broker,
                    StatusCode::BAD_REQUEST,
                    &why.into(),
                ))
            }
        }
    }

    /// Gives a reply to the Broker, with as many retries as the event has. When it is not taken, it is the event that is
    /// dead-lettered; the subscriber is not asked again.
    async fn reply(
        &self,
        event: &Event,
        message: Message,
        answer: &HeaderMap,
    ) -> Result<(), Failed> {
        let message = message
            .without_extension(extension::BROKER_TTL)
            .with_extension(extension::BROKER_TTL, event.ttl);
        let broker = || self.sinks.url(&Sink::Broker(self.broker.clone()));
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                let why = Bytes::from(error.to_string());
                return Err(Failed::answered(broker(), StatusCode::BAD_REQUEST, &why));
            }
        };
        let mut attempts = 0_u32;
        loop {
            let brokers = &self.sinks.brokers;
            let accepted = brokers.accept(
                &self.broker,
                message.clone(),
                is_structured(answer),
                passed_on(answer),
            );
            let Err(refusal) = Box::pin(accepted).await else {
                return Ok(());
            };
            attempts += 1;
            if !is_retryable(refusal.status) || !self.policy.allows(attempts) {
                let mut failed = Failed::answered(broker(), refusal.status, &refusal.text.into());
                failed.retry = false;
                return Err(failed);
            }
            tokio::time::sleep(self.policy.wait_before(attempts)).await;
        }
    }

    async fn dead_letter(
        &self,
        sink: &Sink,
        event: &Event,
        failure: &DeliveryFailure,
    ) -> Result<(), Failed> {
        let dest = || self.sinks.url(sink);
        let letter = event.message().and_then(|message| {
            let message = message
                .with_extension(extension::ERROR_DESTINATION, failure.dest.as_str())
                .and_then(|message| {
                    message.with_extension(extension::ERROR_CODE, failure.code.to_string())
                })
                .ok()?;
            if failure.data.is_empty() {
                return Some(message);
            }
            // The data is cut so that this has 1024 characters at most.
            let data = BASE64_STANDARD.encode(&failure.data);
            message.with_extension(extension::ERROR_DATA, data).ok()
        });
        let Some(letter) = letter else {
            let mut failed =
                Failed::unanswered(dest(), "the event has no room for what dead letters carry");
            failed.retry = false;
            return Err(failed);
        };
        let passed_on = passed_on(&event.headers);
        let letter = Event::new(
            event.id,
            &letter,
            is_structured(&event.headers),
            &passed_on,
            event.ttl,
        );
        let (mut headers, body) = self.form(&letter);
        self.mark(&mut headers);
        let answer = self
            .sinks
            .post(sink, headers, body, self.policy.timeout)
            .await
            .map_err(|why| Failed::unanswered(dest(), &why))?;
        // Its answer's body is nobody's.
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(Failed::answered(dest(), answer.status, &answer.body))
        }
    }

    /// The event as it came, or in the form that the Trigger asks for.
    fn form(&self, event: &Event) -> (HeaderMap, Bytes) {
        let format = self
            .policy
            .format
            .and_then(|format| Some((format, event.message()?)));
        let Some((format, message)) = format else {
            return (event.headers.clone(), event.body.clone());
        };
        let (mut headers, body) = match format {
            Format::Json => events::encode_structured(&message),
            Format::Binary => events::encode_binary(&message),
        };
        headers.extend(passed_on(&event.headers));
        (headers, body)
    }

    fn mark(&self, headers: &mut HeaderMap) {
        if let Ok(namespace) = HeaderValue::from_str(&self.sinks.brokers.namespace) {
            headers.insert(HeaderName::from_static("kn-namespace"), namespace);
        }
    }

    /// One line for what went wrong, none for what went well.
    fn say(&self, delivery: &Delivery, next: &Next) {
        let Some(failure) = &delivery.progress.failure else {
            return;
        };
        let (trigger, id) = (&self.trigger, delivery.event.id);
        let (code, dest) = (failure.code, &failure.dest);
        let why = String::from_utf8_lossy(&failure.data);
        match next {
            Next::Again(wait) => {
                let wait = wait.as_millis();
                tracing::info!(trigger, event = %id, code, dest, why = %why, "an event was not taken; next attempt in {wait} ms");
            }
            Next::End(DeliveryState::Lost) => {
                self.sinks.metrics.dead_lettered(trigger);
                tracing::warn!(trigger, event = %id, code, dest, why = %why, "an event was not taken and is lost");
            }
            Next::End(DeliveryState::DeadLettered) => {
                self.sinks.metrics.dead_lettered(trigger);
                tracing::warn!(trigger, event = %id, code, dest, why = %why, "an event went to the dead letter sink");
            }
            Next::End(DeliveryState::Delivered | DeliveryState::Pending) => {}
        }
    }
}

/// What a subscriber's 2xx holds.
enum Reply {
    None,
    /// An event, and the headers that it came with.
    Event(Box<Message>, HeaderMap),
    /// Something else, or an envelope that cannot be read.
    NoEvent(Bytes),
    /// The headers of an event, without what every event has.
    Incomplete(String),
}

fn reply_of(answer: Answer) -> Reply {
    let binary = answer.headers.contains_key("ce-specversion");
    if !binary && answer.body.is_empty() {
        return Reply::None;
    }
    if answer.cut {
        return Reply::NoEvent("the answer is too large for an event".into());
    }
    match events::decode(&answer.headers, answer.body.clone(), &Limits::default()) {
        Ok(Decoded::One(message)) => Reply::Event(message, answer.headers),
        Err(error) if binary && !is_structured(&answer.headers) => {
            Reply::Incomplete(error.to_string())
        }
        Ok(Decoded::Batch(_)) | Err(_) => Reply::NoEvent(answer.body),
    }
}
