//! Google Artifact Registry, whose events Pub/Sub pushes: in an envelope, or as they are where the subscription unwraps them.
//! <https://cloud.google.com/artifact-registry/docs/configure-notifications>,
//! <https://cloud.google.com/pubsub/docs/push#receive_push>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Vendor;
use serde::Deserialize;
use webhook::image::{Named, Reference, When, ignored};
use webhook::{Delivery, Name, ParseError, Parsed, Text, Verified};

/// How many bytes an event has at most, in base64; those of Google have some hundreds.
const DATA_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Deserialize)]
struct Envelope {
    message: Option<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    data: Option<Text<DATA_BYTES_MAX>>,
    #[serde(default)]
    publish_time: When,
}

/// An event.
#[derive(Debug, Deserialize)]
struct Event {
    action: Name<64>,
    digest: Option<Name<1_024>>,
    tag: Option<Name<1_024>>,
}

pub(crate) fn parsed(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
    let Some(message) = delivery.json::<Envelope>()?.message else {
        return delivery.json::<Event>()?.parsed(When::default());
    };
    let wrong = |problem: &str| ParseError::malformed("message.data", problem);
    let data = message.data.ok_or_else(|| wrong("is missing"))?;
    let data = STANDARD
        .decode(data.as_str())
        .map_err(|error| wrong(&format!("is not base64: {error}")))?;
    webhook::read_json::<Event>(&data)?.parsed(message.publish_time)
}

impl Event {
    fn parsed(self, occurred_at: When) -> Result<Parsed, ParseError> {
        let reference = |text: Option<Name<1_024>>, field: &str| {
            let Some(text) = text.and_then(Name::filled) else {
                return Ok(None);
            };
            Reference::of_registry(&text).map(Some).ok_or_else(|| {
                let problem = format!("{text:?} does not name an image with its registry");
                ParseError::malformed(field, &problem)
            })
        };
        let digest = reference(self.digest, "digest")?;
        let tag = reference(self.tag, "tag")?;
        if let (Some(digest), Some(tag)) = (&digest, &tag)
            && (&digest.registry, &digest.repository) != (&tag.registry, &tag.repository)
        {
            return Err(ParseError::malformed(
                "tag",
                "is of another image than the digest",
            ));
        }
        let either = tag
            .clone()
            .or_else(|| digest.clone())
            .ok_or_else(|| ParseError::malformed("digest", "is missing, and so is the tag"))?;
        let named = Named {
            registry: Some(either.registry),
            tag: tag.and_then(|tag| tag.tag),
            digest: digest.and_then(|digest| digest.digest),
            occurred_at: occurred_at.0,
            ..Named::new(Vendor::ArtifactRegistry, either.repository)
        };
        match self.action.as_str() {
            "INSERT" => Ok(Parsed::Events(vec![named.pushed("digest")?])),
            "DELETE" => Ok(Parsed::Events(vec![named.deleted("digest")?])),
            other => Ok(ignored(format!(
                "{other:?} neither pushes nor deletes an image"
            ))),
        }
    }
}
