//! A cluster's API: its version, with the token. A token that is wrong is refused even for what everybody may read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{Asked, Verdict, folded};

/// What a token that is a JWT says of itself.
#[derive(Deserialize)]
struct Claims {
    exp: Option<i64>,
}

pub(crate) async fn check(asked: &Asked<'_>) -> Verdict {
    folded(version(asked).await)
}

async fn version(asked: &Asked<'_>) -> Result<Verdict, Verdict> {
    let token = asked.login.secret.expose_secret().trim();
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        Verdict::Bad("the token has line breaks or other letters than one has".to_owned())
    })?;
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value);
    let answer = asked.get(&asked.url("/version")?, headers).await?;
    let host = &asked.login.host;
    Ok(match answer.status {
        // Who is forbidden this is known all the same.
        status if status.is_success() || status == StatusCode::FORBIDDEN => {
            ends(token).map_or(Verdict::Good, Verdict::Until)
        }
        StatusCode::UNAUTHORIZED => match ends(token).filter(|end| *end <= asked.now) {
            Some(end) => Verdict::Until(end),
            None => Verdict::Bad(format!("{host} does not know the token (401)")),
        },
        _ => answer.unsure(host),
    })
}

/// When a token ends, where it says so.
fn ends(token: &str) -> Option<DateTime<Utc>> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    DateTime::from_timestamp(claims.exp?, 0)
}
