//! A job's log: a piece of it, or a stream of server-sent events that goes on where its reader was and says when it is over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures::stream;
use host::Pulse;
use host::metrics::{SseClient, Streamed};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::{JobId, JobState, Waiting};
use serde::Serialize;
use serde_json::json;
use store::pages::{self, LogCursor};
use tokio::time::sleep;

use crate::asked::{Asked, Piece};
use crate::named;
use crate::problem::Problem;
use place::Place;

mod place;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Lines that are read at a time.
const LINES_MAX: usize = 1_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A piece as JSON; where an event stream is wanted, everything from there on.
pub(crate) async fn read(
    Path(id): Path<String>,
    mut asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: JobId = named(&id)?;
    let since = asked.parsed::<DateTime<Utc>>("since")?;
    if wants_stream(&headers) {
        asked.nothing_more()?;
        let after = headers.get(LAST_EVENT_ID).map(|id| {
            let place = id.to_str().ok().and_then(|id| id.parse::<Place>().ok());
            place.ok_or_else(|| {
                Problem::BadQuery("Last-Event-ID is not one that this stream gave".to_owned())
            })
        });
        let after = after.transpose()?.map(|place| place.0);
        return follow(asked, id, after, since).await;
    }
    let (after, limit) = asked.piece::<Place>()?;
    let mut tx = asked.begin().await?;
    let found = pages::job(&mut tx, id).await?;
    let after = match (after, since) {
        (Some(place), _) => place.0,
        (None, Some(since)) => pages::log_place_before(&mut tx, id, since).await?,
        (None, None) => LogCursor::default(),
    };
    let lines = pages::log_after(&mut tx, id, after, limit).await?;
    tx.commit().await?;
    let job = found.ok_or(Problem::NotFound)?.job;
    let open = (!job.state.is_final()).then_some(job.epoch);
    let lines = pages::following(lines, after, open);
    let last = lines.last().map_or(after, |line| line.cursor);
    // A log may grow, so that there is always a place to go on from.
    let next = Some(asked.cursor(&Place(last).to_string())?);
    let piece = Piece { items: lines, next };
    Ok(([(CACHE_CONTROL, "no-store")], Json(piece)).into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split(',').any(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/event-stream")
        })
    })
}

/// Looks once before it answers, so that what is not there is a problem document and not an empty stream.
async fn follow(
    asked: Asked,
    job: JobId,
    after: Option<LogCursor>,
    since: Option<DateTime<Utc>>,
) -> Result<Response, Problem> {
    let after = match (after, since) {
        (Some(after), _) => after,
        (None, Some(since)) => {
            let mut tx = asked.begin().await?;
            pages::log_place_before(&mut tx, job, since).await?
        }
        (None, None) => LogCursor::default(),
    };
    let counted = asked.metrics().sse_client(Streamed::Api);
    let mut tail = Tail {
        asked,
        job,
        after,
        state: None,
        ready: VecDeque::from([Bytes::from(format!("retry: {}\n\n", Pulse::RETRY_MS))]),
        wait: Duration::ZERO,
        pulse: Pulse::begin(),
        ended: false,
        _counted: counted,
    };
    tail.look().await?;
    let frames = stream::unfold(tail, |mut tail| async {
        let frame = tail.next().await?;
        Some((Ok::<_, Infallible>(frame), tail))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A proxy that collects what it passes on would hold lines back.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// How a job is, as it is told between its lines.
#[derive(Serialize)]
struct Told<'a> {
    id: JobId,
    state: JobState,
    /// A person, a runner or a callback.
    waits_for: Option<Waiting>,
    reason: Option<&'a str>,
    attempts: i32,
    epoch: i64,
}

struct Tail {
    asked: Asked,
    job: JobId,
    after: LogCursor,
    /// What was told of the job last.
    state: Option<(JobState, Option<Waiting>, i64)>,
    ready: VecDeque<Bytes>,
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
                // The reader comes back to whoever serves then, and says where it was.
                () = self.asked.ctx().stopping().cancelled() => return None,
                () = sleep(self.wait) => {}
            }
            // While the database is away nobody knows, and nothing is read either.
            if self.pulse.is_time_to_look()
                && matches!(self.asked.may_still_read().await, Ok(false))
            {
                return None;
            }
            if self.pulse.is_silent() {
                self.ready.push_back(Bytes::from_static(b":\n\n"));
            }
            match self.look().await {
                Ok(()) => {}
                Err(Problem::Unavailable) => self.wait = Pulse::TROUBLED,
                // It is gone, or an error of ours, which is in the log.
                Err(_) => return None,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Problem> {
        let mut tx = self.asked.begin().await?;
        let job = pages::jobs(&mut tx, &[self.job]).await?.pop();
        let job = job.ok_or(Problem::NotFound)?;
        // After the job: of one that has ended all lines are seen.
        let found = pages::log_after(&mut tx, self.job, self.after, LINES_MAX).await?;
        tx.commit().await?;
        let is_full = found.len() == LINES_MAX;
        let count = found.len();
        let open = (!job.state.is_final()).then_some(job.epoch);
        let lines = pages::following(found, self.after, open);
        let is_all = !is_full && lines.len() == count;
        // At once where more is there to be read, but not into a gap that is waited for.
        let more = is_full && lines.len() == count;
        self.wait = if more { Duration::ZERO } else { LOOK_EVERY };
        if let Some(last) = lines.last() {
            self.after = last.cursor;
            let data = json!({ "items": lines });
            self.push("lines", &data);
        }
        let told = Told {
            id: job.id,
            state: job.state,
            waits_for: job.waits_for,
            reason: job.reason.as_deref(),
            attempts: job.attempts,
            epoch: job.epoch,
        };
        if job.state.is_final() {
            // Lines first: whoever hears the end has the log that led there.
            if is_all {
                self.push("end", &json!(told));
                self.ended = true;
            }
        } else if self.state != Some((job.state, job.waits_for, job.epoch)) {
            self.state = Some((job.state, job.waits_for, job.epoch));
            self.push("job", &json!(told));
        }
        Ok(())
    }

    /// JSON has no line breaks of its own, so that a message is one line of data.
    fn push(&mut self, event: &str, data: &serde_json::Value) {
        let id = Place(self.after);
        let text = format!("id: {id}\nevent: {event}\ndata: {data}\n\n");
        self.ready.push_back(Bytes::from(text));
    }
}
