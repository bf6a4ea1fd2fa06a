//! A job's log: the end of it for its page, all of it as a download.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use database::TenantTx;
use futures::stream;
use host::Ctx;
use http::{HeaderValue, header};
use maud::Markup;
use model::JobId;
use serde::Deserialize;
use store::pages::{self, EpochLines, Found, Line, LogCursor};
use url::form_urlencoded;

use super::problem::Problem;
use super::rows;
use super::session::Signed;
use crate::log_text::LogText;
use crate::views::job::log_lines;
use crate::views::model::{Finding, Log, LogLine};

/// Lines that a page shows when it is opened; the stream adds to them.
const TAIL_LINES: usize = 1_000;

/// Lines that come before the one that a page is opened at.
const LINES_ABOVE: i64 = 200;

/// Lines that are added when a reader wants more, on either side.
const MORE_LINES: usize = 500;

/// Lines that a search looks at at a time, and how often it does before it leaves the rest to another request.
const FIND_LINES: i64 = 100_000;
const FINDS_MAX: usize = 20;

/// The longest text that is searched for, in characters.
const FIND_CHARS_MAX: usize = 200;

/// Which part of a log a page is about.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Part {
    /// The number of a line; without it the page shows the end.
    line: Option<i64>,
    /// What was searched for.
    #[serde(default)]
    find: String,
    /// The search found nothing from there on.
    none: Option<String>,
}

impl Part {
    /// Whether it is the end, which grows.
    pub(super) const fn is_tail(&self) -> bool {
        self.line.is_none()
    }

    /// The lines that the page shows, and the place after which the stream goes on.
    pub(super) async fn read(
        &self,
        tx: &mut TenantTx,
        job: JobId,
        epoch: i64,
    ) -> Result<(Log, LogCursor), Problem> {
        let (mut log, cursor) = match self.line {
            None => tail(tx, job, epoch).await?,
            Some(line) => (around(tx, job, epoch, line).await?, LogCursor::default()),
        };
        log.finding = (!self.find.is_empty()).then(|| Finding {
            text: self.find.chars().take(FIND_CHARS_MAX).collect(),
            from: self.line.unwrap_or_default(),
            none: self.none.is_some(),
        });
        Ok((log, cursor))
    }
}

/// The lines around one, by its number through all epochs.
async fn around(tx: &mut TenantTx, job: JobId, epoch: i64, line: i64) -> Result<Log, Problem> {
    let epochs = pages::log_epochs(tx, job, epoch).await?;
    let last = epochs.iter().map(|epoch| epoch.lines).sum::<i64>();
    let marked = line.clamp(1, last.max(1));
    let after = place_before(&epochs, (marked - LINES_ABOVE).max(1));
    let lines = pages::log_after(tx, job, after, TAIL_LINES).await?;
    let shown = numbered(&lines, &epochs);
    let next = shown.last().map(|line| line.number + 1);
    Ok(Log {
        earlier: earlier(&shown),
        later: next.filter(|next| *next <= last),
        marked: Some(marked),
        lines: shown,
        href: format!("/jobs/{job}"),
        finding: None,
    })
}

/// How many lines come before these.
fn earlier(shown: &[LogLine]) -> u64 {
    let first = shown.first().map(|line| line.number - 1);
    first
        .and_then(|before| u64::try_from(before).ok())
        .unwrap_or_default()
}

/// The place before the line of a number: the line itself is the next.
fn place_before(epochs: &[EpochLines], number: i64) -> LogCursor {
    let mut before = 0;
    for epoch in epochs {
        if number <= before + epoch.lines {
            return LogCursor {
                epoch: epoch.epoch,
                seq: number - before - 1,
            };
        }
        before += epoch.lines;
    }
    epochs
        .last()
        .map_or(LogCursor::default(), |last| LogCursor {
            epoch: last.epoch,
            seq: last.lines,
        })
}

/// Which lines a reader wants besides those that are shown.
#[derive(Debug, Deserialize)]
pub(super) struct More {
    before: Option<i64>,
    from: Option<i64>,
}

/// More lines of a log, as they are added to a page: those right before a number, or from one on.
pub(super) async fn more(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(more): Query<More>,
) -> Result<Markup, Problem> {
    let id = rows::job_id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::job(&mut tx, id).await?.ok_or(Problem::NotFound)?;
    let epochs = pages::log_epochs(&mut tx, id, found.job.epoch).await?;
    let lines = match (more.before, more.from) {
        (Some(before), _) => {
            // The line of that number is the first that is not wanted.
            let end = place_before(&epochs, before.max(1));
            let end = LogCursor {
                seq: end.seq + 1,
                ..end
            };
            pages::log_before(&mut tx, id, Some(end), MORE_LINES).await?
        }
        (None, from) => {
            let after = place_before(&epochs, from.unwrap_or(1).max(1));
            let lines = pages::log_after(&mut tx, id, after, MORE_LINES).await?;
            let open = Some(found.job.epoch).filter(|_| !found.job.state.is_final());
            pages::following(lines, after, open)
        }
    };
    tx.commit().await?;
    Ok(log_lines(&signed.reader(), &numbered(&lines, &epochs)))
}

/// What is searched for, and after which line.
#[derive(Debug, Deserialize)]
pub(super) struct Find {
    #[serde(default)]
    find: String,
    #[serde(default)]
    from: i64,
}

/// Goes to the next line that has a text, through all of the log, however long it is.
pub(super) async fn find(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(Find { find, from }): Query<Find>,
) -> Result<Response, Problem> {
    let id = rows::job_id(&id)?;
    let text: String = find
        .chars()
        .filter(|character| *character != '\0')
        .take(FIND_CHARS_MAX)
        .collect();
    if text.is_empty() {
        return Ok(Redirect::to(&format!("/jobs/{id}")).into_response());
    }
    let mut tx = signed.begin(&ctx).await?;
    let job = pages::job(&mut tx, id).await?.ok_or(Problem::NotFound)?.job;
    let epochs = pages::log_epochs(&mut tx, id, job.epoch).await?;
    let mut after = place_before(&epochs, from.clamp(0, i64::MAX - 1) + 1);
    let mut found = Found::NotUpTo(after);
    for _ in 0..FINDS_MAX {
        found = pages::log_find(&mut tx, id, after, &text, FIND_LINES).await?;
        let Found::NotUpTo(place) = found else {
            break;
        };
        after = place;
    }
    tx.commit().await?;
    let number = |place: LogCursor| {
        let before = epochs.iter().filter(|epoch| epoch.epoch < place.epoch);
        before.map(|epoch| epoch.lines).sum::<i64>() + place.seq
    };
    let query = |line: i64, none: bool| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("line", &line.to_string())
            .append_pair("find", &text);
        if none {
            query.append_pair("none", "1");
        }
        query.finish()
    };
    let to = match found {
        Found::At(place) => {
            let line = number(place);
            format!("/jobs/{id}?{}#L{line}", query(line, false))
        }
        // From there the reader goes on, if they want to.
        Found::NotUpTo(place) => format!("/jobs/{id}?{}", query(number(place), true)),
        Found::Nowhere => format!("/jobs/{id}?{}", query(from.max(1), true)),
    };
    Ok(Redirect::to(&to).into_response())
}

/// Lines that a download reads at a time.
const RAW_LINES: usize = 2_000;

/// The end of a log, and the place after which the stream goes on.
async fn tail(tx: &mut TenantTx, job: JobId, epoch: i64) -> Result<(Log, LogCursor), Problem> {
    let lines = pages::log_before(tx, job, None, TAIL_LINES).await?;
    let epochs = pages::log_epochs(tx, job, epoch).await?;
    let mut cursor = LogCursor::default();
    let mut known = Vec::new();
    // A page must not show what comes after a line that is still being committed: the stream would never fill the gap.
    let first = lines.first().map(|line| line.cursor);
    if let Some(first) = first {
        cursor = LogCursor {
            epoch: first.epoch,
            seq: first.seq - 1,
        };
        known = pages::following(lines, cursor, Some(epoch));
        cursor = known.last().map_or(cursor, |line| line.cursor);
    }
    let shown = numbered(&known, &epochs);
    Ok((
        Log {
            earlier: earlier(&shown),
            later: None,
            marked: None,
            lines: shown,
            href: format!("/jobs/{job}"),
            finding: None,
        },
        cursor,
    ))
}

/// Numbers lines through all epochs: what people link to.
pub(super) fn numbered(lines: &[Line], epochs: &[EpochLines]) -> Vec<LogLine> {
    lines
        .iter()
        .map(|line| {
            let before: i64 = epochs
                .iter()
                .filter(|epoch| epoch.epoch < line.cursor.epoch)
                .map(|epoch| epoch.lines)
                .sum();
            LogLine {
                number: before + line.cursor.seq,
                at: line.at,
                attempt: i32::try_from(line.cursor.epoch).unwrap_or(i32::MAX),
                text: LogText::parse(&line.text),
            }
        })
        .collect()
}

/// All of it as text, read and sent piece by piece.
pub(super) async fn raw(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = rows::job_id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::job(&mut tx, id).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)?;
    let pieces = stream::try_unfold(
        (ctx, signed, LogCursor::default()),
        move |(ctx, signed, after)| async move {
            let read = async {
                let mut tx = signed.begin(&ctx).await?;
                let lines = pages::log_after(&mut tx, id, after, RAW_LINES).await?;
                tx.commit().await?;
                Ok::<_, Problem>(lines)
            };
            // What was sent cannot be taken back: a broken download is told by breaking the connection.
            let lines = read
                .await
                .map_err(|_| std::io::Error::other("the log could not be read to its end"))?;
            let Some(last) = lines.last().map(|line| line.cursor) else {
                return Ok(None);
            };
            let mut text = String::new();
            for line in &lines {
                text.push_str(&line.text);
                text.push('\n');
            }
            Ok::<_, std::io::Error>(Some((text, (ctx, signed, last))))
        },
    );
    let name = HeaderValue::try_from(format!("attachment; filename=\"job-{id}.log\""))
        .map_err(Problem::internal)?;
    Ok((
        [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            ),
            (header::CONTENT_DISPOSITION, name),
        ],
        Body::from_stream(pieces),
    )
        .into_response())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use store::pages::{EpochLines, Line, LogCursor};

    use super::{numbered, place_before};

    fn line(epoch: i64, seq: i64) -> Line {
        Line {
            cursor: LogCursor { epoch, seq },
            at: DateTime::UNIX_EPOCH,
            stream: "task".into(),
            text: String::new(),
            settled: false,
        }
    }

    #[test]
    fn a_number_is_found_in_its_epoch() {
        let epochs = [
            EpochLines { epoch: 1, lines: 7 },
            EpochLines { epoch: 3, lines: 2 },
        ];
        let place = |number| {
            let place = place_before(&epochs, number);
            (place.epoch, place.seq)
        };
        assert_eq!(place(1), (1, 0));
        assert_eq!(place(7), (1, 6));
        assert_eq!(place(8), (3, 0));
        assert_eq!(place(9), (3, 1));
        assert_eq!(place(99), (3, 2));
        assert_eq!(place_before(&[], 5), LogCursor::default());
    }

    #[test]
    fn numbers_go_on_through_epochs() {
        let epochs = [
            EpochLines { epoch: 1, lines: 7 },
            EpochLines { epoch: 3, lines: 2 },
        ];
        let numbers: Vec<_> = numbered(&[line(1, 7), line(3, 1), line(3, 2)], &epochs)
            .iter()
            .map(|line| line.number)
            .collect();
        assert_eq!(numbers, [7, 8, 9]);
    }
}
