//! The response headers that every page carries.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What a page may load: our own files and nothing else; no inline script or style, no frame, no foreign form target.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const PAGE_HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    // A page shows one person's tenant: no cache between us and the reader may keep it.
    (header::CACHE_CONTROL, "private, no-store"),
];

/// Puts the headers of a page on a response, replacing those already there.
pub fn protect(headers: &mut HeaderMap) {
    for (name, value) in PAGE_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::{CONTENT_SECURITY_POLICY, protect};

    #[test]
    fn the_policy_allows_nothing_unsafe_and_no_foreign_origin() {
        assert!(CONTENT_SECURITY_POLICY.starts_with("default-src 'none'; "));
        for forbidden in ["unsafe", "*", "http:", "https:", "data:", "blob:"] {
            assert!(!CONTENT_SECURITY_POLICY.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_page_is_never_kept_by_a_shared_cache() {
        let mut headers = http::HeaderMap::new();
        protect(&mut headers);
        assert_eq!(headers["cache-control"], "private, no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
}
