//! netlab's own API: whether it is there, asks who we are, and knows us.

use netlab_api::{Api, ApiError};

use super::{Asked, Verdict, folded};

pub(crate) async fn check(asked: &Asked<'_>) -> Verdict {
    folded(health(asked).await)
}

async fn health(asked: &Asked<'_>) -> Result<Verdict, Verdict> {
    let login = asked.login;
    let api = Api::new(asked.egress.clone(), asked.url("/")?);
    match api.health().await {
        Err(ApiError::Unauthorised(_)) => {}
        Err(error) => return Err(verdict(&error)),
        // Whoever reaches it starts labs there, and that is for who runs it to know.
        Ok(()) => {
            return Ok(Verdict::Nothing(format!(
                "{} lets everybody in, and does not look at it: start its API with a user and a password",
                login.host
            )));
        }
    }
    let api = api.signed_in(&login.username, &login.secret);
    api.health().await.map_err(|error| verdict(&error))?;
    Ok(Verdict::Good)
}

fn verdict(error: &ApiError) -> Verdict {
    match error {
        ApiError::Denied(_) | ApiError::Unauthorised(_) => Verdict::Bad(error.to_string()),
        ApiError::Lost { .. }
        | ApiError::NotFound(_)
        | ApiError::Strange { .. }
        | ApiError::Forgotten(_)
        | ApiError::Unknown(_)
        | ApiError::GoesOn(_) => Verdict::Unsure(error.to_string()),
    }
}
