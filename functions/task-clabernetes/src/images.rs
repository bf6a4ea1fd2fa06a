//! Whether the images of a lab are there, asked before anything is applied: a cluster would try to pull a missing one for ever.

use std::time::Duration;

use anyhow::bail;
use egress::TenantEgress;
use labs::Topology;
use registry::{ImageRef, Presence, presence};

/// The most images that are asked for; a lab has a handful.
const IMAGES_MAX: usize = 50;
/// How long all questions together may take.
const ASK_MAX: Duration = Duration::from_secs(60);

/// What could not be found out, one line for each image.
pub(crate) async fn check(
    egress: &TenantEgress,
    topology: &Topology,
) -> anyhow::Result<Vec<String>> {
    let mut images = Vec::new();
    for node in &topology.nodes {
        let Some(image) = &node.image else {
            bail!(
                "line {}: node {} has no image, and a lab in a cluster runs nothing else",
                node.at.line,
                node.name
            );
        };
        match image.text.parse::<ImageRef>() {
            Ok(_) => images.push((image.text.as_str(), image.at.line)),
            Err(error) => bail!("line {}: {error}", image.at.line),
        }
    }
    images.sort_unstable();
    images.dedup_by_key(|(text, _)| *text);
    let mut found = Found::default();
    let asked = tokio::time::timeout(ASK_MAX, found.ask(egress, &images)).await;
    if asked.is_err() {
        found.unknown.push(format!(
            "the registries took more than {} s to answer for the lab's images",
            ASK_MAX.as_secs()
        ));
    }
    let Found { missing, unknown } = found;
    if !missing.is_empty() {
        bail!("{}; nothing was applied", missing.join("; "));
    }
    Ok(unknown)
}

/// What was found out so far, one line for each image.
#[derive(Debug, Default)]
struct Found {
    missing: Vec<String>,
    unknown: Vec<String>,
}

impl Found {
    async fn ask(&mut self, egress: &TenantEgress, images: &[(&str, u32)]) {
        for (text, line) in images.iter().take(IMAGES_MAX) {
            let Ok(image) = text.parse::<ImageRef>() else {
                continue;
            };
            match presence(egress, &image).await {
                Presence::There => {}
                Presence::Missing => {
                    let said = format!("line {line}: {} has no image {text}", image.host);
                    self.missing.push(said);
                }
                Presence::Unknown(why) => {
                    let said = format!("whether {text} is there could not be asked: {why}");
                    self.unknown.push(said);
                }
            }
        }
        if let Some(more) = images
            .len()
            .checked_sub(IMAGES_MAX)
            .filter(|more| *more > 0)
        {
            self.unknown.push(format!(
                "the lab has {} images, and for {more} of them nobody was asked: {IMAGES_MAX} are the most",
                images.len()
            ));
        }
    }
}
