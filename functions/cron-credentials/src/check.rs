//! One look at one credential: a file for each kind, and what they have in common.

mod aws;
mod azure;
mod gcp;
mod git;
mod kube;
mod netlab_api;
mod oauth;
mod registry;
mod s3;
pub(crate) mod sigv4;
mod ssh;

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use egress::{Integration, TenantEgress, read_capped};
use http::{HeaderMap, Method, StatusCode, header};
use secrecy::ExposeSecret as _;
use store::credentials::{CredentialChecked, CredentialConfig, CredentialState, DueCredential};
use store::watch::Login;
use url::Url;

/// How long one request may take.
const CALL_MAX: Duration = Duration::from_secs(15);
/// How much of an answer is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How much of what the other side says is repeated, in characters.
const SAID_CHARS_MAX: usize = 300;
/// From when on a credential that ends by itself is about to.
const ENDING: TimeDelta = TimeDelta::days(7);
/// The shortest secret that is looked for in what the other side says, in bytes.
const SECRET_BYTES_MIN: usize = 4;

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It opened what it is for.
    Good,
    /// It did, and says when it ends by itself.
    Until(DateTime<Utc>),
    /// It was refused, for this reason.
    Bad(String),
    /// Nobody answered as they should.
    Unsure(String),
    /// There is nothing to look at with it.
    Nothing(String),
}

/// Shows a credential to whom it is for.
pub(crate) async fn check(
    egress: &TenantEgress,
    due: &DueCredential,
    now: DateTime<Utc>,
) -> CredentialChecked {
    let login = match &due.login {
        Ok(login) => login,
        Err(error) => return checked(Verdict::Bad(error.to_string()), now),
    };
    let config = match CredentialConfig::read(due.kind, &due.config) {
        Ok(config) => config,
        Err(error) => return checked(Verdict::Bad(error.to_string()), now),
    };
    let asked = Asked { egress, login, now };
    let verdict = match &config {
        CredentialConfig::Git(config) => git::check(&asked, config, &due.repositories).await,
        CredentialConfig::Registry => registry::check(&asked).await,
        CredentialConfig::S3(config) => s3::check(&asked, config).await,
        CredentialConfig::Kube => kube::check(&asked).await,
        CredentialConfig::Aws(config) => aws::check(&asked, config).await,
        CredentialConfig::Azure(config) => azure::check(&asked, config).await,
        CredentialConfig::Gcp(config) => gcp::check(&asked, config).await,
        CredentialConfig::Ssh(config) => ssh::check(&asked, config).await,
        CredentialConfig::NetlabApi(_) => netlab_api::check(&asked).await,
    };
    let mut found = checked(verdict, now);
    let secret = login.secret.expose_secret();
    if secret.len() >= SECRET_BYTES_MIN {
        // The other side may repeat what it was shown.
        found.problem = found.problem.map(|said| said.replace(secret, "***"));
    }
    found
}

fn checked(verdict: Verdict, now: DateTime<Utc>) -> CredentialChecked {
    let (state, problem, ends_at) = match verdict {
        Verdict::Good => (CredentialState::Good, None, None),
        Verdict::Until(end) if end <= now => {
            let problem = format!("it ended at {}", end.format("%F %R UTC"));
            (CredentialState::Bad, Some(problem), Some(end))
        }
        Verdict::Until(end) if end - now < ENDING => {
            let problem = format!(
                "it ends at {}: make another before",
                end.format("%F %R UTC")
            );
            (CredentialState::Ending, Some(problem), Some(end))
        }
        Verdict::Until(end) => (CredentialState::Good, None, Some(end)),
        Verdict::Bad(problem) => (CredentialState::Bad, Some(problem), None),
        Verdict::Unsure(problem) => (CredentialState::Unsure, Some(problem), None),
        Verdict::Nothing(problem) => (CredentialState::Unchecked, Some(problem), None),
    };
    CredentialChecked {
        state,
        problem,
        ends_at,
    }
}

/// What a look has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) egress: &'a TenantEgress,
    pub(crate) login: &'a Login,
    pub(crate) now: DateTime<Utc>,
}

/// What somebody answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked<'_> {
    /// A URL at the credential's own host.
    fn url(&self, path_and_query: &str) -> Result<Url, Verdict> {
        let text = format!("https://{}{path_and_query}", self.login.host);
        Url::parse(&text)
            .ok()
            .filter(|url| url.authority() == self.login.host)
            .ok_or_else(|| Verdict::Bad(format!("{} is no host", self.login.host)))
    }

    async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Answer, Verdict> {
        self.call(Method::GET, url, headers, None).await
    }

    async fn post_form(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        form: String,
    ) -> Result<Answer, Verdict> {
        headers.insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        self.call(Method::POST, url, headers, Some(form)).await
    }

    async fn call(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Answer, Verdict> {
        let host = &self.login.host;
        let mut request = self
            .egress
            .request(Integration::Credential, method, url)
            .map_err(|denied| Verdict::Bad(denied.to_string()))?
            .headers(headers)
            .timeout(CALL_MAX);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| {
            egress::denied(&error).map_or_else(
                || {
                    Verdict::Unsure(format!(
                        "nobody answers at {host}: {}",
                        egress::cause(&error)
                    ))
                },
                |denied| Verdict::Bad(denied.to_string()),
            )
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_capped(response, ANSWER_BYTES_MAX)
            .await
            .map_err(|error| Verdict::Unsure(format!("{host}: {error}")))?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

impl Answer {
    /// What a status that tells nothing of the credential means.
    fn unsure(&self, host: &str) -> Verdict {
        let code = self.status.as_u16();
        Verdict::Unsure(if self.status.is_redirection() {
            format!("{host} answered {code}: it has moved, and redirects are not followed")
        } else {
            format!("{host} answered {code}")
        })
    }
}

/// The begin of what the other side says, on one line.
fn said(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(SAID_CHARS_MAX)
        .collect()
}

/// Folds what stood against a look into what it came to.
fn folded(looked: Result<Verdict, Verdict>) -> Verdict {
    looked.unwrap_or_else(|verdict| verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_soon_is_told_before_it_does() {
        let now: DateTime<Utc> = "2026-12-01T00:00:00Z".parse().expect("a time");
        let state = |days| checked(Verdict::Until(now + TimeDelta::days(days)), now).state;
        assert_eq!(state(8), CredentialState::Good);
        assert_eq!(state(6), CredentialState::Ending);
        assert_eq!(state(0), CredentialState::Bad);
        let ending = checked(Verdict::Until(now + TimeDelta::days(2)), now);
        assert_eq!(
            ending.problem.as_deref(),
            Some("it ends at 2026-12-03 00:00 UTC: make another before")
        );
    }
}
