//! The command line as people meet it: what it says, and with which code it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

const EXIT_SETTINGS: i32 = 78;

/// The program with a clean environment: what the machine has set must not change what is tested.
fn switchyard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchyard-under-test"));
    command
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("JOBS_SCHEMA")
        .env_remove("RUST_LOG")
        .env_remove("XDG_DATA_HOME")
        .stdin(Stdio::null());
    command
}

fn ended(arguments: &[&str]) -> std::io::Result<Output> {
    switchyard(arguments).output()
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// A folder that the database server's account can pass through.
fn folder() -> std::io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
    Ok(folder)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// `up`, running. Killed with its test.
struct Up {
    child: Child,
    port: u16,
}

impl Up {
    fn start(data: &Path) -> anyhow::Result<Self> {
        let mut child = switchyard(&["up", "--port", "0", "--data-dir", text(data)])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let output = child.stdout.take().context("it is piped")?;
        let mut port = None;
        let mut lines = BufReader::new(output).lines();
        for line in &mut lines {
            let line = line?;
            if let Some((_, rest)) = line.split_once("Portal") {
                let rest = rest
                    .rsplit_once(':')
                    .map(|(_, port)| port.trim_end_matches('/'));
                port = rest.and_then(|port| port.parse().ok());
            }
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        let port = port.context("the summary names the portal's address")?;
        Ok(Self { child, port })
    }

    /// Asks it to stop. Returns the exit code.
    fn stop(mut self) -> anyhow::Result<Option<i32>> {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status()?;
        ensure!(asked.success(), "it runs no more");
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_help_names_each_function_and_where_data_is() -> anyhow::Result<()> {
    let help = said(&ended(&["--help"])?);
    for function in bundle::functions::FUNCTIONS {
        assert!(help.contains(function.name), "{}", function.name);
    }
    for word in [
        "up",
        "demo",
        "migrate",
        "list",
        "DATABASE_URL",
        "/var/lib/switchyard",
    ] {
        assert!(help.contains(word), "{word}");
    }
    assert!(
        !help.contains(" hook-gitea"),
        "a hook is nothing that people call"
    );
    Ok(())
}

#[test]
fn the_list_is_the_list_of_functions() -> anyhow::Result<()> {
    let output = ended(&["list", "--json"])?;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let names: Vec<_> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let expected: Vec<_> = bundle::functions::FUNCTIONS
        .iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names, expected);
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_fault() -> anyhow::Result<()> {
    let mut child = switchyard(&["list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let mut errors = String::new();
    child
        .stderr
        .take()
        .context("it is piped")?
        .read_to_string(&mut errors)?;
    assert_eq!(child.wait()?.code(), Some(0), "{errors}");
    assert_eq!(errors, "");
    Ok(())
}

#[test]
fn a_slip_in_a_manifest_stops_the_start_with_its_place() -> anyhow::Result<()> {
    let folder = folder()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["knative", "triggers"] {
        fs::create_dir(folder.path().join(name))?;
        for entry in fs::read_dir(root.join(name))? {
            let entry = entry?;
            fs::copy(
                entry.path(),
                folder.path().join(name).join(entry.file_name()),
            )?;
        }
    }
    let slipped = folder.path().join("knative/site.yaml");
    let manifest = fs::read_to_string(&slipped)?.replace("timeoutSeconds", "timeoutSecond");
    fs::write(&slipped, manifest)?;
    let data = folder.path().join("data");
    let output = ended(&[
        "--data-dir",
        text(&data),
        "--manifests",
        text(folder.path()),
    ])?;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(EXIT_SETTINGS), "{said}");
    let place = said
        .lines()
        .find(|line| line.contains("knative/site.yaml:"));
    let place = place.context(said.clone())?;
    assert!(place.contains("did you mean `timeoutSeconds`?"), "{place}");
    assert!(!data.exists(), "nothing was started");
    Ok(())
}

#[test]
fn migrate_without_a_database_says_which_setting_is_missing() -> anyhow::Result<()> {
    let output = ended(&["migrate"])?;
    assert_eq!(output.status.code(), Some(EXIT_SETTINGS));
    assert!(said(&output).contains("DATABASE_URL"), "{}", said(&output));
    Ok(())
}

#[tokio::test]
async fn migrating_twice_changes_nothing_and_says_so() -> anyhow::Result<()> {
    let db = testkit::database().await;
    let output = switchyard(&["migrate"])
        .env("DATABASE_URL", db.owner_url())
        .output()?;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("up to date"), "{}", said(&output));
    assert!(said(&output).contains("task-static"), "{}", said(&output));
    Ok(())
}

#[tokio::test]
async fn migrate_makes_a_schema_for_upstreams_programs_when_asked() -> anyhow::Result<()> {
    let db = testkit::database().await;
    for (arguments, set, schema) in [
        (
            &["migrate", "--jobs-schema", "given_jobs"][..],
            "set_jobs",
            "given_jobs",
        ),
        (&["migrate"][..], "set_jobs", "set_jobs"),
    ] {
        let output = switchyard(arguments)
            .env("DATABASE_URL", db.owner_url())
            .env("JOBS_SCHEMA", set)
            .output()?;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let expected = format!("in schema {schema}");
        assert!(said(&output).contains(&expected), "{}", said(&output));
    }
    let schemas: Vec<String> = sqlx::query_scalar(
        "select nspname::text from pg_namespace where nspname like '%_jobs' order by nspname",
    )
    .fetch_all(&db.pool(None).await)
    .await?;
    assert_eq!(schemas, ["given_jobs", "set_jobs"]);

    let output = switchyard(&["migrate"])
        .env("DATABASE_URL", db.owner_url())
        .env("JOBS_SCHEMA", "App Jobs")
        .output()?;
    assert_eq!(
        output.status.code(),
        Some(EXIT_SETTINGS),
        "{}",
        said(&output)
    );
    let told = "JOBS_SCHEMA is wrong: a schema for jobs cannot be called \"App Jobs\"";
    assert!(said(&output).contains(told), "{}", said(&output));
    Ok(())
}

#[test]
fn a_database_that_is_not_there_is_told_without_its_password() -> anyhow::Result<()> {
    let url = "postgres://ann:hunter2@127.0.0.1:1/yard";
    let output = switchyard(&["migrate"]).env("DATABASE_URL", url).output()?;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("caused by"), "{}", said(&output));
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    Ok(())
}

#[test]
fn a_folder_is_used_once_a_port_too_and_a_signal_ends_it_well() -> anyhow::Result<()> {
    let (first, second) = (folder()?, folder()?);
    let up = Up::start(first.path())?;

    let same_folder = ended(&["--port", "0", "--data-dir", text(first.path())])?;
    assert_eq!(same_folder.status.code(), Some(1));
    let expected = format!("in use by the running process {}", up.child.id());
    assert!(
        said(&same_folder).contains(&expected),
        "{}",
        said(&same_folder)
    );

    let port = up.port.to_string();
    let same_port = ended(&["--port", &port, "--data-dir", text(second.path())])?;
    assert_eq!(same_port.status.code(), Some(1));
    let told = said(&same_port);
    assert!(
        told.contains(&format!("port {port} is in use by")) && told.contains("--port"),
        "{told}"
    );

    assert_eq!(up.stop()?, Some(0));
    // Folder and port are free again.
    let free = TcpListener::bind(("127.0.0.1", port.parse()?));
    assert!(free.is_ok(), "{free:?}");
    drop(free);
    assert_eq!(Up::start(first.path())?.stop()?, Some(0));
    Ok(())
}

#[test]
fn a_folder_that_the_server_cannot_enter_is_named() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        // Everybody else runs the server as themselves, who can.
        return Ok(());
    }
    let closed = tempfile::tempdir()?;
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700))?;
    let data = closed.path().join("data");
    let output = ended(&["--port", "0", "--data-dir", text(&data)])?;
    assert_eq!(output.status.code(), Some(1));
    let told = said(&output);
    let folder = closed.path().canonicalize()?;
    assert!(
        told.contains(text(&folder)) && told.contains("chmod o+x"),
        "{told}"
    );
    Ok(())
}

#[test]
fn the_demo_ends_with_the_page_that_was_pushed_each_time() -> anyhow::Result<()> {
    let data = folder()?;
    for _ in 0..2 {
        let output = ended(&[
            "demo",
            "--exit",
            "--port",
            "0",
            "--data-dir",
            text(data.path()),
        ])?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(0), "{told}");
        for word in [
            "202 accepted",
            "/deliveries/dlv_",
            "/events/evt_",
            "hello-release: did not match, branch",
            "/jobs/",
            "the page is the one that was pushed",
        ] {
            assert!(told.contains(word), "{word} is missing in: {told}");
        }
    }
    Ok(())
}

#[test]
fn a_demo_without_git_says_what_to_install() -> anyhow::Result<()> {
    let data = folder()?;
    let empty = folder()?;
    // Postgres is found in its usual places as well.
    let output = switchyard(&[
        "demo",
        "--exit",
        "--port",
        "0",
        "--data-dir",
        text(data.path()),
    ])
    .env("PATH", empty.path())
    .output()?;
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("git was not found"), "{told}");
    Ok(())
}
