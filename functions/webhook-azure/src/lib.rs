//! Takes the service hooks of Azure DevOps, Services and Server.
//!
//! Pushes, branches and tags, pull requests and builds that ended become events. Everything else is recorded and ignored, and
//! so is what a subscription cuts down to less than says what happened. The sender has no header of its own: who it is, what
//! happened and which delivery it is stand in the body.

mod payload;
mod tested;

use host::{Function, Kind};
use model::DatabaseRole;
use webhook::{
    BadSignature, Delivery, Labels, ParseError, Parsed, Raw, Secrets, Vendor, Verified, Which,
};

use crate::payload::{BuildPayload, ChangePayload, Envelope, PushPayload};

/// `POST /<trigger>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: webhook::routes::<Azure>,
};

/// Azure DevOps.
#[derive(Debug)]
pub struct Azure;

impl Vendor for Azure {
    const NAME: &'static str = "azure";
    const SENDERS: &'static [model::Vendor] = &[model::Vendor::AzureDevops];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    /// It cannot sign. A subscription has a user and a password, of which the password is the trigger's secret; or a header of
    /// its own, which the trigger's scheme then names.
    /// <https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks>
    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        match secrets.scheme() {
            Some(_) => delivery.check_configured(secrets),
            None => delivery.check_password(secrets),
        }
    }

    fn labels(delivery: &Delivery<Verified>) -> Labels {
        delivery
            .json::<Envelope>()
            .map_or_else(|_| Labels::default(), Envelope::labels)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        let envelope = delivery.json::<Envelope>()?;
        match envelope.event() {
            "git.push" => delivery.json::<PushPayload>()?.normalised(),
            event @ ("git.pullrequest.created"
            | "git.pullrequest.updated"
            | "git.pullrequest.merged") => delivery.json::<ChangePayload>()?.normalised(event),
            "build.complete" => delivery.json::<BuildPayload>()?.normalised(),
            event => delivery.unhandled(event),
        }
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
