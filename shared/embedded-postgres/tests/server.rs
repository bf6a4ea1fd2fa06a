//! A real server, started, stopped, killed and adopted.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test passes on its own environment"
)]

use embedded_postgres::{Durability, Options, Server, StartError, Step};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const ROLE: &str = "keeper";

/// A folder that the server's account can enter.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
    folder
}

async fn start(data_dir: &Path) -> Result<Server, StartError> {
    start_with(data_dir, &|_| {}).await
}

async fn start_with(
    data_dir: &Path,
    progress: &(dyn Fn(Step) + Send + Sync),
) -> Result<Server, StartError> {
    let path = std::env::var_os("PATH").unwrap();
    Server::start(Options {
        data_dir,
        path: path.to_str().unwrap(),
        database: "app",
        roles: &[ROLE],
        durability: Durability::Off,
        progress,
    })
    .await
}

async fn query(url: &str, sql: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn pool(server: &Server) -> PgPool {
    PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(30))
        .connect(server.superuser_url())
        .await
        .unwrap()
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn data_port_and_passwords_survive_a_stop_and_a_start() {
    let folder = folder();
    let steps = std::sync::Mutex::new(Vec::new());
    let note = |step| steps.lock().unwrap().push(step);

    let server = start_with(folder.path(), &note).await.unwrap();
    let mut connection = PgConnection::connect(server.superuser_url()).await.unwrap();
    let create = "create table kept as select 'it is here' as text";
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .unwrap();
    let first = (
        server.url(ROLE).unwrap().to_owned(),
        server.superuser_url().to_owned(),
    );
    server.stop().await.unwrap();

    let server = start_with(folder.path(), &note).await.unwrap();
    assert_eq!(
        (server.url(ROLE).unwrap(), server.superuser_url()),
        (&*first.0, &*first.1)
    );
    assert_eq!(
        query(server.superuser_url(), "select text from kept").await,
        "it is here"
    );
    assert_eq!(
        query(server.url(ROLE).unwrap(), "select current_user::text").await,
        ROLE
    );
    assert_eq!(
        *steps.lock().unwrap(),
        [Step::Initialising, Step::Starting, Step::Starting]
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn only_loopback_with_a_password_is_a_way_in() {
    let folder = folder();
    let server = start(folder.path()).await.unwrap();
    let url = server.superuser_url();
    assert_eq!(
        query(url, "select current_setting('listen_addresses')").await,
        "127.0.0.1"
    );
    assert_eq!(
        query(url, "select current_setting('unix_socket_directories')").await,
        ""
    );
    let guess = format!("postgres://postgres:guess@127.0.0.1:{}/app", server.port());
    let error = PgConnection::connect(&guess).await.unwrap_err();
    assert_eq!(
        error.as_database_error().unwrap().code().as_deref(),
        Some("28P01")
    );
    let mode = folder
        .path()
        .join("postgres.json")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_start_on_the_same_folder_is_refused_and_names_the_first() {
    let folder = folder();
    let server = start(folder.path()).await.unwrap();
    let error = start(folder.path()).await.unwrap_err();
    assert!(
        matches!(error, StartError::Locked { pid: Some(pid), .. } if pid == std::process::id())
    );
    assert_eq!(
        error.to_string(),
        format!(
            "{} is in use by the running process {}: stop it, or choose another folder with --data-dir",
            folder.path().canonicalize().unwrap().display(),
            std::process::id()
        )
    );
    server.stop().await.unwrap();
    start(folder.path()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_postmaster_is_started_again_and_the_same_pool_works() {
    let folder = folder();
    let server = start(folder.path()).await.unwrap();
    let pool = pool(&server).await;
    let first = server.pid();
    kill(first, Signal::KILL);
    // The connection that was open is dead; the ones after it wait until the server is back.
    let answer = loop {
        match sqlx::query_scalar::<_, i32>("select 1")
            .fetch_one(&pool)
            .await
        {
            Ok(answer) if server.pid() != first => break answer,
            Ok(_) | Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(answer, 1);
    pool.close().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_of_a_killed_process_is_adopted() {
    let folder = folder();
    let orphan = orphan(folder.path());
    let steps = std::sync::Mutex::new(Vec::new());
    let server = start_with(folder.path(), &|step| steps.lock().unwrap().push(step))
        .await
        .unwrap();
    assert_eq!(server.pid(), orphan);
    assert_eq!(*steps.lock().unwrap(), [Step::Adopting]);
    assert_eq!(
        query(server.url(ROLE).unwrap(), "select current_user::text").await,
        ROLE
    );
    server.stop().await.unwrap();
    assert!(!folder.path().join("postgres/postmaster.pid").exists());
}

#[tokio::test]
async fn an_adopted_server_that_is_killed_is_started_again() {
    let folder = folder();
    let orphan = orphan(folder.path());
    let server = start(folder.path()).await.unwrap();
    let pool = pool(&server).await;
    kill(orphan, Signal::KILL);
    loop {
        match sqlx::query_scalar::<_, i32>("select 1")
            .fetch_one(&pool)
            .await
        {
            Ok(_) if server.pid() != orphan => break,
            Ok(_) | Err(_) => tokio::task::yield_now().await,
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_orphan_that_refuses_our_settings_is_stopped_and_replaced() {
    let folder = folder();
    let orphan = orphan(folder.path());
    let path = std::env::var_os("PATH").unwrap();
    let steps = std::sync::Mutex::new(Vec::new());
    // The orphan runs without durability, and this start asks for it.
    let server = Server::start(Options {
        data_dir: folder.path(),
        path: path.to_str().unwrap(),
        database: "app",
        roles: &[],
        durability: Durability::On,
        progress: &|step| steps.lock().unwrap().push(step),
    })
    .await
    .unwrap();
    assert_ne!(server.pid(), orphan);
    assert_eq!(
        *steps.lock().unwrap(),
        [Step::Adopting, Step::StoppingOrphan, Step::Starting]
    );
    assert_eq!(
        query(server.superuser_url(), "select current_setting('fsync')").await,
        "on"
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_old_pid_file_that_names_a_stranger_or_a_zombie_is_no_obstacle() {
    let folder = folder();
    start(folder.path()).await.unwrap().stop().await.unwrap();
    let pid_file = folder.path().join("postgres/postmaster.pid");
    // Of the server's own account: somebody else's processes the server ignores by itself.
    let account = embedded_postgres::Account::for_server().unwrap();
    let mut stranger = account
        .command(Path::new("/bin/sleep"))
        .arg("600")
        .spawn()
        .unwrap();
    let claim = format!(
        "{}\n{}\n",
        stranger.id(),
        folder.path().join("postgres").display()
    );

    std::fs::write(&pid_file, &claim).unwrap();
    start(folder.path()).await.unwrap().stop().await.unwrap();
    assert!(
        stranger.try_wait().unwrap().is_none(),
        "the stranger was killed"
    );

    stranger.kill().unwrap();
    std::fs::write(&pid_file, &claim).unwrap();
    start(folder.path()).await.unwrap().stop().await.unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_port_that_somebody_took_is_replaced() {
    let folder = folder();
    let server = start(folder.path()).await.unwrap();
    let port = server.port();
    server.stop().await.unwrap();
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = start(folder.path()).await.unwrap();
    assert_ne!(server.port(), port);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn data_without_its_passwords_is_an_error_that_says_so() {
    let folder = folder();
    start(folder.path()).await.unwrap().stop().await.unwrap();
    std::fs::remove_file(folder.path().join("postgres.json")).unwrap();
    let error = start(folder.path()).await.unwrap_err();
    assert!(
        matches!(error, StartError::CredentialsMissing { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_is_quoted() {
    let folder = folder();
    start(folder.path()).await.unwrap().stop().await.unwrap();
    std::fs::write(folder.path().join("postgres/pg_hba.conf"), "nonsense\n").unwrap();
    let error = start(folder.path()).await.unwrap_err();
    assert!(matches!(&error, StartError::Exited { .. }), "{error}");
    assert!(error.to_string().contains("could not load"), "{error}");
}

#[tokio::test]
async fn as_root_a_folder_that_the_server_cannot_enter_is_named() {
    if !rustix::process::geteuid().is_root() {
        // Anybody else runs the server as himself, who can enter what he made.
        return;
    }
    let folder = folder();
    let closed = folder.path().canonicalize().unwrap().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let error = start(&closed.join("data")).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Blocked { folder, .. } if *folder == closed),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("chmod o+x {}", closed.display())),
        "{error}"
    );
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

/// Starts a server from another process, kills that process, and returns the server's process id.
fn orphan(data_dir: &Path) -> i32 {
    let mut starter = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "starter", "--ignored", "--nocapture"])
        .env("STARTER_DATA_DIR", data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(starter.stdout.take().unwrap()).lines();
    let pid = lines
        .map(Result::unwrap)
        .find_map(|line| {
            line.split_once("postmaster=")
                .map(|(_, pid)| pid.parse().unwrap())
        })
        .unwrap();
    starter.kill().unwrap();
    starter.wait().unwrap();
    pid
}

/// Not a test of its own: the process that `orphan` starts and kills.
#[tokio::test]
#[ignore = "started by other tests"]
async fn starter() {
    let Some(data_dir) = std::env::var_os("STARTER_DATA_DIR") else {
        return;
    };
    let server = start(Path::new(&data_dir)).await.unwrap();
    println!("postmaster={}", server.pid());
    std::future::pending::<()>().await;
}
