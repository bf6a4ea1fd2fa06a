//! A job's log: the end of it for its page, all of it as a download.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use database::TenantTx;
use futures::stream;
use host::Ctx;
use http::{HeaderValue, header};
use model::JobId;
use store::pages::{self, EpochLines, Line, LogCursor};

use super::problem::Problem;
use super::rows;
use super::session::Signed;
use crate::log_text::LogText;
use crate::views::model::{Log, LogLine};

/// Lines that a page shows when it is opened; the stream adds to them.
const TAIL_LINES: usize = 1_000;

/// Lines that a download reads at a time.
const RAW_LINES: usize = 2_000;

/// The end of a log, and the place after which the stream goes on.
pub(super) async fn tail(
    tx: &mut TenantTx,
    job: JobId,
    epoch: i64,
) -> Result<(Log, LogCursor), Problem> {
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
        known = next_lines(lines, cursor, Some(epoch));
        cursor = known.last().map_or(cursor, |line| line.cursor);
    }
    let shown = numbered(&known, &epochs);
    Ok((
        Log {
            earlier: shown
                .first()
                .and_then(|line| u64::try_from(line.number - 1).ok())
                .unwrap_or_default(),
            lines: shown,
            raw_href: format!("/jobs/{job}/log"),
        },
        cursor,
    ))
}

/// The lines that follow `after` without a gap, each once. A gap in the epoch that is written to now (`open`) is waited for
/// until the lines after it have settled; in an older epoch nothing is added any more.
pub(super) fn next_lines(lines: Vec<Line>, after: LogCursor, open: Option<i64>) -> Vec<Line> {
    let mut last = after;
    let mut next = Vec::with_capacity(lines.len());
    for line in lines {
        if line.cursor <= last {
            continue;
        }
        let expected = if line.cursor.epoch == last.epoch {
            last.seq + 1
        } else {
            1
        };
        let may_come = open == Some(line.cursor.epoch) && !line.settled;
        if line.cursor.seq > expected && may_come {
            break;
        }
        last = line.cursor;
        next.push(line);
    }
    next
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

    use super::{next_lines, numbered};

    fn line(epoch: i64, seq: i64) -> Line {
        Line {
            cursor: LogCursor { epoch, seq },
            at: DateTime::UNIX_EPOCH,
            stream: "task".into(),
            text: String::new(),
            settled: false,
        }
    }

    fn next(lines: Vec<Line>, after: (i64, i64), open: Option<i64>) -> Vec<(i64, i64)> {
        let after = LogCursor {
            epoch: after.0,
            seq: after.1,
        };
        next_lines(lines, after, open)
            .iter()
            .map(|line| (line.cursor.epoch, line.cursor.seq))
            .collect()
    }

    #[test]
    fn a_line_that_commits_late_is_waited_for() {
        let lines = vec![line(1, 3), line(1, 5)];
        assert_eq!(next(lines, (1, 2), Some(1)), [(1, 3)]);
    }

    #[test]
    fn a_line_that_was_lost_is_not_waited_for_for_ever() {
        let mut late = line(1, 5);
        late.settled = true;
        assert_eq!(next(vec![late], (1, 2), Some(1)), [(1, 5)]);
    }

    #[test]
    fn nothing_is_waited_for_in_an_epoch_that_is_over() {
        let lines = vec![line(1, 5), line(2, 1)];
        assert_eq!(next(lines.clone(), (1, 2), Some(2)), [(1, 5), (2, 1)]);
        assert_eq!(next(lines, (1, 2), None), [(1, 5), (2, 1)]);
    }

    #[test]
    fn the_first_line_of_an_epoch_is_waited_for_too() {
        assert_eq!(next(vec![line(2, 2)], (1, 9), Some(2)), []);
    }

    #[test]
    fn a_repeated_line_is_shown_once() {
        assert_eq!(
            next(vec![line(1, 1), line(1, 1)], (0, 0), Some(1)),
            [(1, 1)]
        );
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
