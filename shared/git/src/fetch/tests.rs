//! Fetches from real repositories, made by `git` and served by `git http-backend`.

use std::{io, net::IpAddr, net::Ipv4Addr, pin::Pin};

use bytes::Bytes;
use egress::{Denied, Guard, Lookup};
use serde_json::{Value, json};
use testkit::{GitBehaviour as Behaviour, GitOrigin as Origin, GitServer as Server};

use super::*;
use crate::{ArchiveAsk, Case, Name, archive::ARCHIVE_BYTES_MAX};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What a test wants of a repository.
#[derive(serde::Deserialize)]
struct Config {
    source: Source,
    #[serde(default)]
    branch: Branch,
    #[serde(default)]
    folder: Folder,
    #[serde(default = "bytes_max")]
    bytes_max: u64,
}

fn bytes_max() -> u64 {
    1024 * 1024 * 1024
}

impl Config {
    fn ask<'a>(&'a self, wanted: &'a Wanted, login: Option<&'a Login>) -> FetchAsk<'a> {
        FetchAsk {
            source: &self.source,
            wanted,
            login,
            folder: &self.folder,
            taking: Taking {
                what: "the site",
                bytes_max: self.bytes_max,
                name: |named| match blobs::site::check_name(named.name, named.depth) {
                    Ok(()) => Name::Taken,
                    Err(blobs::site::SitePathError::Hidden) => Name::Ignored,
                    Err(error) => Name::LeftOut(error.to_string()),
                },
                case: Case::Refused,
            },
        }
    }

    fn head(&self) -> Wanted {
        Wanted::Head(self.branch.clone())
    }
}

fn config(source: impl std::fmt::Display, more: Value) -> Result<Config> {
    let Value::Object(mut config) = more else {
        return Err("an object".into());
    };
    config.insert("source".to_owned(), source.to_string().into());
    Ok(serde_json::from_value(config.into())?)
}

/// A repository of this machine.
fn local(origin: &Origin, more: Value) -> Result<Config> {
    config(origin.repository().display(), more)
}

/// One of a server.
fn remote(server: &Server, repository: &str, more: Value) -> Result<Config> {
    let url = format!("https://{}:{}/{repository}", Server::HOST, server.port());
    config(url, more)
}

fn commit(origin: &Origin, files: &[(&str, &str)]) -> Result<CommitId> {
    Ok(origin.commit(files)?.try_into()?)
}

fn local_fetcher(origin: &Origin) -> Result<Fetcher> {
    let temp_folder = origin.path("temp");
    std::fs::create_dir_all(&temp_folder)?;
    Ok(Fetcher {
        egress: TenantEgress::new(Guard::default(), vec![])?,
        local_roots: LocalRoots::new([origin.path("owner")])?,
        temp_folder,
        limits: FetchLimits::default(),
    })
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

fn egress(server: &Server, guard: Guard) -> Result<TenantEgress> {
    let root = reqwest::Certificate::from_der(server.certificate())?;
    Ok(TenantEgress::with_lookup(guard, vec![root], Here)?)
}

/// A fetcher whose operator allows this server.
fn fetcher_of(server: &Server, origin: &Origin) -> Result<Fetcher> {
    let guard = Guard::new(format!("{}:{}", Server::HOST, server.port()).parse()?);
    Ok(Fetcher {
        egress: egress(server, guard)?,
        ..local_fetcher(origin)?
    })
}

/// Commits a tree that `git` itself would not make: entries of mode, name and content.
fn commit_tree(origin: &Origin, entries: &[(&str, &[u8], &str)]) -> Result<CommitId> {
    let mut tree = Vec::new();
    for (mode, name, content) in entries {
        let id = match *mode {
            "160000" => "a1".repeat(20),
            "40000" => content.to_string(),
            _ => origin.git_with_input(&["hash-object", "-w", "--stdin"], content.as_bytes())?,
        };
        tree.extend_from_slice(mode.as_bytes());
        tree.push(b' ');
        tree.extend_from_slice(name);
        tree.push(0);
        tree.extend_from_slice(ObjectId::from_hex(id.as_bytes())?.as_bytes());
    }
    let arguments = ["hash-object", "-t", "tree", "--literally", "-w", "--stdin"];
    let tree = origin.git_with_input(&arguments, &tree)?;
    let commit = origin.git(&["commit-tree", "-m", "A tree", &tree])?;
    origin.git(&["update-ref", "refs/heads/main", &commit])?;
    Ok(commit.try_into()?)
}

async fn fetch(fetcher: &Fetcher, config: &Config) -> std::result::Result<Checkout, FetchError> {
    fetch_commit(fetcher, config, &config.head()).await
}

async fn fetch_commit(
    fetcher: &Fetcher,
    config: &Config,
    wanted: &Wanted,
) -> std::result::Result<Checkout, FetchError> {
    let ask = config.ask(wanted, None);
    fetcher.fetch(ask, &CancellationToken::new()).await
}

fn names(checkout: &Checkout) -> Vec<&str> {
    checkout.files.keys().map(String::as_str).collect()
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
    let head = commit(
        &origin,
        &[
            ("docs/index.html", "hi"),
            ("docs/a/b.txt", "b"),
            ("docs/.hidden", "no"),
            ("docs/.well-known/security.txt", "yes"),
            ("other.txt", "no"),
        ],
    )?;
    // `.well-known` is published at a site's root only, which `docs` is.
    let config = local(&origin, json!({"folder": "docs"}))?;
    let checkout = fetch(&local_fetcher(&origin)?, &config).await?;
    assert_eq!(checkout.commit, head);
    assert_eq!(
        names(&checkout),
        [".well-known/security.txt", "a/b.txt", "index.html"]
    );
    assert_eq!(checkout.files["a/b.txt"].bytes, "b");
    assert!(warnings(&checkout).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_branch_is_read_where_it_is_now_and_an_older_commit_by_its_hash() -> Result {
    let origin = Origin::new()?;
    let first = commit(&origin, &[("a.txt", "1")])?;
    let second = commit(&origin, &[("a.txt", "2")])?;
    let (fetcher, config) = (local_fetcher(&origin)?, local(&origin, json!({}))?);
    let head = fetch(&fetcher, &config).await?;
    assert_eq!(
        (head.commit, &head.files["a.txt"].bytes),
        (second, &Bytes::from("2"))
    );
    let older = fetch_commit(&fetcher, &config, &Wanted::Commit(first.clone())).await?;
    assert_eq!(
        (older.commit, &older.files["a.txt"].bytes),
        (first, &Bytes::from("1"))
    );
    Ok(())
}

#[tokio::test]
async fn a_packed_and_a_bare_repository_are_read() -> Result {
    let origin = Origin::new()?;
    commit(&origin, &[("a.txt", &"line\n".repeat(1000))])?;
    let head = commit(&origin, &[("a.txt", &"line\n".repeat(1001))])?;
    origin.git(&["gc", "--quiet"])?;
    origin.git(&["clone", "--quiet", "--bare", ".", "../bare.git"])?;
    let bare = config(origin.path("owner/bare.git").display(), json!({}))?;
    let checkout = fetch(&local_fetcher(&origin)?, &bare).await?;
    assert_eq!(checkout.commit, head);
    assert_eq!(checkout.files["a.txt"].bytes.len(), 5005);
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_named() -> Result {
    let origin = Origin::new()?;
    commit(&origin, &[("docs/index.html", "hi"), ("file", "x")])?;
    let fetcher = local_fetcher(&origin)?;
    let no_branch = fetch(&fetcher, &local(&origin, json!({"branch": "release"}))?).await;
    assert!(matches!(&no_branch, Err(FetchError::NoBranch { branch }) if branch == "release"));
    for folder in ["site", "file", "docs/index.html"] {
        let no_folder = fetch(&fetcher, &local(&origin, json!({"folder": folder}))?).await;
        assert!(
            matches!(&no_folder, Err(FetchError::NoFolder { .. })),
            "{folder}"
        );
    }
    let unknown = Wanted::Commit("a1".repeat(20).try_into()?);
    let no_commit = fetch_commit(&fetcher, &local(&origin, json!({}))?, &unknown).await;
    assert!(matches!(no_commit, Err(FetchError::NoCommit { .. })));
    let gone = config(origin.path("owner/gone.git").display(), json!({}))?;
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
    commit(&origin, &[("a.txt", "secret")])?;
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
    let fetcher = local_fetcher(&origin)?;
    for path in [
        "outside.git",
        "nowhere.git",
        "owner/link.git",
        "owner/tree",
        "owner/borrows.git",
        "",
    ] {
        let outside = config(origin.path(path).display(), json!({}))?;
        let refused = fetch(&fetcher, &outside).await;
        assert!(
            matches!(refused, Err(FetchError::NotAllowed { .. })),
            "{path}: {refused:?}"
        );
    }
    // A folder beside the allowed one whose name starts with its name is not inside it.
    std::fs::rename(origin.path("outside.git"), origin.path("owner-x.git"))?;
    let beside = config(origin.path("owner-x.git").display(), json!({}))?;
    assert!(matches!(
        fetch(&fetcher, &beside).await,
        Err(FetchError::NotAllowed { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn links_and_submodules_are_left_out_and_said_so() -> Result {
    let origin = Origin::new()?;
    commit_tree(
        &origin,
        &[
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
        ],
    )?;
    let checkout = fetch(&local_fetcher(&origin)?, &local(&origin, json!({}))?).await?;
    assert_eq!(names(&checkout), ["big.bin", "fine"]);
    insta::assert_snapshot!(checkout.warnings, @r#"
    "a\\b" is left out: a path has no control characters and no backslash
    "a\u{1}" is left out: a path has no control characters and no backslash
    "bad�" is left out: its name is not UTF-8
    "big.bin" is taken as it is: it points to Git LFS, which is not fetched
    "passwd" is left out: it is a symbolic link, and links are not followed
    "sub" is left out: it is a submodule, and submodules are not fetched
    "#);
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_a_link_is_not_entered() -> Result {
    let origin = Origin::new()?;
    commit_tree(&origin, &[("120000", b"docs", "/etc")])?;
    let refused = fetch(
        &local_fetcher(&origin)?,
        &local(&origin, json!({"folder": "docs"}))?,
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
        commit_tree(&origin, &[("100644", name, "x"), ("100644", b"z", "fine")])?;
        let refused = fetch(&local_fetcher(&origin)?, &local(&origin, json!({}))?).await;
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
    commit(&origin, &[("a/Index.html", "1"), ("a/index.html", "2")])?;
    let refused = fetch(&local_fetcher(&origin)?, &local(&origin, json!({}))?)
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
    commit(
        &origin,
        &[("a", &"x".repeat(600)), ("b", &"y".repeat(600)), ("c", "z")],
    )?;
    let all = local(&origin, json!({}))?;
    let mut fetcher = local_fetcher(&origin)?;
    let small = local(&origin, json!({"bytes_max": 1000}))?;
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
    let refused = fetch(&local_fetcher(&origin)?, &local(&origin, json!({}))?).await;
    assert!(
        matches!(refused, Err(FetchError::TooMany { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_cancel_and_the_time_limit_end_a_fetch() -> Result {
    let origin = Origin::new()?;
    commit(&origin, &[("a", "b")])?;
    let (mut fetcher, config) = (local_fetcher(&origin)?, local(&origin, json!({}))?);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let head = config.head();
    let ask = config.ask(&head, None);
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
    let first = commit(&origin, &[("docs/a.txt", "1"), ("other", "x")])?;
    let second = commit(&origin, &[("docs/a.txt", "2")])?;
    let server = Server::start(&origin, Behaviour::Git).await?;
    let (fetcher, config) = (
        fetcher_of(&server, &origin)?,
        remote(&server, "owner/site.git", json!({"folder": "docs"}))?,
    );
    let head = fetch(&fetcher, &config).await?;
    assert_eq!(
        (head.commit.clone(), &head.files["a.txt"].bytes),
        (second, &Bytes::from("2"))
    );
    assert_eq!(names(&head), ["a.txt"]);
    let older = fetch_commit(&fetcher, &config, &Wanted::Commit(first.clone())).await?;
    assert_eq!(
        (older.commit, &older.files["a.txt"].bytes),
        (first, &Bytes::from("1"))
    );
    assert_clean(&origin)
}

#[tokio::test]
async fn a_private_repository_needs_its_token() -> Result {
    let origin = Origin::new()?;
    commit(&origin, &[("a.txt", "1")])?;
    let server = Server::start(&origin, Behaviour::GitWithToken("s3cret")).await?;
    let (fetcher, config) = (
        fetcher_of(&server, &origin)?,
        remote(&server, "owner/site.git", json!({}))?,
    );
    let refused = fetch(&fetcher, &config).await.err().ok_or("it must fail")?;
    assert!(
        matches!(refused, FetchError::Credentials { status: 401, .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("`token_env`"), "{refused}");
    let wrong = Login::token("wrong".into());
    let right = Login::token("s3cret".into());
    let head = config.head();
    let ask = |login| config.ask(&head, Some(login));
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
    commit(&origin, &[("a.txt", "1")])?;
    let server = Server::start(&origin, Behaviour::Git).await?;
    let fetcher = fetcher_of(&server, &origin)?;

    let gone = remote(&server, "owner/gone.git", json!({}))?;
    let gone = fetch(&fetcher, &gone).await.err().ok_or("it must fail")?;
    assert!(
        matches!(gone, FetchError::NoRepository { status: 404, .. }),
        "{gone:?}"
    );

    let no_branch = fetch(
        &fetcher,
        &remote(&server, "owner/site.git", json!({"branch": "release"}))?,
    )
    .await;
    assert!(
        matches!(&no_branch, Err(FetchError::NoBranch { .. })),
        "{no_branch:?}"
    );

    let unknown = Wanted::Commit("a1".repeat(20).try_into()?);
    let no_commit = fetch_commit(
        &fetcher,
        &remote(&server, "owner/site.git", json!({}))?,
        &unknown,
    )
    .await;
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
        let server = Server::start(&origin, Behaviour::Fixed(answer)).await?;
        let error = fetch(&fetcher_of(&server, &origin)?, &remote(&server, "owner/site.git", json!({}))?).await;
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
    commit(&origin, &[("noise", &noise)])?;
    let server = Server::start(&origin, Behaviour::Git).await?;
    let mut fetcher = fetcher_of(&server, &origin)?;
    fetcher.limits.download_bytes_max = 10_000;
    let cut = fetch(&fetcher, &remote(&server, "owner/site.git", json!({}))?).await;
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
    commit(
        &origin,
        &[("zeros", &"0".repeat(8_000_000)), ("a.txt", "small")],
    )?;
    let server = Server::start(&origin, Behaviour::Git).await?;
    let mut fetcher = fetcher_of(&server, &origin)?;
    fetcher.limits.file_bytes_max = 1_000_000;
    let cut = fetch(&fetcher, &remote(&server, "owner/site.git", json!({}))?).await;
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
    let server = Server::start(&origin, Behaviour::Hang).await?;
    let (mut fetcher, config) = (
        fetcher_of(&server, &origin)?,
        remote(&server, "owner/site.git", json!({}))?,
    );
    let cancel = CancellationToken::new();
    let head = config.head();
    let ask = config.ask(&head, None);
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
    let server = Server::start(&origin, Behaviour::Git).await?;
    // The same server, without the operator's word for it: by name, and by address.
    let mut fetcher = fetcher_of(&server, &origin)?;
    fetcher.egress = egress(&server, Guard::default())?;
    let by_address = format!("https://127.0.0.1:{}/owner/site.git", server.port());
    for config in [
        remote(&server, "owner/site.git", json!({}))?,
        config(by_address, json!({}))?,
    ] {
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

// As an archive.

async fn archive(fetcher: &Fetcher, config: &Config) -> Result<crate::Archive> {
    let wanted = config.head();
    let ask = ArchiveAsk {
        source: &config.source,
        wanted: &wanted,
        login: None,
        folder: &config.folder,
        bytes_max: ARCHIVE_BYTES_MAX,
    };
    Ok(fetcher.archive(ask, &CancellationToken::new()).await?)
}

fn unpacked(tar: &Bytes) -> Result<BTreeMap<String, (u32, u64, String)>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&tar[..]).entries()? {
        let mut entry = entry?;
        let mut text = String::new();
        io::Read::read_to_string(&mut entry, &mut text)?;
        let (mode, time) = (entry.header().mode()?, entry.header().mtime()?);
        files.insert(entry.path()?.display().to_string(), (mode, time, text));
    }
    Ok(files)
}

#[tokio::test]
async fn an_archive_has_the_folders_files_and_always_the_same_bytes() -> Result {
    let origin = Origin::new()?;
    let long = format!("{}/{}.tf", "d".repeat(120), "f".repeat(120));
    commit_tree(
        &origin,
        &[
            ("100644", b".terraform.lock.hcl", "# locks"),
            ("120000", b"etc", "/etc"),
            ("100644", b"main.tf", "terraform {}"),
            ("100755", b"run.sh", "#!/bin/sh"),
            ("160000", b"sub", ""),
        ],
    )?;
    let whole = archive(&local_fetcher(&origin)?, &local(&origin, json!({}))?).await?;
    let files = unpacked(&whole.tar)?;
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        [".terraform.lock.hcl", "main.tf", "run.sh"]
    );
    assert_eq!(files["run.sh"], (0o755, 0, "#!/bin/sh".to_owned()));
    assert_eq!(files["main.tf"].0, 0o644);
    assert_eq!(whole.files, 3);
    insta::assert_snapshot!(whole.warnings, @r#"
    "etc" is left out: it is a symbolic link, and links are not followed
    "sub" is left out: it is a submodule, and submodules are not fetched
    "#);

    // The same files by another commit, over the wire, and with a path that old tars have no room for.
    origin.git(&["checkout", "--quiet", "-f", "main"])?;
    let below = format!("infra/{long}");
    commit(
        &origin,
        &[("infra/A.tf", "1"), ("infra/a.tf", "2"), (&below, "x")],
    )?;
    let server = Server::start(&origin, Behaviour::Git).await?;
    let (near, far) = (local_fetcher(&origin)?, fetcher_of(&server, &origin)?);
    let folder = json!({"folder": "infra"});
    let first = archive(&near, &local(&origin, folder.clone())?).await?;
    let last = commit(&origin, &[("other.txt", "elsewhere")])?;
    let again = archive(&far, &remote(&server, "owner/site.git", folder)?).await?;
    assert_ne!(first.commit, again.commit);
    assert_eq!(again.commit, last);
    assert_eq!((&first.tar, &first.sha256), (&again.tar, &again.sha256));
    let files = unpacked(&again.tar)?;
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        ["A.tf", "a.tf", &long]
    );
    Ok(())
}

#[tokio::test]
async fn an_archive_is_refused_whole_beyond_its_bytes() -> Result {
    let origin = Origin::new()?;
    commit(&origin, &[("a", &"x".repeat(600)), ("b", &"y".repeat(600))])?;
    let config = local(&origin, json!({}))?;
    let wanted = config.head();
    let ask = ArchiveAsk {
        source: &config.source,
        wanted: &wanted,
        login: None,
        folder: &config.folder,
        bytes_max: 1_000,
    };
    let refused = local_fetcher(&origin)?
        .archive(ask, &CancellationToken::new())
        .await
        .err()
        .ok_or("it must fail")?;
    assert_eq!(
        refused.to_string(),
        "the folder is larger than 1000 bytes: make it smaller, or ask for a higher limit"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_says_which_branches_it_has() -> Result {
    let origin = Origin::new()?;
    let head = commit(&origin, &[("a.txt", "1")])?;
    let server = Server::start(&origin, Behaviour::GitWithToken("s3cret")).await?;
    let fetcher = fetcher_of(&server, &origin)?;
    let Source::Remote(url) = remote(&server, "owner/site.git", json!({}))?.source else {
        return Err("it is remote".into());
    };
    let time = Duration::from_secs(20);
    let refused = crate::refs(&fetcher.egress, &url, None, time).await;
    assert!(
        matches!(
            refused,
            Err(crate::RefsError::Credentials { status: 401, .. })
        ),
        "{refused:?}"
    );
    let login = Login::token("s3cret".into());
    let refs = crate::refs(&fetcher.egress, &url, Some(&login), time).await?;
    assert_eq!(refs["refs/heads/main"].id, head.as_str());
    Ok(())
}
