//! Runs the real `git`, undisturbed by how its user has set it up.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use host::Env;
use tokio::process::Command;

/// How long one command may take. A hook runs within a push.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The `git` of this machine's `PATH`.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    path: String,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Standard output. Bytes that are no UTF-8 are replaced.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Git {
    /// Looks `git` up when it is first used.
    pub(crate) fn new(env: &Env) -> Self {
        let path = env.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
        Self {
            path: path.to_owned(),
        }
    }

    /// Runs `git` in a folder. A failure repeats what it said.
    pub(crate) async fn run(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<Said> {
        let mut command = Command::new("git");
        command
            .args([
                "-c",
                "user.name=Switchyard demo",
                "-c",
                "user.email=demo@example.test",
                "-c",
                "init.defaultBranch=main",
                "-c",
                "commit.gpgSign=false",
            ])
            .args(arguments)
            .current_dir(folder)
            // Whatever the person has set up (hooks, signing, templates, credentials) stays out of this.
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let shown = || format!("git {}", arguments.join(" "));
        let output = tokio::time::timeout(TIMEOUT, command.output())
            .await
            .with_context(|| format!("`{}` did not end within {} s", shown(), TIMEOUT.as_secs()))?;
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!(
                    "git was not found on PATH: install it (Debian: apt install git), then start again"
                )
            }
            Err(error) => return Err(error).context("git could not be run"),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = Said {
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        if !output.status.success() {
            bail!(
                "`{}` failed ({}): {}",
                shown(),
                output.status,
                said.err.trim()
            );
        }
        Ok(said)
    }
}
