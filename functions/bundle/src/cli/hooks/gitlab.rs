//! Hooks of GitLab's projects: <https://docs.gitlab.com/api/project_webhooks/>.

use http::{HeaderName, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::api::Speech;
use super::hook::{Fault, Host, Proof, Topic, Wanted, text};

/// GitLab, gitlab.com or a server.
pub(super) struct Gitlab;

impl Host for Gitlab {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn speech(&self) -> Speech {
        Speech {
            token: HeaderName::from_static("private-token"),
            prefix: "",
            accept: "application/json",
            version: None,
            permission: "the scope api, of somebody with the role Maintainer or Owner of the project",
        }
    }

    fn usual_api(&self) -> Option<&'static str> {
        Some("https://gitlab.com")
    }

    fn path(&self, repository: &str) -> String {
        let project = utf8_percent_encode(repository, NON_ALPHANUMERIC);
        format!("api/v4/projects/{project}/hooks")
    }

    fn page_size(&self) -> &'static str {
        "per_page=100"
    }

    fn events(&self, topic: Topic) -> &'static [&'static str] {
        match topic {
            Topic::Pushes => &["push_events", "tag_push_events"],
            Topic::Changes => &["merge_requests_events"],
            Topic::Releases => &["releases_events"],
            Topic::Pipelines => &["pipeline_events"],
            Topic::Packages => &[],
        }
    }

    fn url<'a>(&self, hook: &'a Value) -> Option<&'a str> {
        text(hook, "/url")
    }

    fn faults(&self, hook: &Value, wanted: &Wanted) -> Vec<Fault> {
        let mut faults = Vec::new();
        // A hook that failed too often is not called any more, for a while or at all.
        if text(hook, "/alert_status").is_some_and(|status| status != "executable") {
            faults.push(Fault::Paused);
        }
        if hook.get("enable_ssl_verification") != Some(&Value::Bool(true)) {
            faults.push(Fault::Tls);
        }
        // Older servers do not say whether there is one.
        let present = match wanted.proof {
            Proof::Secret => "token_present",
            Proof::Signature => "signing_token_present",
        };
        if hook.get(present) == Some(&Value::Bool(false)) {
            faults.push(Fault::NoSecret);
        }
        let off = wanted
            .events
            .iter()
            .filter(|name| hook.get(**name) != Some(&Value::Bool(true)));
        faults.extend(Fault::events(off.map(|name| (*name).to_owned()).collect()));
        faults
    }

    fn made(&self, wanted: &Wanted) -> Value {
        let mut hook = json!({
            "url": wanted.url.as_str(),
            "enable_ssl_verification": true,
        });
        let secret = match wanted.proof {
            Proof::Secret => "token",
            Proof::Signature => "signing_token",
        };
        hook[secret] = json!(wanted.secret.expose_secret());
        // Pushes are on unless something else is said.
        hook["push_events"] = json!(false);
        for event in &wanted.events {
            hook[*event] = json!(true);
        }
        hook
    }

    fn repaired(&self, hook: &Value, wanted: &Wanted) -> Value {
        let mut change = self.made(wanted);
        if hook.get("push_events") == Some(&Value::Bool(true)) {
            change["push_events"] = json!(true);
        }
        change
    }

    fn repair_method(&self) -> Method {
        Method::PUT
    }

    fn warnings(&self, hook: &Value) -> Vec<String> {
        let filter = text(hook, "/push_events_branch_filter").unwrap_or_default();
        if filter.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "the hook sends only pushes to the branches {filter:?}: the trigger never sees the others"
        )]
    }
}
