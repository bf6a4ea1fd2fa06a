//! What a runner is told to have done by netlab's own API.

use std::collections::BTreeMap;

use anyhow::anyhow;
use host::TaskError;
use model::run::{
    NetlabAction, NetlabApi, NetlabOrder, Output, Program, RunLimits, RunSecret, RunSpec, Signal,
    Step, StopLadder, Then,
};
use runs::netlab::{Action, Payload};

use crate::lab_host::ApiHost;
use crate::spec::COLLECTED;

/// The name of the secret with the password.
const PASSWORD: &str = "host-password";
/// How long the end of what cannot be stopped is waited for, in milliseconds.
const GRACE_MS: u64 = 10 * 60_000;

/// A run by netlab's API on a host.
///
/// # Errors
/// When the API has no such thing: it takes no files and no settings, and has no validation.
pub fn by_api(payload: &Payload, host: &ApiHost) -> Result<RunSpec, TaskError> {
    let folder = format!("{}/{}", host.folder, payload.lab);
    let refused = |what: &str| Err(TaskError::fail(anyhow!("netlab's API {what}")));
    if payload.source.has_files() {
        return refused(&format!(
            "takes no files: put the lab into {folder} on the host, and leave out the source"
        ));
    }
    if !payload.set.is_empty() {
        return refused("takes no settings: write them into the topology");
    }
    if !payload.environment.is_empty() {
        return refused("takes no environment");
    }
    let action = match payload.action {
        Action::Validate => return refused("validates nothing: leave out the host"),
        Action::Create => NetlabAction::Create,
        Action::Up => NetlabAction::Up,
        Action::Down => NetlabAction::Down,
        Action::Collect => NetlabAction::Collect,
        Action::Status => NetlabAction::Status,
    };
    let begins = matches!(action, NetlabAction::Create | NetlabAction::Up);
    let order = NetlabOrder {
        action,
        folder,
        topology: begins.then(|| payload.topology().to_owned()),
        collected: (action == NetlabAction::Collect).then(|| COLLECTED.to_owned()),
    };
    let step = Step {
        name: action.as_str().to_owned(),
        run: Program::NetlabApi(NetlabApi {
            url: host.url.to_string(),
            address: host.address,
            user: host.user.clone(),
            password_secret: PASSWORD.to_owned(),
            authorities: host.authorities.clone(),
            order,
        }),
        folder: String::new(),
        environment: BTreeMap::new(),
        ok_codes: Vec::new(),
        stop: StopLadder {
            first: Signal::Int,
            grace_ms: GRACE_MS,
            term_ms: 0,
        },
        output: Output::Lines,
        always: false,
    };
    Ok(RunSpec {
        phase: action.as_str().to_owned(),
        steps: vec![step],
        files: Vec::new(),
        environment: BTreeMap::new(),
        secrets: vec![RunSecret {
            name: PASSWORD.to_owned(),
            value: host.secret(),
            variable: None,
            file: None,
        }],
        artifacts: Vec::new(),
        limits: RunLimits {
            time_secs: payload.time_limit_secs,
            ..RunLimits::default()
        },
        // The installation's.
        heartbeat_ms: 0,
        then: Then::Finish,
        retry: false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn host() -> ApiHost {
        ApiHost {
            url: "https://labs.example.com:8090/".parse().expect("a URL"),
            address: "192.0.2.7:8090".parse().expect("an address"),
            user: "labs".to_owned(),
            password: "the password".to_owned().into(),
            folder: "/srv/labs".to_owned(),
            authorities: String::new(),
        }
    }

    fn made(change: &Value) -> Result<RunSpec, TaskError> {
        let mut payload = json!({"action": "up", "lab": "ring", "host": uuid::Uuid::nil()});
        for (name, value) in change.as_object().expect("an object") {
            payload[name] = value.clone();
        }
        by_api(
            &serde_json::from_value(payload).expect("a payload"),
            &host(),
        )
    }

    #[test]
    fn an_order_names_the_labs_folder_and_keeps_the_password_apart() {
        for (change, topology) in [
            (json!({}), Some("topology.yml")),
            (
                json!({"source": {"topology": "ring.yml"}}),
                Some("ring.yml"),
            ),
            (json!({"action": "down"}), None),
        ] {
            let spec = made(&change).expect("it can be done");
            let Program::NetlabApi(api) = &spec.steps[0].run else {
                panic!("it is by the API")
            };
            assert_eq!(api.order.folder, "/srv/labs/ring");
            assert_eq!(api.order.topology.as_deref(), topology);
            let steps = serde_json::to_string(&spec.steps).expect("JSON");
            assert!(!steps.contains("the password"));
        }
    }

    #[test]
    fn what_the_api_cannot_do_is_refused_and_not_left_out() {
        for (change, part) in [
            (
                json!({"source": {"files": {"topology.yml": ""}}}),
                "no files",
            ),
            (json!({"source": {"workspace": "labs"}}), "no files"),
            (json!({"set": ["a=b"]}), "no settings"),
            (json!({"environment": {"A": "b"}}), "no environment"),
            (json!({"action": "validate"}), "validates nothing"),
        ] {
            let error = made(&change).expect_err("it cannot be done").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
