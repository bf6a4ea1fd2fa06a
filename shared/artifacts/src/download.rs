//! An artifact as an answer: to be kept in a file, whole or in part, and never shown by a browser as a page of ours.

use axum::body::Body;
use axum::response::Response;
use blobs::BlobPath;
use host::ranges::{self, Part};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::TenantId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use store::artifacts::Artifact;

use crate::{ArtifactError, Artifacts};

/// What RFC 8187 wants encoded in a parameter's value.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

impl Artifacts {
    /// Answers with an artifact, or the part of it that these headers ask for; 304 to who has it, 416 where there is no such
    /// part. Who may is known before.
    ///
    /// # Errors
    /// When the store does not answer, or the bytes are not there or do not open.
    pub async fn download(
        &self,
        tenant: TenantId,
        artifact: &Artifact,
        asked: &HeaderMap,
    ) -> Result<Response, ArtifactError> {
        let size = u64::try_from(artifact.bytes).unwrap_or_default();
        let tag = format!("\"{}\"", artifact.sha256);
        let known = ranges::items(asked, IF_NONE_MATCH)
            .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag);
        let part = ranges::part(asked, &artifact.sha256, size);
        let (status, body) = match (known, &part) {
            (true, _) => (StatusCode::NOT_MODIFIED, Body::empty()),
            (_, Part::Unsatisfiable) => (StatusCode::RANGE_NOT_SATISFIABLE, Body::empty()),
            (_, Part::Whole) => (StatusCode::OK, self.body(tenant, artifact, 0..size).await?),
            (_, Part::Bytes(range)) => (
                StatusCode::PARTIAL_CONTENT,
                self.body(tenant, artifact, range.clone()).await?,
            ),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        set(headers, ETAG, &tag);
        set(headers, ACCEPT_RANGES, "bytes");
        // Asked for each time: who may read it can change, and it may be gone.
        set(
            headers,
            CACHE_CONTROL,
            if artifact.sealed {
                "no-store"
            } else {
                "private, no-cache"
            },
        );
        set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(
            headers,
            CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        );
        set(headers, CONTENT_DISPOSITION, &disposition(&artifact.name));
        match (status, part) {
            (StatusCode::OK, _) => set(headers, CONTENT_LENGTH, &size.to_string()),
            (StatusCode::PARTIAL_CONTENT, Part::Bytes(range)) => {
                set(
                    headers,
                    CONTENT_LENGTH,
                    &(range.end - range.start).to_string(),
                );
                let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                set(headers, CONTENT_RANGE, &said);
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                set(headers, CONTENT_RANGE, &format!("bytes */{size}"));
            }
            _ => {}
        }
        if !known {
            set(headers, CONTENT_TYPE, &artifact.media_type);
        }
        Ok(response)
    }

    async fn body(
        &self,
        tenant: TenantId,
        artifact: &Artifact,
        range: std::ops::Range<u64>,
    ) -> Result<Body, ArtifactError> {
        if artifact.sealed {
            let bytes = self.bytes(tenant, artifact).await?;
            let at = |place: u64| {
                usize::try_from(place)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len())
            };
            return Ok(Body::from(bytes.slice(at(range.start)..at(range.end))));
        }
        let path = BlobPath::new(artifact.blob.as_str())?;
        let blob = if range.is_empty() {
            self.blobs.get(&path).await?
        } else {
            self.blobs.get_range(&path, range).await?
        };
        let blob = blob.ok_or(ArtifactError::Lost { id: artifact.id })?;
        Ok(Body::from_stream(blob.into_stream()))
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        // Only what somebody said that the file is; then it is bytes.
        Err(_) => tracing::warn!("a value of the header {name} cannot be sent"),
    }
}

/// To be kept in a file of the artifact's name without its folders (RFC 6266): once for who reads ASCII, once as it is.
fn disposition(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name);
    let plain: String = file
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' => '_',
            c if c.is_ascii() && !c.is_ascii_control() => c,
            _ => '_',
        })
        .collect();
    let exact = utf8_percent_encode(file, ENCODED);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_the_artifact_and_nothing_else() {
        for (name, said) in [
            (
                "plan.json",
                "attachment; filename=\"plan.json\"; filename*=UTF-8''plan.json",
            ),
            (
                "node_files/r1/a \"b\".cfg",
                "attachment; filename=\"a _b_.cfg\"; filename*=UTF-8''a%20%22b%22.cfg",
            ),
            (
                "план.txt",
                "attachment; filename=\"____.txt\"; filename*=UTF-8''%D0%BF%D0%BB%D0%B0%D0%BD.txt",
            ),
            (
                "x%0d%0aset-cookie",
                "attachment; filename=\"x_0d_0aset-cookie\"; filename*=UTF-8''x%250d%250aset-cookie",
            ),
        ] {
            assert_eq!(disposition(name), said);
            assert!(HeaderValue::from_str(&disposition(name)).is_ok());
        }
    }
}
