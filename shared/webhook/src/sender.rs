//! Who a request says it is from, told by the names of its headers.

use http::HeaderMap;
use model::Vendor;

/// A sender that names itself in headers of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Sender {
    /// Who.
    pub vendor: Vendor,
    /// How its headers begin.
    pub prefix: &'static str,
    /// The header that names the event.
    pub event: &'static str,
    /// The header that names the delivery.
    pub delivery: &'static str,
}

/// Most specific first. Forgejo sends Gitea's headers too, Gitea those of Gogs, and all of them GitHub's, so that the
/// presence of GitHub's says nothing until the others are known to be absent.
pub static SENDERS: [Sender; 4] = [
    Sender {
        vendor: Vendor::Forgejo,
        prefix: "x-forgejo-",
        event: "x-forgejo-event",
        delivery: "x-forgejo-delivery",
    },
    Sender {
        vendor: Vendor::Gitea,
        prefix: "x-gitea-",
        event: "x-gitea-event",
        delivery: "x-gitea-delivery",
    },
    Sender {
        vendor: Vendor::Gogs,
        prefix: "x-gogs-",
        event: "x-gogs-event",
        delivery: "x-gogs-delivery",
    },
    Sender {
        vendor: Vendor::Github,
        prefix: "x-github-",
        event: "x-github-event",
        delivery: "x-github-delivery",
    },
];

/// Whose headers these are: any header of a sender counts, whatever its value.
#[must_use]
pub fn sender(headers: &HeaderMap) -> Option<&'static Sender> {
    SENDERS.iter().find(|sender| {
        headers
            .keys()
            .any(|name| name.as_str().starts_with(sender.prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&'static str]) -> Option<Vendor> {
        let headers = names
            .iter()
            .map(|name| (name.parse().expect("a name"), "".parse().expect("a value")))
            .collect();
        sender(&headers).map(|sender| sender.vendor)
    }

    #[test]
    fn the_most_specific_sender_counts() {
        let github = "x-github-event";
        assert_eq!(named(&[github]), Some(Vendor::Github));
        assert_eq!(named(&[github, "x-gogs-event"]), Some(Vendor::Gogs));
        let gitea = [github, "x-gogs-event", "x-gitea-event"];
        assert_eq!(named(&gitea), Some(Vendor::Gitea));
        let forgejo = [github, "x-forgejo-signature", "x-gitea-event"];
        assert_eq!(named(&forgejo), Some(Vendor::Forgejo));
        assert_eq!(named(&["x-hub-signature-256"]), None);
    }
}
