//! What is said to people: on standard output what they asked for, on standard error everything else.

use std::fmt::Display;
use std::io::{IsTerminal, Write as _};

use host::Env;

/// Writes a line to standard output. A reader that went away (`| head`) is no fault of ours.
pub(crate) fn line(text: impl Display) {
    writeln!(std::io::stdout().lock(), "{text}").ok();
}

/// Writes a line to standard error.
pub(crate) fn note(text: impl Display) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Marks text for a terminal, and leaves it alone for everything else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output. `NO_COLOR` and a dumb terminal get plain text.
    pub(crate) fn stdout(env: &Env) -> Self {
        let plain = env.get("NO_COLOR").is_some() || env.get("TERM") == Some("dumb");
        Self {
            on: std::io::stdout().is_terminal() && !plain,
        }
    }

    /// What counts.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.with("1", text)
    }

    /// What goes with it.
    pub(crate) fn quiet(self, text: impl Display) -> String {
        self.with("2", text)
    }

    /// What is as it should be.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.with("32", text)
    }

    /// What is not.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.with("31", text)
    }

    fn with(self, code: &str, text: impl Display) -> String {
        if self.on {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}
