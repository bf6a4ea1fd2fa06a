//! `git http-backend` over https on loopback, and somebody who pushes to it.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, Uri};
use testkit::Https;

use super::{Process, Repository};

/// Serves all repositories of a folder, also to who pushes.
pub(crate) struct GitServer {
    https: Https,
    root: PathBuf,
}

impl GitServer {
    pub(crate) async fn serve(root: &Path) -> Self {
        let served = root.to_owned();
        let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let root = served.clone();
            async move {
                let asked = tokio::task::spawn_blocking(move || {
                    backend(&root, &method, &uri, &headers, &body)
                });
                asked.await.expect("the backend answers")
            }
        };
        Self {
            https: Https::serve(Router::new().fallback(answer)).await,
            root: root.to_owned(),
        }
    }

    pub(crate) fn authority(&self) -> String {
        self.https.authority()
    }

    pub(crate) fn certificate(&self) -> &Path {
        self.https.certificate()
    }

    pub(crate) fn url(&self, repository: &Repository) -> String {
        let name = repository.path().strip_prefix(&self.root);
        let name = name.expect("it is below the root").to_str();
        format!("{}/{}", self.https.url(), name.expect("text"))
    }

    /// A clone that pushes here.
    pub(crate) fn clone_of(&self, repository: &Repository, folder: &Path) -> Clone {
        let url = self.url(repository);
        let folder_name = folder.to_str().expect("text");
        git(Path::new("/"), &["clone", "--quiet", &url, folder_name]);
        Clone {
            folder: folder.to_owned(),
        }
    }
}

/// Somebody's working copy.
pub(crate) struct Clone {
    folder: PathBuf,
}

impl Clone {
    /// Commits a page and pushes it. Returns the commit.
    pub(crate) fn push(&self, page: &str) -> String {
        self.push_file("index.html", page)
    }

    /// Commits a file and pushes it. Returns the commit.
    pub(crate) fn push_file(&self, path: &str, text: &str) -> String {
        let file = self.folder.join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("a file");
        git(&self.folder, &["add", path]);
        git(&self.folder, &["commit", "--quiet", "--message", path]);
        git(&self.folder, &["push", "--quiet", "origin", "HEAD:main"]);
        git(&self.folder, &["rev-parse", "HEAD"]).trim().to_owned()
    }
}

impl Repository {
    /// Has the repository tell of pushes, as a Git host does.
    pub(crate) fn post_receive(&self, url: &str, token: &str) {
        let name = &self.name;
        let hook = format!(
            r#"#!/usr/bin/env python3
import json, sys, urllib.request
for line in sys.stdin:
    before, after, name = line.split()
    body = json.dumps({{"ref": name, "after": after, "repository": "{name}"}}).encode()
    headers = {{"content-type": "application/json", "x-token": "{token}"}}
    urllib.request.urlopen(urllib.request.Request("{url}", body, headers), timeout=20).read()
"#
        );
        self.hook(&hook);
    }

    /// Has the repository tell of pushes as Gitea does. The secret is kept in a file beside it.
    pub(crate) fn tell_as_gitea(&self, url: &str, secret: &str) {
        let file = self.path().join("hook-secret");
        std::fs::write(&file, secret).expect("a file");
        self.hook(&format!(
            "#!/bin/sh\nexec '{}' hook-gitea --url '{url}' --secret-file '{}' --repository '{}'\n",
            Process::program().display(),
            file.display(),
            self.name
        ));
    }

    fn hook(&self, script: &str) {
        let path = self.path().join("hooks/post-receive");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, script).expect("a file");
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("our file");
    }

    /// Tells of nothing any more.
    pub(crate) fn remove_post_receive(&self) {
        std::fs::remove_file(self.path().join("hooks/post-receive")).expect("it was there");
    }

    /// Tells of a commit on `main` what the hook would have told.
    pub(crate) fn deliver_by_hand(&self, url: &str, token: &str, commit: &str) {
        self.post_receive(url, token);
        let mut child = Command::new(self.path().join("hooks/post-receive"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("the hook runs");
        let mut stdin = child.stdin.take().expect("it was asked for");
        writeln!(stdin, "{} {commit} refs/heads/main", "0".repeat(40)).expect("it reads");
        drop(stdin);
        assert!(child.wait().expect("it ends").success());
    }
}

/// Runs git as somebody who trusts this machine; returns what it says.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let done = Command::new("git")
        .args(["-c", "http.sslVerify=false"])
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.test"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .output()
        .expect("git is installed");
    let words = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "git {arguments:?}: {words}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// One request of the common gateway interface.
fn backend(
    root: &Path,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        // Who is signed in may push.
        .env("REMOTE_USER", "ann")
        .env_remove("GIT_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(body).ok();
    drop(stdin);
    let said = child.wait_with_output().expect("it ends").stdout;
    let end = said.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("a head and a body");
    let head = String::from_utf8_lossy(&said[..end]).into_owned();
    let mut answer = Response::builder();
    for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        answer = match name.to_ascii_lowercase().as_str() {
            "status" => answer.status(value[..3].parse::<u16>().expect("a status")),
            name => answer.header(name, value),
        };
    }
    answer
        .body(Body::from(said[end + 4..].to_vec()))
        .expect("a response")
}
