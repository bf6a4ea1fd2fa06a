//! A registry of images: signing in, as a pull would first.

use registry::{Registry, SignedIn};

use super::{Asked, Verdict};

pub(crate) async fn check(asked: &Asked<'_>) -> Verdict {
    let url = format!("https://{}", asked.login.host);
    let signed_in = match Registry::new(asked.egress, &url, "", Some(asked.login)) {
        Ok(registry) => registry.sign_in().await,
        Err(failure) => Err(failure),
    };
    match signed_in {
        Ok(SignedIn::Accepted) => Verdict::Good,
        Ok(SignedIn::Open) => Verdict::Nothing(format!(
            "{} lets everybody in, and does not look at it",
            asked.login.host
        )),
        Ok(SignedIn::Refused(why)) => Verdict::Bad(why),
        Err(failure) => Verdict::Unsure(failure.problem),
    }
}
