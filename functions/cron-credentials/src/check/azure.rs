//! Azure: a token for the client.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use secrecy::ExposeSecret as _;
use store::credentials::AzureConfig;

use super::{Asked, Verdict, folded, oauth};

pub(crate) async fn check(asked: &Asked<'_>, config: &AzureConfig) -> Verdict {
    let url = match asked.url(&format!("/{}/oauth2/v2.0/token", config.directory)) {
        Ok(url) => url,
        Err(verdict) => return verdict,
    };
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", asked.login.username.as_str()),
        ("client_secret", asked.login.secret.expose_secret()),
        ("scope", config.scope.as_str()),
    ];
    folded(oauth::token(asked, &url, &form).await)
}
