//! Says what takes its time: a spinner where people watch, a line where they do not.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::note;

/// What is quicker than this is not worth a word.
const WORTH_SAYING: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The steps of a start.
pub(crate) struct Progress {
    terminal: bool,
    now: Mutex<Now>,
}

struct Now {
    what: String,
    since: Instant,
    said: bool,
}

impl Progress {
    /// On standard error.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            now: Mutex::new(Now {
                what: String::new(),
                since: Instant::now(),
                said: true,
            }),
        }
    }

    /// From here on this is being done. For work that tells its steps itself.
    pub(crate) fn now(&self, what: impl Into<String>) {
        *self.locked() = Now {
            what: what.into(),
            since: Instant::now(),
            said: false,
        };
    }

    /// Does something, and says so if it takes long.
    pub(crate) async fn step<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        self.now(what);
        let mut spinner = None;
        let mut work = std::pin::pin!(work);
        let result = loop {
            match tokio::time::timeout(LOOK_EVERY, &mut work).await {
                Ok(result) => break result,
                Err(_) => self.look(&mut spinner),
            }
        };
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        self.locked().said = true;
        result
    }

    fn look(&self, spinner: &mut Option<ProgressBar>) {
        let mut now = self.locked();
        if let Some(spinner) = spinner {
            spinner.set_message(now.what.clone());
            spinner.tick();
        } else if now.since.elapsed() >= WORTH_SAYING && !now.said {
            now.said = true;
            if self.terminal {
                let shown = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                    .with_style(ProgressStyle::default_spinner())
                    .with_message(now.what.clone());
                shown.tick();
                *spinner = Some(shown);
            } else {
                note(format_args!("{} …", now.what));
            }
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
