//! A machine that is signed in to over SSH: with its host key compared, and with what runs there need.

use secrecy::ExposeSecret as _;
use ssh::{HostKeys, Session, SshError, Target};
use store::credentials::SshConfig;

use super::{Asked, Verdict, folded};

/// Prints which programs are missing that runs on the host need.
const MISSING: &str = "for program in netlab setsid tail; do command -v \"$program\" >/dev/null || echo \"$program\"; done";

pub(crate) async fn check(asked: &Asked<'_>, config: &SshConfig) -> Verdict {
    folded(sign_in(asked, config).await)
}

async fn sign_in(asked: &Asked<'_>, config: &SshConfig) -> Result<Verdict, Verdict> {
    let login = asked.login;
    let address = asked.egress.guard().ssh_address(&login.host).await;
    let address = address.map_err(|error| {
        if error.is_passing() {
            Verdict::Unsure(error.to_string())
        } else {
            Verdict::Bad(error.to_string())
        }
    })?;
    let host_keys = HostKeys::read(config.host_keys.iter().map(String::as_str))
        .map_err(|error| Verdict::Bad(error.to_string()))?;
    let target = Target {
        address,
        user: &login.username,
        key: login.secret.expose_secret(),
        host_keys,
    };
    let session = Session::connect(&target)
        .await
        .map_err(|error| verdict(&error))?;
    let said = session.script(MISSING).await;
    session.close().await;
    let said = said.map_err(|error| verdict(&error))?;
    let missing = String::from_utf8_lossy(&said.stdout);
    let missing: Vec<&str> = missing.split_whitespace().collect();
    if said.code != 0 {
        return Err(Verdict::Unsure(format!(
            "{} runs no commands for {}: {}",
            login.host,
            login.username,
            super::said(&said.stderr)
        )));
    }
    Ok(if missing.is_empty() {
        Verdict::Good
    } else {
        Verdict::Bad(format!(
            "{} lets {} in, and its PATH has no {}: runs there will fail",
            login.host,
            login.username,
            missing.join(", ")
        ))
    })
}

fn verdict(error: &SshError) -> Verdict {
    match error {
        SshError::Key | SshError::HostKey(_) | SshError::Denied { .. } => {
            Verdict::Bad(error.to_string())
        }
        SshError::Lost { .. }
        | SshError::Script { .. }
        | SshError::TooLarge { .. }
        | SshError::Left { .. }
        | SshError::File { .. }
        | SshError::Program(_) => Verdict::Unsure(error.to_string()),
    }
}
