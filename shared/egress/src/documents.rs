//! Documents that somebody publishes for everybody, such as the keys of an identity provider: asked for seldom, and kept
//! for as long as their publisher says, within limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use reqwest::{Method, StatusCode};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::{BodyError, Denied, Integration, TenantEgress, read_capped};

/// A document may have this many bytes.
const BYTES_MAX: usize = 256 * 1024;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// However short its publisher says, a document is kept this long: who asks us cannot make us ask others.
const KEPT_MIN: Duration = Duration::from_secs(60);
/// However long its publisher says, it is asked for again after this time: what was withdrawn must be noticed.
const KEPT_MAX: Duration = Duration::from_secs(60 * 60);
/// While its publisher cannot be reached, what it said last counts for this long.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a document cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Its address may not be called.
    #[error("the document's address may not be called")]
    Denied(#[from] Denied),
    /// Nobody answered in time.
    #[error("the document's publisher does not answer")]
    Unreachable(#[from] reqwest::Error),
    /// It answered, and not with a document.
    #[error("the document's publisher answers {0}")]
    Status(StatusCode),
    /// The answer is too large, or broke off.
    #[error("the document could not be read")]
    Body(#[from] BodyError),
    /// It was asked a moment ago, and nothing came.
    #[error("the document could not be had a moment ago, and is not asked for again yet")]
    Lately,
}

/// Fetches documents and keeps them. Cheap to clone; clones share what is kept.
#[derive(Debug, Clone)]
pub struct Documents {
    egress: TenantEgress,
    kept: Arc<Mutex<HashMap<Url, Kept>>>,
}

#[derive(Debug, Clone)]
struct Kept {
    /// Nothing when it could never be had.
    body: Option<(Bytes, Instant)>,
    /// Until then nobody asks again.
    until: Instant,
}

impl Documents {
    /// Nothing is fetched yet.
    #[must_use]
    pub fn new(egress: TenantEgress) -> Self {
        Self {
            egress,
            kept: Arc::default(),
        }
    }

    /// The document at an address of ours; those of tenants are not fetched here, for each is kept for ever.
    ///
    /// # Errors
    /// When it cannot be had and no recent one is kept.
    pub async fn get(&self, url: &'static str) -> Result<Bytes, DocumentError> {
        let url = Url::parse(url).expect("an address of ours is one");
        let fetch = async || fetch(&self.egress, &url).await;
        self.kept_or(&url, fetch).await
    }

    /// Keeps a document that is known already, for as long as one that was fetched.
    pub async fn keep(&self, url: &'static str, body: Bytes) {
        let url = Url::parse(url).expect("an address of ours is one");
        let now = Instant::now();
        let known = Kept {
            body: Some((body, now)),
            until: now + KEPT_MAX,
        };
        self.kept.lock().await.insert(url, known);
    }

    /// One asks at a time; the others wait for what it gets.
    async fn kept_or(
        &self,
        url: &Url,
        fetch: impl AsyncFnOnce() -> Result<(Bytes, Duration), DocumentError>,
    ) -> Result<Bytes, DocumentError> {
        let mut kept = self.kept.lock().await;
        let before = kept.get(url).cloned();
        if let Some(before) = &before
            && Instant::now() < before.until
        {
            return match &before.body {
                Some((body, _)) => Ok(body.clone()),
                None => Err(DocumentError::Lately),
            };
        }
        let fetched = fetch().await;
        let now = Instant::now();
        let (body, until, answer) = match fetched {
            Ok((body, fresh)) => {
                let until = now + fresh.clamp(KEPT_MIN, KEPT_MAX);
                (Some((body.clone(), now)), until, Ok(body))
            }
            Err(error) => {
                let recent = before
                    .and_then(|before| before.body)
                    .filter(|(_, at)| now < *at + STALE_MAX);
                let answer = match &recent {
                    Some((body, _)) => Ok(body.clone()),
                    None => Err(error),
                };
                (recent, now + KEPT_MIN, answer)
            }
        };
        kept.insert(url.clone(), Kept { body, until });
        answer
    }
}

async fn fetch(egress: &TenantEgress, url: &Url) -> Result<(Bytes, Duration), DocumentError> {
    let request = egress
        .request(Integration::Document, Method::GET, url)?
        .timeout(TIMEOUT);
    let response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(DocumentError::Status(response.status()));
    }
    let fresh = response
        .headers()
        .get(CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .map_or(Duration::ZERO, max_age);
    Ok((read_capped(response, BYTES_MAX).await?, fresh))
}

fn max_age(cache_control: &str) -> Duration {
    let secs = cache_control
        .split(',')
        .find_map(|directive| directive.trim().strip_prefix("max-age="))
        .and_then(|secs| secs.parse().ok());
    Duration::from_secs(secs.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::Guard;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn documents() -> Documents {
        Documents::new(TenantEgress::new(Guard::default(), vec![]).expect("a client"))
    }

    /// Asks, and says what came and how often the publisher was asked so far.
    async fn ask(
        documents: &Documents,
        asked: &AtomicUsize,
        answer: Result<(&'static str, Duration), ()>,
    ) -> (Option<Bytes>, usize) {
        let url = Url::parse("https://keys.example.test/").expect("a URL");
        let fetch = async || {
            asked.fetch_add(1, Ordering::SeqCst);
            answer
                .map(|(body, fresh)| (Bytes::from(body), fresh))
                .map_err(|()| DocumentError::Status(StatusCode::BAD_GATEWAY))
        };
        let got = documents.kept_or(&url, fetch).await.ok();
        (got, asked.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_is_asked_for_again_when_it_is_no_longer_fresh() {
        let (documents, asked) = (documents(), AtomicUsize::new(0));
        let old = Some(Bytes::from("old"));
        assert_eq!(
            ask(&documents, &asked, Ok(("old", HOUR * 9))).await,
            (old.clone(), 1)
        );
        tokio::time::advance(KEPT_MAX - Duration::from_secs(1)).await;
        assert_eq!(ask(&documents, &asked, Ok(("new", HOUR))).await, (old, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            ask(&documents, &asked, Ok(("new", Duration::ZERO))).await.1,
            2
        );
        tokio::time::advance(KEPT_MIN - Duration::from_secs(1)).await;
        assert_eq!(ask(&documents, &asked, Ok(("newer", HOUR))).await.1, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_counts_for_a_day_while_there_is_no_other() {
        let (documents, asked) = (documents(), AtomicUsize::new(0));
        let old = Some(Bytes::from("old"));
        ask(&documents, &asked, Ok(("old", HOUR))).await;
        tokio::time::advance(HOUR).await;
        assert_eq!(ask(&documents, &asked, Err(())).await, (old.clone(), 2));
        assert_eq!(
            ask(&documents, &asked, Err(())).await,
            (old, 2),
            "not again at once"
        );
        tokio::time::advance(STALE_MAX).await;
        assert_eq!(ask(&documents, &asked, Err(())).await, (None, 3));
        assert_eq!(ask(&documents, &asked, Err(())).await, (None, 3));
        tokio::time::advance(KEPT_MIN).await;
        let new = Some(Bytes::from("new"));
        assert_eq!(ask(&documents, &asked, Ok(("new", HOUR))).await, (new, 4));
    }

    #[tokio::test]
    async fn an_inner_address_is_not_called() {
        let refused = documents().get("https://127.0.0.1/keys").await;
        assert!(
            matches!(refused, Err(DocumentError::Denied(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn the_publisher_says_how_long_it_is_fresh() {
        let google = "public, max-age=21085, must-revalidate, no-transform";
        assert_eq!(max_age(google), Duration::from_secs(21_085));
        for other in ["", "no-store", "max-age=-1", "max-age=x"] {
            assert_eq!(max_age(other), Duration::ZERO, "{other}");
        }
    }
}
