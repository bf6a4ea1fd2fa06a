//! The bodies of requests on their way in: how much of them a server holds at a time, and how slowly they may come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Why the body of a request was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than it may be.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// How long it may be.
        bytes_max: usize,
    },
    /// Who sent it stopped in the middle.
    #[error("the body did not come to its end")]
    Broken,
}

/// Reads the body of a request, at most `bytes_max` of it.
///
/// # Errors
/// When it is longer, or breaks off.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, BodyError> {
    axum::body::to_bytes(body, bytes_max)
        .await
        .map_err(|error| {
            let first: &(dyn std::error::Error + 'static) = &error;
            let mut causes = std::iter::successors(Some(first), |error| error.source());
            if causes.any(|error| error.is::<http_body_util::LengthLimitError>()) {
                BodyError::TooLarge { bytes_max }
            } else {
                BodyError::Broken
            }
        })
}

/// A body that has come so far may take so long, in bytes for each second: a sender that crawls is not waited for, and one
/// behind a poor line is.
const RATE_BYTES_PER_SEC: u64 = 32 * 1024;

/// How many bytes of bodies a server holds. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            held: Arc::default(),
            bytes_max,
        }
    }

    /// Room for a body that says how long it is; nothing when there is none now. One that never fits gets none: who reads it
    /// refuses it by its length, or it is cut when it has used up what there is.
    pub(crate) fn room(&self, announced: Option<usize>) -> Option<Arc<Held>> {
        let mut held = Held {
            budget: self.clone(),
            bytes: AtomicUsize::new(0),
        };
        let bytes = announced.filter(|bytes| *bytes <= self.bytes_max);
        let bytes = bytes.unwrap_or(0);
        if !self.take(bytes) {
            return None;
        }
        *held.bytes.get_mut() = bytes;
        Some(Arc::new(held))
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |held: usize| held.checked_add(bytes).filter(|all| *all <= self.bytes_max);
        let order = Ordering::Relaxed;
        self.held.fetch_update(order, order, more).is_ok()
    }
}

/// What one request holds of the budget, until it is answered.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    bytes: AtomicUsize,
}

impl Held {
    /// Whether a body may have so many bytes.
    fn up_to(&self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes.load(Ordering::Relaxed));
        if more > 0 && !self.budget.take(more) {
            return false;
        }
        self.bytes.fetch_add(more, Ordering::Relaxed);
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why a body was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It did not come in time.
    Slow = 1,
    /// There was no room for more.
    NoRoom = 2,
}

/// How a body fares, for who answers the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

impl Fate {
    pub(crate) fn cut(&self) -> Option<Cut> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Cut::Slow),
            _ => Some(Cut::NoRoom),
        }
    }
}

/// What a handler sees of a body that was cut off.
#[derive(Debug, thiserror::Error)]
enum BodyCut {
    #[error("the body does not come in time")]
    Slow,
    #[error("there is no room for the body now")]
    NoRoom,
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
}

/// A body that is watched.
pub(crate) struct Watched {
    body: hyper::body::Incoming,
    began: Instant,
    bytes: usize,
    idle_timeout: Duration,
    timeout: Duration,
    deadline: Pin<Box<Sleep>>,
    held: Arc<Held>,
    fate: Fate,
}

impl Watched {
    /// `timeout`: from here to the end of a short body; a long one has more. `idle_timeout`: between two pieces.
    pub(crate) fn over(
        body: hyper::body::Incoming,
        (timeout, idle_timeout): (Duration, Duration),
        held: Arc<Held>,
        fate: Fate,
    ) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        let now = Instant::now();
        Body::new(Self {
            body,
            began: now,
            bytes: 0,
            idle_timeout,
            timeout,
            deadline: Box::pin(tokio::time::sleep_until(now + timeout.min(idle_timeout))),
            held,
            fate,
        })
    }

    fn end(&self, cut: Cut) {
        self.fate.0.store(cut as u8, Ordering::Relaxed);
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let it = &mut *self;
        match Pin::new(&mut it.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                it.bytes += frame.data_ref().map_or(0, Bytes::len);
                if !it.held.up_to(it.bytes) {
                    it.end(Cut::NoRoom);
                    return Poll::Ready(Some(Err(axum::Error::new(BodyCut::NoRoom))));
                }
                let earned = Duration::from_secs(it.bytes as u64 / RATE_BYTES_PER_SEC);
                let whole = it.began + it.timeout + earned;
                let next = Instant::now() + it.idle_timeout;
                it.deadline.as_mut().reset(whole.min(next));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(axum::Error::new(BodyCut::Broken(error)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => it.deadline.as_mut().poll(cx).map(|()| {
                it.end(Cut::Slow);
                Some(Err(axum::Error::new(BodyCut::Slow)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = Budget::new(100);
        let first = budget.room(Some(60)).expect("room");
        assert!(budget.room(Some(50)).is_none());
        let second = budget.room(None).expect("room");
        assert!(second.up_to(40) && !second.up_to(41));
        drop(first);
        assert!(second.up_to(100));
        drop(second);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_body_that_never_fits_holds_nothing_before_it_comes() {
        let budget = Budget::new(100);
        let large = budget
            .room(Some(101))
            .expect("it is for its reader to refuse");
        assert!(budget.room(Some(100)).is_some());
        assert!(!large.up_to(101));
    }
}
