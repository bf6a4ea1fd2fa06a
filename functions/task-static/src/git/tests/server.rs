//! A provider on loopback: TLS, one request per connection, `git http-backend` behind it.

#![expect(clippy::disallowed_methods, reason = "a test spawns its own server")]

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use egress::{Guard, Lookup, TenantEgress};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{Fetcher, Origin, Result, StaticConfig, config};

const HOST: &str = "git.example.com";

/// What the provider does with a request.
#[derive(Clone, Copy)]
pub(super) enum Behaviour {
    /// Serves repositories.
    Git,
    /// Serves them to whoever has this token.
    GitWithToken(&'static str),
    /// Answers these bytes.
    Fixed(&'static [u8]),
    /// Says nothing.
    Hang,
}

pub(super) struct Server {
    port: u16,
    certificate: Vec<u8>,
    asked: Arc<Asked>,
}

#[derive(Default)]
struct Asked {
    ever: AtomicBool,
    now: Notify,
}

/// Every name is this machine.
struct Here;

impl Lookup for Here {
    fn lookup(&self, _: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(std::future::ready(Ok(vec![IpAddr::V4(
            Ipv4Addr::LOCALHOST,
        )])))
    }
}

impl Server {
    pub(super) async fn start(root: &tempfile::TempDir, behaviour: Behaviour) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()])?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let tls = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self {
            port: listener.local_addr()?.port(),
            certificate: cert.der().to_vec(),
            asked: Arc::default(),
        };
        let (root, asked) = (root.path().to_owned(), Arc::clone(&server.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, root, asked) = (tls.clone(), root.clone(), Arc::clone(&asked));
                tokio::spawn(async move {
                    let mut stream = tls.accept(stream).await?;
                    asked.ever.store(true, Ordering::SeqCst);
                    asked.now.notify_one();
                    let request = Request::read(&mut stream).await?;
                    let answer = match behaviour {
                        Behaviour::Git => request.git(root).await?,
                        Behaviour::GitWithToken(token) if request.has_token(token) => request.git(root).await?,
                        Behaviour::GitWithToken(_) => {
                            b"HTTP/1.1 401 No\r\nwww-authenticate: Basic realm=git\r\ncontent-length: 0\r\n\r\n".to_vec()
                        }
                        Behaviour::Fixed(answer) => answer.to_vec(),
                        Behaviour::Hang => std::future::pending().await,
                    };
                    stream.write_all(&answer).await?;
                    stream.shutdown().await
                });
            }
        });
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until somebody asks.
    pub(super) async fn asked(&self) {
        self.asked.now.notified().await;
    }

    pub(super) fn was_asked(&self) -> bool {
        self.asked.ever.load(Ordering::SeqCst)
    }

    pub(super) fn egress(&self, guard: Guard) -> Result<TenantEgress> {
        let root = reqwest::Certificate::from_der(&self.certificate)?;
        Ok(TenantEgress::with_lookup(guard, vec![root], Here)?)
    }

    /// A fetcher whose operator allows this server.
    pub(super) fn fetcher(&self, origin: &Origin) -> Result<Fetcher> {
        let guard = Guard::new(format!("{HOST}:{}", self.port).parse()?);
        let egress = self.egress(guard)?;
        Ok(Fetcher {
            egress,
            ..origin.fetcher()?
        })
    }

    pub(super) fn config(&self, more: Value) -> Result<StaticConfig> {
        self.config_of("owner/site", more)
    }

    pub(super) fn config_of(&self, repository: &str, more: Value) -> Result<StaticConfig> {
        let base_url = format!("https://{HOST}:{}", self.port);
        config(
            json!({"kind": "provider", "base_url": base_url, "repository": repository}),
            more,
        )
    }
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ');
        let mut word = || first.next().unwrap_or_default().to_owned();
        let (method, target) = (word(), word());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut request = Self {
            method,
            target,
            headers,
            body: bytes.split_off(end + 4),
        };
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        while request.body.len() < length {
            stream.read_buf(&mut request.body).await?;
        }
        Ok(request)
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }

    fn has_token(&self, token: &str) -> bool {
        use gix::bstr::ByteSlice;
        let sent = self
            .header("authorization")
            .strip_prefix("Basic ")
            .unwrap_or_default();
        // RFC 4648, as far as a test needs it.
        let digit = |byte: u8| {
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            digits.iter().position(|digit| *digit == byte).unwrap_or(0)
        };
        let decoded: Vec<u8> = sent
            .as_bytes()
            .chunks(4)
            .flat_map(|four| {
                let word = four.iter().fold(0, |word, byte| word << 6 | digit(*byte));
                [(word >> 16) as u8, (word >> 8) as u8, word as u8]
            })
            .collect();
        decoded.trim_end_with(|c| c == '\0') == format!("x-access-token:{token}").as_bytes()
    }

    /// Runs the CGI program that comes with Git, and makes its answer one of HTTP.
    async fn git(self, root: PathBuf) -> io::Result<Vec<u8>> {
        tokio::task::spawn_blocking(move || self.git_blocking(&root))
            .await
            .map_err(io::Error::other)?
    }

    fn git_blocking(&self, root: &Path) -> io::Result<Vec<u8>> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("GIT_PROTOCOL", self.header("git-protocol"))
            .env("REQUEST_METHOD", &self.method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("CONTENT_TYPE", self.header("content-type"))
            .env("CONTENT_LENGTH", self.body.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        io::Write::write_all(&mut input, &self.body)?;
        drop(input);
        let output = child.wait_with_output()?.stdout;
        let end = output
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or(0);
        let (head, body) = output.split_at(end);
        let head = String::from_utf8_lossy(head);
        let status = head
            .lines()
            .find_map(|line| line.strip_prefix("Status: "))
            .unwrap_or("200 OK");
        let mut answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
        for line in head.lines().filter(|line| !line.starts_with("Status:")) {
            answer.push_str(line);
            answer.push_str("\r\n");
        }
        answer.push_str("\r\n");
        let mut answer = answer.into_bytes();
        answer.extend_from_slice(body.get(4..).unwrap_or_default());
        Ok(answer)
    }
}
