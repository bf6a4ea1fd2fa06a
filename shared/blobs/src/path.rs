//! The checked name of a blob.

use std::fmt;

/// The longest path, in bytes: the limit of the strictest store.
pub const PATH_BYTES_MAX: usize = 1024;

/// The name of a blob: segments joined by `/`. It cannot leave its store, and means the same in every store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobPath(String);

/// Why a text is not a path of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobPathError {
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("a blob's path has at most {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// Empty, or with a leading, trailing or doubled `/`.
    #[error("a blob's path has no empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("a blob's path has no `.` or `..`")]
    Dots,
    /// A control character or a backslash.
    #[error("a blob's path has no control characters and no backslash")]
    Character,
    /// A last part such as `name#12`, which the folder store keeps for its own staging files.
    #[error("a segment of a blob's path does not end in `#` and digits")]
    Staging,
}

impl BlobPath {
    /// Checks a whole path.
    pub fn new(text: impl Into<String>) -> Result<Self, BlobPathError> {
        let text = text.into();
        if text.len() > PATH_BYTES_MAX {
            return Err(BlobPathError::TooLong);
        }
        text.split('/').try_for_each(check_segment)?;
        Ok(Self(text))
    }

    /// Adds what is under this path.
    pub fn join(&self, rest: &str) -> Result<Self, BlobPathError> {
        Self::new(format!("{}/{rest}", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_store(&self) -> object_store::path::Path {
        object_store::path::Path::parse(&self.0).expect("every segment was checked in `new`")
    }
}

fn check_segment(segment: &str) -> Result<(), BlobPathError> {
    if segment.is_empty() {
        return Err(BlobPathError::EmptySegment);
    }
    if segment == "." || segment == ".." {
        return Err(BlobPathError::Dots);
    }
    if segment.chars().any(|c| c.is_control() || c == '\\') {
        return Err(BlobPathError::Character);
    }
    if let Some((_, suffix)) = segment.split_once('#')
        && !suffix.is_empty()
        && suffix.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(BlobPathError::Staging);
    }
    Ok(())
}

impl fmt::Display for BlobPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_its_store() {
        for (text, error) in [
            ("", BlobPathError::EmptySegment),
            ("/a", BlobPathError::EmptySegment),
            ("a/", BlobPathError::EmptySegment),
            ("a//b", BlobPathError::EmptySegment),
            ("..", BlobPathError::Dots),
            ("a/../b", BlobPathError::Dots),
            ("./a", BlobPathError::Dots),
            ("a\0b", BlobPathError::Character),
            ("a\nb", BlobPathError::Character),
            ("a\u{85}b", BlobPathError::Character),
            ("..\\a", BlobPathError::Character),
            ("a/b#1", BlobPathError::Staging),
        ] {
            assert_eq!(BlobPath::new(text), Err(error), "{text:?}");
        }
        assert_eq!(BlobPath::new("a".repeat(1025)), Err(BlobPathError::TooLong));
    }

    #[test]
    fn what_a_path_says_is_what_the_store_gets() {
        for text in [
            "a",
            "a/b c/ü.txt",
            "a%2e%2e/b",
            "...",
            "a#b",
            "a:b",
            "~a",
            &"a".repeat(1024),
        ] {
            let path = BlobPath::new(text).expect("a good path");
            assert_eq!(path.to_store().as_ref(), text);
        }
    }

    #[test]
    fn a_joined_path_is_checked_too() {
        let base = BlobPath::new("sites").expect("a good path");
        assert_eq!(base.join("x/y").expect("a good path").as_str(), "sites/x/y");
        assert_eq!(base.join("../y"), Err(BlobPathError::Dots));
    }
}
