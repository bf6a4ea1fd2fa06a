//! Which part of a file a request asks for.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, header};

/// What of a file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// No byte of it.
    Unsatisfiable,
}

/// Which part of a file of `size` bytes is asked for. Several parts, other units and what cannot be read mean the whole,
/// as [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-14.2) allows; so does `If-Range` with another tag than `digest` in quotes.
#[must_use]
pub fn part(headers: &HeaderMap, digest: &str, size: u64) -> Part {
    let Some(range) = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
    else {
        return Part::Whole;
    };
    if let Some(tag) = headers.get(header::IF_RANGE)
        && tag.as_bytes() != format!("\"{digest}\"").as_bytes()
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
pub fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
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
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
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
}
