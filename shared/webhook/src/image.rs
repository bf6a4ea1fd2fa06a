//! Images, as registries tell of them: what their hooks have in common, and the two registries that speak through
//! CloudEvents as well as through hooks of their own.

pub mod acr;
pub mod harbor;
mod reference;

use chrono::{DateTime, Utc};
use events::Message;
use model::Vendor;
use model::image::{Digest, DigestSource, Image, ImageDeleted, ImagePushed};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use reference::{Reference, host_of_url};

use crate::{Normalised, ParseError, Parsed};

/// How many images one delivery may tell of.
pub const IMAGES_MAX: usize = 1_000;

/// Nothing is told of an image but for people, or for what is not run.
#[must_use]
pub fn ignored(reason: impl Into<String>) -> Parsed {
    Parsed::Ignored {
        reason: reason.into(),
    }
}

/// An image as its sender names it, before it is known to be one. What is empty counts as not said.
#[derive(Debug, Clone)]
pub struct Named {
    /// Who says it.
    pub vendor: Vendor,
    /// The registry's host.
    pub registry: Option<String>,
    /// The repository in it.
    pub repository: String,
    /// The tag; some put the digest here when there is none.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<String>,
    /// The media type of the manifest.
    pub media_type: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// When.
    pub occurred_at: Option<DateTime<Utc>>,
}

impl Named {
    /// A repository, and nothing else yet.
    #[must_use]
    pub fn new(vendor: Vendor, repository: impl Into<String>) -> Self {
        Self {
            vendor,
            registry: None,
            repository: repository.into(),
            tag: None,
            digest: None,
            media_type: None,
            actor: None,
            occurred_at: None,
        }
    }

    /// The event that it is there. `at` says where in the payload it stands.
    ///
    /// # Errors
    /// When it does not name an image.
    pub fn pushed(self, at: &str) -> Result<Normalised, ParseError> {
        Ok(Normalised::ImagePushed(ImagePushed {
            vendor: self.vendor,
            pusher: filled(self.actor.as_deref()),
            occurred_at: self.occurred_at,
            image: self.image(at)?,
        }))
    }

    /// The event that it is gone. `at` says where in the payload it stands.
    ///
    /// # Errors
    /// When it does not name an image.
    pub fn deleted(self, at: &str) -> Result<Normalised, ParseError> {
        Ok(Normalised::ImageDeleted(ImageDeleted {
            vendor: self.vendor,
            pusher: filled(self.actor.as_deref()),
            occurred_at: self.occurred_at,
            image: self.image(at)?,
        }))
    }

    fn image(self, at: &str) -> Result<Image, ParseError> {
        let wrong = |error: model::image::ImageError| ParseError::malformed(at, &error.to_string());
        let mut tag = filled(self.tag.as_deref());
        let mut digest = filled(self.digest.as_deref());
        if let Some(text) = tag.take_if(|text| text.parse::<Digest>().is_ok()) {
            digest.get_or_insert(text);
        }
        if tag.is_none() && digest.is_none() {
            return Err(ParseError::malformed(
                at,
                "has neither a tag nor a digest; at least one is expected",
            ));
        }
        let digest = digest.map(|digest| digest.parse()).transpose();
        let digest = digest.map_err(wrong)?;
        Ok(Image {
            registry: filled(self.registry.as_deref())
                .map(|host| reference::host(&host, at))
                .transpose()?,
            repository: self.repository.parse().map_err(wrong)?,
            tag: tag.map(|tag| tag.parse()).transpose().map_err(wrong)?,
            digest_source: digest.as_ref().map(|_| DigestSource::Payload),
            digest,
            media_type: filled(self.media_type.as_deref()),
        })
    }
}

fn filled(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What a registry's CloudEvent tells; nothing when it is no registry's.
#[must_use]
pub fn of_cloud_event(event: &Message) -> Option<Result<Parsed, ParseError>> {
    if let Some(what) = event.ty().strip_prefix(harbor::CLOUD_TYPES) {
        Some(harbor::of_cloud_event(event, what))
    } else {
        let what = event.ty().strip_prefix(acr::CLOUD_TYPES)?;
        Some(acr::of_cloud_event(event, what))
    }
}

/// The data of a CloudEvent as JSON of this shape, read within the limits of every payload.
fn cloud_data<T: serde::de::DeserializeOwned>(event: &Message) -> Result<T, ParseError> {
    let data = event
        .data()
        .ok_or_else(|| ParseError::malformed("data", "is missing"))?;
    crate::json::read(data.bytes())
}

/// Media types of what one runs, by its manifest or by the list of its platforms.
/// <https://github.com/opencontainers/image-spec/blob/main/media-types.md>,
/// <https://distribution.github.io/distribution/spec/manifest-v2-2/>
#[must_use]
pub fn is_manifest(media_type: &str) -> bool {
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    ]
    .contains(&media_type)
}

/// When something happened, as far as it can be read: a number of seconds, or a date as RFC 3339 and its relatives write
/// it. It is for people, so that another form is no reason to lose a push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct When(pub Option<DateTime<Utc>>);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(from)? {
            Value::Number(secs) => secs
                .as_f64()
                .and_then(|secs| {
                    let known = (0.0..1e11).contains(&secs);
                    #[expect(clippy::cast_possible_truncation, reason = "it is within the range")]
                    known.then_some((secs * 1e3) as i64)
                })
                .and_then(DateTime::from_timestamp_millis),
            Value::String(text) => DateTime::parse_from_rfc3339(&text)
                .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%z"))
                .ok()
                .map(|at| at.to_utc()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(tag: &str, digest: &str) -> Named {
        Named {
            registry: Some("Registry.Example.test:5000".to_owned()),
            tag: Some(tag.to_owned()),
            digest: Some(digest.to_owned()),
            ..Named::new(Vendor::Distribution, "team/app")
        }
    }

    #[test]
    fn a_digest_in_place_of_a_tag_is_the_digest() {
        let image = named("sha256:ab", "sha256:ab")
            .image("x")
            .expect("an image");
        assert_eq!(
            image.to_string(),
            "registry.example.test:5000/team/app@sha256:ab"
        );
        let image = named("sha256:ab", "").image("x").expect("an image");
        assert_eq!(
            image.to_string(),
            "registry.example.test:5000/team/app@sha256:ab"
        );
        let image = named("v1", "").image("x").expect("an image");
        assert_eq!(image.digest_source, None);
    }

    #[test]
    fn what_names_no_image_is_refused_with_its_place() {
        for (named, said) in [
            (named("", ""), "resources[0]: has neither"),
            (named("a b", ""), "resources[0]: \"a b\" is not a tag"),
            (named("v1", "x"), "resources[0]: \"x\" is not a digest"),
            (
                Named {
                    repository: "../x".into(),
                    ..named("v1", "")
                },
                "resources[0]: \"../x\" is not the name",
            ),
            (
                Named {
                    registry: Some("a b".into()),
                    ..named("v1", "")
                },
                "resources[0]: \"a b\" is not a host",
            ),
        ] {
            let error = named
                .pushed("resources[0]")
                .expect_err("no image")
                .to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_is_none() {
        let read = |value: Value| {
            serde_json::from_value::<When>(value)
                .expect("never fails")
                .0
        };
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().expect("a time"));
        assert_eq!(read(json!(1_417_566_161)), at("2014-12-03T00:22:41Z"));
        assert_eq!(read(json!(1.417_566_161e9)), at("2014-12-03T00:22:41Z"));
        assert_eq!(
            read(json!("2016-03-09T14:44:26.402973972-08:00")),
            at("2016-03-09T22:44:26.402973972Z")
        );
        assert_eq!(
            read(json!("2016-11-10T23:57:49.664+0000")),
            at("2016-11-10T23:57:49.664Z")
        );
        for other in [
            json!(null),
            json!(-1),
            json!(1e300),
            json!("yesterday"),
            json!({}),
            json!(true),
        ] {
            assert_eq!(read(other.clone()), None, "{other}");
        }
    }
}
