//! The Brokers of the manifests, durable, with the semantics of Knative's MTChannelBasedBroker.
//!
//! An event is answered 202 when it and one delivery for each Trigger that matched are rows in Postgres; what arrives
//! while one batch is being written goes into the next ([`writer`]). A [`lane`] for each Trigger delivers at once, without a
//! poll, and takes up after a restart what is not finished. What became of attempts is recorded off the critical path
//! ([`settle`]). One difference to the cluster is on purpose: [`TTL_DEFAULT`].

mod ingress;
mod lane;
mod policy;
mod retention;
mod settle;
mod sink;
mod stored;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use egress::ClusterEgress;
use events::catalogue::extension;
use events::filter::{self, Outcome};
use events::{Message, Value};
use host::Metrics;
use serde_json::Map;
use store::Store;
use store::broker::AcceptedEvent;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(super) use ingress::router as ingress_router;
use lane::{Lane, LaneHandle};
use policy::Policy;
pub(super) use policy::is_retryable;
pub(super) use sink::{Sink, Sinks};
use stored::{Event, is_structured};
use writer::{Accept, Writer};

use super::clock::Now;
use super::endpoint::Endpoint;
use super::manifests::Manifests;

/// Through how many brokers an event may go by replies when its sender does not say. Knative has 255, which lets a loop run
/// long before anybody notices.
const TTL_DEFAULT: i32 = 16;

/// What all Brokers share.
pub(super) struct Brokers {
    namespace: String,
    brokers: HashMap<String, Broker>,
    now: Now,
}

struct Broker {
    name: String,
    triggers: Vec<Trigger>,
    writer: Writer,
}

struct Trigger {
    name: String,
    attributes: BTreeMap<String, String>,
    lane: LaneHandle,
}

/// Why an event was not accepted: the answer of the ingress.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

/// What the Brokers are made of.
pub(super) struct Setup<'a> {
    pub(super) manifests: &'a Manifests,
    pub(super) endpoints: &'a BTreeMap<String, Endpoint>,
    pub(super) store: Store,
    pub(super) http: ClusterEgress,
    pub(super) metrics: Metrics,
    pub(super) now: Now,
}

/// The parts that run, to be stopped in this order: first what delivers, then what writes.
pub(super) struct Stops {
    pub(super) lanes: CancellationToken,
    pub(super) writers: CancellationToken,
    pub(super) lane_tasks: TaskTracker,
    pub(super) writer_tasks: TaskTracker,
}

impl Brokers {
    /// Starts all Brokers of the manifests. What an earlier run left is delivered in the background.
    pub(super) fn start(setup: &Setup<'_>, stops: &Stops) -> Arc<Self> {
        let manifests = setup.manifests;
        let mut inboxes = Vec::new();
        let mut brokers = HashMap::new();
        for declared in &manifests.brokers {
            let mine = manifests
                .triggers
                .iter()
                .filter(|trigger| trigger.broker == declared.name);
            let mut triggers = Vec::new();
            for trigger in mine {
                let (handle, inbox) = lane::channel();
                inboxes.push((declared, trigger, inbox, handle.clone()));
                triggers.push(Trigger {
                    name: trigger.name.clone(),
                    attributes: trigger.attributes.clone(),
                    lane: handle,
                });
            }
            let durable = is_durable(&declared.name);
            let (writer, task) =
                writer::channel(setup.store.clone(), durable, stops.writers.clone());
            stops.writer_tasks.spawn(task.run());
            let name = declared.name.clone();
            brokers.insert(
                name.clone(),
                Broker {
                    name,
                    triggers,
                    writer,
                },
            );
        }
        let brokers = Arc::new(Self {
            namespace: manifests.namespace.clone(),
            brokers,
            now: setup.now.clone(),
        });
        let (settler, settling) = settle::channel(setup.store.clone(), stops.writers.clone());
        stops.writer_tasks.spawn(settling.run());
        let sinks = Arc::new(Sinks {
            brokers: Arc::clone(&brokers),
            endpoints: setup.endpoints.clone(),
            http: setup.http.clone(),
            metrics: setup.metrics.clone(),
        });
        for (broker, trigger, inbox, handle) in inboxes {
            let policy = Policy::of(trigger.delivery.as_ref(), broker.delivery.as_ref());
            let lane = Lane::new(lane::Parts {
                trigger: trigger.name.clone(),
                broker: broker.name.clone(),
                subscriber: sinks.resolve(&trigger.subscriber.target),
                dead_letter_sink: policy
                    .dead_letter_sink
                    .as_ref()
                    .map(|sink| sinks.resolve(&sink.target)),
                policy,
                sinks: Arc::clone(&sinks),
                store: setup.store.clone(),
                settler: settler.clone(),
                inbox,
                handle,
            });
            stops.lane_tasks.spawn(lane.run(stops.lanes.clone()));
        }
        let triggers = manifests
            .triggers
            .iter()
            .map(|trigger| trigger.name.clone())
            .collect();
        stops.writer_tasks.spawn(retention::run(
            setup.store.clone(),
            triggers,
            stops.writers.clone(),
        ));
        brokers
    }

    /// Where a Broker takes events on a cluster: what dead letters name.
    fn cluster_url(&self, broker: &str) -> String {
        format!(
            "http://broker-ingress.knative-eventing.svc.cluster.local/{}/{broker}",
            self.namespace
        )
    }

    /// Accepts an event as the ingress does: when this returns, it is a row. `passed_on` are headers that travel with it.
    pub(super) async fn accept(
        &self,
        broker: &str,
        message: Message,
        structured: bool,
        passed_on: HeaderMap,
    ) -> Result<(), Refusal> {
        let Some(broker) = self.brokers.get(broker) else {
            let text = format!(
                "there is no Broker {broker:?} in the namespace {:?}",
                self.namespace
            );
            return Err(Refusal::new(StatusCode::NOT_FOUND, text));
        };
        let ttl = match message
            .extension(extension::BROKER_TTL)
            .and_then(Value::to_integer)
        {
            None => TTL_DEFAULT,
            Some(given) => given.saturating_sub(1),
        };
        if ttl <= 0 {
            tracing::warn!(
                broker = broker.name,
                event.id = message.id(),
                event.ty = message.ty(),
                "an event was answered with events until its {} was used up: a subscriber replies to its own replies",
                extension::BROKER_TTL
            );
            let text = format!(
                "{} is used up: the event goes in a loop",
                extension::BROKER_TTL
            );
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
        let arrival = (self.now)().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
        let message = message
            .without_extension(extension::BROKER_TTL)
            .with_extension(extension::ARRIVAL_TIME, arrival)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let mut unmatched = Map::new();
        let mut matched = Vec::new();
        for trigger in &broker.triggers {
            match filter::matches(&trigger.attributes, &message) {
                Outcome::Pass => matched.push(trigger),
                failed @ Outcome::Fail { .. } => {
                    unmatched.insert(trigger.name.clone(), failed.to_string().into());
                }
            }
        }
        let tenant = message
            .extension(extension::TENANT_ID)
            .and_then(Value::as_str)
            .and_then(|text| Uuid::parse_str(text).ok());
        let event = Event::new(Uuid::now_v7(), &message, structured, &passed_on, ttl);
        let row = AcceptedEvent {
            id: event.id,
            broker: broker.name.clone(),
            tenant,
            ce_id: message.id().to_owned(),
            ce_type: message.ty().to_owned(),
            ce_source: message.source().to_owned(),
            head: event.head_text(),
            body: event.body.clone(),
            ttl,
            unmatched: unmatched.into(),
            triggers: matched.iter().map(|trigger| trigger.name.clone()).collect(),
        };
        let event = Arc::new(event);
        let lanes = matched.iter().map(|trigger| trigger.lane.clone()).collect();
        broker
            .writer
            .write(Accept { row, event, lanes })
            .await
            .map_err(|error| {
                let text = format!("the event could not be kept: {error}; send it again");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
            })
    }

    /// Accepts what was sent as an HTTP message.
    pub(super) async fn accept_http(
        &self,
        broker: &str,
        headers: &HeaderMap,
        body: bytes::Bytes,
    ) -> Result<(), Refusal> {
        let limits = events::Limits::default();
        let message = match events::decode(headers, body, &limits) {
            Ok(events::Decoded::One(message)) => *message,
            Ok(events::Decoded::Batch(_)) => {
                return Err(refused(&events::DecodeError::BatchNotAccepted));
            }
            Err(error) => return Err(refused(&error)),
        };
        self.accept(
            broker,
            message,
            is_structured(headers),
            stored::passed_on(headers),
        )
        .await
    }
}

fn refused(error: &events::DecodeError) -> Refusal {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    Refusal::new(error.status(), text)
}

/// Whether accepted events must outlive a crash of the database server. A wake-up is never work: the
/// rows behind it are safe, and who lost it is woken again. Not to wait for the disk takes one commit
/// off the way from a webhook to the start of its task (measured where a commit takes 4 ms: 1.5 ms
/// from the post to the subscriber instead of 4).
fn is_durable(broker: &str) -> bool {
    broker != model::Broker::Work.as_str()
}
