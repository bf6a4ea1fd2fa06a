//! Streams of changes (server-sent events), one for each page that changes.
//!
//! A stream reads the database again and again, as any replica can, and sends what differs: a fragment when its markup
//! changed, a log's lines in order and without gaps. It is pulled by the connection, so a slow reader slows the reading and
//! nothing piles up. Each message's id says where it was, so that a browser which comes back gets exactly what it missed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use database::TenantTx;
use futures::stream;
use host::metrics::{SseClient, Streamed};
use host::{Ctx, Pulse};
use http::{HeaderMap, HeaderValue, header};
use maud::Markup;
use model::{EventId, JobId, ScheduleId, WorkloadId};
use serde::Deserialize;
use store::pages::{self, LogCursor};
use tokio::time::sleep;

use super::deliveries::ListQuery;
use super::problem::Problem;
use super::session::Signed;
use super::{
    dead, deliveries, events, frame, jobs, log, overview, queues, rows, schedules, workloads,
};
use crate::views::dead::dead_content;
use crate::views::delivery::delivery_rows;
use crate::views::event::event_content;
use crate::views::fragment;
use crate::views::job::{job_history, job_plan, job_result, job_run, job_status, log_lines};
use crate::views::model::Reader;
use crate::views::overview::overview_content;
use crate::views::queues::{Which, lanes_content};
use crate::views::runs::runs_content;
use crate::views::schedules::{schedule_content, schedules_content};
use crate::views::workload::workload_content;

/// Between two looks while a job is worked on.
const LIVELY: Duration = Duration::from_millis(250);
/// Between two looks otherwise, at first; doubled while nothing changes.
const CALM: Duration = Duration::from_secs(1);
/// The longest time between two looks.
const IDLE: Duration = Duration::from_secs(4);
/// Lines of a log that go into one message.
const LINES_MAX: usize = 500;
/// Messages with lines that one look makes at most: of a program that prints much, the page's other parts change less often.
const MESSAGES_MAX: usize = 8;
/// Markup of lines, in bytes, after which a look makes no further message.
const LINES_BYTES_MAX: usize = 1024 * 1024;

/// What is looked at.
#[derive(Clone, Debug)]
enum Topic {
    Overview,
    Dead(dead::ListQuery),
    Deliveries(ListQuery),
    Event(EventId),
    Lanes(Which, queues::After),
    Schedule(ScheduleId),
    Schedules(schedules::Before),
    /// With the place after which lines are wanted, if any are.
    Job(JobId, Option<LogCursor>),
    Runs(super::runs::Before),
    Workload(WorkloadId),
}

/// What a look found.
#[derive(Default)]
struct Look {
    fragments: Vec<(&'static str, Markup)>,
    /// Lines to be added, by message, and where the log is after each.
    lines: Vec<(Markup, LogCursor)>,
    lively: bool,
    /// There are more lines.
    more: bool,
    /// Nothing will change any more.
    finished: bool,
}

impl Look {
    /// A look at a page that has one part which changes, now and then.
    fn at(id: &'static str, markup: Markup) -> Self {
        Self {
            fragments: vec![(id, markup)],
            ..Self::default()
        }
    }
}

pub(super) async fn overview(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Overview).await
}

pub(super) async fn deliveries(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Deliveries(query)).await
}

pub(super) async fn dead(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Query(query): Query<dead::ListQuery>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Dead(query)).await
}

pub(super) async fn queues(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Query(query): Query<queues::After>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Lanes(Which::Queues, query)).await
}

pub(super) async fn tasks(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Query(query): Query<queues::After>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Lanes(Which::Tasks, query)).await
}

pub(super) async fn runs(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Query(query): Query<super::runs::Before>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Runs(query)).await
}

pub(super) async fn schedules(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Query(query): Query<schedules::Before>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Schedules(query)).await
}

pub(super) async fn schedule(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = schedules::named(&id)?;
    answer(ctx, signed, &headers, Topic::Schedule(id)).await
}

pub(super) async fn event(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Event(rows::id(&id)?)).await
}

pub(super) async fn workload(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    answer(ctx, signed, &headers, Topic::Workload(rows::id(&id)?)).await
}

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: String,
    /// `no`: how the job is, and no lines.
    #[serde(default)]
    log: String,
}

pub(super) async fn job(
    State(ctx): State<Ctx>,
    signed: Signed,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(After { after, log }): Query<After>,
) -> Result<Response, Problem> {
    // The page says where its log ends; a browser that comes back knows better.
    let cursor = (log != "no").then(|| {
        last_event_id(&headers)
            .and_then(|id| Resume::parse(id).cursor)
            .or_else(|| parse_cursor(&after))
            .unwrap_or_default()
    });
    answer(
        ctx,
        signed,
        &headers,
        Topic::Job(rows::job_id(&id)?, cursor),
    )
    .await
}

fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok()
}

/// What a message's id holds: `<hash of the fragments>` or `<hash>.<epoch>.<number of the line>`. Made by us and given back
/// by whoever may read the page anyway: a changed one repeats or leaves out what its reader asked for, nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resume {
    hash: Option<u64>,
    cursor: Option<LogCursor>,
}

impl Resume {
    fn parse(id: &str) -> Self {
        let (hash, cursor) = id.split_once('.').unwrap_or((id, ""));
        Self {
            hash: u64::from_str_radix(hash, 16).ok(),
            cursor: parse_cursor(cursor),
        }
    }
}

fn parse_cursor(text: &str) -> Option<LogCursor> {
    let (epoch, seq) = text.split_once('.')?;
    Some(LogCursor {
        epoch: epoch.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}

/// Looks once before it answers, so that what is not there or not theirs is a page of its own and not an empty stream.
async fn answer(
    ctx: Ctx,
    signed: Signed,
    headers: &HeaderMap,
    topic: Topic,
) -> Result<Response, Problem> {
    let counted = ctx.metrics().sse_client(Streamed::Portal);
    let mut tail = Tail {
        sent: last_event_id(headers)
            .map(Resume::parse)
            .and_then(|resume| resume.hash),
        reader: signed.reader(),
        ctx,
        signed,
        topic,
        ready: VecDeque::new(),
        parts: Vec::new(),
        wait: CALM,
        pulse: Pulse::begin(),
        ended: false,
        _counted: counted,
    };
    tail.ready
        .push_back(Bytes::from(format!("retry: {}\n\n", Pulse::RETRY_MS)));
    let look = tail.look().await?;
    tail.take(look);
    let frames = stream::unfold(tail, |mut tail| async {
        let frame = tail.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), tail))
    });
    let mut response = (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        )],
        Body::from_stream(frames),
    )
        .into_response();
    frame::streaming(&mut response);
    Ok(response)
}

/// What is left of a log after a look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Rest {
    /// Nothing that is there yet.
    #[default]
    None,
    /// Lines that may be read now.
    Now,
    /// Lines behind a gap that is waited for.
    Gap,
}

/// Lines as the stream sends them.
#[derive(Default)]
struct Lines {
    messages: Vec<(Markup, LogCursor)>,
    rest: Rest,
}

/// The lines after a place, as many as one look sends.
async fn read_lines(
    tx: &mut TenantTx,
    reader: &Reader,
    job: JobId,
    mut place: LogCursor,
    open: Option<i64>,
) -> Result<Lines, Problem> {
    let mut read = Lines::default();
    let mut bytes = 0;
    loop {
        let found = pages::log_after(tx, job, place, LINES_MAX).await?;
        let is_all = found.len() < LINES_MAX;
        let lines = pages::following(found, place, open);
        let Some(last) = lines.last() else {
            read.rest = if is_all { Rest::None } else { Rest::Gap };
            return Ok(read);
        };
        place = last.cursor;
        let epochs = pages::log_epochs(tx, job, place.epoch).await?;
        let markup = log_lines(reader, &log::numbered(&lines, &epochs));
        bytes += markup.0.len();
        read.messages.push((markup, place));
        if is_all {
            return Ok(read);
        }
        if read.messages.len() == MESSAGES_MAX || bytes >= LINES_BYTES_MAX {
            read.rest = Rest::Now;
            return Ok(read);
        }
    }
}

struct Tail {
    ctx: Ctx,
    signed: Signed,
    reader: Reader,
    topic: Topic,
    ready: VecDeque<Bytes>,
    /// The hash of the fragments that were sent last.
    sent: Option<u64>,
    /// The same for each of them, as far as this stream sent them.
    parts: Vec<u64>,
    wait: Duration,
    pulse: Pulse,
    ended: bool,
    _counted: SseClient,
}

impl Tail {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.pulse.sent();
                return Some(frame);
            }
            if self.ended || self.pulse.is_over() {
                return None;
            }
            tokio::select! {
                // The browser comes back to whoever serves then, and says where it was.
                () = self.ctx.stopping().cancelled() => return None,
                () = sleep(self.wait) => {}
            }
            // While the database is away nobody knows, and nothing is read either.
            if self.pulse.is_time_to_look()
                && matches!(self.signed.may_still_read(&self.ctx).await, Ok(false))
            {
                return None;
            }
            if self.pulse.is_silent() {
                self.ready.push_back(Bytes::from_static(b":\n\n"));
            }
            match self.look().await {
                Ok(look) => self.take(look),
                Err(Problem::Unavailable) => self.wait = Pulse::TROUBLED,
                // It is gone, or an error of ours, which is in the log: the page stays as it is.
                Err(_) => return None,
            }
        }
    }

    async fn look(&mut self) -> Result<Look, Problem> {
        let mut tx = self.signed.begin(&self.ctx).await?;
        self.reader.now = self.ctx.now();
        let reader = &self.reader;
        let look = match &self.topic {
            Topic::Overview => {
                let view = overview::read(&mut tx, &self.signed.visitor).await?;
                Look::at("overview", overview_content(reader, &view))
            }
            Topic::Dead(query) => {
                let view = dead::read(&mut tx, &self.signed, query).await?;
                Look::at("dead", dead_content(reader, &view))
            }
            Topic::Deliveries(query) => {
                let view = deliveries::read_list(&mut tx, query).await?;
                Look::at("delivery-rows", delivery_rows(reader, &view))
            }
            Topic::Lanes(which, query) => {
                let view = queues::read(&mut tx, &self.signed, *which, query).await?;
                Look::at("lanes", lanes_content(reader, &view))
            }
            Topic::Runs(query) => {
                let view = super::runs::read_list(&mut tx, &self.signed, query).await?;
                Look::at("runs", runs_content(reader, &view))
            }
            Topic::Schedule(id) => {
                let view = schedules::read(&mut tx, &self.signed, *id)
                    .await?
                    .ok_or(Problem::NotFound)?;
                Look::at("schedule", schedule_content(reader, &view))
            }
            Topic::Schedules(query) => {
                let view = schedules::read_list(&mut tx, &self.signed, query).await?;
                Look::at("schedules", schedules_content(reader, &view))
            }
            Topic::Event(id) => {
                let view = events::read(&mut tx, reader.language, *id)
                    .await?
                    .ok_or(Problem::NotFound)?;
                Look {
                    fragments: vec![("event", event_content(reader, &view))],
                    lively: true,
                    finished: view.live_href.is_none(),
                    ..Look::default()
                }
            }
            Topic::Workload(id) => {
                let view = workloads::read(&mut tx, &self.signed, *id)
                    .await?
                    .ok_or(Problem::NotFound)?;
                Look {
                    lively: view.jobs.iter().any(|job| !job.state.is_final()),
                    fragments: vec![("workload", workload_content(reader, &view))],
                    ..Look::default()
                }
            }
            Topic::Job(id, after) => {
                let view = jobs::read(&mut tx, &self.signed, *id)
                    .await?
                    .ok_or(Problem::NotFound)?;
                // After the job: what it says of the epoch holds for all lines that are read now.
                let is_final = view.row.state.is_final();
                let open = (!is_final).then_some(view.epoch);
                let read = match after {
                    Some(after) => read_lines(&mut tx, reader, *id, *after, open).await?,
                    None => Lines::default(),
                };
                Look {
                    fragments: vec![
                        ("job-status", job_status(reader, &view)),
                        ("job-plan", job_plan(reader, &view)),
                        ("job-run", job_run(reader, &view)),
                        ("job-history", job_history(reader, &view)),
                        ("job-result", job_result(reader, &view)),
                    ],
                    lines: read.messages,
                    lively: !is_final || read.rest != Rest::None,
                    more: read.rest == Rest::Now,
                    finished: is_final && read.rest == Rest::None,
                }
            }
        };
        tx.commit().await?;
        Ok(look)
    }

    /// Makes messages of what differs.
    fn take(&mut self, look: Look) {
        let hash = fingerprint(look.fragments.iter().map(|(_, markup)| markup.0.as_str()));
        // Of a page of several parts only those that changed: what somebody has opened in another stays open.
        let parts: Vec<_> = look
            .fragments
            .iter()
            .map(|(_, markup)| fingerprint(std::iter::once(markup.0.as_str())))
            .collect();
        let mut changed = false;
        // Lines first: a page that says "succeeded" has the log that led there.
        for (markup, cursor) in look.lines {
            if let Topic::Job(_, after) = &mut self.topic {
                *after = Some(cursor);
            }
            changed = true;
            let id = self.id(self.sent);
            self.ready.push_back(message(Some("log"), &id, &markup.0));
        }
        if self.sent != Some(hash) {
            self.sent = Some(hash);
            changed = true;
            let markup: String = look
                .fragments
                .iter()
                .enumerate()
                .filter(|(place, _)| self.parts.get(*place) != parts.get(*place))
                .map(|(_, (id, markup))| fragment(id, markup).0)
                .collect();
            self.parts = parts;
            self.ready
                .push_back(message(None, &self.id(self.sent), &markup));
        }
        if look.finished {
            self.ended = true;
            self.ready
                .push_back(message(Some("finished"), &self.id(self.sent), ""));
        }
        self.wait = match (look.lively, changed) {
            // What is there already is sent as fast as it is taken.
            (true, _) if look.more => Duration::ZERO,
            (true, _) => LIVELY,
            (false, true) => CALM,
            (false, false) => (self.wait * 2).clamp(CALM, IDLE),
        };
    }

    fn id(&self, hash: Option<u64>) -> String {
        let hash = hash.map_or_else(String::new, |hash| format!("{hash:016x}"));
        match &self.topic {
            Topic::Job(_, Some(LogCursor { epoch, seq })) => format!("{hash}.{epoch}.{seq}"),
            Topic::Job(_, None)
            | Topic::Runs(_)
            | Topic::Overview
            | Topic::Dead(_)
            | Topic::Deliveries(_)
            | Topic::Event(_)
            | Topic::Lanes(..)
            | Topic::Schedule(_)
            | Topic::Schedules(_)
            | Topic::Workload(_) => hash,
        }
    }
}

/// What tells markup from other markup. The words of a time are left out: they say how long ago it was, which is different
/// each time and kept right by scripts; the time itself is an attribute.
fn fingerprint<'a>(fragments: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for piece in fragments.flat_map(|markup| markup.split("</time>")) {
        // No text can hold a tag: it is escaped.
        let kept = piece
            .rfind("<time ")
            .and_then(|start| Some(start + piece[start..].find('>')?))
            .map_or(piece, |end| &piece[..end]);
        kept.hash(&mut hasher);
    }
    hasher.finish()
}

/// One message. Any line end would end a field, so each line is a field of its own.
fn message(event: Option<&str>, id: &str, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + 64);
    if let Some(event) = event {
        text.push_str("event: ");
        text.push_str(event);
        text.push('\n');
    }
    text.push_str("id: ");
    text.push_str(id);
    text.push('\n');
    for line in data.split(['\r', '\n']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use store::pages::LogCursor;

    use super::{Resume, fingerprint, message};

    #[test]
    fn no_text_ends_a_message_early() {
        let bytes = message(Some("log"), "1", "a\r\rb\n\nid: 7");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(
            text,
            "event: log\nid: 1\ndata: a\ndata: \ndata: b\ndata: \ndata: id: 7\n\n"
        );
    }

    #[test]
    fn only_the_words_of_a_time_may_differ_unnoticed() {
        let of = |markup| fingerprint([markup].into_iter());
        let first = of("<p>a <time datetime=\"1\">just now</time> b</p>");
        assert_eq!(first, of("<p>a <time datetime=\"1\">2 s ago</time> b</p>"));
        for other in [
            "<p>a <time datetime=\"2\">just now</time> b</p>",
            "<p>a <time datetime=\"1\">just now</time> c</p>",
            "<p>x <time datetime=\"1\">just now</time> b</p>",
            "<p>a b</p>",
        ] {
            assert_ne!(first, of(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_id_of_ours_resumes_nothing() {
        let resumed = Resume::parse("00ff.2.17");
        assert_eq!(resumed.hash, Some(255));
        assert_eq!(resumed.cursor, Some(LogCursor { epoch: 2, seq: 17 }));
        assert_eq!(Resume::parse("' or 1=1"), Resume::default());
        assert_eq!(Resume::parse("ff.x.1").cursor, None);
    }
}
