//! What the request's headers ask for: an encoding, a part, or nothing if it has not changed.

use std::ops::Range;

use http::{HeaderMap, header};

/// The smallest file that is worth compressing, in bytes.
const COMPRESS_BYTES_MIN: u64 = 1024;

/// How a file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Brotli,
}

impl Encoding {
    pub(crate) const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Brotli];

    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }

    /// The tag of a file in this encoding: other bytes, so another tag.
    pub(crate) fn etag(self, digest: &str) -> String {
        match self.name() {
            None => format!("\"{digest}\""),
            Some(name) => format!("\"{digest}-{name}\""),
        }
    }
}

/// What of a file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Bytes(Range<u64>),
    /// No byte of it.
    Unsatisfiable,
}

/// Whether files of this media type get smaller.
pub(crate) fn is_compressible(content_type: &str, size: u64) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let text = essence.starts_with("text/")
        || essence.ends_with("+xml")
        || essence.ends_with("+json")
        || matches!(
            essence,
            "application/javascript"
                | "application/json"
                | "application/manifest+json"
                | "application/wasm"
                | "application/xml"
                | "font/otf"
                | "font/ttf"
        );
    text && size >= COMPRESS_BYTES_MIN
}

/// The best encoding that the client takes: brotli before gzip, unless it says otherwise by weight.
pub(crate) fn encoding(headers: &HeaderMap) -> Encoding {
    let mut best = (Encoding::Identity, 0);
    for part in list(headers, header::ACCEPT_ENCODING) {
        let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight(parameters);
        let encoding = match name.trim().to_ascii_lowercase().as_str() {
            "br" => Encoding::Brotli,
            "gzip" | "x-gzip" => Encoding::Gzip,
            _ => continue,
        };
        if weight > best.1 || weight == best.1 && weight > 0 && encoding == Encoding::Brotli {
            best = (encoding, weight);
        }
    }
    best.0
}

/// A weight in thousandths; 0 if it cannot be read, which asks for less than was meant and breaks nothing.
fn weight(parameters: &str) -> u32 {
    let q = parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    match q.map(|(_, value)| value.trim().parse::<f32>()) {
        None => 1000,
        Some(Ok(weight)) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u32,
        Some(_) => 0,
    }
}

/// Whether the client has the file, in any encoding. The answer then repeats the tag that it sent.
pub(crate) fn known_tag(headers: &HeaderMap, digest: &str) -> Option<String> {
    let asked: Vec<&str> = list(headers, header::IF_NONE_MATCH).collect();
    Encoding::ALL
        .into_iter()
        .map(|encoding| encoding.etag(digest))
        .find(|tag| {
            asked
                .iter()
                .any(|asked| *asked == "*" || asked.strip_prefix("W/").unwrap_or(asked) == tag)
        })
}

/// Which part of a file of `size` bytes is asked for. Several parts, other units and what cannot be read mean the whole,
/// as [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-14.2) allows; so does `If-Range` with another tag.
pub(crate) fn part(headers: &HeaderMap, digest: &str, size: u64) -> Part {
    let Some(range) = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
    else {
        return Part::Whole;
    };
    if let Some(tag) = headers.get(header::IF_RANGE)
        && tag.as_bytes() != Encoding::Identity.etag(digest).as_bytes()
    {
        return Part::Whole;
    }
    let bounds = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'));
    let Some((first, last)) = bounds else {
        return Part::Whole;
    };
    let (first, last) = match (number(first), number(last)) {
        (Bound::None, Bound::At(0)) => return Part::Unsatisfiable,
        (Bound::None, Bound::At(count)) => (size.saturating_sub(count), u64::MAX),
        (Bound::At(first), Bound::None) => (first, u64::MAX),
        (Bound::At(first), Bound::At(last)) if first <= last => (first, last),
        _ => return Part::Whole,
    };
    if first >= size {
        return Part::Unsatisfiable;
    }
    Part::Bytes(first..last.saturating_add(1).min(size))
}

enum Bound {
    None,
    At(u64),
    Bad,
}

fn number(text: &str) -> Bound {
    match text.trim() {
        "" => Bound::None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            // More digits than a u64 has are behind every end.
            Bound::At(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Bound::Bad,
    }
}

/// The items of a list header, over all its lines.
fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_best_encoding_is_the_clients_choice() {
        for (accept, best) in [
            ("gzip, deflate, br, zstd", Encoding::Brotli),
            ("br, gzip", Encoding::Brotli),
            ("gzip", Encoding::Gzip),
            ("GZIP;q=0.5, br;q=0.4", Encoding::Gzip),
            ("br;q=0, gzip;q=0", Encoding::Identity),
            ("br;q=x", Encoding::Identity),
            ("br;q=2", Encoding::Identity),
            ("deflate", Encoding::Identity),
            ("*", Encoding::Identity),
            ("", Encoding::Identity),
        ] {
            assert_eq!(
                encoding(&headers(header::ACCEPT_ENCODING, accept)),
                best,
                "{accept}"
            );
        }
        assert_eq!(encoding(&HeaderMap::new()), Encoding::Identity);
    }

    #[test]
    fn a_tag_is_known_in_every_encoding() {
        for (sent, known) in [
            ("\"d\"", Some("\"d\"")),
            ("\"x\", \"d-br\"", Some("\"d-br\"")),
            ("W/\"d-gzip\"", Some("\"d-gzip\"")),
            ("*", Some("\"d\"")),
            ("\"dd\"", None),
            ("d", None),
            ("", None),
        ] {
            let tag = known_tag(&headers(header::IF_NONE_MATCH, sent), "d");
            assert_eq!(tag.as_deref(), known, "{sent}");
        }
    }

    #[test]
    fn a_part_is_what_rfc_9110_says() {
        for (range, expected) in [
            ("bytes=0-4", Part::Bytes(0..5)),
            ("bytes=5-", Part::Bytes(5..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=9-99999999999999999999999", Part::Bytes(9..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=--5", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-4", Part::Whole),
        ] {
            assert_eq!(
                part(&headers(header::RANGE, range), "d", 10),
                expected,
                "{range}"
            );
        }
        assert_eq!(
            part(&headers(header::RANGE, "bytes=-1"), "d", 0),
            Part::Unsatisfiable
        );
        assert_eq!(part(&HeaderMap::new(), "d", 10), Part::Whole);
    }

    #[test]
    fn a_part_of_another_version_is_the_whole() {
        for (tag, expected) in [
            ("\"d\"", Part::Bytes(0..5)),
            ("\"e\"", Part::Whole),
            ("W/\"d\"", Part::Whole),
            ("\"d-br\"", Part::Whole),
            ("Sat, 21 Nov 2026 12:00:00 GMT", Part::Whole),
        ] {
            let mut headers = headers(header::RANGE, "bytes=0-4");
            headers.insert(header::IF_RANGE, HeaderValue::from_static(tag));
            assert_eq!(part(&headers, "d", 10), expected, "{tag}");
        }
    }

    #[test]
    fn text_of_some_size_is_compressed() {
        assert!(is_compressible("text/html; charset=utf-8", 1024));
        assert!(is_compressible("image/svg+xml; charset=utf-8", 5000));
        assert!(!is_compressible("text/html", 1023));
        assert!(!is_compressible("image/png", 5000));
        assert!(!is_compressible("application/zip", 5000));
    }
}
