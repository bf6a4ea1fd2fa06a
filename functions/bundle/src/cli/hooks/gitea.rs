//! Hooks of the repositories of Gitea and Forgejo: <https://docs.gitea.com/api>, `repoListHooks` and its neighbours. Whether
//! certificates are verified is a setting of the whole server there.

use http::Method;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::api::Speech;
use super::hook::{Fault, Host, Topic, Wanted, missing, names, repository_path, text};

/// Gitea or Forgejo.
pub(super) struct Gitea;

/// The kinds of hook that send what `webhook-gitea` understands; others speak to chats.
const TYPES: [&str; 3] = ["forgejo", "gitea", "gogs"];

impl Host for Gitea {
    fn name(&self) -> &'static str {
        "gitea"
    }

    fn speech(&self) -> Speech {
        Speech {
            token: AUTHORIZATION,
            prefix: "token ",
            accept: "application/json",
            version: None,
            permission: "the scope write:repository, of somebody who administrates the repository",
        }
    }

    fn usual_api(&self) -> Option<&'static str> {
        None
    }

    fn path(&self, repository: &str) -> String {
        format!("api/v1/repos/{}/hooks", repository_path(repository))
    }

    fn page_size(&self) -> &'static str {
        "limit=50"
    }

    fn events(&self, topic: Topic) -> &'static [&'static str] {
        match topic {
            Topic::Pushes => &["push"],
            Topic::Changes => &["pull_request"],
            Topic::Releases => &["release"],
            Topic::Pipelines => &[],
            Topic::Packages => &["package"],
        }
    }

    fn url<'a>(&self, hook: &'a Value) -> Option<&'a str> {
        let ours = text(hook, "/type").is_none_or(|kind| TYPES.contains(&kind));
        ours.then(|| text(hook, "/config/url")).flatten()
    }

    fn faults(&self, hook: &Value, wanted: &Wanted) -> Vec<Fault> {
        let mut faults = Vec::new();
        if hook.get("active") != Some(&Value::Bool(true)) {
            faults.push(Fault::Inactive);
        }
        if text(hook, "/config/content_type") != Some("json") {
            faults.push(Fault::ContentType);
        }
        faults.extend(Fault::events(missing(&names(hook), &wanted.events)));
        faults
    }

    fn made(&self, wanted: &Wanted) -> Value {
        json!({
            "type": "gitea",
            "active": true,
            "events": wanted.events,
            "config": config(wanted),
        })
    }

    /// What is left out of a change is not left as it is, but emptied: events, the filter and the header go along.
    fn repaired(&self, hook: &Value, wanted: &Wanted) -> Value {
        let mut events: Vec<String> = names(hook).into_iter().map(str::to_owned).collect();
        events.extend(missing(&names(hook), &wanted.events));
        let mut change = json!({
            "active": true,
            "events": events,
            "config": config(wanted),
        });
        for name in ["branch_filter", "authorization_header"] {
            if let Some(kept) = hook.get(name) {
                change[name] = kept.clone();
            }
        }
        change
    }

    fn repair_method(&self) -> Method {
        Method::PATCH
    }

    fn warnings(&self, hook: &Value) -> Vec<String> {
        let filter = text(hook, "/branch_filter").unwrap_or_default();
        if filter.is_empty() || filter == "*" {
            return Vec::new();
        }
        vec![format!(
            "the hook sends only what happens on the branches {filter:?}: the trigger never sees the others"
        )]
    }
}

fn config(wanted: &Wanted) -> Value {
    json!({
        "url": wanted.url.as_str(),
        "content_type": "json",
        "secret": wanted.secret.expose_secret(),
    })
}
