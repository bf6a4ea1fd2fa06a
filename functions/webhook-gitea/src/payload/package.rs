//! Packages, of which images are of interest.

use model::Vendor;
use model::image::{Digest, DigestSource, Image, ImageDeleted, ImagePushed, Tag};
use serde::Deserialize;
use webhook::git::Word;
use webhook::{Name, Normalised, ParseError, Parsed};

use super::User;

/// A `package`.
#[derive(Debug, Deserialize)]
pub(crate) struct PackagePayload {
    action: Word,
    package: Package,
    sender: Option<User>,
}

/// Neither the registry's host nor a digest is told of: the host is that of the package's page, and a tag is resolved when it
/// is deployed.
/// <https://github.com/go-gitea/gitea/blob/main/modules/structs/package.go>
#[derive(Debug, Deserialize)]
struct Package {
    #[serde(rename = "type")]
    kind: Word,
    owner: User,
    name: Name<512>,
    /// A tag, or the digest of what has none.
    version: Name<255>,
    html_url: Option<Name<2_048>>,
    creator: Option<User>,
}

enum Happened {
    Pushed,
    Deleted,
}

impl PackagePayload {
    pub(crate) fn normalised(self, vendor: Vendor) -> Result<Parsed, ParseError> {
        let ignored = |reason: String| Ok(Parsed::Ignored { reason });
        let it = self.package;
        if it.kind.as_str() != "container" {
            return ignored(format!(
                "the package is no image: its type is {:?}",
                it.kind.as_str()
            ));
        }
        let happened = match self.action.as_str() {
            "created" => Happened::Pushed,
            "deleted" => Happened::Deleted,
            other => return ignored(format!("unhandled action {other:?} of a package")),
        };
        let bad = |name: &str, problem: &dyn std::fmt::Display| {
            ParseError::malformed(&format!("package.{name}"), &problem.to_string())
        };
        let repository = format!("{}/{}", it.owner.login.as_str(), it.name.as_str())
            .to_ascii_lowercase()
            .parse()
            .map_err(|error| bad("name", &error))?;
        let version = it.version.as_str();
        let (tag, digest) = match version.parse::<Digest>() {
            Ok(digest) => (None, Some(digest)),
            Err(_) => {
                let tag: Tag = version.parse().map_err(|error| bad("version", &error))?;
                (Some(tag), None)
            }
        };
        let image = Image {
            registry: it.html_url.and_then(|url| webhook::git::host(url.as_str())),
            repository,
            tag,
            digest_source: digest.is_some().then_some(DigestSource::Payload),
            digest,
            media_type: None,
        };
        let pusher = self.sender.or(it.creator).and_then(User::filled);
        Ok(Parsed::Events(vec![match happened {
            Happened::Pushed => Normalised::ImagePushed(ImagePushed {
                vendor,
                image,
                pusher,
                occurred_at: None,
            }),
            Happened::Deleted => Normalised::ImageDeleted(ImageDeleted {
                vendor,
                image,
                pusher,
                occurred_at: None,
            }),
        }]))
    }
}
