//! Packages, of which images are of interest: those of GitHub's container registry.

use model::Vendor;
use model::image::{Digest, DigestSource, Image, ImagePushed, ImageRepository, Tag};
use serde::Deserialize;
use webhook::git::Word;
use webhook::{Name, Normalised, ParseError, Parsed};

use super::Sender;

/// The registry of github.com; a server of one's own names its own in what it sends.
const REGISTRY: &str = "ghcr.io";

/// A `package`, as hooks of repositories and organisations get it.
#[derive(Debug, Deserialize)]
pub(crate) struct PackagePayload {
    action: Word,
    package: Package,
    sender: Option<Sender>,
}

/// A `registry_package`, as apps get it.
#[derive(Debug, Deserialize)]
pub(crate) struct RegistryPackagePayload {
    action: Word,
    registry_package: Package,
    sender: Option<Sender>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: Name<512>,
    owner: Option<Sender>,
    package_version: Option<Version>,
}

/// What kind of package it is, two fields say, and they have been seen to say different things. An image is what has
/// `container_metadata`.
#[derive(Debug, Deserialize)]
struct Version {
    version: Option<Name<512>>,
    package_url: Option<Name<2_048>>,
    installation_command: Option<Name<4_096>>,
    container_metadata: Option<ContainerMetadata>,
}

#[derive(Debug, Deserialize)]
struct ContainerMetadata {
    tag: Option<TagOf>,
    manifest: Option<Manifest>,
}

#[derive(Debug, Default, Deserialize)]
struct TagOf {
    name: Option<Name<128>>,
    digest: Option<Name<255>>,
}

#[derive(Debug, Default, Deserialize)]
struct Manifest {
    digest: Option<Name<255>>,
    media_type: Option<Name<255>>,
}

impl PackagePayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        told(&self.action, "package", self.package, self.sender)
    }
}

impl RegistryPackagePayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let field = "registry_package";
        told(&self.action, field, self.registry_package, self.sender)
    }
}

fn told(
    action: &Word,
    field: &str,
    package: Package,
    sender: Option<Sender>,
) -> Result<Parsed, ParseError> {
    let ignored = |reason: String| Ok(Parsed::Ignored { reason });
    if !matches!(action.as_str(), "published" | "updated") {
        return ignored(format!(
            "unhandled action {:?} of a package",
            action.as_str()
        ));
    }
    let Some(mut version) = package.package_version else {
        return ignored("the package has no version".to_owned());
    };
    let Some(metadata) = version.container_metadata.take() else {
        return ignored("the package is no image: it has no container_metadata".to_owned());
    };
    let at = |name: &str| format!("{field}.package_version.{name}");
    let bad = |name: &str, problem: &dyn std::fmt::Display| {
        ParseError::malformed(&at(name), &problem.to_string())
    };
    let tag = metadata.tag.unwrap_or_default();
    let manifest = metadata.manifest.unwrap_or_default();
    let (registry, repository) = place(&package.name, package.owner, &version);
    // GitHub's registry takes lower case only, and payloads name owners as people write them.
    let repository: ImageRepository = repository
        .to_ascii_lowercase()
        .parse()
        .map_err(|error| bad("package_url", &error))?;
    // The manifests of an index's platforms are told of too, and have no tag.
    let name: Option<Tag> = tag
        .name
        .and_then(Name::filled)
        .map(|name| name.parse())
        .transpose()
        .map_err(|error| bad("container_metadata.tag.name", &error))?;
    let digest: Option<Digest> = [tag.digest, manifest.digest]
        .into_iter()
        .flatten()
        .find_map(Name::filled)
        .or_else(|| {
            let version = version.version.and_then(Name::filled);
            version.filter(|version| version.starts_with("sha256:"))
        })
        .map(|digest| digest.parse())
        .transpose()
        .map_err(|error| bad("container_metadata.tag.digest", &error))?;
    if name.is_none() && digest.is_none() {
        return Err(bad(
            "container_metadata",
            &"it has neither a tag nor a digest",
        ));
    }
    Ok(Parsed::Events(vec![Normalised::ImagePushed(ImagePushed {
        vendor: Vendor::Github,
        image: Image {
            registry: Some(registry),
            repository,
            tag: name,
            digest_source: digest.is_some().then_some(DigestSource::Payload),
            digest,
            media_type: manifest.media_type.and_then(Name::filled),
        },
        pusher: sender.and_then(Sender::filled),
        occurred_at: None,
    })]))
}

/// The registry and the repository: from the image's address or from the command that fetches it, where the tag may be
/// missing after the colon; otherwise from the owner and the package's name.
fn place(name: &Name<512>, owner: Option<Sender>, version: &Version) -> (String, String) {
    let url = version.package_url.as_ref().map(Name::as_str);
    let command = version
        .installation_command
        .as_ref()
        .and_then(|command| command.as_str().split_whitespace().next_back());
    let address = [url, command].into_iter().flatten().find_map(|address| {
        let address = address.strip_prefix("https://").unwrap_or(address);
        let (registry, rest) = address.split_once('/')?;
        let rest = rest.split('@').next().unwrap_or_default();
        let repository = rest.split(':').next().unwrap_or_default();
        let named = registry.contains(['.', ':']) && !repository.is_empty();
        named.then(|| (registry.to_ascii_lowercase(), repository.to_owned()))
    });
    address.unwrap_or_else(|| {
        let owner = owner.and_then(Sender::filled);
        let name = name.as_str();
        let repository = match owner {
            Some(owner) if !name.contains('/') => format!("{owner}/{name}"),
            Some(_) | None => name.to_owned(),
        };
        (REGISTRY.to_owned(), repository)
    })
}
