//! The types of our events, the names of the extensions they carry, and ids that repeat when the event does.

use std::fmt;
use std::str::FromStr;

use model::Broker;
use uuid::Uuid;

use crate::attribute::AttributeError;
use crate::message::Message;

/// What the types of our own events begin with. Nobody else may send one.
pub const RESERVED_TYPES: &str = "dev.switchyard.";

/// Names of extension attributes that we write or read.
pub mod extension {
    /// What the whole chain from one delivery on has in common.
    pub const CORRELATION_ID: &str = "correlationid";
    /// The id of the event that led to this one.
    pub const CAUSATION_ID: &str = "causationid";
    /// Whose it is.
    pub const TENANT_ID: &str = "tenantid";
    /// The trace that it began in, as W3C writes it.
    pub const TRACEPARENT: &str = "traceparent";
    /// How many events led to it, so that a loop ends.
    pub const DEPTH: &str = "depth";
    /// How bad it is, for who filters.
    pub const SEVERITY: &str = "severity";
    /// Where it stands among the events of its source: a text that sorts.
    pub const SEQUENCE: &str = "sequence";
    /// How many hops a broker still allows; gone before a subscriber sees the event.
    pub const BROKER_TTL: &str = "knativebrokerttl";
    /// When a broker took it.
    pub const ARRIVAL_TIME: &str = "knativearrivaltime";
    /// On a dead letter: whom it could not be delivered to.
    pub const ERROR_DESTINATION: &str = "knativeerrordest";
    /// On a dead letter: the last status, as text.
    pub const ERROR_CODE: &str = "knativeerrorcode";
    /// On a dead letter: the beginning of the last answer, in base64.
    pub const ERROR_DATA: &str = "knativeerrordata";
}

macro_rules! event_types {
    ($($(#[$doc:meta])+ $variant:ident = $text:literal on $broker:expr;)+) => {
        /// What happened, for the events that we make or wait for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType {
            $($(#[$doc])+ $variant,)+
        }

        impl EventType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The `type` on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The broker that it goes to; `None` for what its sender delivers straight to us.
            #[must_use]
            pub const fn broker(self) -> Option<Broker> {
                match self {
                    $(Self::$variant => $broker,)+
                }
            }
        }
    };
}

event_types! {
    /// A branch has a new head.
    GitPushed = "dev.switchyard.git.pushed.v1" on Some(Broker::Inbound);
    /// A tag was made or moved.
    GitTagged = "dev.switchyard.git.tagged.v1" on Some(Broker::Inbound);
    /// A branch is new.
    GitBranchCreated = "dev.switchyard.git.branch.created.v1" on Some(Broker::Inbound);
    /// A branch went away.
    GitBranchDeleted = "dev.switchyard.git.branch.deleted.v1" on Some(Broker::Inbound);
    /// A pull request or merge request is new.
    GitChangeOpened = "dev.switchyard.git.change.opened.v1" on Some(Broker::Inbound);
    /// A change has other commits.
    GitChangeSynchronized = "dev.switchyard.git.change.synchronized.v1" on Some(Broker::Inbound);
    /// What is said about a change is another thing.
    GitChangeEdited = "dev.switchyard.git.change.edited.v1" on Some(Broker::Inbound);
    /// Somebody judged a change.
    GitChangeReviewed = "dev.switchyard.git.change.reviewed.v1" on Some(Broker::Inbound);
    /// A change is open again.
    GitChangeReopened = "dev.switchyard.git.change.reopened.v1" on Some(Broker::Inbound);
    /// A change was closed without being merged.
    GitChangeClosed = "dev.switchyard.git.change.closed.v1" on Some(Broker::Inbound);
    /// A change was merged.
    GitChangeMerged = "dev.switchyard.git.change.merged.v1" on Some(Broker::Inbound);
    /// Something happened to a release.
    GitReleased = "dev.switchyard.git.released.v1" on Some(Broker::Inbound);
    /// Somebody else's pipeline ended.
    PipelineFinished = "dev.switchyard.pipeline.finished.v1" on Some(Broker::Inbound);
    /// A tag names an image, or an image is there.
    ImagePushed = "dev.switchyard.image.pushed.v1" on Some(Broker::Inbound);
    /// A tag or an image is gone.
    ImageDeleted = "dev.switchyard.image.deleted.v1" on Some(Broker::Inbound);
    /// Something came in that no vendor's words describe.
    WebhookReceived = "dev.switchyard.webhook.received.v1" on Some(Broker::Inbound);
    /// Somebody wants it to run now.
    ManualRequested = "dev.switchyard.manual.requested.v1" on Some(Broker::Inbound);
    /// A schedule came to a tick.
    ScheduleFired = "dev.switchyard.schedule.fired.v1" on Some(Broker::Inbound);
    /// A line of a log matched a rule that starts work.
    LogMatched = "dev.switchyard.log.matched.v1" on Some(Broker::Inbound);
    /// There may be work for a task.
    JobQueued = "dev.switchyard.job.queued.v1" on Some(Broker::Work);
    /// Somebody wants a job to stop.
    JobCancelRequested = "dev.switchyard.job.cancel.requested.v1" on Some(Broker::Work);
    /// An attempt began.
    JobStarted = "dev.switchyard.job.started.v1" on Some(Broker::Observed);
    /// A job has its outcome.
    JobFinished = "dev.switchyard.job.finished.v1" on Some(Broker::Observed);
    /// An attempt failed and there will be another.
    JobRetrying = "dev.switchyard.job.retrying.v1" on Some(Broker::Observed);
    /// A job was stopped.
    JobCancelled = "dev.switchyard.job.cancelled.v1" on Some(Broker::Observed);
    /// A workload has a new live revision.
    WorkloadDeployed = "dev.switchyard.workload.deployed.v1" on Some(Broker::Observed);
    /// A deploy failed; what was live still is.
    WorkloadFailed = "dev.switchyard.workload.failed.v1" on Some(Broker::Observed);
    /// An older revision is live again.
    WorkloadRolledBack = "dev.switchyard.workload.rolledback.v1" on Some(Broker::Observed);
    /// A workload is gone.
    WorkloadRemoved = "dev.switchyard.workload.removed.v1" on Some(Broker::Observed);
    /// A delivery was not taken.
    DeliveryRejected = "dev.switchyard.delivery.rejected.v1" on Some(Broker::Observed);
    /// A sender's id came again with another body.
    DeliveryConflicted = "dev.switchyard.delivery.conflicted.v1" on Some(Broker::Observed);
    /// A queue has work and makes no progress.
    QueueStalled = "dev.switchyard.queue.stalled.v1" on Some(Broker::Observed);
    /// Messages to an endpoint are stopped, because it fails.
    NotificationEndpointDisabled = "dev.switchyard.notification.endpoint.disabled.v1" on Some(Broker::Observed);
    /// An endpoint that failed takes messages again.
    NotificationEndpointRecovered = "dev.switchyard.notification.endpoint.recovered.v1" on Some(Broker::Observed);
    /// A row was written to the log of events.
    LogRecorded = "dev.switchyard.log.recorded.v1" on Some(Broker::Observed);
    /// A tick of a PingSource.
    Ping = "dev.knative.sources.ping" on None;
}

impl EventType {
    /// An event of this type whose id follows from its source and `identity`, so that making it twice makes a repeat.
    ///
    /// # Errors
    /// When the source is empty, too long or holds a control character.
    pub fn message(self, source: &str, identity: &[&str]) -> Result<Message, AttributeError> {
        let mut parts = vec![self.as_str(), source];
        parts.extend_from_slice(identity);
        Message::new(deterministic_id(&parts), source, self.as_str())
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        let known = Self::ALL.iter().find(|known| known.as_str() == text);
        known
            .copied()
            .ok_or_else(|| UnknownEventType(text.to_owned()))
    }
}

/// A type that is not in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an event type that is known here")]
pub struct UnknownEventType(String);

/// The same id for the same parts, and another one for any others: a UUID of version 5.
///
/// The parts are told apart by their lengths, so `["ab", "c"]` and `["a", "bc"]` differ.
#[must_use]
pub fn deterministic_uuid(parts: &[&str]) -> Uuid {
    // Changing this changes every id: repeats of events from before would not be recognised.
    const NAMESPACE: Uuid = Uuid::from_u128(0x8c6e_5a0e_6f0b_4d5f_9b2e_3d1c_7a94_21f6);
    let mut name = String::new();
    for part in parts {
        name.push_str(&format!("{}:{part}", part.len()));
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// [`deterministic_uuid`] as text.
#[must_use]
pub fn deterministic_id(parts: &[&str]) -> String {
    deterministic_uuid(parts).to_string()
}

#[cfg(test)]
mod tests {
    use crate::attribute::check_extension_name;

    use super::*;

    #[test]
    fn every_type_is_read_back_from_its_text() {
        for known in EventType::ALL {
            assert_eq!(known.as_str().parse(), Ok(*known));
        }
        assert!("dev.switchyard.git.pushed.v2".parse::<EventType>().is_err());
    }

    #[test]
    fn our_types_have_a_version_and_a_broker() {
        for known in EventType::ALL
            .iter()
            .filter(|known| **known != EventType::Ping)
        {
            let text = known.as_str();
            assert!(
                text.starts_with(RESERVED_TYPES) && text.ends_with(".v1"),
                "{text}"
            );
            assert!(known.broker().is_some(), "{text}");
        }
        assert_eq!(EventType::Ping.broker(), None);
    }

    #[test]
    fn an_id_depends_on_each_part_and_on_nothing_else() {
        assert_eq!(
            deterministic_id(&["ab", "c"]),
            "493a2a6f-2b73-5d92-b1d6-895a7e87e308",
            "an id that was given out must stay what it was"
        );
        let others: [&[&str]; 4] = [&["a", "bc"], &["abc"], &["ab", "c", ""], &[]];
        for parts in others {
            assert_ne!(
                deterministic_id(parts),
                deterministic_id(&["ab", "c"]),
                "{parts:?}"
            );
        }
    }

    #[test]
    fn making_an_event_twice_makes_a_repeat() {
        let make = |sha| EventType::GitPushed.message("/triggers/1", &[sha]);
        assert_eq!(make("a1b2"), make("a1b2"));
        assert_ne!(make("a1b2"), make("c3d4"));
    }

    #[test]
    fn the_names_of_extensions_are_allowed() {
        use extension::*;
        for name in [
            CORRELATION_ID,
            CAUSATION_ID,
            TENANT_ID,
            TRACEPARENT,
            DEPTH,
            SEVERITY,
            SEQUENCE,
            BROKER_TTL,
            ARRIVAL_TIME,
            ERROR_DESTINATION,
            ERROR_CODE,
            ERROR_DATA,
        ] {
            assert_eq!(check_extension_name(name), Ok(()));
        }
    }
}
