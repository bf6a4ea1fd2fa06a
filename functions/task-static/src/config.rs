//! What a static workload is configured with.

use git::{BaseUrl, Branch, Folder, LocalPath, Repository};
use serde::{Deserialize, Serialize};

use crate::source::{StorageBytes, Variable};

/// The configuration of a workload of kind `static`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    /// Where the repository is.
    pub source: Source,
    /// The branch that is followed.
    #[serde(default)]
    pub branch: Branch,
    /// The folder that is published; the root unless it is named.
    #[serde(default)]
    pub folder: Folder,
    /// Whether Markdown files become pages. On unless it is switched off; then they are published as they are.
    #[serde(default = "markdown_default")]
    pub markdown: bool,
    /// How many bytes the site may have.
    #[serde(default)]
    pub storage_bytes_max: StorageBytes,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// At a provider (GitHub, Gitea, Forgejo, GitLab or any that serves Git over https).
    Provider {
        /// The provider's address.
        base_url: BaseUrl,
        /// The repository there.
        repository: Repository,
        /// The operator's variable, `GIT_TOKEN_…`, that holds the access token of a private repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_env: Option<Variable>,
    },
    /// On this machine, inside a folder that the operator allows.
    Local {
        /// The repository's absolute path.
        path: LocalPath,
    },
}

impl Source {
    /// Where it is fetched from.
    #[must_use]
    pub fn place(&self) -> git::Source {
        match self {
            Self::Provider {
                base_url,
                repository,
                token_env: _,
            } => git::Source::Remote(base_url.repository_url(repository)),
            Self::Local { path } => git::Source::Local(path.clone()),
        }
    }
}

fn markdown_default() -> bool {
    true
}

/// The JSON Schema of [`StaticConfig`]. It says no less than the types do, except for the finer rules of Git's names.
pub const SCHEMA: &str = model::SourceKind::Static.config_schema();

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn provider() -> Value {
        json!({"kind": "provider", "base_url": "https://github.com", "repository": "owner/name"})
    }

    fn schema() -> jsonschema::Validator {
        let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
        jsonschema::validator_for(&schema).expect("the schema is a schema")
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let config: StaticConfig =
            serde_json::from_value(json!({"source": provider()})).expect("good");
        let written = serde_json::to_value(&config).expect("JSON");
        assert_eq!(
            written,
            json!({
                "source": {"kind": "provider", "base_url": "https://github.com/", "repository": "owner/name"},
                "branch": "main", "folder": "", "markdown": true, "storage_bytes_max": 104_857_600,
            })
        );
        assert!(schema().is_valid(&written));
    }

    #[test]
    fn schema_and_types_agree() {
        let local = json!({"kind": "local", "path": "/srv/git/site.git"});
        for good in [
            json!({"source": provider()}),
            json!({"source": local, "branch": "feature/x", "folder": "docs/site", "markdown": false}),
            json!({"source": provider(), "storage_bytes_max": 268_435_456}),
        ] {
            assert!(schema().is_valid(&good), "{good}");
            serde_json::from_value::<StaticConfig>(good).expect("good");
        }
        let with = |key: &str, value: Value| {
            let mut config = json!({"source": provider()});
            config[key] = value;
            config
        };
        let source = |key: &str, value: Value| {
            let mut config = json!({"source": provider()});
            config["source"][key] = value;
            config
        };
        for bad in [
            json!({}),
            json!({"source": {"kind": "svn"}}),
            json!({"source": {"kind": "local"}}),
            with("branches", json!("main")),
            with("branch", json!("--output=x")),
            with("branch", json!("")),
            with("branch", json!(["main"])),
            with("folder", json!("/etc")),
            with("folder", json!("a/../..")),
            with("folder", json!("docs/")),
            with("markdown", json!("yes")),
            with("storage_bytes_max", json!(0)),
            with("storage_bytes_max", json!(268_435_457)),
            source("base_url", json!("http://github.com")),
            source("base_url", json!("ext::sh -c id")),
            source("base_url", json!("https://user@github.com")),
            source("repository", json!("name")),
            source("repository", json!("owner/--x")),
            source("token", json!("secret")),
            source("token_env", json!("git-token")),
        ] {
            assert!(!schema().is_valid(&bad), "schema took {bad}");
            assert!(
                serde_json::from_value::<StaticConfig>(bad.clone()).is_err(),
                "serde took {bad}"
            );
        }
    }
}
