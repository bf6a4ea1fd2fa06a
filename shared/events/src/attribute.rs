//! Names and values of context attributes: what the specification allows and how much of it we take.

use std::fmt;

/// Bytes in the name of an extension. The specification recommends 20 and sets no bound.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// Bytes in the value of one attribute, percent-coding undone.
pub const ATTRIBUTE_BYTES_MAX: usize = 8 * 1024;
/// Attributes of one event, extensions included.
pub const ATTRIBUTES_MAX: usize = 64;
/// Bytes in all names and values of one event together, so that an event that came in as JSON still fits into the
/// headers of a binary request, where a byte may need three.
pub const ATTRIBUTES_BYTES_MAX: usize = 32 * 1024;

/// Names that mean something else in an envelope or are attributes of their own, and so are never extensions.
const RESERVED: [&str; 9] = [
    "data",
    "datacontenttype",
    "dataschema",
    "id",
    "source",
    "specversion",
    "subject",
    "time",
    "type",
];

/// The value of an attribute.
///
/// URIs, timestamps and binary values are strings here: on the wire nothing tells them apart, and their text must survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`, which only JSON can carry: over headers it becomes a string.
    Boolean(bool),
    /// A signed number of 32 bits, which only JSON can carry: over headers it becomes a string.
    Integer(i32),
    /// Everything else.
    String(String),
}

impl Value {
    /// The text of a string; `None` for the other types.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Boolean(_) | Self::Integer(_) => None,
        }
    }

    /// The number that this is or, after a hop in binary mode, that its text spells.
    #[must_use]
    pub fn to_integer(&self) -> Option<i32> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::String(text) => text.parse().ok(),
            Self::Boolean(_) => None,
        }
    }
}

/// The canonical string representation, as it goes into a header.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::String(value) => value.fmt(f),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

/// An attribute that no event may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The name has other characters than the specification allows.
    #[error("attribute name {name:?} must consist of a-z and 0-9")]
    Name {
        /// The name, or the beginning of a long one.
        name: String,
    },
    /// The name is over [`ATTRIBUTE_NAME_BYTES_MAX`].
    #[error(
        "attribute name {name:?} is longer than {ATTRIBUTE_NAME_BYTES_MAX} bytes; 20 are recommended"
    )]
    NameTooLong {
        /// The beginning of the name.
        name: String,
    },
    /// The name of a context attribute, or `data`, was used for an extension.
    #[error("attribute name {name:?} is reserved and cannot be an extension")]
    Reserved {
        /// The name.
        name: String,
    },
    /// A value that must not be empty is.
    #[error("attribute {name:?} is empty; leave it out or give it a value")]
    Empty {
        /// The attribute.
        name: String,
    },
    /// A control character or a Unicode noncharacter.
    #[error("attribute {name:?} holds U+{code:04X} at byte {at}, which no attribute may hold")]
    Character {
        /// The attribute.
        name: String,
        /// The character's number.
        code: u32,
        /// Bytes before it.
        at: usize,
    },
    /// The value is over [`ATTRIBUTE_BYTES_MAX`].
    #[error("attribute {name:?} has {bytes} bytes, more than {ATTRIBUTE_BYTES_MAX}")]
    TooLong {
        /// The attribute.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// More attributes than [`ATTRIBUTES_MAX`].
    #[error("the event has more than {ATTRIBUTES_MAX} attributes")]
    TooMany,
    /// All attributes together are over [`ATTRIBUTES_BYTES_MAX`].
    #[error(
        "the attributes have more than {ATTRIBUTES_BYTES_MAX} bytes; send large values as data"
    )]
    TooLarge,
    /// `time` is not RFC 3339.
    #[error("time {given:?} is not an RFC 3339 timestamp such as 2018-04-05T17:31:00Z")]
    Time {
        /// What was given, or its beginning.
        given: String,
        /// What is wrong with it.
        #[source]
        source: chrono::ParseError,
    },
    /// `datacontenttype` is not a media type.
    #[error("datacontenttype {given:?} is not a media type such as application/json")]
    MediaType {
        /// What was given, or its beginning.
        given: String,
    },
    /// An integer that does not fit.
    #[error("attribute {name:?} is {given}, which is not an integer of 32 bits")]
    Integer {
        /// The attribute.
        name: String,
        /// What was given, or its beginning.
        given: String,
    },
}

/// What an error repeats of its input, so that a hostile name cannot fill a log.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), AttributeError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(AttributeError::Name {
            name: shorten(name),
        });
    }
    if name.len() > ATTRIBUTE_NAME_BYTES_MAX {
        return Err(AttributeError::NameTooLong {
            name: shorten(name),
        });
    }
    Ok(())
}

pub(crate) fn check_extension_name(name: &str) -> Result<(), AttributeError> {
    check_name(name)?;
    if RESERVED.contains(&name) {
        return Err(AttributeError::Reserved {
            name: name.to_owned(),
        });
    }
    Ok(())
}

pub(crate) fn check_text(name: &str, text: &str) -> Result<(), AttributeError> {
    if text.len() > ATTRIBUTE_BYTES_MAX {
        return Err(AttributeError::TooLong {
            name: name.to_owned(),
            bytes: text.len(),
        });
    }
    match text.char_indices().find(|(_, c)| is_forbidden(*c)) {
        Some((at, found)) => Err(AttributeError::Character {
            name: name.to_owned(),
            code: u32::from(found),
            at,
        }),
        None => Ok(()),
    }
}

pub(crate) fn check_filled(name: &str, text: &str) -> Result<(), AttributeError> {
    if text.is_empty() {
        return Err(AttributeError::Empty {
            name: name.to_owned(),
        });
    }
    check_text(name, text)
}

/// C0 and C1 controls and the 66 noncharacters; surrogates cannot be in a `char`.
fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_letters_and_digits() {
        for good in ["a", "0", "comexampleextension1", "data2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "Bad", "foo_bar", "foo-bar", "é", "a b", "a\n"] {
            assert!(
                matches!(check_name(bad), Err(AttributeError::Name { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_name_of_ten_kilobytes_is_refused_and_not_repeated_whole() {
        let error = check_name(&"a".repeat(10_000)).expect_err("far over the limit");
        assert!(error.to_string().len() < 200, "{error}");
    }

    #[test]
    fn controls_and_noncharacters_are_found_at_their_place() {
        for (text, code, at) in [
            ("a\0", 0, 1),
            ("\t", 9, 0),
            ("é\u{85}", 0x85, 2),
            ("\u{7f}", 0x7f, 0),
            ("\u{fdd0}", 0xfdd0, 0),
            ("\u{1ffff}", 0x1ffff, 0),
        ] {
            let name = "subject".to_owned();
            assert_eq!(
                check_text("subject", text),
                Err(AttributeError::Character { name, code, at })
            );
        }
        assert_eq!(check_text("subject", "Euro € 😀 \u{a0}\u{fffd}"), Ok(()));
    }

    #[test]
    fn a_number_is_read_from_its_text_too() {
        assert_eq!(Value::from(5).to_integer(), Some(5));
        assert_eq!(Value::from("-5").to_integer(), Some(-5));
        assert_eq!(Value::from("9999999999").to_integer(), None);
        assert_eq!(Value::from(true).to_integer(), None);
    }
}
