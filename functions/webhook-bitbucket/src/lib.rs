//! Takes the webhooks of Bitbucket: those of Cloud and those of Data Center, which have little in common but their name.
//!
//! Pushes, branches and tags, pull requests and what reviewers say, and statuses of commits that are final become events.
//! The button that tries a hook of Data Center tells that the hook works. Everything else is recorded and ignored.

mod cloud;
mod data_center;
mod tested;

use host::{Function, Kind};
use model::DatabaseRole;
use webhook::{
    BadSignature, Delivery, Labels, ParseError, Parsed, Raw, Secrets, Vendor, Verified, Which,
};

/// `POST /<trigger>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: webhook::routes::<Bitbucket>,
};

/// Bitbucket, Cloud or Data Center.
#[derive(Debug)]
pub struct Bitbucket;

impl Vendor for Bitbucket {
    const NAME: &'static str = "bitbucket";
    const SENDERS: &'static [model::Vendor] =
        &[model::Vendor::Bitbucket, model::Vendor::BitbucketDataCenter];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        delivery.check_bitbucket(secrets)
    }

    /// Data Center has no header that tells it from Cloud, so that the event's name decides where it can.
    fn labels(delivery: &Delivery<Verified>) -> Labels {
        let told = delivery.labels();
        let named = told.event.as_deref().and_then(vendor_of);
        Labels {
            vendor: named.or(told.vendor),
            ..told
        }
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        let (_, event) = delivery.event()?;
        match event {
            "repo:push" => delivery.json::<cloud::PushPayload>()?.normalised(),
            "repo:commit_status_created" | "repo:commit_status_updated" => {
                Ok(delivery.json::<cloud::StatusPayload>()?.normalised())
            }
            "repo:refs_changed" => delivery.json::<data_center::PushPayload>()?.normalised(),
            "diagnostics:ping" => delivery.checked(Parsed::Ping),
            event => {
                if let Some(action) = cloud::change_action(event) {
                    let payload = delivery.json::<cloud::ChangePayload>()?;
                    Ok(payload.normalised(event, action))
                } else if let Some(action) = data_center::change_action(event) {
                    let payload = delivery.json::<data_center::ChangePayload>()?;
                    payload.normalised(event, action)
                } else {
                    delivery.unhandled(event)
                }
            }
        }
    }
}

fn vendor_of(event: &str) -> Option<model::Vendor> {
    let of_cloud = matches!(
        event,
        "repo:push" | "repo:commit_status_created" | "repo:commit_status_updated"
    ) || event.starts_with("pullrequest:");
    let of_data_center =
        matches!(event, "repo:refs_changed" | "diagnostics:ping") || event.starts_with("pr:");
    if of_cloud {
        Some(model::Vendor::Bitbucket)
    } else if of_data_center {
        Some(model::Vendor::BitbucketDataCenter)
    } else {
        None
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
