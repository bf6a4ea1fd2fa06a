//! Whether an image is there, asked before something is started that would wait for it for ever.

use std::str::FromStr;

use egress::TenantEgress;
use model::image::{Digest, ImageRepository, Tag};

use crate::{Named, Registry};

/// What Docker Hub is called in names of images, and where it is.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// An image as people name it: `quay.io/team/app:1.2`, `alpine`, `host:5000/app@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// The registry's host, with its port when it has one of its own.
    pub host: String,
    /// The repository there.
    pub repository: String,
    /// The tag or digest.
    pub reference: String,
}

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no image, such as quay.io/team/app:1.2")]
pub struct ImageRefError(String);

/// What was found out about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    There,
    /// Its registry says that it is not.
    Missing,
    /// Its registry did not say, and why.
    Unknown(String),
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        let wrong = || ImageRefError(text.chars().take(120).collect());
        let (host, rest) = match text.split_once('/') {
            // A host has a dot or a port, or is this machine; else it is a folder of Docker Hub.
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (DOCKER_HUB.0, text),
        };
        let (repository, reference) = match rest.split_once('@') {
            // A tag beside a digest says nothing.
            Some((name, digest)) if digest.parse::<Digest>().is_ok() => {
                (name.split(':').next().unwrap_or(name), digest)
            }
            Some(_) => return Err(wrong()),
            None => rest.rsplit_once(':').unwrap_or((rest, "latest")),
        };
        if !reference.contains(':') && reference.parse::<Tag>().is_err() {
            return Err(wrong());
        }
        if repository.parse::<ImageRepository>().is_err() {
            return Err(wrong());
        }
        let repository = if host == DOCKER_HUB.0 && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        Ok(Self {
            host: host.to_owned(),
            repository,
            reference: reference.to_owned(),
        })
    }
}

/// Asks an image's registry whether it has it.
pub async fn presence(egress: &TenantEgress, image: &ImageRef) -> Presence {
    let host = if image.host == DOCKER_HUB.0 {
        DOCKER_HUB.1
    } else {
        &image.host
    };
    let registry = match Registry::new(egress, &format!("https://{host}"), &image.repository, None)
    {
        Ok(registry) => registry,
        Err(failure) => return Presence::Unknown(failure.problem),
    };
    match registry.digest(&image.reference, None).await {
        Ok(Named::Digest(_)) => Presence::There,
        Ok(Named::Gone) => Presence::Missing,
        Ok(Named::NoMore) => Presence::Unknown(format!("{host} allows no more questions for now")),
        Err(failure) => Presence::Unknown(failure.problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_everybody_reads_them() {
        let read = |text: &str| {
            let image: ImageRef = text.parse().expect("an image");
            format!("{} {} {}", image.host, image.repository, image.reference)
        };
        assert_eq!(read("alpine"), "docker.io library/alpine latest");
        assert_eq!(read("frrouting/frr:v8"), "docker.io frrouting/frr v8");
        assert_eq!(
            read("quay.io/frrouting/frr:10.7.1"),
            "quay.io frrouting/frr 10.7.1"
        );
        assert_eq!(read("localhost:5000/a/b"), "localhost:5000 a/b latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            read(&format!("ghcr.io/a/b:1@{digest}")),
            format!("ghcr.io a/b {digest}")
        );
        for wrong in ["", "a b", "x/../y", "a:b:c/d e", "a@sha256"] {
            assert!(wrong.parse::<ImageRef>().is_err(), "{wrong}");
        }
    }
}
