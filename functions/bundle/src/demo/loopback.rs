//! Requests to this machine under a name of it. Not every resolver knows `*.localhost`, so names are not looked up.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Host, Url};

/// How long an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Gets a page.
pub(crate) async fn get(url: &Url) -> anyhow::Result<Answer> {
    exchange(url, Method::GET, HeaderMap::new(), Bytes::new()).await
}

/// Posts a body.
pub(crate) async fn post(url: &Url, headers: HeaderMap, body: Bytes) -> anyhow::Result<Answer> {
    exchange(url, Method::POST, headers, body).await
}

async fn exchange(
    url: &Url,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> anyhow::Result<Answer> {
    let (authority, port) = of_this_machine(url)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url[url::Position::BeforePath..url::Position::AfterQuery].parse()?;
    *request.headers_mut() = headers;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(&authority)?);
    let answer = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchanged = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| anyhow::anyhow!(error))?
                .to_bytes();
            anyhow::Ok(Answer { status, body })
        };
        // The connection is driven by whoever waits for its answer.
        tokio::pin!(exchanged, connection);
        tokio::select! {
            biased;
            answer = &mut exchanged => answer,
            closed = &mut connection => {
                closed?;
                exchanged.await
            }
        }
    };
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => answer.with_context(|| format!("no answer from {authority}: does it run?")),
        Err(_) => bail!("no answer from {authority} within {} s", TIMEOUT.as_secs()),
    }
}

/// The `Host` to name and the port to dial. Names under `localhost` are always this machine (RFC 6761).
fn of_this_machine(url: &Url) -> anyhow::Result<(String, u16)> {
    let ours = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(_)) | None => false,
    };
    if url.scheme() != "http" || !ours {
        bail!(
            "{url} is not on this machine: http://localhost:<port>/… or http://<name>.localhost:<port>/… is expected"
        );
    }
    let port = url.port_or_known_default().unwrap_or(80);
    Ok((url.authority().to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_dialled() -> anyhow::Result<()> {
        for good in [
            "http://localhost:8080/a",
            "http://hello.localhost:8080/",
            "http://127.0.0.1:1/",
        ] {
            assert!(of_this_machine(&good.parse()?).is_ok(), "{good}");
        }
        for bad in [
            "http://example.test/",
            "http://localhost.example.test/",
            "https://localhost/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
        ] {
            assert!(of_this_machine(&bad.parse()?).is_err(), "{bad}");
        }
        Ok(())
    }
}
