use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

/// How long it may take to be there.
const START_MAX: Duration = Duration::from_secs(60);

/// The API that comes with netlab, started for a test, behind TLS and a password, in a folder of labs.
#[derive(Debug)]
pub struct NetlabApi {
    folder: TempDir,
    address: SocketAddr,
    certificate: String,
    child: Child,
}

impl Drop for NetlabApi {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test asks the machine")]
impl NetlabApi {
    /// Whom to be there.
    pub const USER: &str = "labs";
    /// By which password.
    pub const PASSWORD: &str = "correct horse";

    /// Nothing, and a line that says so, where the machine has no netlab.
    ///
    /// # Panics
    /// When netlab is missing and `CI=true`, or does not start.
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    #[must_use]
    pub fn start() -> Option<Self> {
        if Command::new("netlab").arg("version").output().is_err() {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "netlab is missing"
            );
            eprintln!("skipped: netlab is not on this machine");
            return None;
        }
        let folder = tempfile::tempdir().expect("it works");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("cert.pem"), cert.pem()).expect("it works");
        std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem())
            .expect("it works");
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port");
        let child = served(folder.path(), address);
        let api = Self {
            folder,
            address,
            certificate: cert.pem(),
            child,
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < START_MAX, "netlab's API does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(api)
    }

    /// Puts a lab there.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn lab(&self, name: &str, topology: &str) {
        let folder = self.folder().join(name);
        std::fs::create_dir_all(&folder).expect("it works");
        std::fs::write(folder.join("topology.yml"), topology).expect("it works");
    }

    /// Puts a lab there that is a ring of so many routers, whose files take netlab a while.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn ring(&self, name: &str, routers: usize) {
        let nodes: Vec<String> = (1..=routers).map(|node| format!("r{node}")).collect();
        let links: Vec<String> = (1..=routers)
            .map(|node| format!("r{node}-r{}", node % routers + 1))
            .collect();
        let topology = format!(
            "provider: clab\ndefaults.device: frr\nmodule: [ospf]\nnodes: [{}]\nlinks: [{}]\n",
            nodes.join(", "),
            links.join(", ")
        );
        self.lab(name, &topology);
    }

    /// The folder in which labs have theirs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens. Its certificate is for `localhost`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The file that has it.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.folder().join("cert.pem")
    }
}

fn served(folder: &Path, address: SocketAddr) -> Child {
    Command::new("netlab")
        .args(["api", "--bind", "127.0.0.1", "--port"])
        .arg(address.port().to_string())
        .args(["--auth-user", NetlabApi::USER, "--tls-cert"])
        .arg(folder.join("cert.pem"))
        .arg("--tls-key")
        .arg(folder.join("key.pem"))
        .env("NETLAB_API_PASSWORD", NetlabApi::PASSWORD)
        .env("NETLAB_API_DATA_DIR", folder.join("data"))
        // What labs run is kept there; the machine's own are none of ours.
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("netlab starts")
}
