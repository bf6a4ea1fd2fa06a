//! Takes the webhooks of Gitea, Forgejo and Gogs.
//!
//! A `push` of a branch or a tag becomes an event, and so does the `create` of a tag by Gogs, which sends no push for it.
//! The button that tries a hook sends a push that moves nothing: it tells that the hook works. Everything else is
//! recorded and ignored.

mod payload;

use host::{Function, Kind};
use model::DatabaseRole;
use webhook::{
    BadSignature, Delivery, HmacSha256, ParseError, Parsed, Raw, Secrets, Signed, Vendor, Verified,
    Which,
};

use crate::payload::{CreatePayload, PUSH_IS_SENT, PushPayload};

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

/// Forgejo's own header decides when it is there: a bad one is not rescued by a good one of another name.
const SIGNATURES: [&str; 3] = [
    "x-forgejo-signature",
    "x-gitea-signature",
    "x-gogs-signature",
];

impl Vendor for Gitea {
    const NAME: &'static str = "gitea";
    const SENDERS: &'static [model::Vendor] = &[
        model::Vendor::Forgejo,
        model::Vendor::Gitea,
        model::Vendor::Gogs,
    ];

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        let there = |name: &&str| delivery.headers().contains_key(*name);
        let scheme = HmacSha256 {
            header: SIGNATURES
                .into_iter()
                .find(there)
                .unwrap_or("x-gitea-signature"),
            prefix: "",
            // They sign the payload before they put it into a form.
            // https://github.com/go-gitea/gitea/blob/main/services/webhook/deliver.go
            signed: Signed::Payload,
        };
        delivery.check(&scheme, secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        match delivery.event()? {
            (sender, "push") => delivery.json::<PushPayload>()?.normalised(sender.vendor),
            (sender, "create") if sender.vendor == model::Vendor::Gogs => {
                delivery.json::<CreatePayload>()?.normalised(sender.vendor)
            }
            (_, "create") => delivery.checked(Parsed::Ignored {
                reason: PUSH_IS_SENT.to_owned(),
            }),
            (_, "delete") => delivery.checked(Parsed::Ignored {
                reason: "nothing starts when a branch or a tag goes away".to_owned(),
            }),
            (_, event) => delivery.unhandled(event),
        }
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
