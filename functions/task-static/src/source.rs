//! What a static workload says besides where its repository is.

use serde::{Deserialize, Serialize};

/// The longest name of a variable, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Why a word of a source is refused. Its text is for who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The variable's name is not one.
    #[error(
        "`{0}` is not a variable: write capital letters, digits and underscores, such as GIT_TOKEN"
    )]
    Variable(String),
    /// The storage limit is nothing, or more than can be held.
    #[error("storage_bytes_max is {0}: it must be from 1 to {max}", max = StorageBytes::MAX)]
    StorageBytes(u64),
}

/// The name of a variable of the workload's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Variable(String);

/// How many bytes a site may have, before and after it is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct StorageBytes(u64);

impl TryFrom<String> for Variable {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        let character =
            |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let good = text.len() <= NAME_BYTES_MAX
            && text.bytes().all(character)
            && text.starts_with(|first: char| !first.is_ascii_digit());
        if good {
            Ok(Self(text))
        } else {
            Err(SourceError::Variable(text))
        }
    }
}

impl Variable {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StorageBytes {
    /// The most that a site can be given: it is held in memory while it is built.
    pub const MAX: u64 = 256 * 1024 * 1024;

    /// The limit in bytes.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for StorageBytes {
    type Error = SourceError;

    fn try_from(bytes: u64) -> Result<Self, SourceError> {
        if (1..=Self::MAX).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(SourceError::StorageBytes(bytes))
        }
    }
}

impl From<StorageBytes> for u64 {
    fn from(bytes: StorageBytes) -> Self {
        bytes.0
    }
}

impl Default for StorageBytes {
    fn default() -> Self {
        Self(100 * 1024 * 1024)
    }
}

impl From<Variable> for String {
    fn from(word: Variable) -> Self {
        word.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_plain_name() {
        for good in ["GIT_TOKEN", "_X1"] {
            Variable::try_from(good.to_owned()).expect(good);
        }
        for bad in ["", "1X", "git_token", "A-B", "A=B", "A\nB"] {
            Variable::try_from(bad.to_owned()).expect_err(bad);
        }
    }
}
