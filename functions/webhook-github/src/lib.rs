//! Takes GitHub's webhooks: github.com and Enterprise.
//!
//! Pushes, branches and tags, pull requests and their reviews, releases, images of the container registry, and workflows and
//! checks that ended become events; `ping` tells that the hook works. Everything else is recorded and ignored. Requests
//! of Gitea, Forgejo and Gogs, which carry GitHub's headers too, are refused: they have a URL of their own.

mod payload;
mod tested;

use host::{Function, Kind};
use model::DatabaseRole;
use model::git::RefAction;
use webhook::{BadSignature, Delivery, ParseError, Parsed, Raw, Secrets, Vendor, Verified, Which};

use crate::payload::{
    ChangePayload, CheckRunPayload, OtherPayload, PackagePayload, PushPayload, RefPayload,
    RegistryPackagePayload, ReleasePayload, ReviewPayload, WorkflowRunPayload,
};

/// `POST /<trigger>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: webhook::routes::<Github>,
};

/// GitHub.
#[derive(Debug)]
pub struct Github;

impl Vendor for Github {
    const NAME: &'static str = "github";
    const SENDERS: &'static [model::Vendor] = &[model::Vendor::Github];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        delivery.check_github(secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        match delivery.event()? {
            (_, "push") => delivery.json::<PushPayload>()?.normalised(),
            (_, "create") => Ok(delivery
                .json::<RefPayload>()?
                .normalised(RefAction::Created)),
            (_, "delete") => Ok(delivery
                .json::<RefPayload>()?
                .normalised(RefAction::Deleted)),
            (_, "pull_request") => delivery.json::<ChangePayload>()?.normalised(),
            (_, "pull_request_review") => delivery.json::<ReviewPayload>()?.normalised(),
            (_, "release") => Ok(delivery.json::<ReleasePayload>()?.normalised()),
            (_, "package") => delivery.json::<PackagePayload>()?.normalised(),
            (_, "registry_package") => delivery.json::<RegistryPackagePayload>()?.normalised(),
            (_, "workflow_run") => Ok(delivery.json::<WorkflowRunPayload>()?.normalised()),
            (_, "check_run") => Ok(delivery.json::<CheckRunPayload>()?.normalised()),
            (_, "ping") => delivery.checked(Parsed::Ping),
            // Its action is no word of GitHub's but whatever text somebody dispatched.
            (_, event @ "repository_dispatch") => delivery.unhandled(event),
            (_, event) => {
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
