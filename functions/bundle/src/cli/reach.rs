//! Reaches an installation as a person does: by its API. On the machine that runs it nobody has to sign in first.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use database::{Connect, TenantDb};
use egress::{ClusterEgress, read_capped};
use host::Env;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::{DatabaseRole, Role};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use store::people::{self, Token};
use url::{Host, Url};

use super::data_dir::DataDir;
use super::failure::WrongSetting;
use super::operate::{self, OperatorArgs};

/// How long an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the database may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a stream of the API lives, which ends after 570 s by itself.
const STREAM_MAX: Duration = Duration::from_secs(700);
/// How large an answer may be, in bytes: a job with its payload and result, and a page of a log.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which installation, as whom, and how it is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReachArgs {
    /// The address of the API, such as https://api.example.org; that of the `switchyard up` on this machine if nothing is
    /// said ($SWITCHYARD_URL). Elsewhere than on this machine $SWITCHYARD_TOKEN holds a session's token
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Whose things; needed by who is a member of several tenants
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// How it is told
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// How things are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// An installation's API.
pub(crate) struct Client {
    egress: ClusterEgress,
    base: Url,
    token: SecretString,
    tenant: Option<String>,
    /// The session that was opened for this command alone.
    own: Option<TenantDb>,
}

impl Client {
    /// Finds the installation and signs in.
    pub(crate) async fn new(env: &Env, args: &ReachArgs) -> anyhow::Result<Self> {
        let given = match (&args.url, env.get("SWITCHYARD_URL")) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(text)) => Some(Url::parse(text).map_err(|error| {
                WrongSetting(format!("SWITCHYARD_URL is not an address: {error}"))
            })?),
            (None, None) => None,
        };
        let elsewhere = given.as_ref().is_some_and(|url| !is_this_machine(url));
        let mut base = match given {
            Some(url) => url,
            None => own_url(env, &args.operator)?,
        };
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let egress = ClusterEgress::new()?;
        if let Some(token) = env.get("SWITCHYARD_TOKEN") {
            return Ok(Self {
                egress,
                base,
                token: SecretString::from(token),
                tenant: args.tenant.clone(),
                own: None,
            });
        }
        if elsewhere {
            return Err(WrongSetting(format!(
                "SWITCHYARD_TOKEN is missing: {base} is not on this machine, and gets no session of the installation here"
            ))
            .into());
        }
        let tenant = args.tenant.as_deref().unwrap_or(operate::TENANT);
        let (token, tenants) = signed_in(env, &args.operator, tenant).await?;
        Ok(Self {
            egress,
            base,
            token: SecretString::from(token.expose()),
            tenant: Some(tenant.to_owned()),
            own: Some(tenants),
        })
    }

    /// Ends the session that was opened for this command. Where that fails it ends by itself, in a day.
    pub(crate) async fn close(&self) {
        if let Some(tenants) = &self.own {
            let token = Token::presented(self.token.expose_secret());
            if let Err(error) = people::close_session(tenants, &token).await {
                tracing::warn!("the session of this command stays open for a day: {error}");
            }
        }
    }

    /// Where people look at something: a path of the portal beside the API, as far as that is known.
    pub(crate) fn page(&self, path: &str) -> Option<String> {
        let portal = self.base.path().strip_suffix("/api/")?;
        let mut url = self.base.clone();
        url.set_path(&format!("{portal}{path}"));
        Some(url.into())
    }

    /// What is at a path.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.exchange(Method::POST, path, body.to_string().into())
            .await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let response = self
            .send(method, path, HeaderMap::new(), body, TIMEOUT)
            .await?;
        let status = response.status();
        let bytes = read_capped(response, ANSWER_BYTES_MAX)
            .await
            .with_context(|| format!("{} answered {status}", self.base))?;
        let value = serde_json::from_slice(&bytes);
        if !status.is_success() {
            return Err(refused(&self.base, status, value.ok().as_ref()));
        }
        value.map_err(|_| {
            anyhow!(
                "{} answered {status} and no JSON: is this the address of the API?",
                self.base
            )
        })
    }

    /// Opens a stream of events. An answer that is none is an error; one that may pass is [`Passing`].
    pub(crate) async fn stream(
        &self,
        path: &str,
        last: Option<&str>,
    ) -> anyhow::Result<reqwest::Response> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(last) = last {
            let value =
                HeaderValue::try_from(last).context("the stream gave an id that is no text")?;
            headers.insert(HeaderName::from_static("last-event-id"), value);
        }
        let response = self
            .send(Method::GET, path, headers, Bytes::new(), STREAM_MAX)
            .await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = read_capped(response, ANSWER_BYTES_MAX)
            .await
            .unwrap_or_default();
        let document: Option<Value> = serde_json::from_slice(&bytes).ok();
        Err(refused(&self.base, status, document.as_ref()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> anyhow::Result<reqwest::Response> {
        let mut url = self
            .base
            .join(path)
            .with_context(|| format!("{path} does not go with {}", self.base))?;
        if let Some(tenant) = &self.tenant {
            url.query_pairs_mut().append_pair("tenant", tenant);
        }
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.token.expose_secret()))
            .map_err(|_| {
                WrongSetting("SWITCHYARD_TOKEN is not one line of visible ASCII".to_owned())
            })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let sent = self.egress.send(method, &url, headers, body, timeout).await;
        sent.map_err(|error| {
            let why = error.without_url();
            Passing(format!("{} does not answer ({why})", self.base)).into()
        })
    }
}

/// Something that may be otherwise in a moment: the installation is started again, its database is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Passing(String);

fn refused(base: &Url, status: StatusCode, document: Option<&Value>) -> anyhow::Error {
    let text = |name: &str| {
        let value = document.and_then(|document| document.get(name));
        value.and_then(Value::as_str).map(str::to_owned)
    };
    let told = match (text("title"), text("detail")) {
        (Some(title), Some(detail)) => format!("{title}: {detail}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => format!("{base} answered {status}"),
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Passing(told).into();
    }
    anyhow!("{told}")
}

/// The API of the installation on this machine, which writes down where it is.
fn own_url(env: &Env, args: &OperatorArgs) -> anyhow::Result<Url> {
    let file = args.folder(env)?.join(DataDir::ADDRESS_FILE);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(WrongSetting(format!(
                "no installation runs here ({} is not there): start `switchyard up`, name its folder with --data-dir, or \
                 the address of an API with --url",
                file.display()
            ))
            .into());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", file.display()));
        }
    };
    let url = Url::parse(text.trim())
        .with_context(|| format!("{} does not hold an address", file.display()))?;
    Ok(url.join("/api/")?)
}

/// Whether an address is on this machine, as far as it says so itself.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A session of whoever may get into the database as its owner.
async fn signed_in(
    env: &Env,
    args: &OperatorArgs,
    tenant: &str,
) -> anyhow::Result<(Token, TenantDb)> {
    let owner_url = args.owner_url(env).context(
        "nobody is signed in: set SWITCHYARD_TOKEN, or run this where the installation's folder is",
    )?;
    let connecting = PgConnection::connect(owner_url.expose_secret());
    let Ok(connected) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
        bail!(
            "the database did not answer within {} s",
            CONNECT_TIMEOUT.as_secs()
        );
    };
    let mut owner = connected.context("the database does not let us in: is it running?")?;
    let operator = operate::Operator::new(env, args.clone())?;
    // Signing in must not make a tenant of a misspelt name.
    operator.tenant(tenant).await?;
    let (_, person) = people::ensure_member(&mut owner, tenant, operator.by().name, Role::Admin)
        .await
        .context("could not sign in")?;
    let link = people::create_sign_in_link(&mut owner, person)
        .await
        .context("could not sign in")?;
    owner.close().await.ok();
    let tenants = TenantDb::new(&Connect {
        url: args.url(env, DatabaseRole::Tenant)?,
        role: DatabaseRole::Tenant,
        connections_max: 1,
        acquire_timeout: CONNECT_TIMEOUT,
    })?;
    let session = people::open_session(&tenants, &link)
        .await
        .context("could not sign in")?;
    let session = session.ok_or_else(|| anyhow!("the database did not open a session"))?;
    Ok((session, tenants))
}

/// A file that is read whole, such as a payload: `@path`, or the text itself.
pub(crate) fn text_of(given: &str, bytes_max: u64) -> anyhow::Result<String> {
    let Some(path) = given.strip_prefix('@') else {
        return Ok(given.to_owned());
    };
    let path = PathBuf::from(path);
    let reading = || -> anyhow::Result<String> {
        let bytes = std::fs::metadata(&path)?.len();
        if bytes > bytes_max {
            bail!("it has {bytes} bytes; at most {bytes_max} are sent");
        }
        Ok(std::fs::read_to_string(&path)?)
    };
    reading().with_context(|| format!("could not read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        let base = Url::parse("http://localhost:1/api/").expect("a URL");
        let document = json!({"title": "Not found", "detail": "there is none"});
        let error = refused(&base, StatusCode::NOT_FOUND, Some(&document));
        assert!(!error.is::<Passing>());
        assert_eq!(error.to_string(), "Not found: there is none");
        for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY] {
            assert!(refused(&base, status, None).is::<Passing>(), "{status}");
        }
    }

    #[test]
    fn a_session_of_this_machine_goes_nowhere_else() {
        let is = |url: &str| is_this_machine(&Url::parse(url).expect("a URL"));
        for url in [
            "http://localhost:8080/api/",
            "http://127.0.0.1:1/",
            "http://[::1]:1/",
        ] {
            assert!(is(url), "{url}");
        }
        for url in [
            "https://api.example.org/",
            "http://localhost.example.org/",
            "http://10.0.0.1/",
        ] {
            assert!(!is(url), "{url}");
        }
    }
}
