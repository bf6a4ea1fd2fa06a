//! Answers one request from one revision.

use std::sync::Arc;

use async_compression::{
    Level,
    tokio::bufread::{BrotliEncoder, GzipEncoder},
};
use axum::{body::Body, response::Response};
use blobs::{
    Blob, BlobError, BlobPath, BlobPathError, Blobs,
    site::{Entry, MANIFEST, MANIFEST_BYTES_MAX, Manifest, Origin, SitePath},
};
use futures::TryStreamExt;
use host::ranges::{self, Part};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::{
    cache::Manifests,
    negotiate::{self, Encoding},
    page,
    resolve::{self, Resolved},
};

/// How hard answers are compressed: beyond this, brotli costs more time than the bytes it saves.
const COMPRESSION: Level = Level::Precise(4);

/// What a page that we rendered may do: show text, its style, and images. Nothing that slipped through the sanitiser
/// runs.
pub(crate) const RENDERED_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' https:; media-src 'self'; \
    font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-popups \
    allow-popups-to-escape-sandbox allow-same-origin allow-top-navigation-by-user-activation";

/// What a page that its author wrote may do: what a site of its own origin needs, but no plugins, no navigation of the
/// window without a click, and no frame of another site around it.
const VERBATIM_POLICY: &str = "object-src 'none'; base-uri 'self'; frame-ancestors 'self'; sandbox allow-downloads \
    allow-forms allow-modals allow-popups allow-popups-to-escape-sandbox allow-same-origin allow-scripts \
    allow-top-navigation-by-user-activation";

/// An SVG is an image; opened as a page it could run scripts.
const SVG_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";

/// Serves revisions out of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Sites {
    blobs: Blobs,
    manifests: Arc<Manifests>,
}

/// Why a live revision could not be served. Nothing that the client did.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store failed.
    #[error("could not read the site from its store")]
    Store(#[from] BlobError),
    /// The revision's row leads to a place that cannot be one.
    #[error("the site's prefix is not one")]
    Prefix(#[from] BlobPathError),
    /// A blob is gone though its revision is live.
    #[error("the live revision lacks the blob `{path}`")]
    Missing {
        /// The blob.
        path: BlobPath,
    },
    /// The manifest is not one, or not ours.
    #[error("the manifest `{path}` cannot be read")]
    Manifest {
        /// The manifest.
        path: BlobPath,
        /// What is wrong with it; nothing if it is too large.
        #[source]
        source: Option<serde_json::Error>,
    },
}

impl Sites {
    /// Serves what is in these blobs.
    pub fn new(blobs: Blobs) -> Self {
        Self {
            blobs,
            manifests: Arc::default(),
        }
    }

    /// Answers a request from the revision at `prefix`, the one that is live for the request's host.
    ///
    /// GET and HEAD of a file, a page without its `.html`, or a folder's index; 304 for what the client has; one range;
    /// brotli or gzip for text; 404 with the site's own `404.html` if it has one; 405 for other methods.
    pub async fn serve(&self, prefix: &BlobPath, request: &Parts) -> Result<Response, ServeError> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return Ok(method_not_allowed());
        }
        let manifest = self.manifest(prefix).await?;
        let reply = Reply {
            blobs: &self.blobs,
            prefix,
            head_only: request.method == Method::HEAD,
        };
        match resolve::resolve(&manifest, request.uri.path()) {
            Resolved::File(path, entry) => reply.file(path, entry, &request.headers).await,
            Resolved::AddSlash => Ok(add_slash(request)),
            Resolved::Nothing => {
                match resolve::not_found_page(&manifest) {
                    // Neither a part of it nor a tag: the client asked for something else.
                    Some((path, entry)) => {
                        let mut response = reply.file(path, entry, &HeaderMap::new()).await?;
                        *response.status_mut() = StatusCode::NOT_FOUND;
                        response.headers_mut().remove(header::ETAG);
                        response.headers_mut().remove(header::ACCEPT_RANGES);
                        Ok(response)
                    }
                    None => Ok(page::NO_PAGE
                        .response(StatusCode::NOT_FOUND, request.method == Method::HEAD)),
                }
            }
        }
    }

    async fn manifest(&self, prefix: &BlobPath) -> Result<Arc<Manifest>, ServeError> {
        if let Some(manifest) = self.manifests.get(prefix) {
            return Ok(manifest);
        }
        let path = prefix.join(MANIFEST)?;
        let blob = self.blobs.get(&path).await?;
        let blob = blob.ok_or_else(|| ServeError::Missing { path: path.clone() })?;
        if blob.info.size > MANIFEST_BYTES_MAX {
            return Err(ServeError::Manifest { path, source: None });
        }
        let manifest: Manifest =
            serde_json::from_slice(&blob.bytes().await?).map_err(|source| {
                ServeError::Manifest {
                    path,
                    source: Some(source),
                }
            })?;
        let manifest = Arc::new(manifest);
        self.manifests.keep(prefix.clone(), Arc::clone(&manifest));
        Ok(manifest)
    }
}

struct Reply<'a> {
    blobs: &'a Blobs,
    prefix: &'a BlobPath,
    head_only: bool,
}

impl Reply<'_> {
    async fn file(
        &self,
        path: &SitePath,
        entry: &Entry,
        asked: &HeaderMap,
    ) -> Result<Response, ServeError> {
        let digest = entry.sha256.as_str();
        let compressible = negotiate::is_compressible(&entry.content_type, entry.size);
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        set(
            headers,
            header::CONTENT_SECURITY_POLICY,
            policy(entry, path),
        );
        set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(
            headers,
            header::REFERRER_POLICY,
            "strict-origin-when-cross-origin",
        );
        // Kept, but asked for each time: which revision is live can change at any moment.
        set(headers, header::CACHE_CONTROL, "no-cache");
        if compressible {
            set(headers, header::VARY, "accept-encoding");
        }
        if let Some(tag) = negotiate::known_tag(asked, digest) {
            set(headers, header::ETAG, &tag);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        set(headers, header::CONTENT_TYPE, &entry.content_type);
        set(headers, header::ACCEPT_RANGES, "bytes");

        // A range is one of the file's own bytes, so it and compression exclude each other.
        let part = ranges::part(asked, digest, entry.size);
        let encoding = match part {
            Part::Whole if compressible => negotiate::encoding(asked),
            Part::Whole | Part::Bytes(_) | Part::Unsatisfiable => Encoding::Identity,
        };
        set(headers, header::ETAG, &encoding.etag(digest));
        match encoding.name() {
            Some(name) => set(headers, header::CONTENT_ENCODING, name),
            None => set(
                headers,
                header::CONTENT_LENGTH,
                &length(&part, entry.size).to_string(),
            ),
        }
        match &part {
            Part::Whole => {}
            Part::Bytes(range) => {
                let sent = format!("bytes {}-{}/{}", range.start, range.end - 1, entry.size);
                set(headers, header::CONTENT_RANGE, &sent);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
            Part::Unsatisfiable => {
                set(
                    headers,
                    header::CONTENT_RANGE,
                    &format!("bytes */{}", entry.size),
                );
                headers.remove(header::CONTENT_TYPE);
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok(response);
            }
        }
        if !self.head_only {
            *response.body_mut() = self.body(entry, &part, encoding).await?;
        }
        Ok(response)
    }

    async fn body(
        &self,
        entry: &Entry,
        part: &Part,
        encoding: Encoding,
    ) -> Result<Body, ServeError> {
        let path = self.prefix.join(entry.sha256.as_str())?;
        let blob = match part {
            Part::Bytes(range) => self.blobs.get_range(&path, range.clone()).await?,
            Part::Whole | Part::Unsatisfiable => self.blobs.get(&path).await?,
        };
        let blob = blob.ok_or(ServeError::Missing { path })?;
        Ok(match encoding {
            Encoding::Identity => Body::from_stream(blob.into_stream()),
            Encoding::Gzip => Body::from_stream(ReaderStream::new(GzipEncoder::with_quality(
                reader(blob),
                COMPRESSION,
            ))),
            Encoding::Brotli => Body::from_stream(ReaderStream::new(BrotliEncoder::with_quality(
                reader(blob),
                COMPRESSION,
            ))),
        })
    }
}

fn reader(blob: Blob) -> impl tokio::io::AsyncBufRead {
    StreamReader::new(blob.into_stream().map_err(std::io::Error::other))
}

fn length(part: &Part, size: u64) -> u64 {
    match part {
        Part::Whole => size,
        Part::Bytes(range) => range.end - range.start,
        Part::Unsatisfiable => 0,
    }
}

fn policy(entry: &Entry, path: &SitePath) -> &'static str {
    match entry.origin {
        Origin::Rendered => RENDERED_POLICY,
        Origin::Verbatim if path.name().to_ascii_lowercase().ends_with(".svg") => SVG_POLICY,
        Origin::Verbatim => VERBATIM_POLICY,
    }
}

/// Sets a header whose value is ours. (A content type comes from our own table.)
pub(crate) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

fn add_slash(request: &Parts) -> Response {
    // The path is one that the site has, so it starts with one slash and stays on this host.
    let query = request
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    set(
        response.headers_mut(),
        header::LOCATION,
        &format!("{}/{query}", request.uri.path()),
    );
    set(response.headers_mut(), header::CACHE_CONTROL, "no-cache");
    response
}

fn method_not_allowed() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    set(response.headers_mut(), header::ALLOW, "GET, HEAD");
    response
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder};
    use blobs::site::{Sha256Hex, prefix};
    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    use super::*;

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    struct Site {
        _folder: tempfile::TempDir,
        blobs: Blobs,
        sites: Sites,
        prefix: BlobPath,
        manifest: Manifest,
    }

    const LONG: &str = "Much ado about nothing. ";

    async fn site(files: &[(&str, &str, Origin)]) -> Result<Site> {
        let folder = tempfile::tempdir()?;
        let blobs = Blobs::open(folder.path().to_str().ok_or("UTF-8")?)?;
        let prefix = prefix("w1", &Sha256Hex::of(b"any"))?;
        let mut manifest = Manifest::default();
        for (path, text, origin) in files {
            let content_type = match path.rsplit_once('.').map(|(_, ending)| ending) {
                Some("html") => "text/html; charset=utf-8",
                Some("svg") => "image/svg+xml; charset=utf-8",
                _ => "application/octet-stream",
            };
            let entry = Entry {
                sha256: Sha256Hex::of(text.as_bytes()),
                size: text.len() as u64,
                content_type: content_type.into(),
                origin: *origin,
            };
            let blob = prefix.join(entry.sha256.as_str())?;
            blobs.put(&blob, Bytes::from((*text).to_owned())).await?;
            manifest.files.insert(SitePath::new(*path)?, entry);
        }
        blobs
            .put(
                &prefix.join(MANIFEST)?,
                serde_json::to_vec(&manifest)?.into(),
            )
            .await?;
        let sites = Sites::new(blobs.clone());
        Ok(Site {
            _folder: folder,
            blobs,
            sites,
            prefix,
            manifest,
        })
    }

    struct Answer {
        status: u16,
        headers: HeaderMap,
        body: Bytes,
    }

    impl Answer {
        fn header(&self, name: &str) -> &str {
            self.headers
                .get(name)
                .map_or("", |value| value.to_str().expect("ASCII"))
        }
    }

    impl Site {
        async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
            let mut request = http::Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(())?.into_parts();
            let (parts, body) = self.sites.serve(&self.prefix, &parts).await?.into_parts();
            Ok(Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: axum::body::to_bytes(body, usize::MAX).await?,
            })
        }

        async fn get(&self, path: &str) -> Result<Answer> {
            self.ask("GET", path, &[]).await
        }
    }

    #[tokio::test]
    async fn a_file_is_served_with_its_type_tag_length_and_policy() -> Result {
        let site = site(&[("index.html", "<h1>hi</h1>", Origin::Rendered)]).await?;
        let answer = site.get("/").await?;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (200, &b"<h1>hi</h1>"[..])
        );
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(
            answer.header("etag"),
            format!("\"{}\"", Sha256Hex::of(b"<h1>hi</h1>"))
        );
        assert_eq!(answer.header("content-length"), "11");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
        Ok(())
    }

    #[tokio::test]
    async fn head_is_get_without_a_body() -> Result {
        let long = LONG.repeat(100);
        let site = site(&[("index.html", &long, Origin::Verbatim)]).await?;
        for headers in [
            &[][..],
            &[("accept-encoding", "br")],
            &[("range", "bytes=0-4")],
        ] {
            let (get, head) = (
                site.ask("GET", "/", headers).await?,
                site.ask("HEAD", "/", headers).await?,
            );
            assert_eq!((get.status, get.headers), (head.status, head.headers));
            assert!(head.body.is_empty() && !get.body.is_empty());
        }
        let missing = site.ask("HEAD", "/none", &[]).await?;
        assert_eq!((missing.status, missing.body.len()), (404, 0));
        Ok(())
    }

    #[tokio::test]
    async fn what_the_client_has_is_not_sent_again() -> Result {
        let long = LONG.repeat(100);
        let site = site(&[("index.html", &long, Origin::Verbatim)]).await?;
        for accept in ["identity", "gzip", "br"] {
            let first = site.ask("GET", "/", &[("accept-encoding", accept)]).await?;
            let tag = first.header("etag").to_owned();
            let again = site
                .ask(
                    "GET",
                    "/",
                    &[("accept-encoding", accept), ("if-none-match", &tag)],
                )
                .await?;
            assert_eq!(
                (again.status, again.body.len(), again.header("etag")),
                (304, 0, &*tag)
            );
            assert_eq!(again.header("vary"), "accept-encoding");
        }
        let other = site
            .ask("GET", "/", &[("if-none-match", "\"other\"")])
            .await?;
        assert_eq!(other.status, 200);
        Ok(())
    }

    #[tokio::test]
    async fn text_is_compressed_and_unpacks_to_itself() -> Result {
        let long = LONG.repeat(1000);
        let site = site(&[
            ("index.html", &long, Origin::Verbatim),
            ("a.bin", &long, Origin::Verbatim),
        ])
        .await?;
        let gzip = site.ask("GET", "/", &[("accept-encoding", "gzip")]).await?;
        assert_eq!(
            (
                gzip.header("content-encoding"),
                gzip.header("content-length")
            ),
            ("gzip", "")
        );
        assert!(gzip.body.len() < 2000);
        let mut text = String::new();
        GzipDecoder::new(&gzip.body[..])
            .read_to_string(&mut text)
            .await?;
        assert_eq!(text, long);
        let brotli = site
            .ask("GET", "/", &[("accept-encoding", "gzip, br")])
            .await?;
        assert_eq!(brotli.header("content-encoding"), "br");
        let mut text = String::new();
        BrotliDecoder::new(&brotli.body[..])
            .read_to_string(&mut text)
            .await?;
        assert_eq!(text, long);
        assert_ne!(gzip.header("etag"), brotli.header("etag"));

        let binary = site
            .ask("GET", "/a.bin", &[("accept-encoding", "gzip, br")])
            .await?;
        assert_eq!(
            (binary.header("content-encoding"), binary.header("vary")),
            ("", "")
        );
        Ok(())
    }

    #[tokio::test]
    async fn one_range_is_served_from_the_files_own_bytes() -> Result {
        let long = LONG.repeat(100);
        let site = site(&[
            ("index.html", &long, Origin::Verbatim),
            ("empty.bin", "", Origin::Verbatim),
        ])
        .await?;
        let part = site
            .ask(
                "GET",
                "/",
                &[("range", "bytes=5-7"), ("accept-encoding", "br")],
            )
            .await?;
        assert_eq!((part.status, &part.body[..]), (206, &b"ado"[..]));
        assert_eq!(part.header("content-range"), "bytes 5-7/2400");
        assert_eq!(
            (
                part.header("content-length"),
                part.header("content-encoding")
            ),
            ("3", "")
        );
        let behind = site.ask("GET", "/", &[("range", "bytes=2400-")]).await?;
        assert_eq!(
            (behind.status, behind.header("content-range")),
            (416, "bytes */2400")
        );
        assert!(behind.body.is_empty());
        let several = site.ask("GET", "/", &[("range", "bytes=0-1,3-4")]).await?;
        assert_eq!((several.status, several.body.len()), (200, 2400));
        let empty = site.get("/empty.bin").await?;
        assert_eq!((empty.status, empty.header("content-length")), (200, "0"));
        Ok(())
    }

    #[tokio::test]
    async fn a_folder_gets_its_slash_on_this_host() -> Result {
        let site = site(&[("docs/index.html", "x", Origin::Verbatim)]).await?;
        let answer = site.get("/docs?a=b").await?;
        assert_eq!(
            (answer.status, answer.header("location")),
            (308, "/docs/?a=b")
        );
        for path in ["//docs", "//evil.example/docs", "/%5cevil.example/docs"] {
            assert_eq!(site.get(path).await?.status, 404, "{path}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_is_not_there_is_404_with_the_sites_own_page_if_it_has_one() -> Result {
        let plain = site(&[("index.html", "x", Origin::Verbatim)]).await?;
        for path in [
            "/none",
            "/..%2f..%2fetc/passwd",
            "/%00",
            "/%5c..%5c",
            "/.git/config",
            "/manifest.json",
        ] {
            let answer = plain.get(path).await?;
            let page = std::str::from_utf8(&answer.body)?;
            assert!(
                answer.status == 404 && page.contains("no such page"),
                "{path}: {page}"
            );
        }
        // The digest that names a file in the store is no path of the site.
        let digest = plain.manifest.files["index.html"].sha256.to_string();
        assert_eq!(plain.get(&format!("/{digest}")).await?.status, 404);

        let own = site(&[("404.html", "nothing here", Origin::Rendered)]).await?;
        let headers = [("range", "bytes=0-1"), ("if-none-match", "*")];
        let answer = own.ask("GET", "/none", &headers).await?;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (404, &b"nothing here"[..])
        );
        assert_eq!(answer.header("etag"), "");
        Ok(())
    }

    #[tokio::test]
    async fn other_methods_are_refused() -> Result {
        let site = site(&[("index.html", "x", Origin::Verbatim)]).await?;
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
            let answer = site.ask(method, "/", &[]).await?;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, "GET, HEAD"),
                "{method}"
            );
        }
        Ok(())
    }

    #[tokio::test]
    async fn who_wrote_a_file_decides_what_it_may_do() -> Result {
        let site = site(&[
            ("app.html", "x", Origin::Verbatim),
            ("page.html", "x", Origin::Rendered),
            ("image.SVG.svg", "<svg/>", Origin::Verbatim),
        ])
        .await?;
        let policy = async |path| -> Result<String> {
            Ok(site
                .get(path)
                .await?
                .header("content-security-policy")
                .to_owned())
        };
        assert!(policy("/app").await?.contains("allow-scripts"));
        assert!(!policy("/page").await?.contains("script"));
        assert!(policy("/image.SVG.svg").await?.ends_with("; sandbox"));
        Ok(())
    }

    #[tokio::test]
    async fn a_live_revision_that_is_broken_is_an_error_and_not_a_page() -> Result {
        let site = site(&[("index.html", "x", Origin::Verbatim)]).await?;
        let (parts, ()) = http::Request::get("/").body(())?.into_parts();
        let other = prefix("w1", &Sha256Hex::of(b"other"))?;
        let missing = site.sites.serve(&other, &parts).await;
        assert!(matches!(missing, Err(ServeError::Missing { .. })));
        site.blobs
            .put(
                &other.join(MANIFEST)?,
                Bytes::from("{\"files\": {\"../x\": 1}}"),
            )
            .await?;
        let bad = site.sites.serve(&other, &parts).await;
        assert!(matches!(bad, Err(ServeError::Manifest { .. })));
        Ok(())
    }

    #[tokio::test]
    async fn a_manifest_is_read_once() -> Result {
        let site = site(&[("index.html", "x", Origin::Verbatim)]).await?;
        site.get("/").await?;
        site.blobs
            .put(&site.prefix.join(MANIFEST)?, Bytes::from("gone"))
            .await?;
        assert_eq!(site.get("/").await?.status, 200);
        Ok(())
    }
}
