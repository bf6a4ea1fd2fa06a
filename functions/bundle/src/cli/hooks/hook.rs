//! What a hook shall be like, and what a kind of Git host does with hooks.

use std::fmt;

use clap::ValueEnum;
use http::Method;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::api::Speech;

/// What may not stand in a part of a path as it is.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'?')
    .add(b'\\');

/// What a hook can tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Topic {
    /// Branches and tags
    Pushes,
    /// Pull requests and merge requests
    Changes,
    /// Releases
    Releases,
    /// Pipelines and checks that ended
    Pipelines,
    /// Images
    Packages,
}

/// How a hook proves that it knows the secret, where its host leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// As the host usually does it.
    Secret,
    /// By the signature of Standard Webhooks.
    Signature,
}

/// What the hook shall be like.
pub(super) struct Wanted {
    /// What it calls.
    pub(super) url: Url,
    /// What it signs with.
    pub(super) secret: SecretString,
    /// How.
    pub(super) proof: Proof,
    /// The host's names for what it tells of.
    pub(super) events: Vec<&'static str>,
}

/// What is wrong with a hook that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is switched off.
    Inactive,
    /// The host does not call it any more, because calls failed.
    Paused,
    /// It does not send JSON.
    ContentType,
    /// Certificates are not verified.
    Tls,
    /// It does not tell of these.
    Events(Vec<String>),
    /// It has no secret.
    NoSecret,
    /// It has another secret, as far as can be seen.
    OtherSecret(&'static str),
    /// Somebody asked for it.
    Renewed,
}

impl Fault {
    /// Nothing where none is missing.
    pub(super) fn events(missing: Vec<String>) -> Option<Self> {
        (!missing.is_empty()).then_some(Self::Events(missing))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inactive => f.write_str("it was switched off"),
            Self::Paused => f.write_str("its host had stopped calling it, because calls failed"),
            Self::ContentType => f.write_str("it did not send JSON"),
            Self::Tls => f.write_str("certificates were not verified"),
            Self::Events(names) => write!(f, "it did not tell of {}", names.join(", ")),
            Self::NoSecret => f.write_str("it had no secret"),
            Self::OtherSecret(why) => write!(f, "its secret was not the trigger's: {why}"),
            Self::Renewed => f.write_str("its secret was to be renewed"),
        }
    }
}

/// A kind of Git host: what its API is like. Nothing here speaks with it.
pub(super) trait Host: Sync {
    /// What it is called in commands and in the URLs of triggers.
    fn name(&self) -> &'static str;
    /// How it wants to be spoken to.
    fn speech(&self) -> Speech;
    /// Where most people's is.
    fn usual_api(&self) -> Option<&'static str>;
    /// Where the hooks of a repository are.
    fn path(&self, repository: &str) -> String;
    /// How a large page is asked for.
    fn page_size(&self) -> &'static str;
    /// Its names for the events of a topic; none where it has no such events.
    fn events(&self, topic: Topic) -> &'static [&'static str];
    /// What a hook calls.
    fn url<'a>(&self, hook: &'a Value) -> Option<&'a str>;
    /// What is wrong with it, as far as its host shows it.
    fn faults(&self, hook: &Value, wanted: &Wanted) -> Vec<Fault>;
    /// What to post for a new one.
    fn made(&self, wanted: &Wanted) -> Value;
    /// What to send so that nothing is wrong any more, and nothing else changes.
    fn repaired(&self, hook: &Value, wanted: &Wanted) -> Value;
    /// By which method.
    fn repair_method(&self) -> Method;
    /// What is not wrong, and may surprise.
    fn warnings(&self, hook: &Value) -> Vec<String>;
}

/// `owner/name` as it stands in a path.
pub(super) fn repository_path(repository: &str) -> String {
    utf8_percent_encode(repository, IN_PATH).to_string()
}

/// A text of a hook.
pub(super) fn text<'a>(hook: &'a Value, at: &str) -> Option<&'a str> {
    hook.pointer(at).and_then(Value::as_str)
}

/// The names of the events that a hook tells of.
pub(super) fn names(hook: &Value) -> Vec<&str> {
    let events = hook.get("events").and_then(Value::as_array);
    events
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// What is wanted and not there.
pub(super) fn missing(there: &[&str], wanted: &[&'static str]) -> Vec<String> {
    let gone = wanted.iter().filter(|name| !there.contains(*name));
    gone.map(|name| (*name).to_owned()).collect()
}

/// The host's id of it.
pub(super) fn id(hook: &Value) -> Option<u64> {
    hook.get("id").and_then(Value::as_u64)
}
