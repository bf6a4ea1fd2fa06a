//! From the bytes of a pipe to lines that can be kept, in bounded memory whatever comes.

use model::run::LOG_LINE_BYTES_MAX;

use crate::Redactor;

/// Kept free of a line that is cut, for the marker …
const MARKER_BYTES: usize = 64;
/// … which takes less, so that what stands for a value at the cut has room.
const MARKER_BYTES_MAX: usize = 40;

/// A line as it came, as far as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    bytes: Vec<u8>,
    /// How many of them may be shown; what follows is there so that a value over the cut is recognised.
    shown: usize,
    /// How long the line was.
    length: u64,
}

impl Line {
    /// The line as people see it: without what must not be seen, as text, at most [`LOG_LINE_BYTES_MAX`] bytes, with a marker that
    /// says how much was left out.
    #[must_use]
    pub fn shown(&self, redactor: &Redactor) -> String {
        let bytes = redactor.bytes(&self.bytes, self.shown);
        let cut = self.length > self.shown as u64;
        let left_out = self.length - self.shown as u64;
        bounded(&String::from_utf8_lossy(&bytes), cut.then_some(left_out))
    }

    /// The line as it came, unless it was longer than what is kept of one.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        (self.length <= self.shown as u64).then_some(&self.bytes)
    }
}

/// Text as one line of a log: nothing that a database or a terminal would stumble over, and no longer than a line may be.
#[must_use]
pub fn line_of(text: &str) -> String {
    bounded(text, None)
}

fn bounded(text: &str, left_out: Option<u64>) -> String {
    let text = if text.contains(['\0', '\n']) {
        &*text.replace('\0', "\u{fffd}").replace('\n', " ")
    } else {
        text
    };
    if left_out.is_none() && text.len() <= LOG_LINE_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LOG_LINE_BYTES_MAX - MARKER_BYTES_MAX);
    let left_out = left_out.unwrap_or(0) + (text.len() - end) as u64;
    format!("{}… [{left_out} bytes cut]", &text[..end])
}

/// Puts lines together from what is read, at most so much of each.
#[derive(Debug)]
pub struct Splitter {
    line: Vec<u8>,
    length: u64,
    shown_max: usize,
    kept_max: usize,
}

impl Splitter {
    /// Keeps `shown_max` bytes of each line, and as much more as it takes to recognise what must not be seen.
    #[must_use]
    pub fn new(shown_max: usize, redactor: &Redactor) -> Self {
        Self {
            line: Vec::new(),
            length: 0,
            shown_max,
            kept_max: shown_max + redactor.longest(),
        }
    }

    /// Of lines for the log.
    #[must_use]
    pub fn for_log(redactor: &Redactor) -> Self {
        Self::new(LOG_LINE_BYTES_MAX, redactor)
    }

    /// Takes bytes up to the end of a line. Returns how many it took, and the line that ended with them.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Option<Line>) {
        match bytes.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                self.keep(&bytes[..end]);
                (end + 1, Some(self.line()))
            }
            None => {
                self.keep(bytes);
                (bytes.len(), None)
            }
        }
    }

    /// What came behind the last end of a line.
    pub fn rest(&mut self) -> Option<Line> {
        (self.length > 0).then(|| self.line())
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let room = self.kept_max - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self) -> Line {
        let mut bytes = std::mem::take(&mut self.line);
        let mut length = std::mem::take(&mut self.length);
        if length == bytes.len() as u64 && bytes.last() == Some(&b'\r') {
            bytes.pop();
            length -= 1;
        }
        Line {
            shown: if length > self.shown_max as u64 {
                self.shown_max - MARKER_BYTES.min(self.shown_max)
            } else {
                bytes.len()
            },
            bytes,
            length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().copied()).expect("a few values fit")
    }

    fn lines(redactor: &Redactor, pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::for_log(redactor);
        let mut lines = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (taken, line) = splitter.take(rest);
                lines.extend(line.map(|line| line.shown(redactor)));
                rest = &rest[taken..];
            }
        }
        lines.extend(splitter.rest().map(|line| line.shown(redactor)));
        lines
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let none = redactor(&[]);
        assert_eq!(
            lines(&none, &[b"on", b"e\r\ntwo\n\nth", b"ree"]),
            ["one", "two", "", "three"]
        );
    }

    #[test]
    fn a_value_split_over_writes_is_hidden() {
        let hidden = redactor(&["hunter2hunter2"]);
        assert_eq!(
            lines(&hidden, &[b"pw=hunt", b"er2hunter", b"2.\n"]),
            ["pw=***."]
        );
    }

    #[test]
    fn a_long_line_is_cut_and_says_by_how_much() {
        let none = redactor(&[]);
        let long = vec![b'a'; 1_000_000];
        let shown = lines(&none, &[&long, b"\nnext\n"]);
        assert_eq!(shown.len(), 2);
        let kept = LOG_LINE_BYTES_MAX - MARKER_BYTES;
        assert_eq!(shown[0].find('…'), Some(kept));
        assert!(shown[0].ends_with(&format!("… [{} bytes cut]", 1_000_000 - kept)));
        assert!(shown[0].len() <= LOG_LINE_BYTES_MAX);
    }

    #[test]
    fn a_line_of_the_longest_kind_is_whole() {
        let none = redactor(&[]);
        let line = vec![b'a'; LOG_LINE_BYTES_MAX];
        assert_eq!(lines(&none, &[&line])[0].len(), LOG_LINE_BYTES_MAX);
    }

    #[test]
    fn bytes_that_are_no_text_stay_within_bounds() {
        let none = redactor(&[]);
        let shown = lines(&none, &[&vec![0xff; 50_000], b"\nA\0B\n"]);
        assert!(shown[0].len() <= LOG_LINE_BYTES_MAX, "{}", shown[0].len());
        assert!(shown[0].contains("bytes cut"));
        assert_eq!(shown[1], "A\u{fffd}B");
    }

    #[test]
    fn a_value_over_the_cut_of_a_line_is_hidden() {
        let hidden = redactor(&["hunter2hunter2"]);
        let cut = LOG_LINE_BYTES_MAX - MARKER_BYTES;
        for before in [cut - 1, cut - 7, cut - 13] {
            let mut line = vec![b'a'; before];
            line.extend_from_slice(b"hunter2hunter2");
            line.extend_from_slice(&[b'b'; 100_000]);
            let shown = &lines(&hidden, &[&line])[0];
            assert!(!shown.contains("hunt"), "{before}");
            assert!(shown.contains("***…"), "{before}");
        }
    }
}
