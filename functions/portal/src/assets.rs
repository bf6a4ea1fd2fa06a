//! The portal's own files, compiled in and served from addresses that change when any of them does.
//!
//! All files share one hash in their path, so that one module can import another by its plain name. A list instead of
//! an embedded folder: the same bytes are served by a development build, and the hash is never older than the file.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($content_type:literal: $($name:literal),+;)+) => {
        &[$($(Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../assets/", $name)),
        },)+)+]
    };
}

const ASSETS: &[Asset] = assets! {
    "text/css; charset=utf-8": "portal.css";
    "image/svg+xml": "favicon.svg", "icons.svg";
    "text/javascript; charset=utf-8": "portal.js", "keyboard.js", "live.js", "log-view.js", "times.js",
        "vendor/htmx.min.js", "vendor/hx-sse.min.js";
};

/// One year: the address changes when the content does.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

static BUNDLE: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for asset in ASSETS {
        digest.update(asset.name);
        digest.update([0]);
        digest.update(Sha256::digest(asset.bytes));
    }
    hex::encode(&digest.finalize()[..8])
});

/// The address of a file, such as `/assets/5f1c…/portal.css`.
#[must_use]
pub fn href(name: &str) -> String {
    let mut href = String::with_capacity(name.len() + 26);
    // Writing to a string cannot fail.
    let _ = write!(href, "/assets/{}/{name}", BUNDLE.as_str());
    href
}

/// Answers `GET /assets/{bundle}/{name}`.
///
/// A page that was opened before an upgrade may still ask for files of the old bundle: it gets today's, not to be kept.
#[must_use]
pub fn serve(bundle: &str, name: &str, request: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return with_status(StatusCode::NOT_FOUND, Body::empty());
    };
    let etag = format!("\"{}\"", hex::encode(&Sha256::digest(asset.bytes)[..16]));
    let known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*");
    let mut response = if known {
        with_status(StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        with_status(StatusCode::OK, Body::from(asset.bytes))
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(asset.content_type),
    );
    headers.insert(
        header::ETAG,
        etag.parse().expect("a quoted hex string is a header value"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        if bundle == *BUNDLE {
            IMMUTABLE
        } else {
            HeaderValue::from_static("no-cache")
        },
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn with_status(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Every file by name and content, for those who write the pages to a folder.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    ASSETS.iter().map(|asset| (asset.name, asset.bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use http::{HeaderMap, StatusCode};
    use sha2::{Digest, Sha256};

    use super::{ASSETS, BUNDLE, href, serve};

    #[test]
    fn every_file_of_the_folder_is_served() -> std::io::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let mut found = BTreeSet::new();
        for (folder, prefix) in [(folder.clone(), ""), (folder.join("vendor"), "vendor/")] {
            for entry in std::fs::read_dir(folder)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if [".css", ".js", ".svg"]
                    .iter()
                    .any(|end| name.ends_with(end))
                {
                    found.insert(format!("{prefix}{name}"));
                }
            }
        }
        assert_eq!(
            found,
            ASSETS.iter().map(|asset| asset.name.to_owned()).collect()
        );
        Ok(())
    }

    #[test]
    fn the_vendored_files_are_the_ones_that_were_published() {
        let list = include_str!("../assets/vendor/README.md");
        let vendored: Vec<_> = ASSETS
            .iter()
            .filter_map(|a| Some((a.name.strip_prefix("vendor/")?, a.bytes)))
            .collect();
        assert_eq!(vendored.len(), 2);
        for (name, bytes) in vendored {
            let sum = hex::encode(Sha256::digest(bytes));
            assert!(
                list.lines()
                    .any(|line| line.contains(&format!("`{name}`")) && line.contains(&sum)),
                "{name} has SHA-256 {sum}, which assets/vendor/README.md does not list for it"
            );
        }
    }

    #[test]
    fn a_file_under_the_current_hash_may_be_kept_for_ever_and_others_must_be_asked_again() {
        let none = HeaderMap::new();
        let current = serve(&BUNDLE, "portal.css", &none);
        assert_eq!(
            current.headers()["cache-control"],
            "public, max-age=31536000, immutable"
        );
        let old = serve("0000000000000000", "portal.css", &none);
        assert_eq!(old.status(), StatusCode::OK);
        assert_eq!(old.headers()["cache-control"], "no-cache");
        assert!(href("portal.css").ends_with("/portal.css"));
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let first = serve(&BUNDLE, "portal.js", &HeaderMap::new());
        let mut request = HeaderMap::new();
        request.insert("if-none-match", first.headers()["etag"].clone());
        assert_eq!(
            serve(&BUNDLE, "portal.js", &request).status(),
            StatusCode::NOT_MODIFIED
        );
    }

    #[test]
    fn an_unknown_name_is_not_found() {
        for name in ["", "nothing.css", "../Cargo.toml", "vendor/README.md"] {
            assert_eq!(
                serve(&BUNDLE, name, &HeaderMap::new()).status(),
                StatusCode::NOT_FOUND
            );
        }
    }
}
