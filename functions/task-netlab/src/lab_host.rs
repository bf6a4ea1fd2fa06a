//! The host that runs labs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use egress::Guard;
use host::{Ctx, TaskError};
use model::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

/// Where SSH servers listen unless it is said.
const PORT: u16 = 22;
/// How long a name may take to be looked up.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// A host, looked up and checked: what is dialled is what was checked.
#[derive(Debug, Clone)]
pub struct LabHost {
    /// Its address.
    pub address: SocketAddr,
    /// Whom to be there.
    pub user: String,
    /// The private key.
    pub key: SecretString,
    /// What it may show of itself.
    pub host_keys: Vec<String>,
}

/// Finds the host of a credential, and where it is. Addresses that are not public need the operator's word.
pub(crate) async fn find(
    ctx: &Ctx,
    guard: &Guard,
    tenant: TenantId,
    id: Uuid,
) -> Result<LabHost, TaskError> {
    let keyring = ctx.keyring().map_err(TaskError::fail)?;
    let found = ctx
        .store()
        .ssh_host(keyring, tenant, id)
        .await
        .map_err(TaskError::retry)?;
    let found = found
        .ok_or_else(|| TaskError::fail(anyhow!("there is no credential {id} of the kind ssh")))?;
    let (name, port) = place(&found.host);
    guard.check_ssh(name, port).map_err(TaskError::fail)?;
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let lookup = tokio::time::timeout(LOOKUP_MAX, tokio::net::lookup_host((bare, port))).await;
    let addresses: Vec<SocketAddr> = lookup
        .context("looking it up took too long")
        .and_then(|found| Ok(found?.collect()))
        .with_context(|| format!("{name} cannot be looked up"))
        .map_err(TaskError::retry)?;
    let ips: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
    guard
        .check_addresses(name, &ips)
        .or_else(|denied| literal(guard, name, port).ok_or(denied))
        .map_err(TaskError::fail)?;
    let address = addresses.first().copied();
    let address = address.ok_or_else(|| TaskError::retry(anyhow!("{name} has no address")))?;
    Ok(LabHost {
        address,
        user: found.user,
        key: found.key,
        host_keys: found.config.host_keys,
    })
}

/// An address that stands in the credential itself was checked with its port, and the operator allowed it.
fn literal(guard: &Guard, name: &str, port: u16) -> Option<()> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().ok()?;
    guard.check_ssh(name, port).ok()
}

/// `host` or `host:port`; an IPv6 address is in brackets.
fn place(text: &str) -> (&str, u16) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, port),
            Err(_) => (text, PORT),
        },
        _ => (text, PORT),
    }
}

impl LabHost {
    /// The key, for the runner alone.
    pub(crate) fn secret(&self) -> String {
        self.key.expose_secret().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        assert_eq!(place("labs.example.com"), ("labs.example.com", 22));
        assert_eq!(place("labs.example.com:2222"), ("labs.example.com", 2222));
        assert_eq!(place("[fd00::1]"), ("[fd00::1]", 22));
        assert_eq!(place("[fd00::1]:2222"), ("[fd00::1]", 2222));
    }
}
