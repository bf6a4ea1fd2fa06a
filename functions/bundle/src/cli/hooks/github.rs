//! Hooks of GitHub's repositories: <https://docs.github.com/en/rest/repos/webhooks>.

use http::Method;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::api::Speech;
use super::hook::{Fault, Host, Topic, Wanted, missing, names, repository_path, text};

/// GitHub, github.com or a server.
pub(super) struct Github;

impl Host for Github {
    fn name(&self) -> &'static str {
        "github"
    }

    fn speech(&self) -> Speech {
        Speech {
            token: AUTHORIZATION,
            prefix: "Bearer ",
            accept: "application/vnd.github+json",
            version: Some(("x-github-api-version", "2022-11-28")),
            permission: "the repository permission \"Webhooks: read and write\", or as a classic token the scope admin:repo_hook",
        }
    }

    fn usual_api(&self) -> Option<&'static str> {
        Some("https://api.github.com")
    }

    fn path(&self, repository: &str) -> String {
        format!("repos/{}/hooks", repository_path(repository))
    }

    fn page_size(&self) -> &'static str {
        "per_page=100"
    }

    fn events(&self, topic: Topic) -> &'static [&'static str] {
        match topic {
            Topic::Pushes => &["push"],
            Topic::Changes => &["pull_request", "pull_request_review"],
            Topic::Releases => &["release"],
            Topic::Pipelines => &["workflow_run", "check_run"],
            Topic::Packages => &["package"],
        }
    }

    fn url<'a>(&self, hook: &'a Value) -> Option<&'a str> {
        text(hook, "/config/url")
    }

    fn faults(&self, hook: &Value, wanted: &Wanted) -> Vec<Fault> {
        let mut faults = Vec::new();
        if hook.get("active") != Some(&Value::Bool(true)) {
            faults.push(Fault::Inactive);
        }
        if text(hook, "/config/content_type") != Some("json") {
            faults.push(Fault::ContentType);
        }
        // Documented as a text or a number.
        let insecure = hook.pointer("/config/insecure_ssl");
        if insecure.is_some_and(|insecure| insecure != "0" && insecure != 0) {
            faults.push(Fault::Tls);
        }
        // It is shown as asterisks where there is one.
        if text(hook, "/config/secret").unwrap_or_default().is_empty() {
            faults.push(Fault::NoSecret);
        }
        let there = names(hook);
        if !there.contains(&"*") {
            faults.extend(Fault::events(missing(&there, &wanted.events)));
        }
        faults
    }

    fn made(&self, wanted: &Wanted) -> Value {
        json!({
            "name": "web",
            "active": true,
            "events": wanted.events,
            "config": config(wanted),
        })
    }

    fn repaired(&self, hook: &Value, wanted: &Wanted) -> Value {
        let there = names(hook);
        let mut change = json!({ "active": true, "config": config(wanted) });
        if !there.contains(&"*") {
            change["add_events"] = json!(missing(&there, &wanted.events));
        }
        change
    }

    fn repair_method(&self) -> Method {
        Method::PATCH
    }

    fn warnings(&self, _: &Value) -> Vec<String> {
        Vec::new()
    }
}

/// The whole of it, always: GitHub takes the secret away from a hook whose config is changed without one.
fn config(wanted: &Wanted) -> Value {
    json!({
        "url": wanted.url.as_str(),
        "content_type": "json",
        "insecure_ssl": "0",
        "secret": wanted.secret.expose_secret(),
    })
}
