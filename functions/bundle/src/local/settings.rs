//! Each function's settings: the `env:` of its manifest, with Secrets replaced by what this machine has.

use std::net::SocketAddr;
use std::path::Path;

use axum::http::HeaderName;
use host::Env;
use secrecy::ExposeSecret as _;

use super::inner;
use super::manifests::{Container, EnvValue, KeyRef, MountContent};
use super::runtime::{RuntimeError, RuntimeOptions};

/// The Secret that holds the key under which secrets are sealed, and its key.
const MASTER_KEY: (&str, &str) = ("master-key", "key");

/// The setting that says where runners run; who has it begins runs.
const RUNNER: &str = "RUNNER";

/// The setting that says where terraform's states are.
const STATE_URL: &str = "TERRAFORM_STATE_URL";

/// What is otherwise on this machine, most of it after each start.
pub(super) struct Here {
    /// Where people reach the functions that have an address outside.
    pub(super) gateway: SocketAddr,
    /// Where functions without an address outside are reached.
    pub(super) inner: SocketAddr,
    /// The header in which the gateway says where a request came from.
    pub(super) peer_header: HeaderName,
}

/// The settings of the function in `container`, declared by `owner`.
pub(super) fn resolve(
    owner: &str,
    container: &Container,
    options: &RuntimeOptions,
    here: &Here,
) -> Result<Env, RuntimeError> {
    let mut env = Env::default()
        .with("K_SERVICE", owner)
        .with("K_CONFIGURATION", owner)
        .with("K_REVISION", format!("{owner}-00001"))
        .with("PEER_HEADER", here.peer_header.as_str());
    for variable in &container.env {
        let name = &variable.name;
        let unknown = |kind, key: &KeyRef| RuntimeError::Unknown {
            owner: owner.to_owned(),
            variable: name.clone(),
            kind,
            name: key.name.clone(),
            key: key.key.clone(),
        };
        let value = match &variable.value {
            EnvValue::Literal(text) => Some(
                inner::here(text, &options.manifests, here.inner)
                    .unwrap_or_else(|| in_mount(text, container, options)),
            ),
            EnvValue::Secret(key) => match secret(key, options) {
                None if !key.optional => return Err(unknown("Secret", key)),
                found => found,
            },
            EnvValue::ConfigMap(key) if key.optional => None,
            EnvValue::ConfigMap(key) => return Err(unknown("ConfigMap", key)),
        };
        if let Some(value) = value {
            env = env.with(name, value);
        }
    }
    // What runs long runs on this machine, whatever runs it elsewhere.
    if env.get(RUNNER).is_some() {
        env = env
            .with(RUNNER, "local")
            .with("RUN_DATA", options.run_data.display().to_string());
        if let Some(program) = &options.executable {
            env = env.with("RUNNER_PROGRAM", program.display().to_string());
        }
    }
    // A terraform that is running keeps its address through a restart of ours: the gateway's, which stays.
    if env.get(STATE_URL).is_some() {
        let gateway = here.gateway.port();
        env = env.with(
            STATE_URL,
            format!("http://127.0.0.1:{gateway}/terraform-state/"),
        );
    }
    Ok(options
        .settings
        .iter()
        .fold(env, |env, (name, value)| env.with(name, value.clone())))
}

fn secret(key: &KeyRef, options: &RuntimeOptions) -> Option<String> {
    let databases = &options.databases;
    let url = match (key.name.as_str(), key.key.as_str()) {
        ("database-system", "url") => &databases.system_url,
        ("database-tenant", "url") => &databases.tenant_url,
        ("database-observer", "url") => &databases.observer_url,
        ("database-owner", "url") => &databases.owner_url,
        ("blobs", "url") => return Some(options.blobs_url.clone()),
        _ => return None,
    };
    Some(url.expose_secret().to_owned())
}

/// A path into the mounted master key becomes the path of the file that this machine has.
fn in_mount(text: &str, container: &Container, options: &RuntimeOptions) -> String {
    let (secret, key) = MASTER_KEY;
    let mounted = container.mounts.iter().any(|mount| {
        mount.content == MountContent::Secret(secret.to_owned())
            && Path::new(text) == Path::new(&mount.path).join(key)
    });
    if mounted {
        options.master_key_file.display().to_string()
    } else {
        text.to_owned()
    }
}
