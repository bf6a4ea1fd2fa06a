//! Takes GitLab's webhooks: those of projects and groups, and system hooks.
//!
//! Pushes, branches and tags, merge requests, releases and pipelines that ended become events. Everything else is recorded
//! and ignored. What happened is read from `object_kind`: a system hook names it nowhere else, and the header is not always of
//! one mind with it.

mod payload;
mod tested;

use host::{Function, Kind};
use model::DatabaseRole;
use webhook::{BadSignature, Delivery, ParseError, Parsed, Raw, Secrets, Vendor, Verified, Which};

use crate::payload::{
    KindPayload, MergeRequestPayload, PipelinePayload, PushPayload, ReleasePayload,
};

/// `POST /<trigger>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: webhook::routes::<Gitlab>,
};

/// GitLab.
#[derive(Debug)]
pub struct Gitlab;

/// Where a hook with a signing token signs.
const SIGNATURE: &str = "webhook-signature";

/// Where a hook with a secret token sends it.
const TOKEN: &str = "x-gitlab-token";

impl Vendor for Gitlab {
    const NAME: &'static str = "gitlab";
    const SENDERS: &'static [model::Vendor] = &[model::Vendor::Gitlab];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    /// A hook has a secret token, which it sends as it is, or a signing token, with which it signs as Standard Webhooks do. A
    /// signature decides where there is one: a token beside it does not rescue a bad one.
    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        match secrets.scheme() {
            Some(_) => delivery.check_configured(secrets),
            None if delivery.headers().contains_key(SIGNATURE) => delivery.check_standard(secrets),
            None => delivery.check_token(TOKEN, "", secrets),
        }
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        delivery.event()?;
        let kind = delivery.json::<KindPayload>()?.named()?;
        match kind.as_str() {
            "push" | "tag_push" => delivery.json::<PushPayload>()?.normalised(),
            "merge_request" => Ok(delivery.json::<MergeRequestPayload>()?.normalised()),
            "pipeline" => Ok(delivery.json::<PipelinePayload>()?.normalised()),
            "release" => Ok(delivery.json::<ReleasePayload>()?.normalised()),
            other => delivery.unhandled(other),
        }
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
