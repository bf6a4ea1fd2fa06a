//! The API that comes with netlab, as it is: started for the test, behind TLS and a password.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use exec::{Ended, Piece, Redactor, Stop};
use model::run::{NetlabAction, NetlabApi, NetlabOrder, Signal, StopLadder};
use netlab_api::NetlabOrders;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use runner::{Ordered, Orders as _};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// How long the API may take to be there.
const START_MAX: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse";

/// One `netlab api`, with a folder of labs.
struct Host {
    folder: TempDir,
    address: SocketAddr,
    certificate: String,
    child: Child,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Nothing where the machine has no netlab.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
#[expect(clippy::disallowed_methods, reason = "a test asks the machine")]
fn host() -> Option<Host> {
    if Command::new("netlab").arg("version").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "netlab is missing"
        );
        eprintln!("skipped: netlab is not on this machine");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let child = start(folder.path(), address);
    let host = Host {
        folder,
        address,
        certificate: cert.pem(),
        child,
    };
    host.is_there();
    Some(host)
}

fn start(folder: &Path, address: SocketAddr) -> Child {
    Command::new("netlab")
        .args(["api", "--bind", "127.0.0.1", "--port"])
        .arg(address.port().to_string())
        .args(["--auth-user", "labs", "--tls-cert"])
        .arg(folder.join("cert.pem"))
        .arg("--tls-key")
        .arg(folder.join("key.pem"))
        .env("NETLAB_API_PASSWORD", PASSWORD)
        .env("NETLAB_API_DATA_DIR", folder.join("data"))
        // What labs run is kept there; the machine's own are none of ours.
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A ring of routers, whose files take netlab a while.
fn ring(count: usize) -> String {
    let nodes: Vec<String> = (1..=count).map(|node| format!("r{node}")).collect();
    let links: Vec<String> = (1..=count)
        .map(|node| format!("r{node}-r{}", node % count + 1))
        .collect();
    format!(
        "provider: clab\ndefaults.device: frr\nmodule: [ospf]\nnodes: [{}]\nlinks: [{}]\n",
        nodes.join(", "),
        links.join(", ")
    )
}

impl Host {
    fn is_there(&self) {
        let began = Instant::now();
        while std::net::TcpStream::connect(self.address).is_err() {
            assert!(began.elapsed() < START_MAX, "netlab's API does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn lab(&self, name: &str, topology: &str) {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("topology.yml"), topology).unwrap();
    }

    async fn order(
        &self,
        action: NetlabAction,
        lab: &str,
        stop: &Stop,
        lines: mpsc::Sender<Piece>,
        password: &str,
    ) -> anyhow::Result<Ended> {
        let api = NetlabApi {
            url: format!("https://localhost:{}/", self.address.port()),
            address: self.address,
            user: "labs".to_owned(),
            password_secret: "password".to_owned(),
            authorities: self.certificate.clone(),
            order: NetlabOrder {
                action,
                folder: self.folder.path().join(lab).to_str().unwrap().to_owned(),
                topology: Some("topology.yml".to_owned()),
                collected: Some("collected.tar".to_owned()),
            },
        };
        let ladder = StopLadder {
            first: Signal::Int,
            grace_ms: 60_000,
            term_ms: 0,
        };
        let ordered = Ordered {
            api: &api,
            password,
            ladder,
            stop,
            redactor: &Redactor::new([PASSWORD]).unwrap(),
            lines: &lines,
        };
        NetlabOrders.order(ordered).await
    }

    /// Has something done, and what was said.
    async fn done(&self, action: NetlabAction, lab: &str) -> (anyhow::Result<Ended>, String) {
        let (send, receive) = mpsc::channel(16);
        let stop = Stop::default();
        let order = self.order(action, lab, &stop, send, PASSWORD);
        tokio::join!(order, said(receive))
    }
}

async fn said(mut receive: mpsc::Receiver<Piece>) -> String {
    let redactor = Redactor::new([PASSWORD]).unwrap();
    let mut said = String::new();
    while let Some(piece) = receive.recv().await {
        for line in piece.lines {
            said.push_str(&line.shown(&redactor));
            said.push('\n');
        }
    }
    said
}

#[tokio::test]
async fn a_lab_is_made_by_the_real_api_and_its_log_comes_with_the_end() {
    let Some(host) = host() else { return };
    host.lab("ring", &ring(3));
    let (ended, said) = host.done(NetlabAction::Create, "ring").await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert!(
        said.contains("Created provider configuration file: clab.yml"),
        "{said}"
    );
    assert!(host.folder.path().join("ring/clab.yml").exists());
    let (ended, said) = host.done(NetlabAction::Status, "ring").await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert!(said.contains("No netlab-managed labs"), "{said}");
}

#[tokio::test]
async fn a_job_that_says_running_for_ever_has_failed() {
    let Some(host) = host() else { return };
    host.lab("wrong", "nodes: [r1]\nlinks: [r1-r9]\n");
    let (ended, said) = host.done(NetlabAction::Create, "wrong").await;
    assert_eq!(ended.unwrap().code, 1, "{said}");
    assert!(said.contains("netlab gave up"), "{said}");
    // One error more or less in the process does not change the next.
    host.lab("ring", &ring(2));
    let (ended, said) = host.done(NetlabAction::Create, "ring").await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    let (ended, said) = host.done(NetlabAction::Create, "nowhere").await;
    assert_eq!(ended.unwrap().code, 1, "{said}");
    assert!(said.contains("No such file or directory"), "{said}");
}

#[tokio::test]
async fn what_has_begun_cannot_be_stopped_and_that_is_said() {
    let Some(host) = host() else { return };
    host.lab("ring", &ring(8));
    let stop = Stop::default();
    let (send, mut receive) = mpsc::channel(16);
    let order = host.order(NetlabAction::Create, "ring", &stop, send, PASSWORD);
    let watch = async {
        let first = receive.recv().await.unwrap();
        assert_eq!(first.lines.len(), 1);
        stop.asked.cancel();
        said(receive).await
    };
    let (ended, said) = tokio::join!(order, watch);
    assert!(said.contains("cannot stop what it has begun"), "{said}");
    assert_eq!(ended.unwrap().code, 0, "it came to its own end: {said}");
    assert!(host.folder.path().join("ring/clab.yml").exists());
    let at_once = Stop::default();
    at_once.at_once.cancel();
    let (send, receive) = mpsc::channel(16);
    let order = host.order(NetlabAction::Create, "ring", &at_once, send, PASSWORD);
    let (ended, _) = tokio::join!(order, self::said(receive));
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("goes on"), "{error}");
}

#[tokio::test]
async fn who_is_not_known_is_told_so() {
    let Some(host) = host() else { return };
    let (send, receive) = mpsc::channel(16);
    let stop = Stop::default();
    let wrong = host.order(NetlabAction::Status, "ring", &stop, send, "wrong");
    let (ended, _) = tokio::join!(wrong, said(receive));
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("does not know this user"), "{error}");
}
