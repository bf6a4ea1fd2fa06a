//! Bodies that a line of a CI job can write.
//!
//! ```json
//! {"image": "registry.example.com/team/app:v1"}
//! {"ref": "refs/heads/main", "repository": "team/app", "sha": "2f1d…"}
//! ```
//!
//! `image` may come with `tag` and `digest`, and without any tag names `latest`; `ref` may be the short name of a branch, and
//! without `sha` names whatever is there when work starts.

use model::Vendor;
use model::git::{ChangedPaths, CommitId, GitPushed, GitTagged, Repository};
use serde_json::Value;
use webhook::git::{Hash, RefName, RepositoryPath, ShortName};
use webhook::image::{Named, Reference};
use webhook::{Normalised, ParseError};

/// What a commit may be called.
const COMMITS: [&str; 3] = ["sha", "after", "commit"];

/// A body with one of the two words at the top level.
pub(crate) enum Simple<'a> {
    /// `image`, a text.
    Image(&'a Value),
    /// `ref`, a text.
    Ref(&'a Value),
}

impl<'a> Simple<'a> {
    /// Whether it is one. With a `type` and `data` it is a Standard Webhook, which says something of its own.
    pub(crate) fn of(body: &'a Value) -> Option<Self> {
        let is_text = |name: &str| body[name].is_string();
        if is_text("type") && body.get("data").is_some() {
            None
        } else if is_text("image") {
            Some(Self::Image(body))
        } else if is_text("ref") {
            Some(Self::Ref(body))
        } else {
            None
        }
    }

    pub(crate) fn fact(&self) -> Result<Normalised, ParseError> {
        match self {
            Self::Image(body) => image(body),
            Self::Ref(body) => reference(body),
        }
    }
}

fn image(body: &Value) -> Result<Normalised, ParseError> {
    let image = body["image"].as_str().unwrap_or_default();
    let reference = Reference::familiar(image).ok_or_else(|| {
        ParseError::malformed(
            "image",
            "does not name an image, such as registry/team/app:v1",
        )
    })?;
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let mut named = Named {
        registry: Some(reference.registry),
        tag: reference.tag.or_else(|| text("tag")),
        digest: reference.digest.or_else(|| text("digest")),
        ..Named::new(Vendor::Generic, reference.repository)
    };
    if named.tag.is_none() && named.digest.is_none() {
        named.tag = Some("latest".to_owned());
    }
    named.pushed("image")
}

fn reference(body: &Value) -> Result<Normalised, ParseError> {
    let name = ref_name(&body["ref"])?;
    let after = commit(body)?;
    let before: Option<Hash> = field(body, "before")?;
    let repository = repository(body)?;
    let ref_name = name.as_str().to_owned();
    if let Some(tag) = name.tag() {
        return Ok(Normalised::Tagged(GitTagged {
            vendor: Vendor::Generic,
            repository,
            ref_name: ref_name.clone(),
            tag: tag.to_owned(),
            before: before.and_then(|hash| hash.0),
            head_unknown: after.is_none(),
            after: after.flatten(),
            commit: None,
            announced: None,
            pusher: None,
            pusher_name: None,
        }));
    }
    let branch = name
        .branch()
        .ok_or_else(|| ParseError::malformed("ref", "is neither a branch nor a tag"))?;
    Ok(Normalised::Pushed(GitPushed {
        vendor: Vendor::Generic,
        repository,
        ref_name: ref_name.clone(),
        branch: branch.to_owned(),
        before: before.and_then(|hash| hash.0),
        head_unknown: after.is_none(),
        after: after.flatten(),
        forced: false,
        changed_paths: ChangedPaths::Unknown {
            reason: "the sender names a reference and no paths".to_owned(),
        },
        skip_asked: false,
        pusher: None,
        pusher_name: None,
        commits: Vec::new(),
    }))
}

/// A full name, or the short one of a branch.
fn ref_name(given: &Value) -> Result<RefName, ParseError> {
    if given.as_str().is_some_and(|name| name.starts_with("refs/")) {
        return read(given, "ref");
    }
    Ok(RefName::of_branch(&read::<ShortName>(given, "ref")?))
}

/// The commit, zeros for none; nothing when it is not said.
fn commit(body: &Value) -> Result<Option<Option<CommitId>>, ParseError> {
    for name in COMMITS {
        if let Some(hash) = field::<Hash>(body, name)? {
            return Ok(Some(hash.0));
        }
    }
    Ok(None)
}

/// The repository by its path, or as GitHub would write it. Without one, only triggers that ask for none match.
fn repository(body: &Value) -> Result<Repository, ParseError> {
    let (given, at) = match body.pointer("/repository/full_name") {
        Some(given) => (given, "repository.full_name"),
        None => (&body["repository"], "repository"),
    };
    let path = if given.is_null() {
        String::new()
    } else {
        read::<RepositoryPath>(given, at)?.into_string()
    };
    Ok(Repository {
        host: None,
        path,
        clone_urls: Vec::new(),
        html_url: None,
        default_branch: None,
    })
}

fn field<T: serde::de::DeserializeOwned>(
    body: &Value,
    name: &str,
) -> Result<Option<T>, ParseError> {
    match &body[name] {
        Value::Null => Ok(None),
        given => read(given, name).map(Some),
    }
}

fn read<T: serde::de::DeserializeOwned>(given: &Value, at: &str) -> Result<T, ParseError> {
    T::deserialize(given).map_err(|error| ParseError::malformed(at, &error.to_string()))
}
