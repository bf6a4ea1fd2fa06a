//! What a Git server says that it has: the answer to `GET <repository>/info/refs?service=git-upload-pack`, in the first
//! version of the protocol, which every server speaks and which takes one request.
//! <https://git-scm.com/docs/gitprotocol-http#_smart_clients>

use crate::refs::{Ref, Refs};
use crate::words::is_hash;

/// Why an answer is not Git's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotGit {
    /// A line says that it is longer than the answer, or no number at all.
    #[error("a line of the answer is cut")]
    Cut,
    /// It begins with something else.
    #[error("the answer does not begin as a Git server's does")]
    Beginning,
    /// The server says why it does not serve.
    #[error("the server refuses")]
    Refuses,
}

/// Branches and tags, by their full names. A tag that is an object of its own has its commit as well. What names no commit,
/// and refs of other kinds, are left out.
pub(crate) fn refs(answer: &[u8]) -> Result<Refs, NotGit> {
    let mut lines = Lines(answer);
    match lines.next().ok_or(NotGit::Beginning)?? {
        Line::Text(text) if text.trim_ascii_end() == b"# service=git-upload-pack" => {}
        Line::Text(_) | Line::Flush => return Err(NotGit::Beginning),
    }
    let mut found = Refs::new();
    let mut begun = false;
    for line in lines {
        let text = match line? {
            Line::Flush if !begun => {
                begun = true;
                continue;
            }
            Line::Flush => break,
            Line::Text(text) => text,
        };
        begun = true;
        if text.starts_with(b"ERR ") {
            return Err(NotGit::Refuses);
        }
        // After the first name, behind a zero, come the server's abilities.
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let Ok(text) = std::str::from_utf8(text.trim_ascii_end()) else {
            // A name that is not text is nobody's branch here.
            continue;
        };
        let Some((id, name)) = text.split_once(' ') else {
            continue;
        };
        if !is_hash(id) {
            continue;
        }
        let id = id.to_owned();
        if let Some(tag) = name.strip_suffix("^{}") {
            // The line after a tag object's tells what it names.
            if let Some(found) = found.get_mut(tag) {
                found.peeled = Some(id);
            }
        } else if name.starts_with("refs/heads/") || name.starts_with("refs/tags/") {
            found.insert(name.to_owned(), Ref { id, peeled: None });
        }
    }
    if begun { Ok(found) } else { Err(NotGit::Cut) }
}

enum Line<'a> {
    Text(&'a [u8]),
    Flush,
}

/// Lines with their lengths before them.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, NotGit>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let length = self.0.get(..4).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            usize::from_str_radix(digits, 16).ok()
        });
        let (line, rest) = match length {
            Some(0) => (Ok(Line::Flush), &self.0[4..]),
            Some(length) if length >= 4 && length <= self.0.len() => {
                (Ok(Line::Text(&self.0[4..length])), &self.0[length..])
            }
            Some(_) | None => (Err(NotGit::Cut), &self.0[self.0.len()..]),
        };
        self.0 = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        format!("{:04x}{text}", text.len() + 4)
    }

    fn answer(lines: &[String]) -> Vec<u8> {
        let mut text = line("# service=git-upload-pack\n") + "0000";
        text.extend(lines.iter().map(String::as_str));
        (text + "0000").into_bytes()
    }

    #[test]
    fn branches_and_tags_are_read_and_what_a_tag_object_names() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let found = refs(&answer(&[
            line(&format!(
                "{a} HEAD\0multi_ack symref=HEAD:refs/heads/main\n"
            )),
            line(&format!("{a} refs/heads/main\n")),
            line(&format!("{b} refs/pull/1/head\n")),
            line(&format!("{b} refs/tags/v1\n")),
            line(&format!("{c} refs/tags/v1^{{}}\n")),
        ]))
        .expect("Git's");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found["refs/heads/main"].id, a);
        assert_eq!(found["refs/tags/v1"].id, b);
        assert_eq!(found["refs/tags/v1"].peeled, Some(c));
    }

    #[test]
    fn a_repository_without_commits_has_nothing() {
        let zeros = "0".repeat(40);
        let text = line(&format!("{zeros} capabilities^{{}}\0multi_ack\n"));
        assert_eq!(refs(&answer(&[text])), Ok(Refs::new()));
    }

    #[test]
    fn what_is_cut_or_something_else_is_refused() {
        let whole = answer(&[line(&format!("{} refs/heads/main\n", "a".repeat(40)))]);
        assert!(refs(&whole).is_ok());
        assert_eq!(refs(&whole[..whole.len() - 20]), Err(NotGit::Cut));
        assert_eq!(refs(b"<html>sign in</html>"), Err(NotGit::Cut));
        assert_eq!(refs(b""), Err(NotGit::Beginning));
        assert_eq!(
            refs(line("# service=git-receive-pack\n").as_bytes()),
            Err(NotGit::Beginning)
        );
        assert_eq!(
            refs(&answer(&[line("ERR no access\n")])),
            Err(NotGit::Refuses)
        );
    }
}
