//! What endpoints that hand out tokens answer: RFC 6749.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{Asked, Verdict, said};

/// An error of a token endpoint.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Asks for a token, and throws it away.
pub(super) async fn token(
    asked: &Asked<'_>,
    url: &Url,
    form: &[(&str, &str)],
) -> Result<Verdict, Verdict> {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let answer = asked.post_form(url, HeaderMap::new(), form).await?;
    let host = &asked.login.host;
    Ok(match answer.status {
        status if status.is_success() => Verdict::Good,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
            let words = [refusal.error, said(&refusal.error_description)];
            let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let why = if words.is_empty() {
                answer.status.as_u16().to_string()
            } else {
                said(&words.join(": "))
            };
            Verdict::Bad(format!("{host} gives no token: {why}"))
        }
        _ => answer.unsure(host),
    })
}
