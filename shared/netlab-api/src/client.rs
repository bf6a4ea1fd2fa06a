//! The requests.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egress::{Integration, TenantEgress, read_capped};
use http::{HeaderValue, Method, StatusCode, header};
use model::run::{NetlabAction, NetlabOrder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

/// How long one request may take: it is answered by a process that is busy with a lab.
const CALL_MAX: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes. Logs of jobs are the largest.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much of what it says about a refusal is repeated, in characters.
const SAID_CHARS_MAX: usize = 300;

/// Why nothing is known, or nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address may not be called.
    #[error("{0}")]
    Denied(String),
    /// Nobody answers, or not to the end.
    #[error("{host} does not answer: {why}")]
    Lost {
        /// Where.
        host: String,
        /// Why.
        why: String,
    },
    /// It does not know the user or the password.
    #[error("{0} does not know this user and password (401)")]
    Unauthorised(String),
    /// There is no such thing.
    #[error("{0} knows nothing of that (404)")]
    NotFound(String),
    /// It answers as netlab's API does not.
    #[error("{host} does not answer as netlab's API does: {why}")]
    Strange {
        /// Where.
        host: String,
        /// How.
        why: String,
    },
    /// It does not remember a job that it took.
    #[error(
        "{0} has forgotten the job, as its API does when it is started again: how the lab is, a status says"
    )]
    Forgotten(String),
    /// Whether it took a job is not known.
    #[error(
        "the answer of {0} was lost, and whether it took the job cannot be told: how the lab is, a status says"
    )]
    Unknown(String),
    /// It cannot be stopped and goes on.
    #[error("netlab goes on on {0}: its API cannot stop what it has begun")]
    GoesOn(String),
}

impl ApiError {
    /// Whether asking again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// A job as the API tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteJob {
    /// Which.
    pub id: String,
    /// What it does, as it was said.
    #[serde(default)]
    pub action: String,
    /// `queued`, `running`, `success`, `failed` or `canceled`.
    pub state: String,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Where it runs.
    #[serde(default)]
    pub workdir: Option<String>,
}

impl RemoteJob {
    /// How it ended, if it has: a reason where it did not go well. What nobody knows goes on, unless it has a time of its end.
    #[must_use]
    pub fn ended(&self) -> Option<Result<(), String>> {
        match (self.state.as_str(), &self.finished_at) {
            ("success", _) => Some(Ok(())),
            ("failed", _) => {
                let why = self.error.clone().unwrap_or_default();
                Some(Err(format!("netlab failed: {why}")))
            }
            ("canceled", _) => Some(Err("cancelled before it began".to_owned())),
            (_, Some(_)) => Some(Err(
                "netlab gave up, and its API keeps no word of why: validate the topology here, or run netlab on the host by hand"
                    .to_owned(),
            )),
            (_, None) => None,
        }
    }
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<RemoteJob>,
}

#[derive(Deserialize)]
struct Log {
    log: String,
}

/// One `netlab api`.
#[derive(Debug, Clone)]
pub struct Api {
    egress: TenantEgress,
    url: Url,
    authorization: Option<HeaderValue>,
}

impl Api {
    /// The one at a URL, as nobody.
    #[must_use]
    pub fn new(egress: TenantEgress, url: Url) -> Self {
        Self {
            egress,
            url,
            authorization: None,
        }
    }

    /// The same, as somebody. It takes basic authentication and nothing else.
    #[must_use]
    pub fn signed_in(mut self, user: &str, password: &SecretString) -> Self {
        let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        let mut value = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 is ASCII");
        value.set_sensitive(true);
        self.authorization = Some(value);
        self
    }

    pub(crate) fn host(&self) -> String {
        self.url.authority().to_owned()
    }

    /// Whether it is there and lets us in.
    ///
    /// # Errors
    /// When it is not, or does not.
    pub async fn health(&self) -> Result<(), ApiError> {
        let health: Value = self.get(&["healthz"]).await?;
        if health["status"] == "ok" {
            Ok(())
        } else {
            Err(self.strange("it is not well"))
        }
    }

    /// Every job that it knows.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn jobs(&self) -> Result<Vec<RemoteJob>, ApiError> {
        Ok(self.get::<Jobs>(&["jobs"]).await?.jobs)
    }

    /// One of them.
    ///
    /// # Errors
    /// When it does not answer, or does not know it.
    pub async fn job(&self, id: &str) -> Result<RemoteJob, ApiError> {
        self.get(&["jobs", id]).await
    }

    /// What a job that has ended said.
    ///
    /// # Errors
    /// When it does not answer, or does not know it.
    pub async fn log(&self, id: &str) -> Result<String, ApiError> {
        Ok(self.get::<Log>(&["jobs", id, "log"]).await?.log)
    }

    /// All labs of the host. Only while no job goes on: what a job says would be part of the answer.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Value, ApiError> {
        let (status, body) = self.call(Method::GET, &["status"], None).await?;
        // A host without labs is a 404 to it, with the word for that.
        if status == StatusCode::NOT_FOUND
            && let Ok(said @ Value::Object(_)) = serde_json::from_slice(&body)
        {
            return Ok(said);
        }
        self.read((status, body))
    }

    /// Has a job done. When the answer is lost it may have been taken all the same.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn start(&self, order: &NetlabOrder) -> Result<RemoteJob, ApiError> {
        let mut body = json!({"action": order.action.as_str(), "workdir": order.folder});
        match order.action {
            NetlabAction::Up | NetlabAction::Create => body["topologyPath"] = json!(order.topology),
            NetlabAction::Down => body["cleanup"] = json!(true),
            NetlabAction::Collect => {
                body["collectTar"] = json!(order.collected);
                body["collectCleanup"] = json!(true);
            }
            NetlabAction::Status => {}
        }
        self.read(self.call(Method::POST, &["jobs"], Some(body)).await?)
    }

    /// Takes back a job. False when it has begun: then it cannot be.
    ///
    /// # Errors
    /// When it does not answer, or does not know it.
    pub async fn cancel(&self, id: &str) -> Result<bool, ApiError> {
        let path = ["jobs", id, "cancel"];
        match self.call(Method::POST, &path, None).await? {
            (StatusCode::CONFLICT, _) => Ok(false),
            answer => self.read::<Value>(answer).map(|_| true),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ApiError> {
        self.read(self.call(Method::GET, path, None).await?)
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
    ) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| ApiError::Denied("the URL of netlab's API has no path".to_owned()))?
            .clear()
            .extend(path);
        let mut request = self
            .egress
            .request(Integration::LabHost, method, &url)
            .map_err(|denied| ApiError::Denied(denied.to_string()))?
            .timeout(CALL_MAX);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        if let Some(body) = body {
            request = request
                .header(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                )
                .body(body.to_string());
        }
        let response = request.send().await.map_err(|error| {
            egress::denied(&error).map_or_else(
                || self.lost(&cause(&error)),
                |denied| ApiError::Denied(denied.to_string()),
            )
        })?;
        let status = response.status();
        match read_capped(response, ANSWER_BYTES_MAX).await {
            Ok(body) => Ok((status, body.to_vec())),
            Err(error @ egress::BodyError::TooLarge { .. }) => {
                Err(self.strange(&error.to_string()))
            }
            Err(egress::BodyError::Broken(error)) => Err(self.lost(&cause(&error))),
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        (status, body): (StatusCode, Vec<u8>),
    ) -> Result<T, ApiError> {
        match status {
            StatusCode::UNAUTHORIZED => Err(ApiError::Unauthorised(self.host())),
            StatusCode::NOT_FOUND => Err(ApiError::NotFound(self.host())),
            // Who stands before it cannot reach it.
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Err(self.lost(&format!("it answered {}", status.as_u16())))
            }
            status if !status.is_success() => {
                let text = String::from_utf8_lossy(&body);
                let said: String = text
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(SAID_CHARS_MAX)
                    .collect();
                Err(self.strange(&format!("it answered {} {said}", status.as_u16())))
            }
            _ => serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string())),
        }
    }

    fn lost(&self, why: &str) -> ApiError {
        ApiError::Lost {
            host: self.host(),
            why: why.to_owned(),
        }
    }

    fn strange(&self, why: &str) -> ApiError {
        ApiError::Strange {
            host: self.host(),
            why: why.to_owned(),
        }
    }
}

/// The innermost cause, which says most.
fn cause(error: &reqwest::Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_has_a_time_of_its_end_has_ended_whatever_it_says() {
        let job = |state: &str, finished: Option<&str>| -> RemoteJob {
            serde_json::from_value(json!({
                "id": "job-1", "action": "up", "state": state, "createdAt": "2026-12-01T00:00:00Z", "startedAt": null,
                "finishedAt": finished, "error": "why", "workdir": null, "logPath": "/tmp/x",
            }))
            .expect("a job")
        };
        let end = Some("2026-12-01T00:00:01Z");
        assert_eq!(job("queued", None).ended(), None);
        assert_eq!(job("running", None).ended(), None);
        assert_eq!(job("unheard of", None).ended(), None);
        assert_eq!(job("success", end).ended(), Some(Ok(())));
        let failed = job("failed", end).ended().expect("it has");
        assert_eq!(failed, Err("netlab failed: why".to_owned()));
        let gave_up = job("running", end).ended().expect("it has");
        assert!(gave_up.is_err_and(|why| why.contains("gave up")));
        assert!(job("canceled", end).ended().is_some_and(|it| it.is_err()));
    }
}
