//! A request in a file, as people keep it: `curl -v`, a proxy's log, a page of recent deliveries.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Utc};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::TriggerId;
use webhook::BODY_BYTES_MAX;

/// How much of a file is headers, at most, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The header that says when it was signed, in seconds.
const TIMESTAMP: &str = "webhook-timestamp";

/// What was recorded.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The path of the request line, if there is one.
    path: Option<String>,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The body to the last byte of the file.
    pub(super) body: Vec<u8>,
}

impl Recorded {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let reading = || -> anyhow::Result<Self> {
            let bytes = std::fs::metadata(file)?.len();
            let most = u64::try_from(BODY_BYTES_MAX + HEAD_BYTES_MAX)?;
            if bytes > most {
                bail!("it has {bytes} bytes: no request that is taken has more than {most}");
            }
            Self::parse(&std::fs::read(file)?)
        };
        reading().with_context(|| format!("{} cannot be read as a request", file.display()))
    }

    /// Reads its bytes: a request line perhaps, headers, an empty line, the body.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut recorded = Self::default();
        let mut rest = bytes;
        let mut number = 0;
        loop {
            number += 1;
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                bail!("there is no empty line between headers and body");
            };
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // What `curl -v` marks as sent.
            let line = line
                .strip_prefix(b"> ")
                .or(line.strip_prefix(b">"))
                .unwrap_or(line);
            if line.is_empty() {
                break;
            }
            let text = std::str::from_utf8(line)
                .map_err(|_| anyhow!("line {number} is not text: headers come first"))?;
            let parts: Vec<&str> = text.split(' ').collect();
            if number == 1 && parts.len() == 3 && parts[2].starts_with("HTTP/") {
                recorded.path = Some(parts[1].to_owned());
                continue;
            }
            let (name, value) = text
                .split_once(':')
                .ok_or_else(|| anyhow!("line {number} is no header: `name: value` is expected"))?;
            let name: HeaderName = name
                .trim()
                .parse()
                .map_err(|_| anyhow!("line {number} names no header"))?;
            let value = HeaderValue::from_str(value.trim())
                .map_err(|_| anyhow!("line {number} has a value that no header has"))?;
            recorded.headers.append(name, value);
        }
        recorded.body = rest.to_vec();
        Ok(recorded)
    }

    /// The trigger that its URL names.
    pub(super) fn trigger(&self) -> Option<TriggerId> {
        self.parts()?.find_map(|part| part.parse().ok())
    }

    /// What stands behind the trigger in its path.
    pub(super) fn path_secret(&self) -> Option<&str> {
        let mut parts = self.parts()?;
        parts.find(|part| part.parse::<TriggerId>().is_ok())?;
        parts.next().filter(|secret| !secret.is_empty())
    }

    fn parts(&self) -> Option<impl Iterator<Item = &str>> {
        let path = self.path.as_deref()?.split('?').next().unwrap_or_default();
        Some(path.split('/'))
    }

    /// When it says that it was signed.
    pub(super) fn signed_at(&self) -> Option<DateTime<Utc>> {
        let seconds = self.headers.get(TIMESTAMP)?.to_str().ok()?.parse().ok()?;
        DateTime::from_timestamp(seconds, 0)
    }

    /// What makes the recording itself doubtful.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let text = |name: HeaderName| self.headers.get(name).and_then(|value| value.to_str().ok());
        let said = text(CONTENT_LENGTH).and_then(|said| said.parse::<usize>().ok());
        if let Some(said) = said
            && said != self.body.len()
        {
            doubts.push(format!(
                "Content-Length says {said} bytes, and the recording has {}: it is not the body that was sent",
                self.body.len()
            ));
        }
        if text(TRANSFER_ENCODING).is_some_and(|coding| coding.contains("chunked")) {
            doubts.push(
                "the body was sent in chunks: if their sizes stand in the recording, it is not what was signed"
                    .to_owned(),
            );
        }
        if let Some(coding) = text(CONTENT_ENCODING).filter(|coding| *coding != "identity") {
            doubts.push(format!(
                "Content-Encoding is {coding}: a compressed body is refused, whatever its signature"
            ));
        }
        doubts
    }
}
