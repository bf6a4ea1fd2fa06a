//! A job's log: lines in the order of (epoch, number within it).
//!
//! Once a job has a newer epoch, no line of an older one is ever added: a claim waits for the write that is under way.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::JobId;
use serde::Serialize;

/// Lines that are read at a time, at most.
const LINES_MAX: usize = 2_000;

/// Epochs of a job that are looked at, at most: the newest.
const EPOCHS_MAX: i64 = 500;

/// A place in a job's log: the last line that is known. The default is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LogCursor {
    /// The epoch under which it was written.
    pub epoch: i64,
    /// Its number within the epoch, from 1.
    pub seq: i64,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Where it is.
    #[serde(flatten)]
    pub cursor: LogCursor,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// `task`, `stdout` or `stderr`.
    pub stream: String,
    /// What it says.
    pub text: String,
    /// Written so long ago that nothing which belongs before it can still be under way.
    pub settled: bool,
}

/// How many lines an epoch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EpochLines {
    /// The epoch.
    pub epoch: i64,
    /// The number of its last line.
    pub lines: i64,
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit.min(LINES_MAX)).expect("two thousand is a bigint")
}

/// The lines that follow `after` without a gap, each once. A gap in the epoch that is written to now (`open`) is waited for
/// until the lines after it have settled; in an older epoch nothing is added any more.
#[must_use]
pub fn following(lines: Vec<Line>, after: LogCursor, open: Option<i64>) -> Vec<Line> {
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

/// Lines after a place, in order. There may be a gap where a line is still being committed; whoever must not miss one stops
/// there and asks again.
///
/// # Errors
/// When the database does not answer.
pub async fn log_after(
    tx: &mut TenantTx,
    job: JobId,
    after: LogCursor,
    limit: usize,
) -> Result<Vec<Line>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select epoch, seq, at, stream, line, at < clock_timestamp() - interval '20 seconds' as "settled!"
        from switchyard.job_logs
        where database_id = switchyard.current_tenant() and job_id = $1 and (epoch, seq) > ($2, $3)
        order by epoch, seq
        limit $4
        "#,
        job.0,
        after.epoch,
        after.seq,
        bounded(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Line {
            cursor: LogCursor {
                epoch: row.epoch,
                seq: row.seq,
            },
            at: row.at,
            stream: row.stream,
            text: row.line,
            settled: row.settled,
        })
        .collect())
}

/// The last lines of a log, in order.
///
/// # Errors
/// When the database does not answer.
pub async fn log_before(
    tx: &mut TenantTx,
    job: JobId,
    before: Option<LogCursor>,
    limit: usize,
) -> Result<Vec<Line>, sqlx::Error> {
    let before = before.unwrap_or(LogCursor {
        epoch: i64::MAX,
        seq: i64::MAX,
    });
    let rows = sqlx::query!(
        r#"
        select epoch, seq, at, stream, line, at < clock_timestamp() - interval '20 seconds' as "settled!"
        from switchyard.job_logs
        where database_id = switchyard.current_tenant() and job_id = $1 and (epoch, seq) < ($2, $3)
        order by epoch desc, seq desc
        limit $4
        "#,
        job.0,
        before.epoch,
        before.seq,
        bounded(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .rev()
        .map(|row| Line {
            cursor: LogCursor {
                epoch: row.epoch,
                seq: row.seq,
            },
            at: row.at,
            stream: row.stream,
            text: row.line,
            settled: row.settled,
        })
        .collect())
}

/// The place before the first line that was written at a time or later; before the first of all where there is none that
/// is older. For a reader who wants what is new.
///
/// # Errors
/// When the database does not answer.
pub async fn log_place_before(
    tx: &mut TenantTx,
    job: JobId,
    since: DateTime<Utc>,
) -> Result<LogCursor, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select epoch, seq
        from switchyard.job_logs
        where database_id = switchyard.current_tenant() and job_id = $1 and at < $2
        order by epoch desc, seq desc
        limit 1
        "#,
        job.0,
        since
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map_or(LogCursor::default(), |row| LogCursor {
        epoch: row.epoch,
        seq: row.seq,
    }))
}

/// Where a search of a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// This line has it.
    At(LogCursor),
    /// No line up to this one has it, and there are more.
    NotUpTo(LogCursor),
    /// No line has it.
    Nowhere,
}

/// The first line after a place that has a text, whatever its case. So many lines are looked at, at most.
///
/// # Errors
/// When the database does not answer.
pub async fn log_find(
    tx: &mut TenantTx,
    job: JobId,
    after: LogCursor,
    text: &str,
    lines_max: i64,
) -> Result<Found, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        with looked_at as (
            select epoch, seq, line
            from switchyard.job_logs
            where database_id = switchyard.current_tenant() and job_id = $1 and (epoch, seq) > ($2, $3)
            order by epoch, seq
            limit $5
        )
        (
            select epoch as "epoch!", seq as "seq!", true as "has!", 0::bigint as "lines!"
            from looked_at
            where strpos(lower(line), lower($4)) > 0
            order by epoch, seq
            limit 1
        )
        union all
        (
            select epoch, seq, false, (select count(*) from looked_at)
            from looked_at
            order by epoch desc, seq desc
            limit 1
        )
        order by 3 desc
        limit 1
        "#,
        job.0,
        after.epoch,
        after.seq,
        text,
        lines_max
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(match row {
        None => Found::Nowhere,
        Some(row) => {
            let at = LogCursor {
                epoch: row.epoch,
                seq: row.seq,
            };
            match row.has {
                true => Found::At(at),
                false if row.lines == lines_max => Found::NotUpTo(at),
                false => Found::Nowhere,
            }
        }
    })
}

/// The epochs of a job up to `epoch` that have lines, and how many. One look into the index for each.
///
/// # Errors
/// When the database does not answer.
pub async fn log_epochs(
    tx: &mut TenantTx,
    job: JobId,
    epoch: i64,
) -> Result<Vec<EpochLines>, sqlx::Error> {
    sqlx::query_as!(
        EpochLines,
        r#"
        select e.epoch as "epoch!", l.seq as "lines!"
        from generate_series(greatest($2::bigint - $3::bigint + 1, 1), $2::bigint) as e (epoch)
        cross join lateral (
            select seq
            from switchyard.job_logs
            where database_id = switchyard.current_tenant() and job_id = $1 and job_logs.epoch = e.epoch
            order by seq desc
            limit 1
        ) l
        order by e.epoch
        "#,
        job.0,
        epoch,
        EPOCHS_MAX
    )
    .fetch_all(&mut **tx)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

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
        following(lines, after, open)
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
    fn what_follows_ends_at_a_gap_that_may_be_filled() {
        let read = |after, lines: &[(i64, i64, bool)]| {
            let made = |&(epoch, seq, settled): &(i64, i64, bool)| Line {
                settled,
                ..line(epoch, seq)
            };
            let open = lines.last().map(|line| line.0);
            next(lines.iter().map(made).collect(), after, open).len()
        };
        assert_eq!(read((1, 2), &[(1, 3, false), (1, 4, false)]), 2);
        assert_eq!(read((1, 2), &[(1, 4, false)]), 0);
        assert_eq!(read((1, 2), &[(1, 4, true), (1, 5, false)]), 2);
        assert_eq!(read((1, 2), &[(2, 1, false), (2, 3, false)]), 1);
        assert_eq!(read((0, 0), &[(1, 1, false)]), 1);
    }
}
