//! JFrog Artifactory. It sends its secret in `X-JFrog-Event-Auth`, or signs with it: the trigger says which.
//! <https://jfrog.com/help/r/jfrog-platform-administration-documentation/webhooks>

use model::Vendor;
use serde::Deserialize;
use webhook::image::{Named, host_of_url, ignored};
use webhook::{Name, ParseError, Parsed};

/// An event of any domain; those of `docker` have an image.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload {
    domain: Name<64>,
    event_type: Name<64>,
    data: Data,
    jpd_origin: Option<Name<2_048>>,
}

#[derive(Debug, Deserialize)]
struct Data {
    repo_key: Option<Name<255>>,
    image_name: Option<Name<255>>,
    tag: Option<Name<255>>,
    sha256: Option<Name<255>>,
}

impl Payload {
    pub(crate) fn parsed(self) -> Result<Parsed, ParseError> {
        let text = |name: Option<Name<255>>| name.and_then(Name::filled);
        let missing = |field: &str| ParseError::malformed(field, "is missing");
        let happened = (self.domain.as_str(), self.event_type.as_str());
        let ("docker", "pushed" | "deleted") = happened else {
            return Ok(ignored(format!(
                "{:?} of {:?} neither pushes nor deletes an image",
                happened.1, happened.0
            )));
        };
        let key = text(self.data.repo_key).ok_or_else(|| missing("data.repo_key"))?;
        let image = text(self.data.image_name).ok_or_else(|| missing("data.image_name"))?;
        let named = Named {
            registry: self.jpd_origin.and_then(|url| host_of_url(url.as_str())),
            tag: text(self.data.tag),
            digest: text(self.data.sha256)
                .filter(|hash| is_hash(hash))
                .map(|hash| format!("sha256:{hash}")),
            // Its names are relative to the repository that holds them.
            ..Named::new(Vendor::Jfrog, format!("{key}/{image}"))
        };
        let fact = if happened.1 == "pushed" {
            named.pushed("data")?
        } else {
            named.deleted("data")?
        };
        Ok(Parsed::Events(vec![fact]))
    }
}

/// Whether it is the hash of a manifest. Events of older versions carry other texts there.
fn is_hash(text: &str) -> bool {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 64 && text.bytes().all(lower_hex)
}
