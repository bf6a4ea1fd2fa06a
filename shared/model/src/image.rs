//! What registries tell us, in one form for all of them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Vendor;

/// How many bytes the name of a repository may have.
const REPOSITORY_BYTES_MAX: usize = 255;
/// How many bytes a tag may have.
const TAG_BYTES_MAX: usize = 128;
/// How many bytes a digest may have.
const DIGEST_BYTES_MAX: usize = 255;

/// A text that is no part of an image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No repository.
    #[error("{0:?} is not the name of a repository, such as team/app")]
    Repository(String),
    /// No tag.
    #[error(
        "{0:?} is not a tag: up to {TAG_BYTES_MAX} letters, digits, dots, dashes and underscores"
    )]
    Tag(String),
    /// No digest.
    #[error("{0:?} is not a digest, such as sha256:4a5c…")]
    Digest(String),
}

macro_rules! part {
    ($(#[$doc:meta])+ $name:ident, $error:ident, $fits:ident) => {
        $(#[$doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ImageError;

            fn from_str(text: &str) -> Result<Self, ImageError> {
                if $fits(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ImageError::$error(text.chars().take(80).collect()))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ImageError;

            fn try_from(text: String) -> Result<Self, ImageError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.0
            }
        }
    };
}

part! {
    /// A repository within its registry: `team/app`. Names that a registry would not take but vendors show, such as upper
    /// case, are let through; what would lead elsewhere is not.
    ImageRepository, Repository, is_repository
}
part! {
    /// A tag, `v1.2.3`.
    Tag, Tag, is_tag
}
part! {
    /// A digest, `sha256:…`: what an image is, whatever its tags come to name. Only its form is looked at: whether it has the
    /// digits of its algorithm is found by whoever fetches it.
    Digest, Digest, is_digest
}

fn is_repository(text: &str) -> bool {
    let of_a_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let part = |part: &str| {
        part.bytes().all(of_a_name)
            && part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    };
    text.len() <= REPOSITORY_BYTES_MAX && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    text.len() <= TAG_BYTES_MAX
        && bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b".-".contains(&b))
}

/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests>
fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return false;
    };
    let component = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let of_encoded = |b: u8| b.is_ascii_alphanumeric() || b"=_-".contains(&b);
    text.len() <= DIGEST_BYTES_MAX
        && algorithm.split(['+', '.', '_', '-']).all(component)
        && !encoded.is_empty()
        && encoded.bytes().all(of_encoded)
}

/// Where a digest is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestSource {
    /// The sender said it.
    Payload,
    /// The registry was asked.
    Resolved,
}

/// An image by its name, its tag, its digest, or as much of that as is known; at least one of the last two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The registry's host, with its port when it has one of its own. Some senders do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The repository.
    pub repository: ImageRepository,
    /// The tag; nothing for what has none, such as the manifests of the platforms of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The digest; some senders do not say it, and a deploy asks the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where the digest is known from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_source: Option<DigestSource>,
    /// The media type of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// As one writes it to fetch it, with both tag and digest when both are known.
impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Data of `dev.switchyard.image.pushed.v1`: a tag names an image, or an image is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePushed {
    /// Who told us.
    pub vendor: Vendor,
    /// What.
    pub image: Image,
    /// Who pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
    /// When, by the registry's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
}

/// Data of `dev.switchyard.image.deleted.v1`: a tag or an image is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDeleted {
    /// Who told us.
    pub vendor: Vendor,
    /// What.
    pub image: Image,
    /// Who deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
    /// When, by the registry's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_leads_nowhere_else() {
        for good in ["app", "team/app", "a.b/c_d/e-f", "Team/App", "_/x"] {
            assert!(good.parse::<ImageRepository>().is_ok(), "{good}");
        }
        let long = "a".repeat(REPOSITORY_BYTES_MAX + 1);
        for bad in [
            "", "/app", "app/", "a//b", "../app", "a/../b", ".a", "a b", "a:b", "a@b", "-rf", &long,
        ] {
            assert!(bad.parse::<ImageRepository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_and_a_digest_are_told_apart() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        assert!(digest.parse::<Digest>().is_ok());
        assert!(digest.parse::<Tag>().is_err());
        for good in ["v1.2.3", "latest", "_x", "1-2"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
            assert!(good.parse::<Digest>().is_err(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a/b", &"a".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
        for bad in ["sha256:", ":aa", "SHA256:aa", "sha256:a b", "sha256"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_is_shown_as_one_fetches_it() {
        let mut image = Image {
            registry: Some("registry.example.test:5000".to_owned()),
            repository: "team/app".parse().expect("a repository"),
            tag: Some("v1".parse().expect("a tag")),
            digest: Some("sha256:ab".parse().expect("a digest")),
            digest_source: Some(DigestSource::Payload),
            media_type: None,
        };
        assert_eq!(
            image.to_string(),
            "registry.example.test:5000/team/app:v1@sha256:ab"
        );
        image.registry = None;
        image.digest = None;
        assert_eq!(image.to_string(), "team/app:v1");
    }
}
