//! Attribute values in headers: percent-coding, and the quoting that older senders use.

use std::borrow::Cow;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What must be encoded below U+0080; everything above always is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Why a header is not the value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its bytes are not UTF-8.
    NotText,
    /// It begins as a quoted string and does not end as one.
    Quoting,
    /// What its escapes spell is not UTF-8.
    Escapes,
}

pub(crate) fn encode(text: &str) -> HeaderValue {
    HeaderValue::try_from(utf8_percent_encode(text, ENCODED).to_string())
        .expect("percent-coding leaves printable ASCII only")
}

/// Undoes quoting, then exactly one round of percent-coding.
///
/// Other implementations send UTF-8 and lone percent signs as they are, so both are taken as they are; what is left must
/// be UTF-8 all the same.
pub(crate) fn decode(value: &HeaderValue) -> Result<String, Fault> {
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Fault::NotText)?;
    let text = unquote(text).ok_or(Fault::Quoting)?;
    match percent_decode_str(&text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(Fault::Escapes),
    }
}

/// Only a value that is quoted as a whole is a quoted string; a quote further inside is a character like any other.
fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = text.strip_prefix('"') else {
        return Some(Cow::Borrowed(text));
    };
    let mut plain = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '\\' => plain.push(chars.next()?),
            '"' => return chars.next().is_none().then_some(Cow::Owned(plain)),
            other => plain.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<String, Fault> {
        decode(&HeaderValue::from_bytes(bytes).expect("a header value"))
    }

    #[test]
    fn the_example_of_the_specification_goes_both_ways() {
        let encoded = "Euro%20%E2%82%AC%20%F0%9F%98%80";
        assert_eq!(encode("Euro € 😀"), encoded);
        assert_eq!(decoded(encoded.as_bytes()), Ok("Euro € 😀".to_owned()));
    }

    #[test]
    fn space_quote_and_percent_are_encoded_and_nothing_else_printable_is() {
        assert_eq!(encode("a \"b\" 100%"), "a%20%22b%22%20100%25");
        let plain: String = ('!'..='~').filter(|c| !"\"%".contains(*c)).collect();
        assert_eq!(encode(&plain), plain.as_str());
    }

    #[test]
    fn quoting_is_undone_before_percent_coding() {
        assert_eq!(decoded(br#""a \"b\" \\ c""#), Ok(r#"a "b" \ c"#.to_owned()));
        assert_eq!(decoded(br#""a%20b""#), Ok("a b".to_owned()));
        assert_eq!(decoded(br#"a "b" c"#), Ok(r#"a "b" c"#.to_owned()));
        assert_eq!(decoded(br#""""#), Ok(String::new()));
    }

    #[test]
    fn broken_quoting_is_refused() {
        for broken in [
            &br#"""#[..],
            br#""a"#,
            br#""a\"#,
            br#""a" b"#,
            br#""a" and "b""#,
        ] {
            assert_eq!(decoded(broken), Err(Fault::Quoting), "{broken:?}");
        }
    }

    #[test]
    fn exactly_one_round_is_undone() {
        assert_eq!(decoded(b"a%2520b"), Ok("a%20b".to_owned()));
        assert_eq!(decoded(b"%e2%82%ac%41"), Ok("€A".to_owned()));
        assert_eq!(decoded(b"100% of %zz %4"), Ok("100% of %zz %4".to_owned()));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(decoded(b"%C0%A0"), Err(Fault::Escapes));
        assert_eq!(decoded(b"%ED%A0%80"), Err(Fault::Escapes));
        assert_eq!(decoded(b"%FF"), Err(Fault::Escapes));
        assert_eq!(decoded(b"\xff"), Err(Fault::NotText));
        assert_eq!(decoded("Euro €".as_bytes()), Ok("Euro €".to_owned()));
    }
}
