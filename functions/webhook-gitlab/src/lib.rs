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

impl Vendor for Gitlab {
    const NAME: &'static str = "gitlab";
    const SENDERS: &'static [model::Vendor] = &[model::Vendor::Gitlab];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        delivery.check_gitlab(secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        delivery.event()?;
        let kind = delivery.json::<KindPayload>()?.named()?;
        match kind.as_str() {
            "push" | "tag_push" => delivery.json::<PushPayload>()?.normalised(),
            "merge_request" => delivery.json::<MergeRequestPayload>()?.normalised(),
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
