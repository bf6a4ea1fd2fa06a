//! Which headers of a delivery are kept, and how.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};

use crate::SENDERS;
use crate::error::printable;
use crate::sender::is_marked;

/// How many headers are kept.
const KEPT_MAX: usize = 50;

/// What stands in place of a value that proves something.
pub(crate) const MASK: &str = "***";

/// Headers that say what was sent and by what; those of the senders are kept too.
const KEPT: [&str; 13] = [
    "content-encoding",
    "content-length",
    "content-type",
    "idempotency-key",
    "traceparent",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-attempt-number",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-request-id",
];

/// Headers that carry a secret: that they were there is worth knowing, their value is not ours to keep.
const SECRET: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-jfrog-event-auth",
];

/// The headers to store with a delivery, by name. Signatures, tokens and credentials are masked; what is not known to be
/// harmless is left out; repeated ones are joined.
#[must_use]
pub fn stored(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .keys()
        .filter(|name| is_kept(name))
        .take(KEPT_MAX)
        .map(|name| (name.as_str().to_owned(), shown(headers, name)))
        .collect()
}

fn is_kept(name: &HeaderName) -> bool {
    let name = name.as_str();
    let marks = SENDERS.iter().flat_map(|sender| sender.marks);
    let of_a_sender = marks.into_iter().any(|mark| is_marked(name, mark));
    KEPT.contains(&name) || SECRET.contains(&name) || of_a_sender
}

fn shown(headers: &HeaderMap, name: &HeaderName) -> String {
    let secret = SECRET.contains(&name.as_str())
        || ["signature", "token", "secret"]
            .iter()
            .any(|word| name.as_str().contains(word));
    if secret {
        return MASK.to_owned();
    }
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    printable(&values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_masked_and_strangers_left_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer abc"),
            ("content-type", "application/json"),
            ("cookie", "session=abc"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-gitea-event", "push"),
            ("x-gitea-signature", "abc"),
            ("x-hub-signature", "sha1=abc"),
            ("x-hub-signature-256", "sha256=abc"),
            ("x-internal", "abc"),
        ] {
            headers.append(name, value.parse().expect("a header's value"));
        }
        headers.append("x-gitea-event", "tag".parse().expect("a header's value"));
        insta::assert_json_snapshot!(stored(&headers), @r#"
        {
          "authorization": "***",
          "content-type": "application/json",
          "cookie": "***",
          "x-gitea-event": "push, tag",
          "x-gitea-signature": "***",
          "x-hub-signature": "***",
          "x-hub-signature-256": "***"
        }
        "#);
    }
}
