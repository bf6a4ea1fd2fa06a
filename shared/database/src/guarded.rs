//! Connections that do not outlive their use: a server that falls silent or turns read-only costs its connection, not a
//! place in the pool.
//!
//! sqlx cannot see this by itself. It knows no timeout for an answer, so that a peer which vanished without a word would
//! keep a connection, and its place, for as long as TCP is patient; and it takes a server that has become a standby for a
//! healthy one, for it answers.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream};
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, Postgres, SqlStr};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::connect::STATEMENT_TIMEOUT;
use crate::pool::{Kept, Pool};

/// How long a server may say nothing at all after a statement was sent: it ends statements itself after
/// [`STATEMENT_TIMEOUT`], so that silence beyond this is that of a dead one.
pub(crate) const SILENCE_MAX: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(5));

/// A connection on loan. It goes back to the pool when it is dropped, unless a statement of it was given up half-way or
/// its server is not to be trusted any more: then it is closed.
#[derive(Debug)]
pub struct Conn(Guarded);

impl Conn {
    pub(crate) const fn new(kept: Kept, pool: Pool, place: OwnedSemaphorePermit) -> Self {
        Self(Guarded {
            kept: Some(kept),
            state: State::Idle,
            pool,
            _place: place,
        })
    }
}

impl Deref for Conn {
    type Target = Guarded;

    fn deref(&self) -> &Guarded {
        &self.0
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Guarded {
        &mut self.0
    }
}

/// What executes statements on a [`Conn`].
#[derive(Debug)]
pub struct Guarded {
    kept: Option<Kept>,
    state: State,
    pool: Pool,
    /// Given up after the connection was given back: whoever gets the place finds it.
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A statement was sent and its answer has not been read to the end.
    Busy,
    /// Its server fell silent or changed its role.
    Broken,
}

impl State {
    /// After a failure of a statement.
    fn after(error: &Error) -> Self {
        match error {
            Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed => Self::Broken,
            // Shutting down or starting, or no longer the one that may write: another connection finds who is.
            Error::Database(error)
                if error.code().is_some_and(|code| {
                    code == "25006" || code.starts_with("57P0") || code.starts_with("08")
                }) =>
            {
                Self::Broken
            }
            _ => Self::Idle,
        }
    }
}

impl Guarded {
    /// What is dropped closes its connection instead of giving it back.
    pub(crate) fn close_when_dropped(&mut self) {
        if self.state == State::Idle {
            self.state = State::Busy;
        }
    }
}

impl Deref for Guarded {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        let kept = self.kept.as_ref();
        &kept.expect("taken only when it is dropped").conn
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.parts().0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(kept) = self.kept.take() else {
            return;
        };
        match self.state {
            State::Idle => self.pool.give_back(kept),
            // Closed without a farewell, which a dead server would never take.
            State::Busy => drop(kept),
            State::Broken => self.pool.broke(kept.well_at()),
        }
    }
}

fn silent() -> Error {
    Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("the database said nothing for {} s", SILENCE_MAX.as_secs()),
    ))
}

/// An answer that is awaited within bounds.
struct Watched<'e, T> {
    answer: BoxStream<'e, Result<T, Error>>,
    state: &'e mut State,
    alarm: Pin<Box<Sleep>>,
}

impl<'e, T> Watched<'e, T> {
    fn new(answer: BoxStream<'e, Result<T, Error>>, state: &'e mut State) -> Self {
        *state = State::Busy;
        Self {
            answer,
            state,
            alarm: Box::pin(tokio::time::sleep(SILENCE_MAX)),
        }
    }
}

impl<T> Stream for Watched<'_, T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.answer.as_mut().poll_next(cx) {
            Poll::Ready(None) => {
                if *this.state == State::Busy {
                    *this.state = State::Idle;
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(some))) => {
                this.alarm.as_mut().reset(Instant::now() + SILENCE_MAX);
                Poll::Ready(Some(Ok(some)))
            }
            Poll::Ready(Some(Err(error))) => {
                *this.state = State::after(&error);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => match this.alarm.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    *this.state = State::Broken;
                    Poll::Ready(Some(Err(silent())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

/// The same for an answer that is one value.
fn watched<'e, T: Send + 'e>(
    answer: BoxFuture<'e, Result<T, Error>>,
    state: &'e mut State,
) -> BoxFuture<'e, Result<T, Error>> {
    *state = State::Busy;
    Box::pin(async move {
        let answer = tokio::time::timeout(SILENCE_MAX, answer).await;
        match answer {
            Ok(Ok(value)) => {
                *state = State::Idle;
                Ok(value)
            }
            Ok(Err(error)) => {
                *state = State::after(&error);
                Err(error)
            }
            Err(_) => {
                *state = State::Broken;
                Err(silent())
            }
        }
    })
}

impl Guarded {
    fn parts(&mut self) -> (&mut PgConnection, &mut State) {
        let kept = self.kept.as_mut();
        let kept = kept.expect("taken only when it is dropped");
        (&mut kept.conn, &mut self.state)
    }
}

impl<'c> Executor<'c> for &'c mut Guarded {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (conn, state) = self.parts();
        Box::pin(Watched::new(conn.fetch_many(query), state))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (conn, state) = self.parts();
        watched(conn.fetch_optional(query), state)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        let (conn, state) = self.parts();
        watched(conn.prepare_with(sql, parameters), state)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        let (conn, state) = self.parts();
        watched(conn.describe(sql), state)
    }
}
