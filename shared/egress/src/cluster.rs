//! The client for what the operator named: brokers, sinks, services of the cluster.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::Url;

use crate::{ClientError, builder};

/// How many idle connections to one host are kept: a relay publishes to few hosts, many events at a time.
const IDLE_PER_HOST_MAX: usize = 32;

/// A client for addresses that come from the operator's settings and never from a tenant. Cheap to clone.
///
/// Plain `http:` and private addresses are what a cluster has, so nothing is forbidden here.
#[derive(Clone, Debug)]
pub struct ClusterEgress {
    client: reqwest::Client,
}

impl ClusterEgress {
    /// Makes the client.
    pub fn new() -> Result<Self, ClientError> {
        let client = builder()
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build()?;
        Ok(Self { client })
    }

    /// Posts a body; otherwise as [`ClusterEgress::send`].
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<reqwest::Response, reqwest::Error> {
        self.send(Method::POST, url, headers, body, timeout).await
    }

    /// Sends a request and returns the answer's head, whatever its status; read its body with
    /// [`read_capped`](crate::read_capped). `timeout` covers the exchange to the end of the body.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<reqwest::Response, reqwest::Error> {
        self.send_stream(method, url, headers, body.into(), timeout)
            .await
    }

    /// The same with a body that is read while it is sent, such as a file; its length stands in `headers`, where it is known.
    pub async fn send_stream(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: reqwest::Body,
        timeout: Duration,
    ) -> Result<reqwest::Response, reqwest::Error> {
        self.client
            .request(method, url.clone())
            .headers(headers)
            .body(body)
            .timeout(timeout)
            .send()
            .await
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test spawns its own server")]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{BodyError, read_capped};

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    /// Answers one request with these bytes, then holds the connection open.
    async fn one_answer(answer: &'static [u8]) -> Result<Url> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await?;
            stream.write_all(answer).await?;
            stream.read(&mut request).await
        });
        Ok(url)
    }

    async fn post(url: &Url, timeout: Duration) -> reqwest::Result<reqwest::Response> {
        let egress = ClusterEgress::new().expect("a client");
        egress
            .post(url, HeaderMap::new(), Bytes::from("{}"), timeout)
            .await
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() -> Result {
        let url = one_answer(
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
        )
        .await?;
        let response = post(&url, Duration::from_secs(5)).await?;
        assert_eq!(response.status(), 302);
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_that_announces_too_much_is_refused_unread() -> Result {
        let url = one_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").await?;
        let response = post(&url, Duration::from_secs(5)).await?;
        let error = read_capped(response, 1024).await.expect_err("too large");
        assert!(matches!(error, BodyError::TooLarge { bytes_max: 1024 }));
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_that_does_not_announce_its_size_is_cut_off() -> Result {
        let url = one_answer(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n",
        )
        .await?;
        let response = post(&url, Duration::from_secs(5)).await?;
        let error = read_capped(response, 8).await.expect_err("too large");
        assert!(matches!(error, BodyError::TooLarge { bytes_max: 8 }));
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_that_says_200_and_then_hangs_times_out() -> Result {
        let url = one_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n1").await?;
        let response = post(&url, Duration::from_millis(200)).await?;
        let error = read_capped(response, 1024).await.expect_err("hangs");
        assert!(matches!(error, BodyError::Broken(cause) if cause.is_timeout()));
        Ok(())
    }
}
