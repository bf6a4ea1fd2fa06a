use crate::template::Template;
use anyhow::{Context, Result, bail, ensure};
use embedded_postgres::{Durability, free_port, settings};
use sqlx::{Connection, PgConnection};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use url::Url;

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(10);
/// Another process may take the port first.
const START_TRIES: u32 = 3;

/// Runs the server until standard input ends, which it does when the test process does, and then removes the data.
/// `$1` is the data, `$2` the program, and the rest its arguments. A background job's input is /dev/null unless it is
/// given one, hence descriptor 3. The data is thrown away, so the shutdown is the one that writes nothing.
const WRAPPER: &str = r#"
data=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ cat <&3 >/dev/null; kill -QUIT $server; } 2>/dev/null &
watch=$!
wait $server
kill $watch
rm -rf "$data"
"#;

/// The server of this test process.
pub(crate) struct TestServer {
    template_database: String,
    url: Url,
    /// Holds the pipe whose end ends the server.
    _wrapper: Child,
}

impl TestServer {
    pub(crate) async fn start() -> Result<Self> {
        let template = Template::find_or_make().await?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_copy(&template).await {
                Err(_) if tries < START_TRIES => {}
                result => return result,
            }
        }
    }

    async fn start_copy(template: &Template) -> Result<Self> {
        let data = copy(template)?;
        let port = free_port()?;
        let mut url: Url = template
            .superuser_url
            .parse()
            .context("the template's URL")?;
        if url.set_port(Some(port)).is_err() {
            bail!("the template's URL takes no port");
        }
        let mut log = tempfile::tempfile()?;
        let mut wrapper = spawn(template, &data, port, log.try_clone()?)?;
        let ready = wait_until_ready(&mut wrapper, &with_database(&url, "postgres")).await;
        if let Err(error) = ready {
            let mut words = String::new();
            log.rewind()?;
            log.read_to_string(&mut words)?;
            return Err(error.context(words));
        }
        Ok(Self {
            template_database: template.database.clone(),
            url,
            _wrapper: wrapper,
        })
    }

    pub(crate) fn template_database(&self) -> &str {
        &self.template_database
    }

    /// The superuser's URL of a database.
    pub(crate) fn url(&self, database: &str) -> Url {
        with_database(&self.url, database)
    }
}

fn with_database(url: &Url, database: &str) -> Url {
    let mut url = url.clone();
    url.set_path(database);
    url
}

/// Copies the template's data to a new folder.
fn copy(template: &Template) -> Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("")
        .tempdir_in(&template.copies)?
        .keep();
    template.account.own(&folder)?;
    let mut command = template.account.command(Path::new("/bin/cp"));
    command.arg("-a");
    if cfg!(target_os = "linux") {
        command.arg("--reflink=auto");
    }
    let output = command
        .arg(template.pgdata.join("."))
        .arg(&folder)
        .output()
        .context("run cp")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cannot copy {}: {words}",
        template.pgdata.display()
    );
    Ok(folder)
}

fn spawn(template: &Template, data: &Path, port: u16, log: File) -> Result<Child> {
    let mut command = template.account.command(Path::new("/bin/sh"));
    command.arg("-c").arg(WRAPPER).arg("testkit").arg(data);
    command
        .arg(template.installation.program("postgres"))
        .arg("-D")
        .arg(data);
    for setting in settings(port, Durability::Off) {
        command.arg("-c").arg(setting);
    }
    // Vacuuming a template would get in the way of copying it.
    command.args(["-c", "autovacuum=off"]);
    // A group of its own, so that a Ctrl-C for the tests does not end the wrapper before it has cleaned up.
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0);
    command.spawn().context("run /bin/sh")
}

async fn wait_until_ready(wrapper: &mut Child, url: &Url) -> Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while Instant::now() < deadline {
        if let Some(status) = wrapper.try_wait()? {
            bail!("the server of the tests ended at once, with {status}");
        }
        match PgConnection::connect(url.as_str()).await {
            Ok(connection) => return Ok(connection.close().await?),
            Err(_not_yet) => tokio::time::sleep(READY_POLL).await,
        }
    }
    bail!(
        "the server of the tests was not ready after {} s",
        READY_TIMEOUT.as_secs()
    )
}
