//! Which URL is called for a job, and whose it is.

use model::TenantId;
use queue::executors::{CompletesBy, Executor, Place};
use url::Url;

use crate::settings::Places;

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) whose: Whose,
    /// An OpenFaaS gateway is on the way: it passes on and gives back what it is told in its own headers.
    pub(crate) openfaas: bool,
}

/// Who chose the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Any address of the cluster is meant.
    Operator,
    /// Guarded: only public addresses, and what the operator allows.
    Tenant,
}

/// Why there is nothing to call. Trying again does not help before somebody has changed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTarget {
    #[error(
        "no Knative Service can be called {0:?}; give the task a URL: switchyard task set NAME --executor knative --url URL"
    )]
    NoServiceName(String),
    #[error(
        "no OpenFaaS function can be called {0:?}; give the task a URL: switchyard task set NAME --executor openfaas --url URL"
    )]
    NoFunctionName(String),
    #[error(
        "the task {0} goes to wherever its tenant says, and this tenant has not said where: PUT /executors/{0}/url"
    )]
    NoTenantUrl(String),
    #[error("the task {task} is one of ours, and nobody else's to call")]
    Builtin { task: String },
    #[error("the URL of the task {task} cannot be called: {problem}")]
    BadUrl { task: String, problem: String },
}

impl Target {
    /// Where the function of a task is.
    pub(crate) fn of(
        place: &Place,
        tenant_url: Option<&str>,
        completes_by: CompletesBy,
        places: &Places,
    ) -> Result<Self, NoTarget> {
        let task = &place.task;
        let operator = |url, openfaas| Self {
            url,
            whose: Whose::Operator,
            openfaas,
        };
        match (place.executor, place.url.as_deref()) {
            (Executor::Builtin, _) => Err(NoTarget::Builtin { task: task.clone() }),
            (Executor::Knative | Executor::Http, Some(url)) => {
                Ok(operator(parsed(task, url)?, false))
            }
            (Executor::OpenFaas, Some(url)) => Ok(operator(parsed(task, url)?, true)),
            (Executor::Knative, None) => {
                if !is_label(task) {
                    return Err(NoTarget::NoServiceName(task.clone()));
                }
                let namespace = place.namespace.as_deref().unwrap_or(&places.namespace);
                let url = format!("http://{task}.{namespace}.svc.cluster.local/");
                Ok(operator(parsed(task, &url)?, false))
            }
            (Executor::OpenFaas, None) => {
                if !is_function_name(task) {
                    return Err(NoTarget::NoFunctionName(task.clone()));
                }
                // Called asynchronously the gateway answers 202 and posts what the function answered.
                let way = match completes_by {
                    CompletesBy::Response => "function",
                    CompletesBy::Callback => "async-function",
                };
                let gateway = places.openfaas.as_str().trim_end_matches('/');
                let url = format!("{gateway}/{way}/{task}");
                Ok(operator(parsed(task, &url)?, true))
            }
            (Executor::Http, None) => {
                let url = tenant_url.ok_or_else(|| NoTarget::NoTenantUrl(task.clone()))?;
                Ok(Self {
                    url: parsed(task, url)?,
                    whose: Whose::Tenant,
                    openfaas: false,
                })
            }
        }
    }

    /// What its circuit goes by. One that a tenant gave is the tenant's own: by what they ask of it, or of whom they take for
    /// it, tenants could keep each other's calls from it.
    pub(crate) fn circuit(&self, tenant: TenantId) -> String {
        let name = self.name();
        match self.whose {
            Whose::Operator => name,
            Whose::Tenant => format!("{name} of {}", tenant.uuid()),
        }
    }

    /// What stands for it where it is told how it does: its host and path. What a query says may be a secret.
    pub(crate) fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self
            .url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let path = self.url.path().trim_end_matches('/');
        format!("{host}{port}{path}")
    }
}

fn parsed(task: &str, url: &str) -> Result<Url, NoTarget> {
    let bad = |problem: String| NoTarget::BadUrl {
        task: task.to_owned(),
        problem,
    };
    let url = Url::parse(url).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(format!(
            "its scheme is {}, not http or https",
            url.scheme()
        )));
    }
    Ok(url)
}

/// One label of a host name in the form that Kubernetes has for Services (RFC 1035 and 1123).
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_function_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            callback: Url::parse("http://callback/callback").expect("a URL"),
            namespace: "functions".to_owned(),
            openfaas: Url::parse("http://gateway.openfaas:8080/").expect("a URL"),
        }
    }

    fn place(task: &str, executor: Executor) -> Place {
        Place {
            task: task.to_owned(),
            executor,
            url: None,
            namespace: None,
        }
    }

    fn url(place: &Place, completes_by: CompletesBy) -> Result<String, NoTarget> {
        Target::of(place, None, completes_by, &places()).map(|target| target.url.to_string())
    }

    #[test]
    fn each_executor_has_its_usual_place() {
        use CompletesBy::{Callback, Response};
        let knative = place("hello", Executor::Knative);
        assert_eq!(
            url(&knative, Response).as_deref(),
            Ok("http://hello.functions.svc.cluster.local/")
        );
        let elsewhere = Place {
            namespace: Some("others".to_owned()),
            ..knative
        };
        assert_eq!(
            url(&elsewhere, Response).as_deref(),
            Ok("http://hello.others.svc.cluster.local/")
        );
        let openfaas = place("hello", Executor::OpenFaas);
        assert_eq!(
            url(&openfaas, Response).as_deref(),
            Ok("http://gateway.openfaas:8080/function/hello")
        );
        assert_eq!(
            url(&openfaas, Callback).as_deref(),
            Ok("http://gateway.openfaas:8080/async-function/hello")
        );
    }

    #[test]
    fn a_given_url_is_called_as_it_is() {
        for executor in [Executor::Knative, Executor::OpenFaas, Executor::Http] {
            let given = Place {
                url: Some("http://10.0.0.7:9000/in?x=1".to_owned()),
                ..place("email:send", executor)
            };
            let target =
                Target::of(&given, None, CompletesBy::Callback, &places()).expect("it has a URL");
            assert_eq!(target.url.as_str(), "http://10.0.0.7:9000/in?x=1");
            assert_eq!(target.whose, Whose::Operator);
            assert_eq!(target.name(), "10.0.0.7:9000/in", "without the query");
        }
    }

    #[test]
    fn what_a_tenant_gave_is_called_as_the_tenants() {
        let http = place("hook", Executor::Http);
        let of = |url| Target::of(&http, url, CompletesBy::Response, &places());
        let target = of(Some("https://fn.example.test/hook")).expect("it has a URL");
        assert_eq!(target.whose, Whose::Tenant);
        assert_eq!(of(None), Err(NoTarget::NoTenantUrl("hook".to_owned())));
        // Where the operator has said where, a tenant has nothing to say.
        let operators = Place {
            url: Some("http://hook.internal/".to_owned()),
            ..http.clone()
        };
        let target = Target::of(
            &operators,
            Some("https://fn.example.test/"),
            CompletesBy::Response,
            &places(),
        )
        .expect("it has a URL");
        assert_eq!(
            (target.url.as_str(), target.whose),
            ("http://hook.internal/", Whose::Operator)
        );
    }

    #[test]
    fn a_circuit_is_everybodys_or_the_tenants_own() {
        let tenants: [TenantId; 2] = [1, 2].map(|id| uuid::Uuid::from_u128(id).into());
        let circuits = |url: Option<&str>, tenant_url: Option<&str>| {
            let place = Place {
                url: url.map(str::to_owned),
                ..place("hook", Executor::Http)
            };
            tenants.map(|tenant| {
                Target::of(&place, tenant_url, CompletesBy::Response, &places())
                    .expect("it has a URL")
                    .circuit(tenant)
            })
        };
        let url = Some("https://fn.example.test/hook?token=1");
        let [one, other] = circuits(url, None);
        assert_eq!((one.as_str(), &one), ("fn.example.test/hook", &other));
        let [mine, theirs] = circuits(None, url);
        assert!(
            mine != theirs && ![&mine, &theirs].contains(&&one),
            "{mine} {theirs}"
        );
    }

    #[test]
    fn a_name_that_no_function_can_have_needs_a_url() {
        for task in ["email:send_email", "../admin", "a/b", "", "Ähm", "-x"] {
            for executor in [Executor::Knative, Executor::OpenFaas] {
                assert!(
                    url(&place(task, executor), CompletesBy::Response).is_err(),
                    "{task:?} {executor}"
                );
            }
        }
        let file = Place {
            url: Some("file:///etc/passwd".to_owned()),
            ..place("x", Executor::Http)
        };
        assert!(matches!(
            url(&file, CompletesBy::Response),
            Err(NoTarget::BadUrl { .. })
        ));
    }
}
