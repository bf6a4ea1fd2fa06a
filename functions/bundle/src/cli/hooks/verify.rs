//! `switchyard hooks verify`: why the signature of a recorded request does not hold. It is checked as the endpoint does; where
//! that fails, what usually goes wrong is undone piece by piece, until something holds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use clap::Args;
use host::Env;
use http::HeaderMap;
use model::scheme::Scheme;
use model::{TriggerId, TriggerKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use webhook::{BadSignature, Delivery, PathHash, PathSecrets, Raw, Secrets, Vendor, Which, sender};

use super::AsWhat;
use super::place::{self, Place};
use crate::cli::failure::{Told, WrongSetting};
use crate::cli::operate::OperatorArgs;
use crate::cli::output::line;

mod body;
mod explain;
mod request;

use explain::{Expected, explained};
use request::Recorded;

/// Which request, and what it should have been signed with.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The request as it came: its headers, an empty line, its body to the last byte
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How its sender proves itself: github, gitea, gitlab, bitbucket, azure, registry, cloudevents, generic, or a scheme
    /// as a trigger has it, {"kind": …}; if nothing is said, as the request's headers tell
    #[arg(long, value_name = "NAME|JSON")]
    scheme: Option<String>,
    /// The file with the secret
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "trigger",
        conflicts_with = "trigger"
    )]
    secret_file: Option<PathBuf>,
    /// The trigger whose secrets and scheme are stored
    #[arg(long, value_name = "ID")]
    trigger: Option<TriggerId>,
    /// When the request came, for signatures that are good for a while; now if nothing is said
    #[arg(long, value_name = "RFC3339")]
    at: Option<DateTime<Utc>>,
    #[command(flatten)]
    told: AsWhat,
    #[command(flatten)]
    operator: OperatorArgs,
}

type Check = fn(&Delivery<Raw>, &Secrets) -> Result<Which, BadSignature>;

/// A kind of sender by the name that its URL has.
struct Known {
    name: &'static str,
    senders: &'static [model::Vendor],
    check: Check,
}

const fn known<V: Vendor>() -> Known {
    Known {
        name: V::NAME,
        senders: V::SENDERS,
        check: V::verify,
    }
}

static KNOWN: [Known; 8] = [
    known::<webhook_github::Github>(),
    known::<webhook_gitea::Gitea>(),
    known::<webhook_gitlab::Gitlab>(),
    known::<webhook_bitbucket::Bitbucket>(),
    known::<webhook_azure::Azure>(),
    known::<webhook_registry::Registry>(),
    known::<webhook_cloudevents::CloudEvents>(),
    known::<webhook_generic::Generic>(),
];

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether the endpoint would take it.
    holds: bool,
    /// How it was checked.
    scheme: String,
    /// With which of two secrets it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'static str>,
    /// What the endpoint says.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What was found out, the surest first.
    findings: Vec<String>,
}

/// Checks the request and says why it does not hold. What does not hold ends with 1.
pub(super) async fn verify(env: &Env, args: VerifyArgs) -> anyhow::Result<()> {
    let recorded = Recorded::read(&args.file)?;
    let given = args.scheme.as_deref().map(read_scheme).transpose()?;
    let found = keys(env, &args, &recorded).await?;
    let asked = Question {
        check: given
            .as_ref()
            .and_then(|given| given.known)
            .unwrap_or_else(|| by_headers(&recorded.headers)),
        scheme: given.and_then(|given| given.scheme).or(found.scheme),
        current: found.current,
        previous: found.previous,
        path: found.path,
        at: args.at.unwrap_or_else(now),
    };
    let report = judged(&recorded, &asked);
    if args.told.is_json() {
        line(serde_json::to_string_pretty(&report)?);
    } else {
        told(&report);
    }
    if report.holds {
        Ok(())
    } else {
        Err(Told.into())
    }
}

/// What a request is held against.
struct Question {
    check: &'static Known,
    scheme: Option<Scheme>,
    current: SecretString,
    previous: Option<SecretString>,
    path: PathSecrets,
    at: DateTime<Utc>,
}

impl Question {
    fn secrets(&self) -> Secrets {
        Secrets::new(self.current.clone(), self.previous.clone())
            .with_scheme(self.scheme.clone())
            .with_path(self.path)
    }

    fn check(&self, recorded: &Recorded, at: DateTime<Utc>) -> Result<Which, BadSignature> {
        let body = Bytes::copy_from_slice(&recorded.body);
        let delivery = Delivery::new(recorded.headers.clone(), body, at)
            .at_path(recorded.path_secret().map(SecretString::from));
        (self.check.check)(&delivery, &self.secrets())
    }

    fn name(&self) -> String {
        match &self.scheme {
            Some(scheme) => serde_json::to_string(scheme).unwrap_or_default(),
            None => self.check.name.to_owned(),
        }
    }
}

fn judged(recorded: &Recorded, asked: &Question) -> Report {
    let mut report = Report {
        holds: false,
        scheme: asked.name(),
        secret: None,
        reason: None,
        findings: Vec::new(),
    };
    match &asked.scheme {
        Some(Scheme::Oidc(_)) => {
            report.reason = Some("identity tokens are checked with keys that their maker publishes: that is not done here".to_owned());
            return report;
        }
        Some(Scheme::None(_)) => {
            report.reason = Some("the trigger asks for no proof but the sender's address, which a recording does not have".to_owned());
            return report;
        }
        Some(
            Scheme::Hmac(_)
            | Scheme::Standard(_)
            | Scheme::Token(_)
            | Scheme::Basic(_)
            | Scheme::Path {},
        )
        | None => {}
    }
    match asked.check(recorded, asked.at) {
        Ok(which) => {
            report.holds = true;
            report.secret = Some(match which {
                Which::Current => "current",
                Which::Previous => "previous",
            });
        }
        Err(bad) => {
            let stale = matches!(bad, BadSignature::Stale(_));
            report.reason = Some(bad.to_string());
            let signed_at = recorded.signed_at().filter(|_| stale);
            if let Some(at) = signed_at
                && asked.check(recorded, at).is_ok()
            {
                let late = asked.at.signed_duration_since(at).num_seconds();
                report.findings.push(format!(
                    "the signature itself holds, and its time is {} s {}: it counts within 5 minutes; for when the request came use --at",
                    late.abs(),
                    if late < 0 { "in the future, so that one of the clocks is wrong" } else { "ago" },
                ));
            } else {
                let expected =
                    Expected::of(asked.check.name, asked.scheme.as_ref(), &recorded.headers);
                report.findings = explained(recorded, &expected, asked.current.expose_secret());
            }
        }
    }
    report.findings.extend(recorded.doubts());
    report
}

fn told(report: &Report) {
    match (&report.reason, report.secret) {
        (None, secret) => line(format_args!(
            "the signature holds, by {}, with the {} secret",
            report.scheme,
            secret.unwrap_or("current"),
        )),
        (Some(reason), _) => line(format_args!(
            "the signature does not hold, by {}: {reason}",
            report.scheme
        )),
    }
    for finding in &report.findings {
        line(format_args!("  {finding}"));
    }
}

struct Given {
    known: Option<&'static Known>,
    scheme: Option<Scheme>,
}

fn read_scheme(text: &str) -> anyhow::Result<Given> {
    if text.trim_start().starts_with('{') {
        let scheme = serde_json::from_str(text).map_err(|error| {
            WrongSetting(format!(
                "--scheme is not one that a trigger may have: {error}"
            ))
        })?;
        return Ok(Given {
            known: by_name("generic"),
            scheme: Some(scheme),
        });
    }
    match by_name(text) {
        Some(known) => Ok(Given {
            known: Some(known),
            scheme: None,
        }),
        None => {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            Err(WrongSetting(format!(
                "{text:?} is no scheme: it is one of {}, or JSON such as {{\"kind\": \"standard\"}}",
                names.join(", ")
            ))
            .into())
        }
    }
}

fn by_name(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// Whose headers they are; those of nobody in particular are taken as any job's.
fn by_headers(headers: &HeaderMap) -> &'static Known {
    let sender = sender(headers);
    let of = |known: &&Known| sender.is_some_and(|it| known.senders.contains(&it.vendor));
    KNOWN.iter().find(of).unwrap_or(&KNOWN[KNOWN.len() - 1])
}

/// What the trigger is told to look for.
struct Keys {
    scheme: Option<Scheme>,
    current: SecretString,
    previous: Option<SecretString>,
    path: PathSecrets,
}

async fn keys(env: &Env, args: &VerifyArgs, recorded: &Recorded) -> anyhow::Result<Keys> {
    let Some(id) = args.trigger else {
        let file = args.secret_file.as_deref().unwrap_or(Path::new(""));
        // To the last byte: white space in a secret is one of the things to find.
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("could not read {}", file.display()))?;
        let current = if text.trim().is_empty() {
            bail!("{} is empty", file.display());
        } else {
            place::secret_of(file)?
        };
        let path = PathSecrets {
            current: Some(PathHash::of(&current)),
            previous: None,
        };
        return Ok(Keys {
            scheme: None,
            current,
            previous: None,
            path,
        });
    };
    let trigger = Place::new(env, &args.operator)?.trigger(id).await?;
    if trigger.kind == TriggerKind::Manual {
        bail!("{id} is of the kind manual, which takes no requests");
    }
    if let Some(named) = recorded.trigger()
        && named != id
    {
        bail!("the request is for {named}, not for {id}");
    }
    let path = PathSecrets {
        current: trigger.path_sha256.map(PathHash),
        previous: trigger.path_sha256_previous.map(PathHash),
    };
    let by_path = matches!(trigger.scheme, Some(Scheme::Path {}));
    let Some(current) = trigger
        .secret
        .or_else(|| by_path.then(SecretString::default))
    else {
        bail!("{id} has no secret: nothing holds until it has one");
    };
    Ok(Keys {
        scheme: trigger.scheme,
        current,
        previous: trigger.secret_previous,
        path,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command has no context with a clock"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests;
