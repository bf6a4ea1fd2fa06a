//! Recorded payloads, and the requests that they came in.

use std::fs;
use std::path::Path;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::{OTHER_SECRET, Row, SECRET, Verdict};

/// A payload that somebody recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its file, below the folder of all of them.
    pub file: String,
    /// What its sender calls what happened: by header or, for those without one, in the body.
    pub event: String,
    /// The payload.
    pub body: Vec<u8>,
    /// What somebody else's parser made of it, and of what kind that is. Some of them are empty.
    pub golden: Option<(String, Value)>,
}

/// The payloads of one sender, in the order of their files. Those of Git hosts are listed in `INDEX.tsv`: file, event, whether
/// there is an expectation, and its kind.
///
/// # Panics
/// When the index and the files do not fit together.
#[must_use]
pub fn recorded(webhooks: &Path, folder: &str) -> Vec<Recorded> {
    if folder == "ghcr" {
        return packages(webhooks);
    }
    let index = fs::read_to_string(webhooks.join("INDEX.tsv")).expect("there is an index");
    let mut all: Vec<_> = index
        .lines()
        .skip(1)
        .map(|row| row.split('\t').collect::<Vec<_>>())
        .filter(|columns| columns.first() == Some(&folder))
        .map(|columns| {
            let [_, file, event, expectation, kind] = columns[..] else {
                panic!("a row of the index has five columns: {columns:?}");
            };
            let golden = (expectation == "yes").then(|| {
                let path = webhooks.join(format!("{file}.golden"));
                let text = fs::read(path).expect("the index names what is there");
                let golden: Value = serde_json::from_slice(&text).expect("it is JSON");
                (kind_of(kind, event).to_owned(), golden)
            });
            Recorded {
                file: file.to_owned(),
                event: event.rsplit(") ").next().unwrap_or(event).to_owned(),
                body: fs::read(webhooks.join(file)).expect("the index names what is there"),
                golden,
            }
        })
        .collect();
    all.sort_by(|a, b| a.file.cmp(&b.file));
    assert!(!all.is_empty(), "the index has no rows of {folder}");
    all
}

/// The index names no kind for Azure DevOps, whose events do.
fn kind_of<'a>(kind: &'a str, event: &str) -> &'a str {
    match (kind, event) {
        ("", event) if event.ends_with("git.push") => "PushHook",
        ("", event) if event.contains("git.pullrequest.") => "PullRequestHook",
        (kind, _) => kind,
    }
}

fn packages(webhooks: &Path) -> Vec<Recorded> {
    let entries = fs::read_dir(webhooks.join("ghcr")).expect("there is such a folder");
    let mut all: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .map(|path| {
            let name = path.file_name().expect("a file has a name");
            Recorded {
                file: format!("ghcr/{}", name.to_string_lossy()),
                event: "package".to_owned(),
                body: fs::read(&path).expect("it is there"),
                golden: None,
            }
        })
        .collect();
    all.sort_by(|a, b| a.file.cmp(&b.file));
    all
}

/// A request, correctly signed until somebody changes it.
#[derive(Debug, Clone)]
pub struct Request {
    row: Row,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// The request that a sender makes of a payload.
    #[must_use]
    pub fn new(row: &Row, event: &str, body: &[u8]) -> Self {
        Self::signed_with(row, event, body, SECRET)
    }

    /// The same, by somebody who knows the secret of another trigger.
    #[must_use]
    pub fn of_another_trigger(row: &Row, event: &str, body: &[u8]) -> Self {
        Self::signed_with(row, event, body, OTHER_SECRET)
    }

    fn signed_with(row: &Row, event: &str, body: &[u8], secret: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let plain = (row.headers)(event)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        for (name, value) in plain.chain(row.proof.headers(secret, body)) {
            let name: HeaderName = name.parse().expect("a header's name");
            headers.insert(name, value.parse().expect("a header's value"));
        }
        Self {
            row: *row,
            headers,
            body: body.to_vec(),
        }
    }

    /// The names of the headers that are the proof.
    #[must_use]
    pub fn proofs(&self) -> Vec<HeaderName> {
        let proof = self.row.proof.headers(SECRET, &self.body);
        proof
            .into_iter()
            .map(|(name, _)| name.parse().expect("a header's name"))
            .collect()
    }

    /// The same with every value of the proof changed.
    #[must_use]
    pub fn with_proof(mut self, change: impl Fn(&str) -> String) -> Self {
        for name in self.proofs() {
            let value = self.headers[&name].to_str().expect("it was made of text");
            let changed = change(value);
            self.headers
                .insert(name, changed.parse().expect("a header's value"));
        }
        self
    }

    /// What its vendor's function makes of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let scheme = self.row.scheme();
        self.row
            .judge
            .verdict(&self.headers, &self.body, SECRET, scheme)
    }
}
