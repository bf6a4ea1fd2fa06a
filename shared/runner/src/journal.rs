//! What a run has to tell while it goes on: lines, steps, a report. Kept until it is known to be there, in bounded memory: while
//! nobody takes it, the programs wait.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exec::lines::line_of;
use http::StatusCode;
use model::LogStream;
use model::run::{
    LOG_BATCH_BYTES_MAX, LOG_BATCH_LINES_MAX, NewsTaken, RunNews, RunReport, StepNews,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::callback::Callback;

/// Text that is kept before programs have to wait, in bytes.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The same in lines: an empty one takes room too.
const KEPT_LINES_MAX: usize = 64 * 1024;
/// How long lines wait for others that go with them.
const FLUSH_AFTER: Duration = Duration::from_millis(250);
/// How long one exchange of news may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct State {
    lines: VecDeque<(LogStream, String)>,
    bytes: usize,
    /// The number of the first of them.
    first: u64,
    steps: Vec<StepNews>,
    report: Option<RunReport>,
    /// Bytes of the log that may still come.
    room: u64,
    dropped: u64,
    /// When the oldest of what waits came.
    waits_since: Option<Instant>,
}

/// What is to be told, and the answers to it. Shared by those who have something to tell and the one who tells it.
#[derive(Debug)]
pub(crate) struct Journal {
    state: Mutex<State>,
    /// There is something to tell.
    more: Notify,
    /// There is room again.
    room: Notify,
    /// Something was told.
    told: Notify,
    /// Tell at once.
    hurry: Notify,
    /// Somebody asked the run to stop.
    pub(crate) cancelled: CancellationToken,
    /// The run is over, or somebody else's.
    pub(crate) over: CancellationToken,
}

impl Journal {
    pub(crate) fn new(log_bytes: u64) -> Self {
        Self {
            state: Mutex::new(State {
                lines: VecDeque::new(),
                bytes: 0,
                first: 1,
                steps: Vec::new(),
                report: None,
                room: log_bytes,
                dropped: 0,
                waits_since: None,
            }),
            more: Notify::new(),
            room: Notify::new(),
            told: Notify::new(),
            hurry: Notify::new(),
            cancelled: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    /// Adds a line, as soon as there is room for it. One over the log's bound is counted and dropped.
    pub(crate) async fn line(&self, stream: LogStream, text: String) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.state();
                if state.is_full(1) {
                    self.more.notify_one();
                    return;
                }
                if state.bytes < KEPT_BYTES_MAX && state.lines.len() < KEPT_LINES_MAX {
                    let size = text.len() as u64;
                    if size > state.room {
                        state.room = 0;
                        state.is_full(1);
                    } else {
                        state.room -= size;
                        state.push(stream, text);
                    }
                    self.more.notify_one();
                    return;
                }
            }
            tokio::select! {
                () = room => {}
                // Nobody will take anything any more.
                () = self.over.cancelled() => return,
            }
        }
    }

    /// Says something in the run's own name.
    pub(crate) async fn say(&self, text: &str) {
        for line in text.lines() {
            self.line(LogStream::Task, line_of(line)).await;
        }
    }

    pub(crate) fn step(&self, news: StepNews) {
        let mut state = self.state();
        state.steps.push(news);
        state.waits();
        self.more.notify_one();
    }

    /// How the run is going, in place of what was said before.
    pub(crate) fn report(&self, report: RunReport) {
        let mut state = self.state();
        state.report = Some(report);
        state.waits();
        self.more.notify_one();
    }

    /// Whether the log takes no more lines; then they are counted here, which costs nothing else.
    pub(crate) fn is_full(&self, lines: usize) -> bool {
        // Nobody has to hear of that at once.
        self.state().is_full(lines)
    }

    /// How many lines were not kept.
    pub(crate) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Returns when everything is there that was to be told, or nobody will take it any more.
    pub(crate) async fn flushed(&self) {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.state().is_empty() {
                return;
            }
            self.hurry.notify_one();
            tokio::select! {
                () = told => {}
                () = self.over.cancelled() => return,
            }
        }
    }

    /// Shows that the run lives and hears whether it is to stop; returns when that was answered, at the latest after `limit`.
    pub(crate) async fn beat(&self, limit: Duration) {
        let told = self.told.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        self.hurry.notify_one();
        tokio::select! {
            () = told => {}
            () = self.over.cancelled() => {}
            () = tokio::time::sleep(limit) => {}
        }
    }

    /// Tells what there is to tell, until the run is over or this is dropped; and that the run lives, where there is nothing.
    pub(crate) async fn tell(&self, callback: &Callback, heartbeat: Duration) {
        let mut lines_max = LOG_BATCH_LINES_MAX;
        let mut last = Instant::now();
        loop {
            self.time_to_tell(last + heartbeat).await;
            let news = self.state().news(lines_max);
            let answer = match callback.post("run/news", &news, EXCHANGE_MAX).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!("news cannot be told: {error:#}");
                    self.over.cancel();
                    return;
                }
            };
            last = Instant::now();
            if answer.is_over() {
                tracing::warn!("the run is not ours any more: {}", answer.text());
                self.over.cancel();
                return;
            }
            if answer.status == StatusCode::OK
                && let Ok(taken) = answer.json::<NewsTaken>()
            {
                self.state().taken(&news, taken.lines);
                lines_max = LOG_BATCH_LINES_MAX;
                if taken.cancel {
                    self.cancelled.cancel();
                }
            } else if news.lines.len() > 1 {
                // Too much at once, as the other side sees it.
                tracing::warn!("{} lines were refused: {}", news.lines.len(), answer.text());
                lines_max = news.lines.len() / 2;
                continue;
            } else {
                tracing::error!("news were refused and are left out: {}", answer.text());
                self.state().leave_out(&news);
                lines_max = LOG_BATCH_LINES_MAX;
            }
            self.room.notify_waiters();
            self.told.notify_waiters();
        }
    }

    async fn time_to_tell(&self, beat: Instant) {
        loop {
            let more = self.more.notified();
            let due = {
                let state = self.state();
                if state.is_full_batch() {
                    return;
                }
                state.waits_since.map(|since| since + FLUSH_AFTER)
            };
            let due = due.map_or(beat, |due| due.min(beat));
            tokio::select! {
                () = more => {}
                () = self.hurry.notified() => return,
                () = tokio::time::sleep_until(due) => return,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, stream: LogStream, text: String) {
        self.bytes += text.len();
        self.lines.push_back((stream, text));
        self.waits();
    }

    /// Says once that there is no more room, and counts what there is none for.
    fn is_full(&mut self, lines: usize) -> bool {
        if self.room > 0 {
            return false;
        }
        if self.dropped == 0 {
            let full = "the log is full: lines from here on are counted and not kept";
            self.push(LogStream::Task, full.to_owned());
        }
        self.dropped += lines as u64;
        true
    }

    fn waits(&mut self) {
        self.waits_since.get_or_insert_with(Instant::now);
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.steps.is_empty() && self.report.is_none()
    }

    fn is_full_batch(&self) -> bool {
        self.lines.len() >= LOG_BATCH_LINES_MAX || self.bytes >= LOG_BATCH_BYTES_MAX
    }

    /// As much as goes at once.
    fn news(&self, lines_max: usize) -> RunNews {
        let mut bytes = 0;
        let lines = self
            .lines
            .iter()
            .take(lines_max)
            .enumerate()
            .take_while(|(n, (_, text))| {
                bytes += text.len();
                *n == 0 || bytes <= LOG_BATCH_BYTES_MAX
            })
            .map(|(_, line)| line.clone())
            .collect();
        RunNews {
            first: self.first,
            lines,
            steps: self.steps.clone(),
            report: self.report.clone(),
        }
    }

    /// Lines up to this number are there, and whatever else was in these news.
    fn taken(&mut self, news: &RunNews, lines: u64) {
        let before = self.first - 1;
        if lines < before {
            // Its memory is older than ours: what was dropped here is gone, and what is left takes its place.
            tracing::warn!("{} lines were lost behind us", before - lines);
            self.first = lines + 1;
        } else {
            let count = usize::try_from(lines - before).unwrap_or(usize::MAX);
            self.drop_lines(count.min(self.lines.len()));
        }
        self.said(news);
    }

    fn leave_out(&mut self, news: &RunNews) {
        for (_, text) in self.lines.iter_mut().take(news.lines.len()) {
            self.bytes -= text.len();
            *text = "a line was refused and is left out".to_owned();
            self.bytes += text.len();
        }
        self.said(news);
    }

    fn drop_lines(&mut self, count: usize) {
        for (_, text) in self.lines.drain(..count) {
            self.bytes -= text.len();
        }
        self.first += count as u64;
    }

    fn said(&mut self, news: &RunNews) {
        self.steps.drain(..news.steps.len());
        // What came meanwhile is told next time.
        if self.report == news.report {
            self.report = None;
        }
        self.waits_since = (!self.is_empty()).then(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(journal: &Journal) -> (u64, Vec<String>) {
        let news = journal.state().news(LOG_BATCH_LINES_MAX);
        (
            news.first,
            news.lines.into_iter().map(|(_, text)| text).collect(),
        )
    }

    async fn out(journal: &Journal, text: &str) {
        journal.line(LogStream::Stdout, text.to_owned()).await;
    }

    #[tokio::test]
    async fn what_is_not_there_is_sent_again_from_where_it_broke_off() {
        let journal = Journal::new(1000);
        for text in ["a", "b", "c"] {
            out(&journal, text).await;
        }
        let news = journal.state().news(LOG_BATCH_LINES_MAX);
        out(&journal, "d").await;
        journal.state().taken(&news, 2);
        assert_eq!(lines(&journal), (3, vec!["c".to_owned(), "d".to_owned()]));
        // The answer to an earlier try of the same comes late.
        journal.state().taken(&RunNews::default(), 3);
        assert_eq!(lines(&journal), (4, vec!["d".to_owned()]));
        // Somebody who was put back to an earlier time.
        journal.state().taken(&RunNews::default(), 1);
        assert_eq!(lines(&journal), (2, vec!["d".to_owned()]));
    }

    #[tokio::test]
    async fn a_full_log_says_so_once_and_counts() {
        let journal = Journal::new(5);
        for text in ["abc", "def", "ghi"] {
            out(&journal, text).await;
        }
        let (_, lines) = lines(&journal);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("the log is full"), "{lines:?}");
        assert_eq!(journal.dropped(), 2);
    }

    #[tokio::test]
    async fn a_batch_has_bounds_and_one_line_always_goes() {
        let journal = Journal::new(u64::MAX);
        let long = "x".repeat(LOG_BATCH_BYTES_MAX + 1);
        out(&journal, &long).await;
        out(&journal, "short").await;
        assert_eq!(lines(&journal).1.len(), 1);
        journal.state().taken(&RunNews::default(), 1);
        assert_eq!(lines(&journal), (2, vec!["short".to_owned()]));
        for _ in 0..LOG_BATCH_LINES_MAX {
            out(&journal, "").await;
        }
        assert_eq!(lines(&journal).1.len(), LOG_BATCH_LINES_MAX);
    }

    #[tokio::test]
    async fn programs_wait_while_nobody_takes_what_they_say() {
        let journal = Journal::new(u64::MAX);
        let line = "x".repeat(1024 * 1024);
        for _ in 0..8 {
            out(&journal, &line).await;
        }
        let waiting = out(&journal, "next");
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        journal.state().taken(&RunNews::default(), 1);
        journal.room.notify_waiters();
        waiting.await;
    }
}
