//! Tests over the source itself: every message that is used exists, every message is used, and no template speaks for
//! itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MARKS: [&str; 5] = [".t(", ".with(", ".rich(", "Key(", "language.t("];

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the source is beside the test") {
            let path = entry.expect("the source can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if !["source_checks.rs", "preview.rs", "served.rs"]
                .iter()
                .any(|name| path.ends_with(name))
                && !path
                    .parent()
                    .is_some_and(|folder| folder.ends_with("served") || folder.ends_with("preview"))
            {
                let text = std::fs::read_to_string(&path).expect("the source can be read");
                // Tests may name anything.
                let code = text
                    .split("#[cfg(test)]\nmod tests")
                    .next()
                    .unwrap_or_default();
                found.push((path, code.to_owned()));
            }
        }
    }
    assert!(found.len() > 10, "the source moved");
    found
}

/// A string literal: where it stands, the code around it, and what it says.
struct Literal<'a> {
    line: usize,
    before: &'a str,
    text: &'a str,
    after: &'a str,
}

impl Literal<'_> {
    /// Whether it stands in `(if .. { "a" } else { "b" })`: a value that is chosen, such as a key or an attribute's.
    fn is_choice(&self) -> bool {
        let Some(start) = self.before.rfind("(if ") else {
            return false;
        };
        let mut depth = 0;
        self.before[start..].chars().all(|character| {
            depth += match character {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth > 0
        })
    }
}

/// Every plain string literal of a file. Comments and character literals are stepped over, raw strings are not templates.
fn literals(code: &str) -> Vec<Literal<'_>> {
    let mut found = Vec::new();
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &code[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            at += 3 + raw.find("\"#").expect("a raw string ends") + 2;
        } else if rest.starts_with("'\"'") {
            at += 3;
        } else if rest.starts_with('"') {
            let mut end = at + 1;
            while bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            found.push(Literal {
                line: code[..at].matches('\n').count() + 1,
                before: code[..at].trim_end(),
                text: &code[at + 1..end],
                after: code[end + 1..].trim_start(),
            });
            at = end + 1;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

fn used_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (_, code) in sources() {
        for literal in literals(&code) {
            if MARKS.iter().any(|mark| literal.before.ends_with(mark)) {
                keys.insert(literal.text.to_owned());
            }
        }
        // A choice between two keys inside one call.
        for (at, _) in code.match_indices(".t(if ") {
            let call = &code[at..at + code[at..].find("})").expect("the call ends")];
            keys.extend(
                literals(call)
                    .into_iter()
                    .map(|literal| literal.text.to_owned()),
            );
        }
    }
    keys
}

fn defined_keys() -> BTreeSet<String> {
    include_str!("../locales/en/portal.ftl")
        .lines()
        .filter_map(|line| Some(line.split_once(" =")?.0.to_owned()))
        .filter(|key| !key.starts_with([' ', '#']))
        .collect()
}

#[test]
fn every_message_that_is_used_exists_and_every_message_is_used() {
    let (used, mut defined) = (used_keys(), defined_keys());
    // Only a test of plural forms speaks it; it is also the sentence for a log's length.
    defined.remove("log-lines");
    let missing: Vec<_> = used.difference(&defined).collect();
    let unused: Vec<_> = defined.difference(&used).collect();
    assert!(
        missing.is_empty(),
        "used but not in portal.ftl: {missing:?}"
    );
    assert!(unused.is_empty(), "in portal.ftl but not used: {unused:?}");
}

#[test]
fn no_template_holds_words_of_its_own() {
    const SPOKEN: [&str; 4] = ["aria-label=", "title=", "placeholder=", "alt="];
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        if !path.components().any(|part| part.as_os_str() == "views") {
            continue;
        }
        for literal in literals(&code) {
            let Literal {
                line,
                before,
                text,
                after,
            } = literal;
            // In a template, text stands after a brace, another text or a value; never after `=`, `(` or `,`.
            let is_text = before.ends_with(['{', '}', ';', ')', '"'])
                && !before.ends_with("kbd {")
                && !after.starts_with("=>")
                && !literal.is_choice();
            let is_spoken = SPOKEN.iter().any(|attribute| before.ends_with(attribute));
            // `href={ "/jobs/" (id) }` is an address, not words.
            let is_address = text.starts_with(['/', '#']) || before.ends_with("={");
            let is_id = before.ends_with("={") && text.ends_with('-');
            if (is_text || is_spoken)
                && !is_address
                && !is_id
                && text.chars().any(char::is_alphabetic)
            {
                wrong.push(format!("{}:{line}: {text:?}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "move these to portal.ftl:\n{}",
        wrong.join("\n")
    );
}
