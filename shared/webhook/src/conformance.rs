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
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::Sha256;

use crate::{
    BadSignature, Delivery, Normalised, ParseError, Parsed, Raw, Secrets, Signed, Vendor, Which,
};

/// The secret of every delivery that is made here.
pub const SECRET: &str = "the trigger's secret";

/// How a sender speaks, for making its requests.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// Headers besides the content type, given an event's name and a signature's 64 digits.
    pub headers: fn(&str, &str) -> Vec<(&'static str, String)>,
    /// What it signs when it sends a form.
    pub form_signs: Signed,
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

/// Each fixture, sent as JSON, must be accepted and become what was recorded.
///
/// # Panics
/// When one does not.
pub fn reads_as_recorded<V: Vendor>(dialect: Dialect, folder: &str) {
    for fixture in fixtures(folder) {
        let name = fixture.path.display();
        let parsed = read::<V>(json_delivery(dialect, &fixture))
            .unwrap_or_else(|error| panic!("{name} is refused: {error}"));
        let actual = serde_json::to_value(&parsed).expect("it is plain data");
        let recorded = fixture.path.with_extension("parsed.json");
        let expected: Value = fs::read(&recorded)
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
            .unwrap_or_else(|error| {
                panic!("{}: {error}; it became {actual:#}", recorded.display())
            });
        assert!(
            actual == expected,
            "{name} became {actual:#}\nrecorded is {expected:#}"
        );
    }
}

/// Each fixture, sent as a form, must become what it becomes as JSON.
///
/// # Panics
/// When one does not.
pub fn form_reads_alike<V: Vendor>(dialect: Dialect, folder: &str) {
    for fixture in fixtures(folder) {
        let text = str::from_utf8(&fixture.payload).expect("fixtures are UTF-8");
        let body = format!("payload={}", utf8_percent_encode(text, NON_ALPHANUMERIC));
        let body = Bytes::from(body.replace("%20", "+"));
        let signed = match dialect.form_signs {
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
            read::<V>(Delivery::new(headers, body)),
            read::<V>(json_delivery(dialect, &fixture)),
            "{}",
            fixture.path.display()
        );
    }
}

/// Each fixture, with any one byte changed under the old signature, must be refused.
///
/// # Panics
/// When one is accepted.
pub fn flipped_byte_is_refused<V: Vendor>(dialect: Dialect, folder: &str) {
    for fixture in fixtures(folder) {
        let whole = json_delivery(dialect, &fixture);
        for at in 0..fixture.payload.len() {
            let mut body = fixture.payload.to_vec();
            body[at] ^= 1;
            let flipped = Delivery::new(whole.headers().clone(), Bytes::from(body));
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
        let signatures: Vec<HeaderName> = unsigned
            .keys()
            .filter(|name| name.as_str().contains("signature"))
            .cloned()
            .collect();
        for name in signatures {
            unsigned.remove(name);
        }
        let refused = Delivery::new(unsigned, fixture.payload.clone())
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
    headers(dialect, event, "application/json", payload)
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
    read::<V>(Delivery::new(headers, payload))
}

/// Compares what a vendor makes of payloads that others recorded with what their own parser made of them: the
/// reference, the commits, the repository and who did it. Other events must be read as ignored. `folder` is
/// `<webhooks>/<name>`, beside an `INDEX.tsv` of vendor, file, event, whether there is an expectation, and its kind.
/// Returns how many payloads were compared.
///
/// # Panics
/// When they differ.
pub fn agrees_with_others<V: Vendor>(dialect: Dialect, webhooks: &Path, name: &str) -> usize {
    let index = fs::read_to_string(webhooks.join("INDEX.tsv")).expect("there is an index");
    let mut compared = 0;
    for row in index.lines().skip(1) {
        let columns: Vec<_> = row.split('\t').collect();
        let [vendor, file, event, expectation, kind] = columns[..] else {
            panic!("a row of the index has five columns: {row:?}");
        };
        if vendor != name {
            continue;
        }
        let path = webhooks.join(file);
        let payload = fs::read(&path).expect("the index names files that are there");
        let parsed = parse::<V>(dialect, event, &payload)
            .unwrap_or_else(|error| panic!("{file} is refused: {error}"));
        if expectation == "yes" && matches!(kind, "PushHook" | "TagHook") {
            let golden = fs::read(webhooks.join(format!("{file}.golden"))).expect("it is there");
            let golden: Value = serde_json::from_slice(&golden).expect("it is JSON");
            agrees(file, &parsed, &golden);
        } else {
            assert!(
                matches!(parsed, Parsed::Ignored { .. }),
                "{file}: {parsed:?}"
            );
        }
        compared += 1;
    }
    compared
}

/// What both sides say must be equal; what theirs leaves out is not looked at.
fn agrees(file: &str, parsed: &Parsed, golden: &Value) {
    let events = match parsed {
        Parsed::Events(events) => events,
        // One action, two deliveries: the other one is the push.
        Parsed::Ignored { .. } if golden["Action"].is_string() => return,
        Parsed::Ignored { .. } | Parsed::Ping => panic!("{file}: {parsed:?}"),
    };
    let [event] = &events[..] else {
        panic!("{file}: one event is expected, not {events:?}");
    };
    let (reference, short, before, after, repository, pusher) = match event {
        Normalised::Pushed(it) => (
            &it.ref_name,
            &it.branch,
            &it.before,
            &it.after,
            &it.repository,
            &it.pusher,
        ),
        Normalised::Tagged(it) => (
            &it.ref_name,
            &it.tag,
            &it.before,
            &it.after,
            &it.repository,
            &it.pusher,
        ),
    };
    let zeros = "0".repeat(40);
    let or_zeros =
        |id: &Option<model::git::CommitId>| id.as_ref().map_or(zeros.clone(), ToString::to_string);
    let path = format!(
        "{}/{}",
        golden["Repo"]["Namespace"].as_str().unwrap_or_default(),
        golden["Repo"]["Name"].as_str().unwrap_or_default()
    );
    let said = [
        ("Ref", golden["Ref"].as_str(), reference.clone()),
        ("Ref.Name", golden["Ref"]["Name"].as_str(), short.clone()),
        ("Ref.Sha", golden["Ref"]["Sha"].as_str(), or_zeros(after)),
        ("Before", golden["Before"].as_str(), or_zeros(before)),
        ("After", golden["After"].as_str(), or_zeros(after)),
        (
            "Commit.Sha",
            golden["Commit"]["Sha"].as_str(),
            or_zeros(after),
        ),
        ("Repo", Some(path.as_str()), repository.path.clone()),
        (
            "Sender.Login",
            golden["Sender"]["Login"].as_str(),
            pusher.clone().unwrap_or_default(),
        ),
    ];
    for (field, theirs, ours) in said {
        if let Some(theirs) = theirs {
            assert_eq!(ours, theirs, "{file}: {field}");
        }
    }
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
    Delivery::new(headers, fixture.payload.clone())
}

fn headers(dialect: Dialect, event: &str, content_type: &str, signed: &[u8]) -> HeaderMap {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(signed);
    let digits = hex::encode(mac.finalize().into_bytes());
    let mut headers: HeaderMap = (dialect.headers)(event, &digits)
        .into_iter()
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
