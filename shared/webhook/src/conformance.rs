//! What every vendor must hold, run over its own fixtures and over payloads that others recorded. For tests of vendor
//! crates; nothing that serves a request calls it.
//!
//! A fixture is a pair of files in a folder: `<event>.<case>.json`, a payload, and `<event>.<case>.parsed.json`, what it
//! must become. A vendor's crate writes
//!
//! ```ignore
//! webhook::conformance!(Github, DIALECT, "testdata");
//! ```

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::Sha256;

use crate::{BadSignature, Delivery, ParseError, Parsed, Raw, Secrets, Signed, Vendor, Which};

/// The secret of every delivery that is made here.
pub const SECRET: &str = "the trigger's secret";

/// When every delivery that is made here comes in: 2026-11-21 18:00 UTC.
pub const RECEIVED_AT: DateTime<Utc> =
    DateTime::from_timestamp_secs(1_795_284_000).expect("a date");

/// Names and values of headers.
pub type Headers = Vec<(&'static str, String)>;

/// How a sender speaks, for making its requests.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// Headers that say who sends it and what happened, given an event's name; without the proof.
    pub headers: fn(&str) -> Headers,
    /// The proof: headers, given a secret and the bytes that are signed.
    pub proof: fn(&str, &[u8]) -> Headers,
    /// Whether the proof is over the body; a token is not.
    pub signs_body: bool,
    /// What it signs when it sends a form, if it ever does.
    pub form_signs: Option<Signed>,
}

/// Runs every check over the fixtures of a vendor's crate.
#[macro_export]
macro_rules! conformance {
    ($vendor:ty, $dialect:expr, $folder:literal) => {
        mod fixtures {
            use super::*;

            const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder);

            #[test]
            fn every_fixture_reads_as_recorded() {
                $crate::conformance::reads_as_recorded::<$vendor>($dialect, FOLDER);
            }

            #[test]
            fn a_form_reads_as_its_payload() {
                $crate::conformance::form_reads_alike::<$vendor>($dialect, FOLDER);
            }

            #[test]
            fn one_flipped_byte_is_refused() {
                $crate::conformance::flipped_byte_is_refused::<$vendor>($dialect, FOLDER);
            }

            #[test]
            fn only_the_triggers_secrets_are_accepted() {
                $crate::conformance::only_its_secrets::<$vendor>($dialect, FOLDER);
            }
        }
    };
}

/// A recorded payload.
struct Fixture {
    path: PathBuf,
    event: String,
    payload: Bytes,
}

/// Each fixture, sent as JSON, must be accepted and become what was recorded. All that differ are told at once.
///
/// # Panics
/// When one does not.
pub fn reads_as_recorded<V: Vendor>(dialect: Dialect, folder: &str) {
    let mut differing = String::new();
    for fixture in fixtures(folder) {
        let name = fixture.path.display();
        let parsed = read::<V>(json_delivery(dialect, &fixture))
            .unwrap_or_else(|error| panic!("{name} is refused: {error}"));
        let actual = serde_json::to_value(&parsed).expect("it is plain data");
        let recorded = fixture.path.with_extension("parsed.json");
        let expected: Option<Value> = fs::read(&recorded)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if expected.as_ref() != Some(&actual) {
            differing.push_str(&format!(
                "{} is not what it became: {actual:#}\n",
                recorded.display()
            ));
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

/// Each fixture, sent as a form, must become what it becomes as JSON.
///
/// # Panics
/// When one does not.
pub fn form_reads_alike<V: Vendor>(dialect: Dialect, folder: &str) {
    let Some(form_signs) = dialect.form_signs else {
        return;
    };
    for fixture in fixtures(folder) {
        let text = str::from_utf8(&fixture.payload).expect("fixtures are UTF-8");
        let body = format!("payload={}", utf8_percent_encode(text, NON_ALPHANUMERIC));
        let body = Bytes::from(body.replace("%20", "+"));
        let signed = match form_signs {
            Signed::Body => &body,
            Signed::Payload => &fixture.payload,
        };
        let headers = headers(
            dialect,
            &fixture.event,
            "application/x-www-form-urlencoded",
            signed,
        );
        assert_eq!(
            read::<V>(Delivery::new(headers, body, RECEIVED_AT)),
            read::<V>(json_delivery(dialect, &fixture)),
            "{}",
            fixture.path.display()
        );
    }
}

/// Each fixture, with any one byte changed under the old signature, must be refused. A scheme that does not sign the body
/// has its proof changed instead.
///
/// # Panics
/// When one is accepted.
pub fn flipped_byte_is_refused<V: Vendor>(dialect: Dialect, folder: &str) {
    for fixture in fixtures(folder) {
        if !dialect.signs_body {
            let mut wrong = SECRET.as_bytes().to_vec();
            wrong[0] ^= 1;
            let wrong = String::from_utf8(wrong).expect("a flipped letter is a letter");
            let headers = proved(dialect, &fixture.event, &wrong, JSON, &fixture.payload);
            let flipped = Delivery::new(headers, fixture.payload.clone(), RECEIVED_AT);
            let refused = flipped.verify::<V>(&secrets()).map(|_| ());
            assert!(
                matches!(refused, Err(BadSignature::Mismatch(_))),
                "{}: {refused:?}",
                fixture.path.display()
            );
            continue;
        }
        let whole = json_delivery(dialect, &fixture);
        for at in 0..fixture.payload.len() {
            let mut body = fixture.payload.to_vec();
            body[at] ^= 1;
            let flipped = Delivery::new(whole.headers().clone(), Bytes::from(body), RECEIVED_AT);
            let refused = flipped.verify::<V>(&secrets()).map(|_| ());
            assert!(
                matches!(refused, Err(BadSignature::Mismatch(_))),
                "{} with byte {at} flipped: {refused:?}",
                fixture.path.display()
            );
        }
    }
}

/// The current and the previous secret must be accepted; another, none, and a request without a signature refused.
///
/// # Panics
/// When it is otherwise.
pub fn only_its_secrets<V: Vendor>(dialect: Dialect, folder: &str) {
    for fixture in fixtures(folder) {
        let verify = |secrets: &Secrets| {
            json_delivery(dialect, &fixture)
                .verify::<V>(secrets)
                .map(|(_, which)| which)
        };
        assert_eq!(verify(&secrets()), Ok(Which::Current));
        let rotating = Secrets::new("the next".into(), Some(SECRET.into()));
        assert_eq!(verify(&rotating), Ok(Which::Previous));
        for wrong in [Secrets::new("another".into(), None), Secrets::none()] {
            assert!(matches!(verify(&wrong), Err(BadSignature::Mismatch(_))));
        }
        let mut unsigned = json_delivery(dialect, &fixture).headers().clone();
        for (name, _) in (dialect.proof)(SECRET, &fixture.payload) {
            unsigned.remove(name);
        }
        let refused = Delivery::new(unsigned, fixture.payload.clone(), RECEIVED_AT)
            .verify::<V>(&secrets())
            .map(|_| ());
        assert!(
            matches!(refused, Err(BadSignature::Missing(_))),
            "{refused:?}"
        );
    }
}

/// The headers of a payload sent as JSON, correctly signed.
#[must_use]
pub fn signed(dialect: Dialect, event: &str, payload: &[u8]) -> HeaderMap {
    headers(dialect, event, JSON, payload)
}

/// The secrets of a trigger whose deliveries are signed here.
#[must_use]
pub fn secrets() -> Secrets {
    Secrets::new(SECRET.into(), None)
}

/// Reads one payload that was sent as JSON, correctly signed.
///
/// # Errors
/// As [`Delivery::parse`].
///
/// # Panics
/// When the vendor refuses the signature.
pub fn parse<V: Vendor>(
    dialect: Dialect,
    event: &str,
    payload: &[u8],
) -> Result<Parsed, ParseError> {
    let payload = Bytes::copy_from_slice(payload);
    let headers = signed(dialect, event, &payload);
    read::<V>(Delivery::new(headers, payload, RECEIVED_AT))
}

fn read<V: Vendor>(delivery: Delivery<Raw>) -> Result<Parsed, ParseError> {
    let (verified, _) = delivery
        .verify::<V>(&secrets())
        .expect("it is signed as its vendor signs");
    verified.parse::<V>()
}

fn fixtures(folder: &str) -> Vec<Fixture> {
    let mut fixtures: Vec<Fixture> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let case = name.strip_suffix(".json")?;
            let event = case.split('.').next()?.to_owned();
            (!case.ends_with(".parsed")).then(|| Fixture {
                event,
                payload: fs::read(&path).expect("a fixture can be read").into(),
                path: path.clone(),
            })
        })
        .collect();
    fixtures.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!fixtures.is_empty(), "{folder} has no fixtures");
    fixtures
}

fn json_delivery(dialect: Dialect, fixture: &Fixture) -> Delivery<Raw> {
    let headers = signed(dialect, &fixture.event, &fixture.payload);
    Delivery::new(headers, fixture.payload.clone(), RECEIVED_AT)
}

const JSON: &str = "application/json";

fn headers(dialect: Dialect, event: &str, content_type: &str, signed: &[u8]) -> HeaderMap {
    proved(dialect, event, SECRET, content_type, signed)
}

fn proved(
    dialect: Dialect,
    event: &str,
    secret: &str,
    content_type: &str,
    signed: &[u8],
) -> HeaderMap {
    let mut headers: HeaderMap = (dialect.headers)(event)
        .into_iter()
        .chain((dialect.proof)(secret, signed))
        .map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (
                name,
                HeaderValue::from_str(&value).expect("a header's value"),
            )
        })
        .collect();
    let content_type = HeaderValue::from_str(content_type).expect("a header's value");
    headers.insert(CONTENT_TYPE, content_type);
    headers
}

/// The 64 digits of HMAC-SHA256, for a dialect's proof.
#[must_use]
pub fn digits(secret: &str, signed: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(signed);
    hex::encode(mac.finalize().into_bytes())
}
