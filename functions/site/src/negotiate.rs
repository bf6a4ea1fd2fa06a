//! What the request's headers ask for: an encoding, a part, or nothing if it has not changed.

use host::ranges::items;
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
    for part in items(headers, header::ACCEPT_ENCODING) {
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
    let asked: Vec<&str> = items(headers, header::IF_NONE_MATCH).collect();
    Encoding::ALL
        .into_iter()
        .map(|encoding| encoding.etag(digest))
        .find(|tag| {
            asked
                .iter()
                .any(|asked| *asked == "*" || asked.strip_prefix("W/").unwrap_or(asked) == tag)
        })
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
    fn text_of_some_size_is_compressed() {
        assert!(is_compressible("text/html; charset=utf-8", 1024));
        assert!(is_compressible("image/svg+xml; charset=utf-8", 5000));
        assert!(!is_compressible("text/html", 1023));
        assert!(!is_compressible("image/png", 5000));
        assert!(!is_compressible("application/zip", 5000));
    }
}
