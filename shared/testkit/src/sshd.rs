use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// An SSH server of a test's own, with keys of its own, on a port of its own. It lets in whoever runs the test.
#[derive(Debug)]
pub struct Sshd {
    child: Option<Child>,
    folder: TempDir,
    address: SocketAddr,
    user: String,
    key: String,
    host_key: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test starts programs of the machine, and asks who it is"
)]
impl Sshd {
    /// Nothing, and a line that says so, where the machine has no server.
    ///
    /// # Panics
    /// When the server is missing and `CI=true`, or does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::with_path(None)
    }

    /// The same; programs are found in this folder before all others.
    ///
    /// # Panics
    /// As [`Sshd::start`].
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    #[must_use]
    pub fn with_path(first: Option<&Path>) -> Option<Self> {
        let programs = ["/usr/sbin/sshd", "/usr/bin/ssh-keygen"];
        if programs.iter().any(|path| !Path::new(path).exists()) {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "openssh-server is missing"
            );
            eprintln!("skipped: openssh-server is not on this machine");
            return None;
        }
        // Where privileges are separated; it belongs to the package.
        std::fs::create_dir_all("/run/sshd").ok();
        let folder = tempfile::tempdir().expect("it works");
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.path().join(name))
                .status();
            assert!(made.expect("it works").success());
        }
        let read =
            |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it works");
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("it works")
            .local_addr()
            .expect("it works")
            .port();
        let at = folder.path().display();
        // Programs are found there where the test finds them.
        let mut path = std::env::var("PATH").unwrap_or_default();
        if let Some(first) = first {
            path = format!("{}:{path}", first.display());
        }
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\nSetEnv \"PATH={path}\"\n"
        );
        std::fs::write(folder.path().join("config"), config).expect("it works");
        let user = Command::new("id")
            .arg("-un")
            .output()
            .expect("it works")
            .stdout;
        let mut sshd = Self {
            child: None,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            user: String::from_utf8(user).expect("it works").trim().to_owned(),
            key: read("user"),
            host_key: read("host.pub"),
            folder,
        };
        sshd.again();
        Some(sshd)
    }

    /// Starts it once more, on the same port.
    ///
    /// # Panics
    /// When it does not listen.
    pub fn again(&mut self) {
        let child = Command::new("/usr/sbin/sshd")
            .arg("-D")
            .arg("-f")
            .arg(self.folder.path().join("config"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("it works"));
        let began = Instant::now();
        while std::net::TcpStream::connect(self.address).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "sshd does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server and everybody's connection to it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let children = Command::new("pkill")
                .args(["-KILL", "-P", &child.id().to_string()])
                .status();
            assert!(children.is_ok());
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whom to be there.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The private key that it lets in.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its own public key.
    #[must_use]
    pub fn host_key(&self) -> &str {
        self.host_key.trim()
    }
}
