//! CNCF Distribution as Debian ships it, over https on loopback, and skopeo to push to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::until;
use crate::outside::skipped;

const READY_MAX: Duration = Duration::from_secs(20);

/// A registry with one repository, `team/app`.
pub(super) struct Registry {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

fn is_there(program: &str) -> bool {
    let told = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    told.is_ok_and(|status| status.success())
}

impl Registry {
    /// Whether the machine has one; says so when it has not.
    pub(super) fn is_installed() -> bool {
        let installed = is_there("docker-registry") && is_there("skopeo");
        if !installed {
            skipped("docker-registry or skopeo is not installed");
        }
        installed
    }

    /// One that keeps its images in a folder. It does not run yet.
    pub(super) fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.join("cert.pem"), cert.pem()).expect("a file");
        std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("a file");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
        Self {
            folder: folder.to_owned(),
            port: listener.local_addr().expect("an address").port(),
            child: None,
        }
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    pub(super) fn authority(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// Runs it, with somebody to tell, or nobody.
    pub(super) async fn start(&mut self, tells: Option<(&str, &str)>) {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let endpoints = tells.map(|(url, token)| {
            json!([{
                "name": "hook", "url": url, "headers": {"X-Token": [token]},
                "timeout": "5s", "threshold": 5, "backoff": "200ms",
            }])
        });
        let config = json!({
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": path("data")}, "delete": {"enabled": true}},
            "http": {
                "addr": format!("127.0.0.1:{}", self.port),
                "secret": "only good for tests",
                "tls": {"certificate": path("cert.pem"), "key": path("key.pem")},
            },
            "notifications": {"endpoints": endpoints.unwrap_or_else(|| json!([]))},
        });
        // JSON is YAML.
        std::fs::write(self.folder.join("config.yml"), config.to_string()).expect("a file");
        let log = std::fs::File::create(self.folder.join("log")).expect("a file");
        let child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the registry starts");
        self.child = Some(child);
        let port = self.port;
        until("the registry listens", READY_MAX, || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .ok()
        })
        .await;
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Pushes an image that differs from others by its label.
    pub(super) fn push(&self, label: &str, tag: &str) {
        let layout = self.folder.join(format!("image-{label}"));
        write_image(&layout, label);
        let done = Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
            ])
            .arg(format!("oci:{}:latest", layout.display()))
            .arg(format!("docker://{}/team/app:{tag}", self.authority()))
            .env("TMPDIR", &self.folder)
            .output()
            .expect("skopeo runs");
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "skopeo: {words}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes an image of one empty layer in the OCI layout.
/// <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>
fn write_image(layout: &Path, label: &str) {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a folder");
    let put = |bytes: &[u8]| -> Value {
        let digest = hex::encode(Sha256::digest(bytes));
        std::fs::write(blobs.join(&digest), bytes).expect("a file");
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let with_type = |mut descriptor: Value, ty: &str| {
        descriptor["mediaType"] = ty.into();
        descriptor
    };
    // Two empty blocks end an archive; it holds nothing before them.
    let layer = with_type(put(&[0; 1024]), "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Labels": {"label": label}},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = with_type(
        put(config.to_string().as_bytes()),
        "application/vnd.oci.image.config.v1+json",
    );
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer],
    });
    let mut manifest = with_type(put(manifest.to_string().as_bytes()), manifest_type);
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(layout.join("index.json"), index.to_string()).expect("a file");
    let version = json!({"imageLayoutVersion": "1.0.0"});
    std::fs::write(layout.join("oci-layout"), version.to_string()).expect("a file");
}
