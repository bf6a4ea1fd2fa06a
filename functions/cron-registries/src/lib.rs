//! Looks at registries by the clock, for those whose hooks do not come: a tag that is new, names another image or went away
//! since a hook or a look last told of it becomes the event that a hook would have made.
//!
//! A repository is looked at once for all triggers that watch it with the same credential: one list of tags, and one question
//! for each tag that anybody watches. Where the registry says when to ask again, it is asked then; else a look that fails is
//! repeated ever later, up to an hour, and the watch says why. Two at once are safe: a place is taken by one of them.

use std::time::Duration;

use anyhow::Context as _;
use egress::TenantEgress;
use events::EventType;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use host::{Ctx, Env, Function, Kind, Routes, SettingsError};
use model::image::{DigestSource, Image, ImageDeleted, ImagePushed};
use model::{DatabaseRole, Vendor};
use registry::{Failure, Named, Registry, Tags};
use serde::Serialize;
use store::watch::{
    Change, EndedLook, Found, Listing, LookEvent, Place, PlaceKind, Watch, compare,
};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes,
};

/// Places taken, and looked at, at once.
const BATCH: i32 = 4;
/// Questions to one registry under way at once.
const QUESTIONS: usize = 4;
/// Tags of one repository that are watched.
const TAGS_MAX: usize = 200;
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// How long a pass goes on taking places while there are more. The next tick goes on where it ended.
const PASS: Duration = Duration::from_secs(20);
/// For how long a place is taken: longer than a look and its writing take.
const TAKEN: Duration = Duration::from_secs(2 * LOOK_MAX.as_secs());

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Repositories that were looked at.
    looked: usize,
    /// Of them, those where that failed.
    failed: usize,
    /// Changes that were told.
    told: i32,
}

fn routes(env: &Env) -> Result<Routes, SettingsError> {
    // It opens credentials.
    env.require("MASTER_KEY_FILE")?;
    let egress = env.tenant_egress()?;
    Ok(host::reconciler(move |ctx| reconcile(ctx, egress.clone())))
}

async fn reconcile(ctx: Ctx, egress: TenantEgress) -> anyhow::Result<Report> {
    let take = async || {
        ctx.store()
            .take_places(ctx.keyring()?, PlaceKind::Registry, TAKEN, BATCH)
            .await
            .context("could not look for registries that are due")
    };
    let looked = host::pass(PASS, BATCH, take, |place| one(&ctx, &egress, place)).await?;
    Ok(Report {
        looked: looked.len(),
        failed: looked.iter().filter(|told| told.is_none()).count(),
        told: looked.into_iter().flatten().sum(),
    })
}

/// Looks at one repository. Returns how many changes were told; nothing when the look failed, which is kept with the place.
async fn one(ctx: &Ctx, egress: &TenantEgress, place: Place) -> anyhow::Result<Option<i32>> {
    let store = ctx.store();
    let watches = store
        .watches_of(&place)
        .await
        .context("could not read who watches a registry")?;
    let looked = tokio::time::timeout(LOOK_MAX, look(egress, &place, &watches)).await;
    let looked = looked.unwrap_or_else(|_| {
        let problem = format!("the look took longer than {} s", LOOK_MAX.as_secs());
        Err(Failure::from(problem))
    });
    match looked {
        Ok(look) => {
            let prefix = format!("{}:", place.repository);
            let compared = compare(&watches, &look.listing, &look.unsure, &prefix);
            let events = compared.changes.iter();
            let events = events.map(|change| event(&place, &look.host, change));
            let events = events.collect::<anyhow::Result<Vec<_>>>()?;
            let ended = EndedLook {
                listing: &look.listing,
                etag: look.etag.as_deref(),
                compared: &compared,
                events: &events,
            };
            let told = store.end_look(&place, ended).await;
            told.map(Some).context("could not record what a look found")
        }
        Err(Failure { problem, wait }) => {
            tracing::info!(
                place.url = place.url,
                place.repository = place.repository,
                problem,
                "a look failed"
            );
            store
                .fail_look(&place, &problem, wait)
                .await
                .context("could not record that a look failed")?;
            Ok(None)
        }
    }
}

/// What a look found.
struct Look {
    host: String,
    listing: Listing,
    /// Tags of which the registry would not say what they name.
    unsure: Vec<String>,
    etag: Option<String>,
}

async fn look(egress: &TenantEgress, place: &Place, watches: &[Watch]) -> Result<Look, Failure> {
    let login = place.login.as_ref().map_err(ToString::to_string)?;
    let registry = Registry::new(egress, &place.url, &place.repository, login.as_ref())?;
    // Who watches other names than before must see all of them.
    let etag = place
        .etag
        .as_deref()
        .filter(|_| watches.iter().all(|watch| !watch.first));
    let (mut tags, etag) = match registry.tags(etag).await? {
        Tags::These(tags, etag) => (tags, etag),
        Tags::Unchanged => (
            place.listing.keys().cloned().collect(),
            etag.map(str::to_owned),
        ),
    };
    tags.retain(|tag| watches.iter().any(|watch| watch.wants(tag)));
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > TAGS_MAX {
        return Err(format!(
            "{} tags are watched, and {TAGS_MAX} of a repository may be; watch fewer names",
            tags.len()
        )
        .into());
    }
    let named: Vec<(String, Named)> = stream::iter(tags)
        .map(async |tag| {
            let known = place.listing.get(&tag).map(|found| found.state.as_str());
            let named = registry.digest(&tag, known).await?;
            Ok::<_, Failure>((tag, named))
        })
        .buffer_unordered(QUESTIONS)
        .try_collect()
        .await?;
    let mut look = Look {
        host: registry.host().to_owned(),
        listing: Listing::new(),
        unsure: Vec::new(),
        etag,
    };
    for (tag, named) in named {
        match named {
            Named::Digest(state) => {
                look.listing.insert(tag, Found { state, also: None });
            }
            Named::NoMore => look.unsure.push(tag),
            // It went away between the list and the question.
            Named::Gone => {}
        }
    }
    if !look.unsure.is_empty() {
        // The list alone does not say what they name: it has to be asked for in full.
        look.etag = None;
    }
    Ok(look)
}

/// The event that tells of a change, as a hook would have told it.
fn event(place: &Place, host: &str, change: &Change) -> anyhow::Result<LookEvent> {
    let mut image = Image {
        registry: Some(host.to_owned()),
        repository: place.repository.parse().context("the place's repository")?,
        tag: Some(change.name.parse().context("the registry's tag")?),
        digest: None,
        digest_source: None,
        media_type: None,
    };
    let (ty, data) = match &change.after {
        Some(digest) => {
            image.digest = Some(digest.parse().context("the registry's digest")?);
            image.digest_source = Some(DigestSource::Resolved);
            let pushed = ImagePushed {
                vendor: Vendor::Poll,
                image,
                pusher: None,
                occurred_at: None,
            };
            (EventType::ImagePushed, serde_json::to_value(pushed)?)
        }
        None => {
            let deleted = ImageDeleted {
                vendor: Vendor::Poll,
                image,
                pusher: None,
                occurred_at: None,
            };
            (EventType::ImageDeleted, serde_json::to_value(deleted)?)
        }
    };
    Ok(LookEvent {
        ty: ty.as_str(),
        source: "/switchyard/cron-registries".to_owned(),
        subject: Some(change.told_as.clone()),
        data,
    })
}

#[cfg(test)]
mod tests;
