//! Reading a tree field by field, collecting every fault with its place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::yaml::{Entry, Node, Position, Value};

/// Where something stands in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path as the reader of a message knows it, such as `knative/api.yaml`.
    pub file: Arc<str>,
    /// Counted from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Counted from 1, in characters; 0 when the file as a whole is meant.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// One thing that is wrong with the manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What is wrong and what to do about it, on one line.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What was found in one file so far.
#[derive(Debug)]
pub(super) struct Report {
    file: Arc<str>,
    findings: RefCell<Vec<Finding>>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            findings: RefCell::default(),
        }
    }

    pub(super) fn place(&self, at: Position) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: at.line,
            column: at.column,
        }
    }

    pub(super) fn say(&self, at: Position, message: impl Into<String>) {
        let finding = Finding {
            place: self.place(at),
            message: message.into(),
        };
        self.findings.borrow_mut().push(finding);
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }

    /// Opens a mapping; anything else is a finding.
    pub(super) fn object<'a>(&'a self, node: &'a Node, path: &str) -> Option<Object<'a>> {
        let Value::Map(entries) = &node.value else {
            self.say(
                node.at,
                format!("{path} must be a mapping, not {}", node.value.noun()),
            );
            return None;
        };
        let path = path.to_owned();
        Some(Object {
            report: self,
            path,
            at: node.at,
            entries,
            known: Vec::new(),
        })
    }

    /// Reads a string. A plain `30` or `true` is not one: the API server refuses it too.
    pub(super) fn text<'a>(&self, node: &'a Node, path: &str) -> Option<&'a str> {
        let shown = match &node.value {
            Value::Text(text) => return Some(text),
            Value::Bool(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.say(
                    node.at,
                    format!("{path} must be a string, not {}", node.value.noun()),
                );
                return None;
            }
        };
        let noun = node.value.noun();
        self.say(
            node.at,
            format!("{path} must be a string, not {noun}: write \"{shown}\""),
        );
        None
    }
}

/// A mapping being read. Fields are asked for by name; `finish` reports those nobody asked for.
pub(super) struct Object<'a> {
    pub(super) report: &'a Report,
    pub(super) path: String,
    pub(super) at: Position,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    fn under(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// A field's value; one that is null counts as absent, as it does for the API server.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
            .filter(|node| !matches!(node.value, Value::Null))
    }

    pub(super) fn required(&mut self, key: &'static str) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            self.report
                .say(self.at, format!("{} is missing", self.under(key)));
        }
        node
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let node = self.get(key)?;
        self.report.text(node, &self.under(key))
    }

    /// A string that must be there and not be empty, and where it stands.
    pub(super) fn required_text(&mut self, key: &'static str) -> Option<(&'a str, Position)> {
        let node = self.required(key)?;
        let text = self.report.text(node, &self.under(key))?;
        if text.is_empty() {
            self.report
                .say(node.at, format!("{} must not be empty", self.under(key)));
            return None;
        }
        Some((text, node.at))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let path = self.under(key);
        self.report.say(
            node.at,
            format!("{path} must be true or false, not {}", node.value.noun()),
        );
        None
    }

    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let node = self.get(key)?;
        if let Value::Integer(value) = node.value
            && let Ok(value) = u32::try_from(value)
            && range.contains(&value)
        {
            return Some(value);
        }
        let (path, (low, high)) = (self.under(key), range.into_inner());
        let shown = match node.value {
            Value::Integer(value) => value.to_string(),
            _ => node.value.noun().to_owned(),
        };
        let message = format!("{path} must be a whole number from {low} to {high}, not {shown}");
        self.report.say(node.at, message);
        None
    }

    pub(super) fn list(&mut self, key: &'static str) -> &'a [Node] {
        let Some(node) = self.get(key) else {
            return &[];
        };
        if let Value::List(nodes) = &node.value {
            return nodes;
        }
        let path = self.under(key);
        self.report.say(
            node.at,
            format!("{path} must be a list, not {}", node.value.noun()),
        );
        &[]
    }

    pub(super) fn object(&mut self, key: &'static str) -> Option<Object<'a>> {
        let node = self.get(key)?;
        self.report.object(node, &self.under(key))
    }

    pub(super) fn required_object(&mut self, key: &'static str) -> Option<Object<'a>> {
        let node = self.required(key)?;
        self.report.object(node, &self.under(key))
    }

    /// A mapping of strings whose keys are free.
    pub(super) fn texts(&mut self, key: &'static str) -> BTreeMap<&'a str, (&'a str, Position)> {
        let Some(object) = self.object(key) else {
            return BTreeMap::new();
        };
        let texts = object.entries.iter().filter_map(|entry| {
            let path = format!("{} `{}`", object.path, entry.key);
            let text = object.report.text(&entry.node, &path)?;
            Some((entry.key.as_str(), (text, entry.at)))
        });
        texts.collect()
    }

    /// Fields that are understood and have no meaning on one machine.
    pub(super) fn accept(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    /// A field that is understood and cannot be honoured.
    pub(super) fn refuse(&mut self, key: &'static str, why: &str) {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        if let Some(entry) = entry {
            self.report
                .say(entry.at, format!("{} is refused: {why}", self.under(key)));
            self.known.push(key);
        }
    }

    /// Reports every field that nobody asked for, with what is known and what was probably meant.
    pub(super) fn finish(mut self) {
        self.known.sort_unstable();
        self.known.dedup();
        let unknown = self
            .entries
            .iter()
            .filter(|entry| !self.known.contains(&entry.key.as_str()));
        for entry in unknown {
            let within = if self.path.is_empty() {
                "the manifest"
            } else {
                &self.path
            };
            let hint = did_you_mean(&entry.key, self.known.iter().copied());
            let known = self.known.join(", ");
            let key = &entry.key;
            let message = format!("unknown field `{key}` in {within}{hint}; known are: {known}");
            self.report.say(entry.at, message);
        }
    }
}

/// `; did you mean ...?` when a known word is at most a third of its letters away.
pub(super) fn did_you_mean<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> String {
    let (word, length) = (word.to_lowercase(), word.chars().count());
    known
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .min()
        .filter(|(distance, _)| distance * 3 <= length.max(3))
        .map_or_else(String::new, |(_, nearest)| {
            format!("; did you mean `{nearest}`?")
        })
}

/// How many letters must be put in, taken out or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
