//! What the operator says, and what is made of it once, at the start.

use egress::TenantEgress;
use host::{Env, SettingsError};
use serde::Deserialize;
use url::Url;

#[derive(Debug, Deserialize)]
struct Settings {
    /// Where functions call back.
    callback_url: Url,
    /// The namespace of Knative Services whose task names none.
    functions_namespace: String,
    /// The OpenFaaS gateway.
    openfaas_gateway: Url,
}

/// Where functions are and where they call back.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) callback: Url,
    pub(crate) namespace: String,
    pub(crate) openfaas: Url,
}

/// Reads the settings, and makes the client for URLs that tenants gave.
pub(crate) fn read(env: &Env) -> Result<(Places, TenantEgress), SettingsError> {
    // Tokens are signed with it.
    env.require("MASTER_KEY_FILE")?;
    let settings: Settings = env.parse()?;
    for (name, url) in [
        ("CALLBACK_URL", &settings.callback_url),
        ("OPENFAAS_GATEWAY", &settings.openfaas_gateway),
    ] {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SettingsError::wrong(name, "it is neither http nor https"));
        }
    }
    Ok((
        Places {
            callback: settings.callback_url,
            namespace: settings.functions_namespace,
            openfaas: settings.openfaas_gateway,
        },
        env.tenant_egress()?,
    ))
}
