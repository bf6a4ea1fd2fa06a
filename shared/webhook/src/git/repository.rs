//! Where code lives, as hooks tell it.

use http::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::Name;

/// How long a repository's path may be, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// `owner/name`, or deeper where the host has groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPath(String);

impl RepositoryPath {
    /// The path of a repository that is named apart from where it lies: a project and a name.
    ///
    /// # Errors
    /// When either is no part of a path.
    pub fn of(parts: &[&str]) -> Result<Self, String> {
        let path = parts.join("/");
        if is_path(&path) {
            Ok(Self(path))
        } else {
            Err(format!("{path:?} is not the path of a repository"))
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<'de> Deserialize<'de> for RepositoryPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let path = Name::<PATH_BYTES_MAX>::deserialize(from)?;
        match path.as_str() {
            "" => Err(D::Error::custom("is empty; owner/name is expected")),
            path if is_path(path) => Ok(Self(path.to_owned())),
            path => Err(D::Error::custom(format_args!(
                "{path:?} is not the path of a repository, such as owner/name"
            ))),
        }
    }
}

fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.chars().any(char::is_control)
        && path
            .split('/')
            .all(|part| !matches!(part.trim(), "" | "." | ".."))
}

/// The repository of a hook, as GitHub invented it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Repository {
    id: Option<u64>,
    path: RepositoryPath,
    html_url: Option<Name<2_048>>,
    clone_url: Option<Name<2_048>>,
    ssh_url: Option<Name<2_048>>,
    default_branch: Option<Name<1_024>>,
}

/// What is sent: some events leave out the path and name the owner and the repository.
#[derive(Deserialize)]
struct Parts {
    id: Option<u64>,
    full_name: Option<RepositoryPath>,
    owner: Option<Owner>,
    name: Option<Name<PATH_BYTES_MAX>>,
    html_url: Option<Name<2_048>>,
    clone_url: Option<Name<2_048>>,
    ssh_url: Option<Name<2_048>>,
    default_branch: Option<Name<1_024>>,
}

#[derive(Deserialize)]
struct Owner {
    login: Option<Name<255>>,
}

impl TryFrom<Parts> for Repository {
    type Error = String;

    fn try_from(parts: Parts) -> Result<Self, String> {
        let owner = parts.owner.and_then(|owner| owner.login);
        let path = match (parts.full_name, owner, parts.name) {
            (Some(path), ..) => path,
            (None, Some(owner), Some(name)) => {
                RepositoryPath::of(&[owner.as_str(), name.as_str()])?
            }
            (None, None, _) | (None, _, None) => {
                return Err("missing field `full_name`".to_owned());
            }
        };
        Ok(Self {
            id: parts.id,
            path,
            html_url: parts.html_url,
            clone_url: parts.clone_url,
            ssh_url: parts.ssh_url,
            default_branch: parts.default_branch,
        })
    }
}

impl Repository {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Whether both are the same one: by what the host calls them, or by path where it does not tell.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(id), Some(other)) => id == other,
            (_, None) | (None, _) => self.path == other.path,
        }
    }

    /// The repository in our own words.
    #[must_use]
    pub fn normalised(self) -> model::git::Repository {
        Place {
            path: self.path,
            html_url: self.html_url,
            clone_urls: self.clone_url.into_iter().chain(self.ssh_url).collect(),
            default_branch: self.default_branch,
        }
        .normalised()
    }
}

/// What any host tells about a repository.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its path.
    pub path: RepositoryPath,
    /// Its page.
    pub html_url: Option<Name<2_048>>,
    /// Where it can be fetched from.
    pub clone_urls: Vec<Name<2_048>>,
    /// The branch that a clone checks out.
    pub default_branch: Option<Name<1_024>>,
}

impl Place {
    /// The repository in our own words. Its host is read from the first of its URLs that names one.
    #[must_use]
    pub fn normalised(self) -> model::git::Repository {
        let html_url = self.html_url.and_then(Name::filled);
        let clone_urls: Vec<_> = self
            .clone_urls
            .into_iter()
            .filter_map(Name::filled)
            .collect();
        model::git::Repository {
            host: html_url.iter().chain(&clone_urls).find_map(|url| host(url)),
            path: self.path.into_string(),
            clone_urls,
            html_url,
            default_branch: self.default_branch.and_then(Name::filled),
        }
    }
}

/// The host of a web address, with its port when it names one. Addresses for SSH name the port of another server.
#[must_use]
pub fn host(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return None;
    }
    let host = uri.host()?.to_ascii_lowercase();
    Some(match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repository(id: Option<u64>, path: &str) -> Repository {
        serde_json::from_value(json!({"id": id, "full_name": path})).expect("a repository")
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        for good in ["team/site", "a/b/c", "My Project/My Repo", "~ann/x", "я/я"] {
            assert!(RepositoryPath::of(&[good]).is_ok(), "{good}");
        }
        for bad in [
            "", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a/ ", "a\nb/c",
        ] {
            assert!(RepositoryPath::of(&[bad]).is_err(), "{bad:?}");
            assert!(
                serde_json::from_value::<RepositoryPath>(json!(bad)).is_err(),
                "{bad:?}"
            );
        }
        assert_eq!(
            RepositoryPath::of(&["PRJ", "site"]).map(RepositoryPath::into_string),
            Ok("PRJ/site".to_owned())
        );
        assert!(RepositoryPath::of(&["", "site"]).is_err());
    }

    #[test]
    fn a_path_that_is_left_out_is_that_of_the_owner() {
        let read = |value| serde_json::from_value::<Repository>(value);
        let named = read(json!({"name": "site", "owner": {"login": "team"}}));
        assert_eq!(named.expect("a repository").path(), "team/site");
        for bad in [
            json!({"name": "site"}),
            json!({}),
            json!({"name": "..", "owner": {"login": "a"}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repository_that_was_renamed_is_the_same() {
        assert!(repository(Some(1), "a/b").is(&repository(Some(1), "a/c")));
        assert!(!repository(Some(1), "a/b").is(&repository(Some(2), "a/b")));
        assert!(repository(None, "a/b").is(&repository(Some(2), "a/b")));
    }

    #[test]
    fn the_host_is_read_from_an_address_of_the_web() {
        for (url, expected) in [
            (
                "https://Git.example.test:3000/a/b",
                Some("git.example.test:3000"),
            ),
            ("http://git.example.test/a/b.git", Some("git.example.test")),
            ("ssh://git@git.example.test:7999/a/b.git", None),
            ("git@git.example.test:a/b.git", None),
            ("", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }
}
