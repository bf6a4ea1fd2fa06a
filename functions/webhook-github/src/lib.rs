//! Takes GitHub's webhooks: github.com and Enterprise.
//!
//! A `push` of a branch or a tag becomes an event; `ping` tells that the hook works. Everything else is recorded and
//! ignored. Requests of Gitea, Forgejo and Gogs, which carry GitHub's headers too, are refused: they have a URL of their
//! own.

mod payload;

use host::{Function, Kind};
use model::DatabaseRole;
use webhook::{
    BadSignature, Delivery, HmacSha256, ParseError, Parsed, Raw, Secrets, Signed, Vendor, Verified,
    Which,
};

use crate::payload::PushPayload;

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

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        let scheme = HmacSha256 {
            header: "x-hub-signature-256",
            prefix: "sha256=",
            signed: Signed::Body,
        };
        delivery.check(&scheme, secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        match delivery.event()? {
            (_, "push") => delivery.json::<PushPayload>()?.normalised(),
            (_, "ping") => delivery.checked(Parsed::Ping),
            (_, event @ ("create" | "delete")) => delivery.checked(Parsed::Ignored {
                reason: format!(
                    "GitHub also sends a push for what {event:?} tells, and one action starts things once: let the hook \
                     send pushes"
                ),
            }),
            (_, event) => delivery.unhandled(event),
        }
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
