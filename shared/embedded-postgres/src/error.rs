use std::io;
use std::path::PathBuf;

/// Why the server could not be started. Each text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or folder in the data folder could not be used.
    #[error(
        "cannot {action} {path}: check its permissions and the free space, or choose another folder with --data-dir"
    )]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process of ours uses the folder.
    #[error("{data_dir} is in use by {}: stop it, or choose another folder with --data-dir", holder(.pid))]
    Locked {
        /// The folder.
        data_dir: PathBuf,
        /// Who holds it, when that could be read.
        pid: Option<u32>,
    },
    /// We are root and the account that the server must run as has no way into the data folder.
    #[error(
        "{data_dir} cannot be reached by the user {user}, whom PostgreSQL runs as: {folder} does not let others in; \
         let them (chmod o+x {folder}), or choose another folder with --data-dir"
    )]
    Blocked {
        /// The folder that is in the way: the data folder or one above it.
        folder: PathBuf,
        /// Where the data was to go.
        data_dir: PathBuf,
        /// Whom the server runs as.
        user: String,
    },
    /// We are root and there is nobody to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody: \
         add one (useradd --system postgres), or start this as another user"
    )]
    NoAccount,
    /// No usable server on this machine, and none could be fetched.
    #[error(
        "found no PostgreSQL 15 or newer and could not download it: \
         install PostgreSQL 15 or newer (Debian: apt install postgresql) or set DATABASE_URL"
    )]
    NotInstalled {
        /// Why the download failed.
        source: postgresql_embedded::Error,
    },
    /// The data needs a major version that is neither on this machine nor could be fetched.
    #[error(
        "the data in {pgdata} was made by PostgreSQL {major}, which is not installed and could not be downloaded: \
         install it (Debian: apt install postgresql-{major}), choose another folder with --data-dir, \
         or set DATABASE_URL"
    )]
    VersionNotInstalled {
        /// The data.
        pgdata: PathBuf,
        /// The major version that made it.
        major: u32,
        /// Why the download failed.
        source: postgresql_embedded::Error,
    },
    /// A program of PostgreSQL could not be run at all.
    #[error("cannot run {program}: reinstall PostgreSQL, or set DATABASE_URL")]
    Program {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `initdb` said no.
    #[error(
        "initdb could not initialise {pgdata}: put right what it says, then start again; it said: {output}"
    )]
    Initialise {
        /// Where the data was to go.
        pgdata: PathBuf,
        /// The end of what it printed.
        output: String,
    },
    /// There is data, but nothing that says how to get in.
    #[error(
        "{credentials} is missing, and the data in {pgdata} cannot be opened without the passwords in it: \
         put the file back, or move the data away to begin anew"
    )]
    CredentialsMissing {
        /// The file that should be there.
        credentials: PathBuf,
        /// The data.
        pgdata: PathBuf,
    },
    /// `postgres.json` is not what we wrote.
    #[error(
        "{credentials} cannot be understood: put it back from a copy, or move the whole folder away to begin anew"
    )]
    CredentialsUnreadable {
        /// The file.
        credentials: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// The password in `postgres.json` is not the server's.
    #[error(
        "the server of {pgdata} refuses the password in postgres.json: put back the file that belongs to this data, \
         or move the whole folder away to begin anew"
    )]
    PasswordRefused {
        /// The data.
        pgdata: PathBuf,
    },
    /// The server ended before it was ready.
    #[error("the database server stopped while starting; see {log}; its last words: {last_words}")]
    Exited {
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        last_words: String,
    },
    /// The server neither ended nor became ready.
    #[error("the database server was not ready after {after_secs} s; see {log}, then start again")]
    NotReady {
        /// Its log.
        log: PathBuf,
        /// How long we waited, in seconds.
        after_secs: u64,
    },
    /// An orphan of ours neither answers nor ends.
    #[error(
        "a database server left over by an earlier run cannot be stopped: end the process {pid} by hand"
    )]
    Orphan {
        /// Its process id.
        pid: i32,
        /// What went wrong.
        source: StopError,
    },
    /// The database or a login role could not be made.
    #[error("cannot create {what} in the new database server; see postgres.log in the data folder")]
    Provision {
        /// The database or role.
        what: String,
        /// What the server said.
        source: sqlx::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("the running process {pid}"),
        None => "another running process".to_owned(),
    }
}

/// Why the server could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// It may not be signalled.
    #[error("cannot signal the database server, process {pid}: end it by hand")]
    Signal {
        /// Its process id.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
    /// Not even SIGKILL ended it in time.
    #[error("the database server, process {pid}, does not end: look for a hanging disk")]
    StillRunning {
        /// Its process id.
        pid: i32,
    },
    /// The task that watches the server is gone, most likely because of a panic.
    #[error(
        "the task that watches the database server is gone: the next start adopts or stops the server"
    )]
    Unwatched {
        /// How it ended.
        source: tokio::task::JoinError,
    },
}
