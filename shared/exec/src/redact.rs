//! Keeps values that must not be seen out of what is told: as they are, and in the forms that programs give them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

/// What stands for a value.
const MASK: &[u8] = b"***";
/// Shorter values are not looked for, in bytes: they would be found everywhere.
pub const SECRET_BYTES_MIN: usize = 4;
/// Where programs break the lines of base64.
const BASE64_LINES: [usize; 2] = [64, 76];
/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Values that must not be seen, in every form in which they may come.
#[derive(Clone)]
pub struct Redactor {
    /// None: there is nothing to hide.
    found_by: Option<AhoCorasick>,
    longest: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

impl Redactor {
    /// Hides these values, and each line of those that have several.
    ///
    /// # Errors
    /// When they are too many or too long for one automaton (gigabytes).
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, BuildError> {
        let mut forms = Forms::default();
        for secret in secrets {
            forms.add(secret.as_bytes());
            for line in secret.lines() {
                forms.add(line.trim().as_bytes());
            }
        }
        let mut forms = forms.0;
        forms.sort_unstable_by(|a, b| a.as_slice().cmp(b.as_slice()));
        forms.dedup();
        if forms.is_empty() {
            return Ok(Self {
                found_by: None,
                longest: 0,
            });
        }
        Ok(Self {
            longest: forms.iter().map(|form| form.len()).max().unwrap_or(0),
            found_by: Some(
                AhoCorasick::builder()
                    // All of them, so that values that overlap are hidden as one.
                    .match_kind(MatchKind::Standard)
                    .build(forms.iter().map(|form| form.as_slice()))?,
            ),
        })
    }

    /// How many bytes the longest form has: so many more than are shown must be there to see a value that begins in them.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The first `shown` bytes without what must not be seen. A value that begins in them and goes on behind them is hidden as
    /// a whole.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8], shown: usize) -> Cow<'a, [u8]> {
        let shown = shown.min(bytes.len());
        let hidden = self.hidden(bytes, shown);
        if hidden.is_empty() {
            return Cow::Borrowed(&bytes[..shown]);
        }
        let mut out = Vec::with_capacity(shown);
        let mut at = 0;
        for range in hidden {
            out.extend_from_slice(&bytes[at..range.start]);
            out.extend_from_slice(MASK);
            at = range.end;
        }
        if at < shown {
            out.extend_from_slice(&bytes[at..shown]);
        }
        Cow::Owned(out)
    }

    /// Text without what must not be seen.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes(), text.len()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(
                String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            ),
        }
    }

    /// Every text in a value, names of members included.
    #[must_use]
    pub fn value(&self, value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        if self.found_by.is_none() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Array(values) => {
                Value::Array(values.into_iter().map(|value| self.value(value)).collect())
            }
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (self.text(&name).into_owned(), self.value(value)))
                    .collect(),
            ),
            // A number may be a secret too: it is compared as it is written.
            Value::Number(number) => {
                let text = number.to_string();
                match self.text(&text) {
                    Cow::Borrowed(_) => Value::Number(number),
                    Cow::Owned(hidden) => Value::String(hidden),
                }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// Where values are that begin before `shown`; what overlaps is one.
    fn hidden(&self, bytes: &[u8], shown: usize) -> Vec<Range<usize>> {
        let Some(found_by) = &self.found_by else {
            return Vec::new();
        };
        let mut found: Vec<Range<usize>> = found_by
            .find_overlapping_iter(bytes)
            .map(|found| found.range())
            .filter(|range| range.start < shown)
            .collect();
        found.sort_unstable_by_key(|range| range.start);
        let mut hidden: Vec<Range<usize>> = Vec::new();
        for range in found {
            match hidden.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => hidden.push(range),
            }
        }
        hidden
    }
}

/// The forms that are looked for.
#[derive(Default)]
struct Forms(Vec<Zeroizing<Vec<u8>>>);

impl Forms {
    fn add(&mut self, secret: &[u8]) {
        if secret.len() < SECRET_BYTES_MIN {
            return;
        }
        self.push(secret.to_vec());
        self.base64(secret);
        self.push(hex::encode(secret).into_bytes());
        self.push(hex::encode_upper(secret).into_bytes());
        let percent = percent_encode(secret, UNRESERVED).to_string();
        self.push(percent.replace("%20", "+").into_bytes());
        self.push(lower_hex(&percent).into_bytes());
        self.push(percent.into_bytes());
        if let Ok(text) = std::str::from_utf8(secret) {
            let json = serde_json::Value::from(text).to_string();
            let json = &json[1..json.len() - 1];
            // As Go writes it, and with it terraform.
            let of_go = json
                .replace('<', "\\u003c")
                .replace('>', "\\u003e")
                .replace('&', "\\u0026");
            self.push(of_go.into_bytes());
            self.push(json.as_bytes().to_vec());
        }
    }

    /// Three characters stand for four bytes, so a value looks in three ways, by where it begins. Characters that also depend
    /// on what is before or behind it are not looked for.
    fn base64(&mut self, secret: &[u8]) {
        for before in 0..3_usize {
            let mut shifted = Zeroizing::new(vec![0; before]);
            shifted.extend_from_slice(secret);
            let from = (before * 8).div_ceil(6);
            let to = shifted.len() * 8 / 6;
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let encoded = Zeroizing::new(engine.encode(&*shifted));
                self.push(encoded.as_bytes()[from..to].to_vec());
            }
        }
        let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(secret));
        for width in BASE64_LINES {
            if encoded.len() > width {
                for line in encoded.as_bytes().chunks(width) {
                    self.push(line.to_vec());
                }
            }
        }
    }

    fn push(&mut self, form: Vec<u8>) {
        if form.len() >= SECRET_BYTES_MIN {
            self.0.push(Zeroizing::new(form));
        }
    }
}

/// `%2F` as `%2f`, which is the same to everybody.
fn lower_hex(percent: &str) -> String {
    let mut out = String::with_capacity(percent.len());
    let mut digits = 0;
    for c in percent.chars() {
        out.push(if digits > 0 {
            c.to_ascii_lowercase()
        } else {
            c
        });
        digits = if c == '%' {
            2
        } else {
            usize::saturating_sub(digits, 1)
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2/<&> \"q\"";

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().copied()).expect("a few values fit")
    }

    #[test]
    fn a_value_is_hidden_in_each_of_its_forms() {
        let redactor = redactor(&[SECRET]);
        for form in [
            SECRET.to_owned(),
            STANDARD_NO_PAD.encode(SECRET),
            base64::engine::general_purpose::STANDARD.encode(SECRET),
            hex::encode(SECRET),
            hex::encode_upper(SECRET),
            "hunter2%2F%3C%26%3E%20%22q%22".to_owned(),
            "hunter2%2f%3c%26%3e%20%22q%22".to_owned(),
            "hunter2%2F%3C%26%3E+%22q%22".to_owned(),
            r#"hunter2/<&> \"q\""#.to_owned(),
            r#"hunter2/\u003c\u0026\u003e \"q\""#.to_owned(),
        ] {
            let line = format!("a {form} b");
            let shown = redactor.text(&line);
            assert!(shown.starts_with("a ***"), "{form}: {shown}");
            assert!(!shown.contains("hunter"), "{form}: {shown}");
        }
    }

    #[test]
    fn base64_hides_a_value_wherever_it_begins() {
        let redactor = redactor(&["correct-horse-battery"]);
        for before in ["", "u", "us", "usr", "user:"] {
            for after in ["", "@", "@h", "@ho"] {
                let text = format!("{before}correct-horse-battery{after}");
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let shown = redactor.text(&encoded);
                    assert!(shown.contains("***"), "{text}: {shown}");
                    // At most a character at each end depends on what stands beside it.
                    assert!(shown.len() <= encoded.len() - 24, "{text}: {shown}");
                }
            }
        }
    }

    #[test]
    fn each_line_of_a_value_is_a_value() {
        let redactor = redactor(&["first line\r\n  second line\nab"]);
        assert_eq!(redactor.text("x second line y"), "x *** y");
        assert_eq!(redactor.text("the first line."), "the ***.");
        // Too short to be looked for.
        assert_eq!(redactor.text("ab"), "ab");
    }

    #[test]
    fn values_that_overlap_are_hidden_as_one() {
        let redactor = redactor(&["abcdef", "defghi"]);
        assert_eq!(redactor.text("-abcdefghi-"), "-***-");
        assert_eq!(redactor.text("-abcdefdefghi-"), "-***-");
    }

    #[test]
    fn a_value_over_the_cut_is_not_seen() {
        let redactor = redactor(&["secret-value"]);
        let line = b"0123456789secret-value-and-more";
        for cut in 11..22 {
            assert_eq!(&*redactor.bytes(line, cut), b"0123456789***", "{cut}");
        }
        assert_eq!(&*redactor.bytes(line, 10), b"0123456789");
        assert_eq!(&*redactor.bytes(line, 23), b"0123456789***-");
    }

    #[test]
    fn a_report_is_looked_through_to_its_leaves() {
        let redactor = redactor(&["secret-value", "123456"]);
        let value =
            serde_json::json!({"a": ["secret-value", 123456, 7], "secret-value": {"b": null}});
        let expected = serde_json::json!({"a": ["***", "***", 7], "***": {"b": null}});
        assert_eq!(redactor.value(value), expected);
    }

    #[test]
    fn nothing_to_hide_costs_nothing() {
        let redactor = redactor(&["", "abc"]);
        assert!(matches!(redactor.text("abc"), Cow::Borrowed("abc")));
        assert_eq!(redactor.longest(), 0);
    }
}
