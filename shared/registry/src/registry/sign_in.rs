//! Whether a registry lets a login in, before anything is pulled.

use http::{HeaderMap, Method, StatusCode, header};

use super::{Answer, Failure, Registry, Token, sensitive};
use crate::challenge::{self, Challenge};

use secrecy::ExposeSecret as _;

/// What became of signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedIn {
    /// The login is known.
    Accepted,
    /// Nobody has to sign in.
    Open,
    /// The login is refused, for this reason.
    Refused(String),
}

impl Registry<'_> {
    /// Shows the login where the registry asks for it: `GET /v2/`, and the token that it wants for that.
    ///
    /// # Errors
    /// When it does not answer as a registry does.
    pub async fn sign_in(&self) -> Result<SignedIn, Failure> {
        let url = self
            .base
            .join("/v2/")
            .map_err(|error| Failure::from(error.to_string()))?;
        let first = self.send(Method::GET, &url, HeaderMap::new(), None).await?;
        if first.status != StatusCode::UNAUTHORIZED {
            self.expect_success(&first, "its version")?;
            return Ok(SignedIn::Open);
        }
        let challenges = first.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = challenges
            .filter_map(|value| value.to_str().ok())
            .find_map(|value| challenge::read(value, ""));
        let authorization = match challenge {
            Some(Challenge::Basic) => self.basic(),
            Some(Challenge::Bearer { token_url }) => {
                let answer = self
                    .send(Method::GET, &token_url, HeaderMap::new(), self.basic())
                    .await?;
                if let Some(refused) = refused(&answer, token_url.authority()) {
                    return Ok(refused);
                }
                self.expect_success(&answer, "a token")?;
                let token: Token = serde_json::from_slice(&answer.body).map_err(|_| {
                    format!("{} gave something that is no token", token_url.authority())
                })?;
                let token = token.token.or(token.access_token).unwrap_or_default();
                sensitive(&format!("Bearer {}", token.expose_secret()))
            }
            None => {
                let problem = format!("{} asks for a sign-in of another kind", self.host());
                return Err(problem.into());
            }
        };
        let answer = self
            .send(Method::GET, &url, HeaderMap::new(), authorization)
            .await?;
        if let Some(refused) = refused(&answer, self.host()) {
            return Ok(refused);
        }
        self.expect_success(&answer, "its version")?;
        Ok(SignedIn::Accepted)
    }
}

/// What an answer says of the login, if anything.
fn refused(answer: &Answer, host: &str) -> Option<SignedIn> {
    let code = answer.status.as_u16();
    matches!(
        answer.status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
    .then(|| SignedIn::Refused(format!("{host} refuses the login ({code})")))
}
