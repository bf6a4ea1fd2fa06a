//! Fetches from real repositories, made by `git` and served by `git http-backend`.

mod server;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use egress::{Denied, Guard};
use serde_json::{Value, json};

use super::*;
use crate::fetch_error::FetchError;
use server::{Behaviour, Server};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A repository that people push to, in a folder of its own.
pub(crate) struct Origin {
    root: tempfile::TempDir,
}

impl Origin {
    pub(crate) fn new() -> Result<Self> {
        let origin = Self {
            root: tempfile::tempdir()?,
        };
        std::fs::create_dir_all(origin.path("owner/site.git"))?;
        origin.git(&["init", "--quiet", "--initial-branch=main", "."])?;
        Ok(origin)
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("owner/site.git")
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> Result<String> {
        self.git_with_input(arguments, b"")
    }

    fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut child = Command::new("git")
            .args([
                "-c",
                "user.name=Tester",
                "-c",
                "user.email=tester@example.com",
            ])
            .args(arguments)
            .current_dir(self.repository())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", self.root.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("no input")?.write_all(input)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!(
                "git {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            )
            .into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Commits these files to what is checked out, and names the commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> Result<CommitId> {
        for (name, text) in files {
            let path = self.repository().join(name);
            std::fs::create_dir_all(path.parent().ok_or("no parent")?)?;
            std::fs::write(path, text)?;
        }
        self.git(&["add", "--all"])?;
        self.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            "A change",
        ])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.try_into()?)
    }

    /// Commits a tree that `git` itself would not make: entries of mode, name and content.
    fn commit_tree(&self, entries: &[(&str, &[u8], &str)]) -> Result<CommitId> {
        let mut tree = Vec::new();
        for (mode, name, content) in entries {
            let id = match *mode {
                "160000" => "a1".repeat(20),
                "40000" => content.to_string(),
                _ => self.git_with_input(&["hash-object", "-w", "--stdin"], content.as_bytes())?,
            };
            tree.extend_from_slice(mode.as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(name);
            tree.push(0);
            tree.extend_from_slice(ObjectId::from_hex(id.as_bytes())?.as_bytes());
        }
        let arguments = ["hash-object", "-t", "tree", "--literally", "-w", "--stdin"];
        let tree = self.git_with_input(&arguments, &tree)?;
        let commit = self.git(&["commit-tree", "-m", "A tree", &tree])?;
        self.git(&["update-ref", "refs/heads/main", &commit])?;
        Ok(commit.try_into()?)
    }

    fn fetcher(&self) -> Result<Fetcher> {
        let temp_folder = self.path("temp");
        std::fs::create_dir_all(&temp_folder)?;
        Ok(Fetcher {
            egress: TenantEgress::new(Guard::default(), vec![])?,
            local_roots: LocalRoots::new([self.path("owner")])?,
            temp_folder,
            limits: FetchLimits::default(),
        })
    }

    fn local(&self, more: Value) -> Result<StaticConfig> {
        let path = self.repository();
        config(json!({"kind": "local", "path": path}), more)
    }
}

fn config(source: Value, more: Value) -> Result<StaticConfig> {
    let Value::Object(mut config) = more else {
        return Err("an object".into());
    };
    config.insert("source".to_owned(), source);
    Ok(serde_json::from_value(config.into())?)
}

async fn fetch(
    fetcher: &Fetcher,
    config: &StaticConfig,
) -> std::result::Result<Checkout, FetchError> {
    fetch_commit(fetcher, config, &Wanted::Head).await
}

async fn fetch_commit(
    fetcher: &Fetcher,
    config: &StaticConfig,
    wanted: &Wanted,
) -> std::result::Result<Checkout, FetchError> {
    let token = None;
    let ask = FetchAsk {
        config,
        wanted,
        token,
    };
    fetcher.fetch(ask, &CancellationToken::new()).await
}

fn names(checkout: &Checkout) -> Vec<&str> {
    checkout.files.keys().map(SitePath::as_str).collect()
}

fn warnings(checkout: &Checkout) -> Vec<String> {
    checkout.warnings.lines().collect()
}

/// Nothing is left in the folder for temporary repositories.
fn assert_clean(origin: &Origin) -> Result {
    let left = std::fs::read_dir(origin.path("temp"))?.count();
    assert_eq!(left, 0, "a temporary repository was left");
    Ok(())
}

// From this machine.

#[tokio::test]
async fn the_head_of_a_branch_and_one_folder_of_it_are_read() -> Result {
    let origin = Origin::new()?;
    let head = origin.commit(&[
        ("docs/index.html", "hi"),
        ("docs/a/b.txt", "b"),
        ("docs/.hidden", "no"),
        ("docs/.well-known/security.txt", "yes"),
        ("other.txt", "no"),
    ])?;
    // `.well-known` is published at a site's root only, which `docs` is.
    let config = origin.local(json!({"folder": "docs"}))?;
    let checkout = fetch(&origin.fetcher()?, &config).await?;
    assert_eq!(checkout.commit, head);
    assert_eq!(
        names(&checkout),
        [".well-known/security.txt", "a/b.txt", "index.html"]
    );
    assert_eq!(checkout.files["a/b.txt"], "b");
    assert!(warnings(&checkout).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_branch_is_read_where_it_is_now_and_an_older_commit_by_its_hash() -> Result {
    let origin = Origin::new()?;
    let first = origin.commit(&[("a.txt", "1")])?;
    let second = origin.commit(&[("a.txt", "2")])?;
    let (fetcher, config) = (origin.fetcher()?, origin.local(json!({}))?);
    let head = fetch(&fetcher, &config).await?;
    assert_eq!(
        (head.commit, &head.files["a.txt"]),
        (second, &Bytes::from("2"))
    );
    let older = fetch_commit(&fetcher, &config, &Wanted::Commit(first.clone())).await?;
    assert_eq!(
        (older.commit, &older.files["a.txt"]),
        (first, &Bytes::from("1"))
    );
    Ok(())
}

#[tokio::test]
async fn a_packed_and_a_bare_repository_are_read() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("a.txt", &"line\n".repeat(1000))])?;
    let head = origin.commit(&[("a.txt", &"line\n".repeat(1001))])?;
    origin.git(&["gc", "--quiet"])?;
    origin.git(&["clone", "--quiet", "--bare", ".", "../bare.git"])?;
    let bare = config(
        json!({"kind": "local", "path": origin.path("owner/bare.git")}),
        json!({}),
    )?;
    let checkout = fetch(&origin.fetcher()?, &bare).await?;
    assert_eq!(checkout.commit, head);
    assert_eq!(checkout.files["a.txt"].len(), 5005);
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_named() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("docs/index.html", "hi"), ("file", "x")])?;
    let fetcher = origin.fetcher()?;
    let no_branch = fetch(&fetcher, &origin.local(json!({"branch": "release"}))?).await;
    assert!(matches!(&no_branch, Err(FetchError::NoBranch { branch }) if branch == "release"));
    for folder in ["site", "file", "docs/index.html"] {
        let no_folder = fetch(&fetcher, &origin.local(json!({"folder": folder}))?).await;
        assert!(
            matches!(&no_folder, Err(FetchError::NoFolder { .. })),
            "{folder}"
        );
    }
    let unknown = Wanted::Commit("a1".repeat(20).try_into()?);
    let no_commit = fetch_commit(&fetcher, &origin.local(json!({}))?, &unknown).await;
    assert!(matches!(no_commit, Err(FetchError::NoCommit { .. })));
    let gone = config(
        json!({"kind": "local", "path": origin.path("owner/gone.git")}),
        json!({}),
    )?;
    let no_repository = fetch(&fetcher, &gone).await.err().ok_or("it must fail")?;
    assert!(
        matches!(no_repository, FetchError::NoLocalRepository { .. }),
        "{no_repository:?}"
    );
    assert!(!no_repository.may_pass());
    Ok(())
}

#[tokio::test]
async fn nothing_outside_the_allowed_folders_is_opened() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("a.txt", "secret")])?;
    origin.git(&["clone", "--quiet", "--bare", ".", "../../outside.git"])?;
    // A link, a work tree whose repository is elsewhere, and a repository that borrows objects from elsewhere.
    std::os::unix::fs::symlink(origin.path("outside.git"), origin.path("owner/link.git"))?;
    std::fs::create_dir(origin.path("owner/tree"))?;
    let elsewhere = format!("gitdir: {}\n", origin.path("outside.git").display());
    std::fs::write(origin.path("owner/tree/.git"), elsewhere)?;
    origin.git(&[
        "clone",
        "--quiet",
        "--bare",
        "--shared",
        "../../outside.git",
        "../borrows.git",
    ])?;
    let fetcher = origin.fetcher()?;
    for path in [
        "outside.git",
        "nowhere.git",
        "owner/link.git",
        "owner/tree",
        "owner/borrows.git",
        "",
    ] {
        let outside = config(
            json!({"kind": "local", "path": origin.path(path)}),
            json!({}),
        )?;
        let refused = fetch(&fetcher, &outside).await;
        assert!(
            matches!(refused, Err(FetchError::NotAllowed { .. })),
            "{path}: {refused:?}"
        );
    }
    // A folder beside the allowed one whose name starts with its name is not inside it.
    std::fs::rename(origin.path("outside.git"), origin.path("owner-x.git"))?;
    let beside = config(
        json!({"kind": "local", "path": origin.path("owner-x.git")}),
        json!({}),
    )?;
    assert!(matches!(
        fetch(&fetcher, &beside).await,
        Err(FetchError::NotAllowed { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn links_and_submodules_are_left_out_and_said_so() -> Result {
    let origin = Origin::new()?;
    origin.commit_tree(&[
        ("100644", b"a\\b", "backslash"),
        ("100644", b"a\x01", "control"),
        ("100644", b"bad\xff", "not UTF-8"),
        (
            "100644",
            b"big.bin",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        ),
        ("100755", b"fine", "x"),
        ("120000", b"passwd", "/etc/passwd"),
        ("160000", b"sub", ""),
    ])?;
    let checkout = fetch(&origin.fetcher()?, &origin.local(json!({}))?).await?;
    assert_eq!(names(&checkout), ["big.bin", "fine"]);
    insta::assert_snapshot!(checkout.warnings, @r#"
    "a\\b" is left out: a path has no control characters and no backslash
    "a\u{1}" is left out: a path has no control characters and no backslash
    "bad�" is left out: its name is not UTF-8
    "big.bin" is published as it is: it points to Git LFS, which is not fetched
    "passwd" is left out: it is a symbolic link, and links are not followed
    "sub" is left out: it is a submodule, and submodules are not fetched
    "#);
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_a_link_is_not_entered() -> Result {
    let origin = Origin::new()?;
    origin.commit_tree(&[("120000", b"docs", "/etc")])?;
    let refused = fetch(
        &origin.fetcher()?,
        &origin.local(json!({"folder": "docs"}))?,
    )
    .await;
    assert!(matches!(refused, Err(FetchError::NoFolder { .. })));
    Ok(())
}

#[tokio::test]
async fn a_tree_that_means_harm_is_refused_whole() -> Result {
    for name in [
        &b".."[..],
        b".",
        b".git",
        b".GIT",
        b"../../etc/passwd",
        b"/etc/passwd",
        b"a/b",
    ] {
        let origin = Origin::new()?;
        origin.commit_tree(&[("100644", name, "x"), ("100644", b"z", "fine")])?;
        let refused = fetch(&origin.fetcher()?, &origin.local(json!({}))?).await;
        assert!(
            matches!(
                refused,
                Err(FetchError::Refused { .. } | FetchError::Git { .. })
            ),
            "{:?}: {refused:?}",
            String::from_utf8_lossy(name)
        );
    }
    Ok(())
}

#[tokio::test]
async fn names_that_differ_by_case_are_refused() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("a/Index.html", "1"), ("a/index.html", "2")])?;
    let refused = fetch(&origin.fetcher()?, &origin.local(json!({}))?)
        .await
        .err()
        .ok_or("it must fail")?;
    assert_eq!(
        refused.to_string(),
        "\"a/index.html\" is refused: it differs only by case from \"a/Index.html\"; remove it from the repository"
    );
    Ok(())
}

#[tokio::test]
async fn a_site_that_is_too_large_is_refused_before_it_is_read() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("a", &"x".repeat(600)), ("b", &"y".repeat(600)), ("c", "z")])?;
    let all = origin.local(json!({}))?;
    let mut fetcher = origin.fetcher()?;
    let small = origin.local(json!({"storage_bytes_max": 1000}))?;
    let total = fetch(&fetcher, &small).await;
    assert!(matches!(
        total,
        Err(FetchError::TooLarge {
            bytes_max: 1000,
            ..
        })
    ));
    fetcher.limits.files_max = 2;
    let count = fetch(&fetcher, &all).await;
    assert!(matches!(count, Err(FetchError::TooMany { max: 2, .. })));
    fetcher.limits.file_bytes_max = 500;
    let file = fetch(&fetcher, &all).await;
    assert!(
        matches!(&file, Err(FetchError::TooLarge { what, bytes_max: 500 }) if what == "the file \"a\"")
    );
    Ok(())
}

#[tokio::test]
async fn trees_that_unfold_without_end_are_refused() -> Result {
    let origin = Origin::new()?;
    // Ten levels of ten: ten billion files in ten objects.
    let file = origin.git_with_input(&["hash-object", "-w", "--stdin"], b"x")?;
    let mut entry = format!("100644 blob {file}");
    for _ in 0..10 {
        let tree: String = (0..10).map(|n| format!("{entry}\tn{n}\n")).collect();
        let tree = origin.git_with_input(&["mktree"], tree.as_bytes())?;
        entry = format!("040000 tree {tree}");
    }
    let tree = entry.rsplit(' ').next().ok_or("no tree")?;
    let commit = origin.git(&["commit-tree", "-m", "A bomb", tree])?;
    origin.git(&["update-ref", "refs/heads/main", &commit])?;
    let refused = fetch(&origin.fetcher()?, &origin.local(json!({}))?).await;
    assert!(
        matches!(refused, Err(FetchError::TooMany { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_cancel_and_the_time_limit_end_a_fetch() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("a", "b")])?;
    let (mut fetcher, config) = (origin.fetcher()?, origin.local(json!({}))?);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ask = FetchAsk {
        config: &config,
        wanted: &Wanted::Head,
        token: None,
    };
    assert!(matches!(
        fetcher.fetch(ask, &cancel).await,
        Err(FetchError::Cancelled)
    ));
    fetcher.limits.time_max = Duration::ZERO;
    let late = fetch(&fetcher, &config).await.err().ok_or("it must fail")?;
    assert!(matches!(late, FetchError::TimedOut { .. }));
    assert!(late.may_pass());
    Ok(())
}

// From a provider.

#[tokio::test]
async fn a_branch_and_a_commit_are_fetched_over_https() -> Result {
    let origin = Origin::new()?;
    let first = origin.commit(&[("docs/a.txt", "1"), ("other", "x")])?;
    let second = origin.commit(&[("docs/a.txt", "2")])?;
    let server = Server::start(&origin.root, Behaviour::Git).await?;
    let (fetcher, config) = (
        server.fetcher(&origin)?,
        server.config(json!({"folder": "docs"}))?,
    );
    let head = fetch(&fetcher, &config).await?;
    assert_eq!(
        (head.commit.clone(), &head.files["a.txt"]),
        (second, &Bytes::from("2"))
    );
    assert_eq!(names(&head), ["a.txt"]);
    let older = fetch_commit(&fetcher, &config, &Wanted::Commit(first.clone())).await?;
    assert_eq!(
        (older.commit, &older.files["a.txt"]),
        (first, &Bytes::from("1"))
    );
    assert_clean(&origin)
}

#[tokio::test]
async fn a_private_repository_needs_its_token() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("a.txt", "1")])?;
    let server = Server::start(&origin.root, Behaviour::GitWithToken("s3cret")).await?;
    let (fetcher, config) = (server.fetcher(&origin)?, server.config(json!({}))?);
    let refused = fetch(&fetcher, &config).await.err().ok_or("it must fail")?;
    assert!(
        matches!(refused, FetchError::Credentials { status: 401, .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("set `token_env`"), "{refused}");
    let wrong = SecretString::from("wrong");
    let right = SecretString::from("s3cret");
    let ask = |token| FetchAsk {
        config: &config,
        wanted: &Wanted::Head,
        token: Some(token),
    };
    let cancel = CancellationToken::new();
    let refused = fetcher
        .fetch(ask(&wrong), &cancel)
        .await
        .err()
        .ok_or("it must fail")?;
    assert!(
        matches!(refused, FetchError::Credentials { .. }),
        "{refused:?}"
    );
    assert!(!format!("{refused:?}").contains("wrong"));
    assert_eq!(
        names(&fetcher.fetch(ask(&right), &cancel).await?),
        ["a.txt"]
    );
    assert_clean(&origin)
}

#[tokio::test]
async fn a_repository_that_cannot_be_fetched_says_why_and_what_to_do() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("a.txt", "1")])?;
    let server = Server::start(&origin.root, Behaviour::Git).await?;
    let fetcher = server.fetcher(&origin)?;

    let gone = server.config_of("owner/gone", json!({}))?;
    let gone = fetch(&fetcher, &gone).await.err().ok_or("it must fail")?;
    assert!(
        matches!(gone, FetchError::NoRepository { status: 404, .. }),
        "{gone:?}"
    );

    let no_branch = fetch(&fetcher, &server.config(json!({"branch": "release"}))?).await;
    assert!(
        matches!(&no_branch, Err(FetchError::NoBranch { .. })),
        "{no_branch:?}"
    );

    let unknown = Wanted::Commit("a1".repeat(20).try_into()?);
    let no_commit = fetch_commit(&fetcher, &server.config(json!({}))?, &unknown).await;
    assert!(
        matches!(&no_commit, Err(FetchError::NoCommit { .. })),
        "{no_commit:?}"
    );
    assert_clean(&origin)
}

#[tokio::test]
async fn an_answer_that_is_not_gits_is_told_apart() -> Result {
    let origin = Origin::new()?;
    let moved =
        b"HTTP/1.1 301 Moved\r\nlocation: https://new.example/x\r\ncontent-length: 0\r\n\r\n";
    for (answer, part, may_pass) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi"[..], "not as a Git server", false),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\ncontent-length: 4\r\n\r\nzzzz", "not as a Git server", false),
        (moved, "configure its new address: https://new.example/x", false),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "the provider has a problem", true),
        (b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n", "the provider has a problem", true),
        (b"SSH-2.0-OpenSSH\r\n", "could not reach", true),
    ] {
        let server = Server::start(&origin.root, Behaviour::Fixed(answer)).await?;
        let error = fetch(&server.fetcher(&origin)?, &server.config(json!({}))?).await;
        let error = error.err().ok_or("it must fail")?;
        assert!(error.to_string().contains(part), "{error:?}");
        assert_eq!(error.may_pass(), may_pass, "{error:?}");
    }
    assert_clean(&origin)
}

#[tokio::test]
async fn a_download_is_cut_at_its_limit() -> Result {
    let origin = Origin::new()?;
    // Bytes that do not compress.
    let noise: String = (0..20_000u32)
        .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    origin.commit(&[("noise", &noise)])?;
    let server = Server::start(&origin.root, Behaviour::Git).await?;
    let mut fetcher = server.fetcher(&origin)?;
    fetcher.limits.download_bytes_max = 10_000;
    let cut = fetch(&fetcher, &server.config(json!({}))?).await;
    assert!(
        matches!(
            cut,
            Err(FetchError::TooLarge {
                bytes_max: 10_000,
                ..
            })
        ),
        "{cut:?}"
    );
    assert_clean(&origin)
}

#[tokio::test]
async fn an_object_that_unfolds_is_cut_at_its_limit() -> Result {
    let origin = Origin::new()?;
    origin.commit(&[("zeros", &"0".repeat(8_000_000)), ("a.txt", "small")])?;
    let server = Server::start(&origin.root, Behaviour::Git).await?;
    let mut fetcher = server.fetcher(&origin)?;
    fetcher.limits.file_bytes_max = 1_000_000;
    let cut = fetch(&fetcher, &server.config(json!({}))?).await;
    let limit = fetcher.limits.file_bytes_max;
    assert!(
        matches!(cut, Err(FetchError::TooLarge { bytes_max, .. }) if bytes_max == limit),
        "{cut:?}"
    );
    assert_clean(&origin)
}

#[tokio::test]
async fn a_server_that_hangs_is_left_when_the_job_is_cancelled_or_late() -> Result {
    let origin = Origin::new()?;
    let server = Server::start(&origin.root, Behaviour::Hang).await?;
    let (mut fetcher, config) = (server.fetcher(&origin)?, server.config(json!({}))?);
    let cancel = CancellationToken::new();
    let ask = FetchAsk {
        config: &config,
        wanted: &Wanted::Head,
        token: None,
    };
    let (ended, ()) = tokio::join!(fetcher.fetch(ask, &cancel), async {
        server.asked().await;
        cancel.cancel();
    });
    assert!(matches!(ended, Err(FetchError::Cancelled)), "{ended:?}");
    fetcher.limits.time_max = Duration::from_millis(100);
    let late = fetch(&fetcher, &config).await;
    assert!(matches!(late, Err(FetchError::TimedOut { .. })), "{late:?}");
    assert_clean(&origin)
}

#[tokio::test]
async fn an_inner_address_is_not_called() -> Result {
    let origin = Origin::new()?;
    let server = Server::start(&origin.root, Behaviour::Git).await?;
    // The same server, without the operator's word for it: by name, and by address.
    let mut fetcher = server.fetcher(&origin)?;
    fetcher.egress = server.egress(Guard::default())?;
    let by_address = json!({
        "kind": "provider",
        "base_url": format!("https://127.0.0.1:{}", server.port()),
        "repository": "owner/site",
    });
    for config in [server.config(json!({}))?, config(by_address, json!({}))?] {
        let denied = fetch(&fetcher, &config).await.err().ok_or("it must fail")?;
        assert!(
            matches!(denied, FetchError::Denied(Denied::Address { .. })),
            "{denied:?}"
        );
        assert!(!denied.may_pass());
    }
    assert!(!server.was_asked());
    assert_clean(&origin)
}
