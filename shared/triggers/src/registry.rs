//! What a filter of kind `registry` makes of images.

use model::image::{Image, ImagePushed};
use model::{Check, Clause, RegistryTrigger};
use serde_json::Value;

use crate::checks::{check, decided};
use crate::git::tag_patterns;

pub(crate) fn pushed(
    filter: &RegistryTrigger,
    push: &ImagePushed,
    data: &Value,
    held: &mut Vec<Check>,
) -> Result<(), Check> {
    image(filter, &push.image, held)?;
    let Some(tag) = &push.image.tag else {
        return Err(check(
            Clause::Tag,
            "an image with a tag",
            format!("{} has none", push.image),
        ));
    };
    tag_patterns(&filter.tags, tag.as_str(), held)?;
    platform(filter, data, held)
}

/// A pattern that begins with a host is compared with the whole name, any other with the repository alone.
fn image(filter: &RegistryTrigger, image: &Image, held: &mut Vec<Check>) -> Result<(), Check> {
    let Some(pattern) = &filter.image else {
        return Ok(());
    };
    let begins = pattern.as_str().split('/').next().unwrap_or_default();
    let has_host =
        pattern.as_str().contains('/') && (begins.contains(['.', ':']) || begins == "localhost");
    let name = match (&image.registry, has_host) {
        (Some(registry), true) => format!("{registry}/{}", image.repository),
        (None, true) => {
            return Err(check(
                Clause::Image,
                pattern.as_str(),
                format!(
                    "{}, and the sender does not say in which registry",
                    image.repository
                ),
            ));
        }
        (_, false) => image.repository.as_str().to_owned(),
    };
    decided(
        pattern.matches(&name),
        check(Clause::Image, pattern.as_str(), name),
        held,
    )
}

/// Hardly any sender says what an image is for; what is not known passes, as a changed path that is not known does.
fn platform(filter: &RegistryTrigger, data: &Value, held: &mut Vec<Check>) -> Result<(), Check> {
    let Some(pattern) = &filter.platform else {
        return Ok(());
    };
    let told: Vec<&str> = match &data["image"]["platforms"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let (matches, actual) = if told.is_empty() {
        (true, "not known: the sender does not say".to_owned())
    } else {
        (told.iter().any(|it| pattern.matches(it)), told.join(", "))
    };
    decided(
        matches,
        check(Clause::Platform, pattern.as_str(), actual),
        held,
    )
}
