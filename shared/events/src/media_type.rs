//! What a content type says about a message and about its data.

/// How a message carries its event, as far as its content type tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Attributes in headers, data as the body.
    Binary,
    /// One event as JSON.
    Structured,
    /// Events as a JSON array.
    Batch,
    /// The CloudEvents media type with a format that we cannot read, such as `+avro`.
    UnknownFormat,
}

pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";
pub(crate) const JSON: &str = "application/json";

/// Media types match whatever their case.
pub(crate) fn mode(content_type: &str) -> Mode {
    let essence = essence(content_type);
    if essence == STRUCTURED {
        Mode::Structured
    } else if essence == BATCH {
        Mode::Batch
    } else if essence.starts_with("application/cloudevents") {
        Mode::UnknownFormat
    } else {
        Mode::Binary
    }
}

/// The media type without parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Whether data of this type is a JSON value inside a JSON envelope.
pub(crate) fn is_json(content_type: &str) -> bool {
    essence(content_type)
        .split_once('/')
        .is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Whether people would call data of this type text, so that it is readable in a JSON envelope.
pub(crate) fn is_text(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.starts_with("text/") || essence == "application/xml" || essence.ends_with("+xml")
}

/// Whether JSON of this type is UTF-8, the only encoding that JSON between systems has.
pub(crate) fn is_utf8(content_type: &str) -> bool {
    content_type
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim().trim_matches('"').to_ascii_lowercase())
        .all(|charset| matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii"))
}

/// `type/subtype` of RFC 2045 tokens, then whatever printable parameters follow: what a header can carry as it is.
pub(crate) fn is_valid(content_type: &str) -> bool {
    let token = |text: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b);
        !text.is_empty() && text.bytes().all(allowed)
    };
    let printable = content_type.bytes().all(|b| (b' '..=b'~').contains(&b));
    let trimmed = content_type.trim() == content_type;
    let essence = content_type.split(';').next().unwrap_or_default();
    let named = essence
        .trim_end()
        .split_once('/')
        .is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    printable && trimmed && named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_the_media_type_whatever_its_case() {
        for (content_type, expected) in [
            ("application/cloudevents+json", Mode::Structured),
            (
                "Application/CloudEvents+JSON; charset=utf-8",
                Mode::Structured,
            ),
            ("APPLICATION/CLOUDEVENTS-BATCH+JSON", Mode::Batch),
            ("application/cloudevents", Mode::UnknownFormat),
            ("application/cloudevents+avro", Mode::UnknownFormat),
            ("application/cloudevents-batch+avro", Mode::UnknownFormat),
            ("application/json", Mode::Binary),
            ("text/plain; x=application/cloudevents+json", Mode::Binary),
        ] {
            assert_eq!(mode(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn json_is_told_by_the_subtype() {
        for json in [
            "application/json",
            "text/JSON; charset=utf-8",
            "application/problem+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["application/jsonlines", "text/plain; a=/json", "json"] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn a_media_type_needs_a_type_and_a_subtype() {
        for good in ["text/plain", "text/plain; charset=utf-8", "a/b;c=\"d e\""] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "text",
            "/plain",
            "text/",
            "te xt/plain",
            "text/plain; é",
            "a/b\n",
            " a/b",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn another_charset_than_utf8_is_noticed() {
        assert!(is_utf8("application/cloudevents+json"));
        assert!(is_utf8("application/cloudevents+json; Charset=\"UTF-8\""));
        assert!(!is_utf8("application/cloudevents+json; charset=utf-16"));
    }
}
