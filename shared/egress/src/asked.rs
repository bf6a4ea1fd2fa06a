//! How often other systems are asked, what they answer and how long that takes: counted for the whole process, because who
//! asks is a library of many functions and not one of them.

use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// What an answer may be, by the class of its status; `none` is no answer at all.
pub const CODE_CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

/// Bounds of how long an answer took to begin, in seconds.
const DURATION_SECS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

/// For what another system is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integration {
    /// Whether a credential still opens what it is for.
    Credential,
    /// A document that a publisher keeps at an address of ours: keys of those who sign.
    Document,
    /// Work for a job, of somebody's function.
    Function,
    /// A host of labs, by netlab's API.
    LabHost,
    /// That somebody reads a message.
    Notification,
    /// The content of a Git repository.
    GitFetch,
    /// The branches and tags of a Git repository.
    GitRefs,
    /// Tags and digests of images.
    Registry,
}

impl Integration {
    const ALL: [Self; 8] = [
        Self::Credential,
        Self::Document,
        Self::Function,
        Self::LabHost,
        Self::Notification,
        Self::GitFetch,
        Self::GitRefs,
        Self::Registry,
    ];

    const fn labels(self) -> Asked {
        let (system, operation) = match self {
            Self::Credential => ("credential", "check"),
            Self::Document => ("publisher", "document"),
            Self::Function => ("function", "call"),
            Self::LabHost => ("netlab_api", "call"),
            Self::Notification => ("receiver", "notify"),
            Self::GitFetch => ("git", "fetch"),
            Self::GitRefs => ("git", "refs"),
            Self::Registry => ("registry", "look"),
        };
        Asked { system, operation }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    system: &'static str,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    system: &'static str,
    operation: &'static str,
    code: &'static str,
}

struct Counts {
    requests: Family<Answered, Counter>,
    took: Family<Asked, Histogram, fn() -> Histogram>,
}

static COUNTS: LazyLock<Counts> = LazyLock::new(|| Counts {
    requests: Family::default(),
    took: Family::new_with_constructor(|| Histogram::new(DURATION_SECS)),
});

/// Has a registry tell what this process asked of other systems.
pub fn register(registry: &mut Registry) {
    registry.register(
        "integration_requests",
        "Requests to other systems, by the class of the answer",
        COUNTS.requests.clone(),
    );
    registry.register(
        "integration_request_duration_seconds",
        "How long other systems took to begin their answer, or to give none",
        COUNTS.took.clone(),
    );
}

/// The class of an answer's status; of none where there was no answer.
#[must_use]
pub fn code_class(status: Option<StatusCode>) -> &'static str {
    match status.map(|status| status.as_u16() / 100) {
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        Some(_) | None => "none",
    }
}

/// This process may ask: its series begin at zero.
pub(crate) fn begin_at_zero() {
    for integration in Integration::ALL {
        let asked = integration.labels();
        for code in CODE_CLASSES {
            drop(COUNTS.requests.get_or_create(&Answered {
                system: asked.system,
                operation: asked.operation,
                code,
            }));
        }
        drop(COUNTS.took.get_or_create(&asked));
    }
}

/// Counts an exchange with another system. One that is given up, because its time is over or nobody waits for it any more, had
/// no answer.
///
/// # Errors
/// Those of the exchange.
pub async fn counted(
    integration: Integration,
    exchange: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
) -> Result<reqwest::Response, reqwest::Error> {
    let mut pending = Pending {
        integration,
        begun: Instant::now(),
        status: None,
    };
    let answer = exchange.await;
    pending.status = answer.as_ref().ok().map(reqwest::Response::status);
    answer
}

struct Pending {
    integration: Integration,
    begun: Instant,
    status: Option<StatusCode>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let asked = self.integration.labels();
        COUNTS
            .requests
            .get_or_create(&Answered {
                system: asked.system,
                operation: asked.operation,
                code: code_class(self.status),
            })
            .inc();
        COUNTS
            .took
            .get_or_create(&asked)
            .observe(self.begun.elapsed().as_secs_f64());
    }
}

/// A request to another system that is yet to be sent. It is counted when it is.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    integration: Integration,
    builder: reqwest::RequestBuilder,
}

impl Request {
    pub(crate) const fn new(integration: Integration, builder: reqwest::RequestBuilder) -> Self {
        Self {
            integration,
            builder,
        }
    }

    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self {
            builder: change(self.builder),
            ..self
        }
    }

    /// How long the exchange may take, to the end of the answer's body.
    pub fn timeout(self, time: Duration) -> Self {
        self.with(|builder| builder.timeout(time))
    }

    /// One header more.
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.with(|builder| builder.header(name, value))
    }

    /// More headers, in the place of those of the same name.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.with(|builder| builder.headers(headers))
    }

    /// Shows a name and a password.
    pub fn basic_auth(self, user: &str, password: Option<&str>) -> Self {
        self.with(|builder| builder.basic_auth(user, password))
    }

    /// What is sent.
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|builder| builder.body(body))
    }

    /// Sends it.
    ///
    /// # Errors
    /// When there is no answer. A name that leads to a forbidden address is refused here, see [`denied`](crate::denied).
    pub async fn send(self) -> Result<reqwest::Response, reqwest::Error> {
        counted(self.integration, self.builder.send()).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use url::Url;

    use super::*;
    use crate::ClusterEgress;

    fn told() -> String {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("a string takes all");
        text
    }

    /// The number behind a series; nothing where there is none.
    fn number(series: &str) -> Option<u64> {
        let text = told();
        let line = text.lines().find(|line| line.starts_with(series))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Nothing else of this crate's tests asks a registry.
    fn counts(code: &str) -> Option<u64> {
        number(&format!(
            r#"integration_requests_total{{system="registry",operation="look",code="{code}"}} "#
        ))
    }

    async fn ask(url: &str, time: Duration) -> Result<reqwest::Response, reqwest::Error> {
        let egress = ClusterEgress::new().expect("a client");
        let url = Url::parse(url).expect("a URL");
        let post = egress.post(&url, HeaderMap::new(), bytes::Bytes::new(), time);
        counted(Integration::Registry, post).await
    }

    #[tokio::test]
    async fn each_exchange_is_counted_by_how_it_ended() {
        begin_at_zero();
        for code in CODE_CLASSES {
            assert_eq!(counts(code), Some(0), "{code}: it begins at zero");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("it listens"));
        let long = Duration::from_secs(20);
        for (status, class) in [(204, "2xx"), (302, "3xx"), (429, "4xx"), (503, "5xx")] {
            let answer = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await.expect("a request");
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.expect("it reads");
            };
            let (answered, ()) = tokio::join!(ask(&url, long), answer);
            assert_eq!(answered.expect("an answer").status().as_u16(), status);
            assert_eq!(counts(class), Some(1), "{class}");
        }
        // Nobody answers in time, and nobody waits for the answer: it is accepted by the listener's queue alone.
        assert!(ask(&url, Duration::from_millis(20)).await.is_err());
        let given_up = tokio::time::timeout(Duration::from_millis(20), ask(&url, long)).await;
        assert!(given_up.is_err());
        assert_eq!(counts("none"), Some(2));
        let took =
            r#"integration_request_duration_seconds_count{system="registry",operation="look"} "#;
        assert_eq!(number(took), Some(6));
    }
}
