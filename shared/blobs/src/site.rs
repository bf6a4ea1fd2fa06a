//! What a published site revision is: an immutable prefix of blobs and a manifest that names them.
//!
//! One function writes it and another serves it, so its form is here. A file's bytes are stored under their digest:
//! a name that somebody chose never becomes a name in a store.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{BlobPath, BlobPathError};

/// The name of the manifest under a revision's prefix. Written last: a prefix that has it is complete.
pub const MANIFEST: &str = "manifest.json";

/// The largest manifest, in bytes as JSON.
pub const MANIFEST_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The longest path of a file in a site, in bytes.
pub const SITE_PATH_BYTES_MAX: usize = 1024;

/// The longest name between two `/`, in bytes.
pub const SITE_NAME_BYTES_MAX: usize = 255;

/// The one folder of hidden name that is published: RFC 8615 puts files for the public there.
const WELL_KNOWN: &str = ".well-known";

/// The files of one revision by the path that they are served at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The files.
    pub files: BTreeMap<SitePath, Entry>,
}

/// One file of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The digest of its bytes, which is its name under the prefix.
    pub sha256: Sha256Hex,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type, as it is sent.
    pub content_type: Cow<'static, str>,
    /// Who wrote it; decides what the browser lets it do.
    pub origin: Origin,
}

/// Who wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Its author; served byte for byte.
    Verbatim,
    /// We did, from Markdown.
    Rendered,
}

/// The path of a file in a site: relative, forward slashes, no `..`, nothing hidden but `.well-known`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SitePath(String);

/// A SHA-256 digest in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Hex(String);

/// Why a text is not the path of a file in a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SitePathError {
    /// The path or a name in it is too long.
    #[error(
        "a path has at most {SITE_PATH_BYTES_MAX} bytes, each name in it at most {SITE_NAME_BYTES_MAX}"
    )]
    TooLong,
    /// Absolute, or with an empty segment.
    #[error("a path is relative and has no empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("a path has no `.` or `..`")]
    Dots,
    /// A hidden name.
    #[error("a name that starts with a dot is not published")]
    Hidden,
    /// A control character or a backslash.
    #[error("a path has no control characters and no backslash")]
    Character,
}

/// The text is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct DigestError;

/// The prefix of a revision: `sites/<workload>/<content hash>`.
pub fn prefix(workload: &str, content: &Sha256Hex) -> Result<BlobPath, BlobPathError> {
    BlobPath::new(format!("sites/{workload}/{content}"))
}

impl SitePath {
    /// Checks a path.
    pub fn new(text: impl Into<String>) -> Result<Self, SitePathError> {
        let text = text.into();
        if text.len() > SITE_PATH_BYTES_MAX {
            return Err(SitePathError::TooLong);
        }
        for (depth, name) in text.split('/').enumerate() {
            check_name(name, depth)?;
        }
        Ok(Self(text))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that the file is in, with a `/` at its end; empty for the root.
    pub fn folder(&self) -> &str {
        self.0.rfind('/').map_or("", |slash| &self.0[..=slash])
    }

    /// The last part.
    pub fn name(&self) -> &str {
        &self.0[self.folder().len()..]
    }
}

/// Checks one name of a path, `depth` folders below the root.
pub fn check_name(name: &str, depth: usize) -> Result<(), SitePathError> {
    if name.is_empty() {
        return Err(SitePathError::EmptySegment);
    }
    if name.len() > SITE_NAME_BYTES_MAX {
        return Err(SitePathError::TooLong);
    }
    if name == "." || name == ".." {
        return Err(SitePathError::Dots);
    }
    if name
        .chars()
        .any(|c| c.is_control() || c == '\\' || c == '/')
    {
        return Err(SitePathError::Character);
    }
    if name.starts_with('.') && !(depth == 0 && name == WELL_KNOWN) {
        return Err(SitePathError::Hidden);
    }
    Ok(())
}

impl Sha256Hex {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The digest that a hasher has come to.
    pub fn finish(hasher: Sha256) -> Self {
        Self(hex::encode(hasher.finalize()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SitePath {
    type Error = SitePathError;

    fn try_from(text: String) -> Result<Self, SitePathError> {
        Self::new(text)
    }
}

impl From<SitePath> for String {
    fn from(path: SitePath) -> Self {
        path.0
    }
}

impl std::borrow::Borrow<str> for SitePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SitePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text))
        } else {
            Err(DigestError)
        }
    }
}

impl From<Sha256Hex> for String {
    fn from(digest: Sha256Hex) -> Self {
        digest.0
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_path_is_relative_plain_and_visible() {
        for (text, error) in [
            ("", SitePathError::EmptySegment),
            ("/etc/passwd", SitePathError::EmptySegment),
            ("a//b", SitePathError::EmptySegment),
            ("../a", SitePathError::Dots),
            ("a/./b", SitePathError::Dots),
            ("a\\b", SitePathError::Character),
            ("a\0", SitePathError::Character),
            (".git/config", SitePathError::Hidden),
            ("a/.htaccess", SitePathError::Hidden),
            ("a/.well-known/x", SitePathError::Hidden),
        ] {
            assert_eq!(SitePath::new(text), Err(error), "{text:?}");
        }
        let long = "a".repeat(256);
        assert_eq!(SitePath::new(long), Err(SitePathError::TooLong));
        SitePath::new(".well-known/security.txt").expect("public by RFC 8615");
        SitePath::new("docs/ü#1 a.html").expect("odd and harmless");
    }

    #[test]
    fn a_path_knows_its_folder_and_name() {
        let deep = SitePath::new("a/b/c.md").expect("a good path");
        assert_eq!((deep.folder(), deep.name()), ("a/b/", "c.md"));
        let flat = SitePath::new("c.md").expect("a good path");
        assert_eq!((flat.folder(), flat.name()), ("", "c.md"));
    }

    #[test]
    fn a_manifest_with_a_path_that_leaves_or_a_bad_digest_is_not_read() {
        let manifest = |path: &str, digest: &str| {
            serde_json::from_value::<Manifest>(serde_json::json!({"files": {path: {
                "sha256": digest, "size": 1, "content_type": "text/plain", "origin": "verbatim",
            }}}))
        };
        let good = Sha256Hex::of(b"x");
        assert!(manifest("a.txt", good.as_str()).is_ok());
        assert!(manifest("../a.txt", good.as_str()).is_err());
        assert!(manifest("a.txt", "../../x").is_err());
        assert!(manifest("a.txt", &good.as_str().to_uppercase()).is_err());
    }
}
