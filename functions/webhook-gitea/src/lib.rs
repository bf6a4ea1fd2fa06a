//! Takes the webhooks of Gitea, Forgejo and Gogs.
//!
//! Pushes, branches and tags, pull requests and their reviews, releases and images of the container registry become events.
//! The button that tries a hook sends a push that moves nothing: it tells that the hook works. Everything else is
//! recorded and ignored.

mod payload;
mod tested;

use host::{Function, Kind};
use model::DatabaseRole;
use model::git::RefAction;
use webhook::{BadSignature, Delivery, ParseError, Parsed, Raw, Secrets, Vendor, Verified, Which};

use crate::payload::{
    ChangePayload, CommentPayload, GogsChangePayload, OtherPayload, PackagePayload, PushPayload,
    RefPayload, ReleasePayload,
};

/// `POST /<trigger>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: webhook::routes::<Gitea>,
};

/// Gitea and its relatives.
#[derive(Debug)]
pub struct Gitea;

impl Vendor for Gitea {
    const NAME: &'static str = "gitea";
    const SENDERS: &'static [model::Vendor] = &[
        model::Vendor::Forgejo,
        model::Vendor::Gitea,
        model::Vendor::Gogs,
    ];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        delivery.check_gitea(secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        let (sender, event) = delivery.event()?;
        let vendor = sender.vendor;
        match event {
            "push" => delivery.json::<PushPayload>()?.normalised(vendor),
            "create" => {
                let created = delivery.json::<RefPayload>()?;
                created.normalised(vendor, RefAction::Created)
            }
            "delete" => {
                let deleted = delivery.json::<RefPayload>()?;
                deleted.normalised(vendor, RefAction::Deleted)
            }
            "pull_request" if vendor == model::Vendor::Gogs => {
                Ok(delivery.json::<GogsChangePayload>()?.normalised())
            }
            "pull_request" => delivery.json::<ChangePayload>()?.normalised(vendor),
            "pull_request_approved" | "pull_request_rejected" => {
                delivery.json::<ChangePayload>()?.reviewed(vendor)
            }
            "pull_request_comment" => delivery.json::<CommentPayload>()?.normalised(vendor),
            "release" => Ok(delivery.json::<ReleasePayload>()?.normalised(vendor)),
            "package" => delivery.json::<PackagePayload>()?.normalised(vendor),
            event => {
                delivery.json::<OtherPayload>()?;
                delivery.unhandled(event)
            }
        }
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
