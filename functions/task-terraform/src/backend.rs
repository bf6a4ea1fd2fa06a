//! Whether a configuration says itself where its state is.

use std::collections::BTreeMap;

use serde_json::Value;

/// Where a configuration's state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// With us: it says nothing, or that it is at an `http` backend.
    Ours,
    /// Where it says.
    Own,
}

/// Looks through the files at the top of a configuration, by name.
pub(crate) fn of(files: &BTreeMap<String, Vec<u8>>) -> Backend {
    let own = files.iter().any(|(name, text)| {
        let text = String::from_utf8_lossy(text);
        if name.ends_with(".tf.json") {
            serde_json::from_str::<Value>(&text).is_ok_and(|value| says_json(&value))
        } else {
            name.ends_with(".tf") && says(&text)
        }
    });
    if own { Backend::Own } else { Backend::Ours }
}

/// In JSON `terraform` is an object or a list of them, and so is `backend`.
fn says_json(value: &Value) -> bool {
    let blocks = match &value["terraform"] {
        Value::Array(blocks) => blocks.iter().collect(),
        block => vec![block],
    };
    blocks.iter().any(|block| {
        let backends = match &block["backend"] {
            Value::Array(backends) => backends.iter().collect(),
            backend => vec![backend],
        };
        let named = |backend: &&Value| {
            backend
                .as_object()
                .is_some_and(|map| map.keys().any(|name| name != "http"))
        };
        block.get("cloud").is_some() || backends.iter().any(named)
    })
}

/// Goes through the words of a file outside its comments and texts, as far as blocks need it: `terraform { backend "x" {` or
/// `terraform { cloud {`.
fn says(text: &str) -> bool {
    let words = words(text);
    let mut depth = 0_usize;
    let mut inside = false;
    for (at, word) in words.iter().enumerate() {
        match word {
            Word::Open => {
                if depth == 0 {
                    inside = at
                        .checked_sub(1)
                        .is_some_and(|before| words[before] == Word::Name("terraform"));
                } else if depth == 1 && inside && is_backend(&words[..at]) {
                    return true;
                }
                depth += 1;
            }
            Word::Close => depth = depth.saturating_sub(1),
            Word::Name(_) | Word::Text(_) => {}
        }
    }
    false
}

/// Whether a block that opens after these words says where the state is, other than at an `http` backend.
fn is_backend(before: &[Word<'_>]) -> bool {
    match before {
        [.., Word::Name("cloud")] => true,
        [
            ..,
            Word::Name("backend"),
            Word::Text(kind) | Word::Name(kind),
        ] => *kind != "http",
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Name(&'a str),
    Text(&'a str),
    Open,
    Close,
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = |after: &str| rest.len() - after.len();
        let taken = if rest.starts_with('#') || rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(heredoc) = heredoc(rest) {
            heredoc
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let end = text_end(quoted);
            words.push(Word::Text(&quoted[..end]));
            (end + 2).min(rest.len())
        } else if first == '{' {
            words.push(Word::Open);
            1
        } else if first == '}' {
            words.push(Word::Close);
            1
        } else if first.is_alphanumeric() || first == '_' {
            let after =
                rest.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
            words.push(Word::Name(&rest[..skip(after)]));
            skip(after)
        } else {
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    words
}

/// Where a text ends, with what it interpolates in it, where there may be texts again.
fn text_end(text: &str) -> usize {
    // Of each text that is open how many braces are; within braces it is not text.
    let mut open = vec![0_usize];
    let mut before = ' ';
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        let Some(depth) = open.last_mut() else {
            break;
        };
        match c {
            '\\' if *depth == 0 => {
                characters.next();
            }
            '{' if *depth > 0 || matches!(before, '$' | '%') => *depth += 1,
            '}' if *depth > 0 => *depth -= 1,
            '"' if *depth > 0 => open.push(0),
            '"' => {
                open.pop();
                if open.is_empty() {
                    return at;
                }
            }
            _ => {}
        }
        // `$${` stands for itself.
        before = if c == before { ' ' } else { c };
    }
    text.len()
}

/// The length of a heredoc that begins here.
fn heredoc(text: &str) -> Option<usize> {
    let marker = text.strip_prefix("<<")?.trim_start_matches('-');
    let (marker, _) = marker.split_once('\n')?;
    let marker = marker.trim();
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if marker.is_empty() || !marker.chars().all(good) {
        return None;
    }
    let mut length = 0;
    for (n, line) in text.split_inclusive('\n').enumerate() {
        length += line.len();
        if n > 0 && line.trim() == marker {
            break;
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Backend {
        of(&[(name.to_owned(), text.as_bytes().to_vec())].into())
    }

    #[test]
    fn a_backend_of_its_own_is_found_wherever_it_stands() {
        for text in [
            "terraform {\n  backend \"pg\" {}\n}",
            "terraform{backend pg {\n}\n}",
            "# x\nterraform {\n  required_version = \"> 1\"\n  required_providers {\n    a = { source = \"x\" }\n  }\n  backend \"s3\" {\n    bucket = \"b\"\n  }\n}",
            "terraform {\n  cloud {\n  }\n}",
            "locals {\n  a = \"${\"}\"}{\"\n}\nterraform {\n  backend \"gcs\" {}\n}",
            "locals {\n  a = \"$${\"\n}\nterraform {\n  backend \"gcs\" {}\n}",
            "locals {\n  a = <<EOT\n}\"\nEOT\n}\nterraform {\n  backend \"gcs\" {}\n}",
        ] {
            assert_eq!(found("main.tf", text), Backend::Own, "{text}");
        }
        let json = r#"{"terraform": [{"backend": {"pg": {}}}]}"#;
        assert_eq!(found("main.tf.json", json), Backend::Own);
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for text in [
            "",
            "terraform {\n  backend \"http\" {}\n}",
            "# terraform { backend \"pg\" {} }",
            "/* terraform { backend \"pg\" {} } */",
            "locals {\n  a = \"terraform { backend \\\"pg\\\" {} }\"\n}",
            "locals {\n  a = <<-EOT\n  terraform {\n    backend \"pg\" {}\n  }\n  EOT\n}",
            "resource \"x\" \"y\" {\n  backend \"pg\" {}\n}",
            "module \"terraform\" {\n  backend = \"pg\"\n}",
            "terraform {",
            "\"",
        ] {
            assert_eq!(found("main.tf", text), Backend::Ours, "{text}");
        }
        assert_eq!(
            found("README.md", "terraform {\n  backend \"pg\" {}\n}"),
            Backend::Ours
        );
        let json = r#"{"terraform": {"backend": {"http": {}}}}"#;
        assert_eq!(found("main.tf.json", json), Backend::Ours);
        assert_eq!(found("main.tf.json", "nonsense"), Backend::Ours);
    }
}
