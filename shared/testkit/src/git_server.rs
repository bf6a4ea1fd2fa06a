//! A provider on loopback: TLS, one request per connection, `git http-backend` behind it.

use std::{
    io::{self, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::GitOrigin;

/// What the provider does with a request.
#[derive(Clone, Copy, Debug)]
pub enum GitBehaviour {
    /// Serves repositories.
    Git,
    /// Serves them to whoever has this token.
    GitWithToken(&'static str),
    /// Answers these bytes.
    Fixed(&'static [u8]),
    /// Says nothing.
    Hang,
}

/// A server that calls itself `localhost` and [`GitServer::HOST`].
#[derive(Debug)]
pub struct GitServer {
    port: u16,
    certificate: Vec<u8>,
    certificate_file: NamedTempFile,
    asked: Arc<Asked>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Asked {
    ever: AtomicBool,
    now: Notify,
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl GitServer {
    /// A name that no lookup finds.
    pub const HOST: &str = "git.example.com";

    /// Serves the repositories below an origin's folder.
    ///
    /// # Errors
    /// When the machine has no port or no room.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's server has no host to spawn by"
    )]
    pub async fn start(origin: &GitOrigin, behaviour: GitBehaviour) -> io::Result<Self> {
        let names = [Self::HOST.to_owned(), "localhost".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let tls = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .map_err(io::Error::other)?;
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let mut certificate_file = NamedTempFile::new()?;
        certificate_file.write_all(cert.pem().as_bytes())?;
        let asked = Arc::new(Asked::default());
        let (root, heard) = (origin.path(""), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, root, heard) = (tls.clone(), root.clone(), Arc::clone(&heard));
                tokio::spawn(async move {
                    let mut stream = tls.accept(stream).await?;
                    heard.ever.store(true, Ordering::SeqCst);
                    heard.now.notify_one();
                    let request = Request::read(&mut stream).await?;
                    let answer = behaviour.answer(request, root).await?;
                    stream.write_all(&answer).await?;
                    stream.shutdown().await
                });
            }
        });
        Ok(Self {
            port,
            certificate: cert.der().to_vec(),
            certificate_file,
            asked,
            serving,
        })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A file with its certificate in PEM.
    #[must_use]
    pub fn certificate_file(&self) -> &Path {
        self.certificate_file.path()
    }

    /// Where a repository is, `owner/site.git`, by the name that every machine has.
    #[must_use]
    pub fn url(&self, repository: &str) -> String {
        format!("https://localhost:{}/{repository}", self.port)
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) {
        self.asked.now.notified().await;
    }

    /// Whether anybody ever did.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.asked.ever.load(Ordering::SeqCst)
    }
}

impl GitBehaviour {
    async fn answer(self, request: Request, root: PathBuf) -> io::Result<Vec<u8>> {
        match self {
            Self::Git => request.git(root).await,
            Self::GitWithToken(token) if request.has_token(token) => request.git(root).await,
            Self::GitWithToken(_) => Ok(
                b"HTTP/1.1 401 No\r\nwww-authenticate: Basic realm=git\r\ncontent-length: 0\r\n\r\n".to_vec(),
            ),
            Self::Fixed(answer) => Ok(answer.to_vec()),
            Self::Hang => std::future::pending().await,
        }
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
        let length = decoded.iter().rposition(|byte| *byte != 0);
        let decoded = length.map_or(&[][..], |last| &decoded[..=last]);
        decoded == format!("x-access-token:{token}").as_bytes()
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
        input.write_all(&self.body)?;
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
