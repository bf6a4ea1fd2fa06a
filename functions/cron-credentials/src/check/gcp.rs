//! GCP: a token for the service account, asked for with an assertion that its key signs.
//! <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;
use serde_json::json;
use store::credentials::{GcpConfig, GcpKey};

use super::{Asked, Verdict, folded, oauth};

/// How long the assertion is good for, in seconds.
const ASSERTION_SECS: i64 = 300;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(crate) async fn check(asked: &Asked<'_>, config: &GcpConfig) -> Verdict {
    folded(token(asked, config).await)
}

async fn token(asked: &Asked<'_>, config: &GcpConfig) -> Result<Verdict, Verdict> {
    let url = asked.url("/token")?;
    let key: GcpKey = serde_json::from_str(asked.login.secret.expose_secret())
        .map_err(|_| Verdict::Bad("the secret is no key file of a service account".to_owned()))?;
    let now = asked.now.timestamp();
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key.private_key_id});
    let claims = json!({
        "iss": key.client_email, "scope": config.scope, "aud": url.as_str(), "iat": now, "exp": now + ASSERTION_SECS,
    });
    let part = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature =
        signature(key.private_key.expose_secret(), signed.as_bytes()).ok_or_else(|| {
            Verdict::Bad("the key file's private_key is no RSA key in PEM".to_owned())
        })?;
    let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    oauth::token(
        asked,
        &url,
        &[("grant_type", GRANT), ("assertion", &assertion)],
    )
    .await
}

/// RSA over SHA-256 with a key in PKCS #8; nothing when the key is none.
fn signature(pem: &str, data: &[u8]) -> Option<Vec<u8>> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(|line| line.trim().chars())
        .collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).ok()?).ok()?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        data,
        &mut signature,
    )
    .ok()?;
    Some(signature)
}
