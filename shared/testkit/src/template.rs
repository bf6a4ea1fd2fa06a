use anyhow::{Context, Result, ensure};
use embedded_postgres::{Account, Durability, Installation, Options, Server, free_port};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};
use std::fs::{DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Templates and leftovers that nobody has made or used for this long are removed.
const UNUSED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// A data folder with the migrations applied, to be copied; locked against its removal while this lives.
pub(crate) struct Template {
    pub(crate) account: Account,
    pub(crate) installation: Installation,
    /// Where copies go: beside the template, so that a file system which can share blocks does.
    pub(crate) copies: PathBuf,
    pub(crate) pgdata: PathBuf,
    pub(crate) database: String,
    pub(crate) superuser_url: String,
    _shared: File,
}

impl Template {
    /// Finds the template for the installed server and the compiled migrations, or makes it, in about three seconds.
    /// Processes that start at the same moment wait for the one that makes it.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no Env to get PATH from"
    )]
    pub(crate) async fn find_or_make() -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = path.to_str().context("PATH is not UTF-8")?;
        let account = Account::for_server()?;
        let root = root(&account)?;
        let installation = Installation::find(path, &account, None).context(
            "found no PostgreSQL 15 or newer: install it (Debian: apt install postgresql)",
        )?;
        let hash = migrations_hash();
        let database = format!("template_{hash}");
        let folder = root.join(format!("pg-{}-{hash}", installation.version()));
        // Written last: what is in it says how to get in.
        let ready = folder.join("ready");

        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("lock"))
            .context("open the lock of the test databases")?;
        lock.lock_shared()?;
        if !ready.exists() {
            // Not an upgrade of the shared lock: two processes that both hold one would wait for each other.
            lock.unlock()?;
            lock.lock()?;
            if !ready.exists() {
                remove_unused(&root)?;
                let url = make(&folder, path, &database).await?;
                // Made readable by us alone, because the URL holds a password.
                let mut draft = tempfile::NamedTempFile::new_in(&folder)?;
                draft.write_all(url.as_bytes())?;
                draft.persist(&ready)?;
            }
            lock.unlock()?;
            lock.lock_shared()?;
        }
        let copies = root.join("copies");
        if !copies.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&copies)?;
            account.own(&copies)?;
        }
        Ok(Self {
            superuser_url: std::fs::read_to_string(&ready)
                .with_context(|| format!("read {}", ready.display()))?,
            pgdata: folder.join("postgres"),
            account,
            installation,
            copies,
            database,
            _shared: lock,
        })
    }
}

/// Makes a data folder with the migrations applied, for a server that a test runs itself because it means to break it:
/// what [`embedded_postgres::Server::start`] takes. Returns the name of its database.
///
/// # Panics
/// When there is no server to be had, a migration fails, or the folder cannot be made.
pub async fn data_folder(folder: &Path) -> String {
    match copy_all(folder).await {
        Ok(database) => database,
        Err(error) => panic!("cannot make a data folder: {error:?}"),
    }
}

async fn copy_all(folder: &Path) -> Result<String> {
    /// Where the server keeps its port beside its data.
    const CREDENTIALS: &str = "postgres.json";
    let template = Template::find_or_make().await?;
    let from = template
        .pgdata
        .parent()
        .context("the template is in a folder")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)?;
    // With the owners that they have: the server's account is another one where we are root.
    let output = Command::new("cp")
        .arg("-a")
        .args([&template.pgdata, &from.join(CREDENTIALS)])
        .arg(folder)
        .output()
        .context("run cp")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cannot copy: {words}");
    // Two copies may run at once.
    let credentials = folder.join(CREDENTIALS);
    let mut known: serde_json::Value = serde_json::from_slice(&std::fs::read(&credentials)?)?;
    known["port"] = free_port()?.into();
    std::fs::write(&credentials, known.to_string())?;
    Ok(template.database)
}

/// Starts a server on the folder, applies the migrations and stops it. When somebody was killed half-way, this adopts
/// his server and goes on.
async fn make(folder: &Path, path: &str, database: &str) -> Result<String> {
    let server = Server::start(Options {
        data_dir: folder,
        path,
        database,
        roles: &[],
        durability: Durability::Off,
        progress: &|_step| {},
    })
    .await?;
    let url = server.superuser_url().to_owned();
    let mut connection = PgConnection::connect(&url).await?;
    let migrated = MIGRATIONS.run(&mut connection).await;
    connection.close().await?;
    server.stop().await?;
    migrated.context("apply the migrations")?;
    Ok(url)
}

/// A name for what the migrations say. The standard hasher is the same for all processes of one toolchain, and another
/// toolchain at worst makes a template of its own.
fn migrations_hash() -> String {
    let mut hasher = DefaultHasher::new();
    for migration in MIGRATIONS.iter() {
        migration.version.hash(&mut hasher);
        migration.checksum.hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// Where templates are: in cargo's target folder, or, when the server's account cannot enter that, among the temporary
/// files.
fn root(account: &Account) -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    // Cargo marks its target folder, whatever it is called.
    let target = executable
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists());
    if let Some(target) = target
        && account.blocked_by(target)?.is_none()
    {
        return make_root(&target.join("testkit"));
    }
    make_root(&std::env::temp_dir().join("switchyard-testkit"))
}

fn make_root(root: &Path) -> Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(root)
        .with_context(|| format!("create {}", root.display()))?;
    // Everybody may write among the temporary files; data that somebody else has put there is not to be started.
    let ours = tempfile::tempfile_in(root)?.metadata()?.uid();
    ensure!(
        std::fs::symlink_metadata(root)?.uid() == ours,
        "{} belongs to somebody else: remove it",
        root.display()
    );
    Ok(root.canonicalize()?)
}

fn remove_unused(root: &Path) -> Result<()> {
    let copies = root.join("copies");
    for parent in [root, &copies] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let age = SystemTime::now()
                .duration_since(metadata.modified()?)
                .unwrap_or_default();
            if metadata.is_dir() && age > UNUSED_AFTER && entry.path() != copies {
                std::fs::remove_dir_all(entry.path())
                    .with_context(|| format!("remove {}", entry.path().display()))?;
            }
        }
    }
    Ok(())
}
