//! An S3 server on loopback: `moto_server`, which others wrote.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// What it is called on the PATH.
const PROGRAM: &str = "moto_server";
/// How long it may take to listen.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A server that keeps one bucket in memory, for as long as this lives.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    server: Child,
}

impl S3 {
    /// Its bucket.
    pub const BUCKET: &'static str = "bucket";

    /// Starts one; `None`, and a line that says so, when `moto_server` is not on the PATH.
    ///
    /// # Panics
    /// When it is missing and `CI=true`, where a skipped test is a failure; and when it does not start.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no Env; the PATH and CI are told to tests"
    )]
    #[must_use]
    pub fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|folder| folder.join(PROGRAM))
            .find(|program| program.is_file());
        match program {
            Some(program) => Some(Self::run(program)),
            None => {
                assert!(
                    std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                    "{PROGRAM} is missing, and nothing may be skipped where CI=true"
                );
                skip();
                None
            }
        }
    }

    fn run(program: PathBuf) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = free.local_addr().expect("it has an address");
        drop(free);
        let server = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is a program");
        let it = Self { address, server };
        let began = Instant::now();
        loop {
            match it.request("PUT", &format!("/{}", Self::BUCKET), b"") {
                Ok(200) => return it,
                answer => assert!(
                    began.elapsed() < STARTS_WITHIN,
                    "{PROGRAM} does not serve: {answer:?}"
                ),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The settings that lead to it, as an operator gives them: plain HTTP to this machine only because it is allowed.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "somebody".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ]
    }

    /// A place in its bucket.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{}/some/prefix", Self::BUCKET)
    }

    /// Sends a request to it, as whoever was given a signed path. Returns the status.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> io::Result<u16> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(STARTS_WITHIN))?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.ok_or_else(|| io::Error::other("that is not HTTP"))
    }

    /// Ends it, as if the bucket could not be reached any more.
    pub fn stop(&mut self) {
        // It may have ended by itself.
        let _ended = self.server.kill();
        let _code = self.server.wait();
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skip() {
    eprintln!("skipped: {PROGRAM} is not on the PATH (pip install 'moto[s3,server]')");
}
