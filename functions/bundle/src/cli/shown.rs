//! What programs printed, as a terminal may see it.

use std::io::IsTerminal as _;

use host::Env;
use portal::log_text::LogText;

use super::output::{Paint, line};

/// How lines are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    terminal: bool,
    colours: bool,
    paint: Paint,
}

impl Shown {
    /// A terminal gets colours and nothing else of what it would act on; a file or a program gets lines as they were printed.
    pub(crate) fn of(env: &Env) -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            colours: env.get("NO_COLOR").is_none() && env.get("TERM") != Some("dumb"),
            paint: Paint::stdout(env),
        }
    }

    /// Shows a line. What the task said of itself stands apart from what its programs printed.
    pub(crate) fn line(self, stream: &str, text: &str) {
        if !self.terminal {
            line(text);
            return;
        }
        let text = LogText::parse(text).terminal(self.colours);
        if stream == "task" {
            line(self.paint.quiet(text));
        } else {
            line(text);
        }
    }
}
