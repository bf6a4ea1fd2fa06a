//! `switchyard hooks setup`: one hook of one repository, made or repaired at its host.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use host::Env;
use http::Method;
use model::scheme::Scheme;
use model::{TriggerId, TriggerKind};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::AsWhat;
use super::api::Api;
use super::gitea::Gitea;
use super::github::Github;
use super::gitlab::Gitlab;
use super::hook::{Fault, Host, Proof, Topic, Wanted, id, text};
use super::place::{self, Place};
use crate::cli::failure::WrongSetting;
use crate::cli::operate::OperatorArgs;
use crate::cli::output::line;

/// Which hook, and what it shall be like.
#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Who hosts the repository; gitea is Forgejo's too
    #[arg(value_enum, value_name = "HOST")]
    host: HostName,
    /// The repository, as its host names it
    #[arg(long, value_name = "OWNER/NAME", value_parser = repository)]
    repository: String,
    /// The trigger that the hook calls
    #[arg(long, value_name = "ID")]
    trigger: TriggerId,
    /// Where the host reaches this installation, such as https://hooks.example.com; or the whole of the trigger's URL
    #[arg(long, value_name = "URL", value_parser = web_address)]
    url: Url,
    /// Where the host is, if not github.com or gitlab.com; of GitHub's own servers with /api/v3
    #[arg(long, value_name = "URL", value_parser = web_address)]
    api_url: Option<Url>,
    /// The file with the host's token, if not in $SWITCHYARD_GITHUB_TOKEN, _GITEA_TOKEN, _GITLAB_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The file with the trigger's secret; no database is asked then. Without it the secret is the one that is stored
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    secret_file: Option<PathBuf>,
    /// What the hook shall tell of; what else it tells of is left as it is
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "WHAT",
        default_values_t = [Topic::Pushes, Topic::Changes, Topic::Releases]
    )]
    events: Vec<Topic>,
    /// Give the hook the secret again, though nothing says that it has another: hosts do not show it
    #[arg(long)]
    renew_secret: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    told: AsWhat,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HostName {
    Github,
    Gitea,
    Gitlab,
}

impl HostName {
    fn host(self) -> &'static dyn Host {
        match self {
            Self::Github => &Github,
            Self::Gitea => &Gitea,
            Self::Gitlab => &Gitlab,
        }
    }

    const fn token_variable(self) -> &'static str {
        match self {
            Self::Github => "SWITCHYARD_GITHUB_TOKEN",
            Self::Gitea => "SWITCHYARD_GITEA_TOKEN",
            Self::Gitlab => "SWITCHYARD_GITLAB_TOKEN",
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Did {
    Created,
    Repaired,
    Nothing,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Report {
    host: &'static str,
    repository: String,
    /// The host's id of the hook.
    hook: Option<u64>,
    url: String,
    did: Did,
    /// Nothing was written, whatever is said to have been done.
    dry_run: bool,
    /// What was wrong.
    faults: Vec<String>,
    notes: Vec<String>,
}

/// Makes or repairs the hook and says what was done.
pub(super) async fn setup(env: &Env, args: SetupArgs) -> anyhow::Result<()> {
    let report = done(env, &args).await?;
    if args.told.is_json() {
        line(serde_json::to_string_pretty(&report)?);
    } else {
        told(&report);
    }
    Ok(())
}

async fn done(env: &Env, args: &SetupArgs) -> anyhow::Result<Report> {
    let host = args.host.host();
    let events = events(host, &args.events)?;
    let api_url = match (&args.api_url, host.usual_api()) {
        (Some(url), _) => url.clone(),
        (None, Some(usual)) => usual.parse().context("the usual address is one")?,
        (None, None) => {
            return Err(
                WrongSetting(format!("say where {} is with --api-url", host.name())).into(),
            );
        }
    };
    let token = token(env, args.host, args.token_file.as_deref())?;
    let (secret, proof, evidence) = match args.secret_file.as_deref() {
        Some(file) => (place::secret_of(file)?, Proof::Secret, Evidence::default()),
        None => stored(env, args, host).await?,
    };
    let wanted = Wanted {
        url: hook_url(&args.url, host.name(), args.trigger),
        secret,
        proof,
        events,
    };
    let speech = host.speech();
    let api = Api::new(
        &api_url,
        &speech,
        &token,
        &args.repository,
        wanted.secret.clone(),
    )?;
    let asked = Asked {
        repository: &args.repository,
        trigger: args.trigger,
        renew: args.renew_secret,
        dry_run: args.dry_run,
        evidence,
    };
    put_right(host, &api, &wanted, &asked).await
}

/// What the installation knows of the hook's deliveries.
#[derive(Debug, Clone, Copy, Default)]
struct Evidence {
    /// When the trigger was changed last, its secret perhaps.
    changed_at: Option<DateTime<Utc>>,
    /// When a signature did not hold, if none held since.
    refused_at: Option<DateTime<Utc>>,
}

impl Evidence {
    /// Why a hook that was last written then has another secret. Hosts that do not say when give no reason to write.
    fn against(self, written_at: Option<DateTime<Utc>>) -> Option<Fault> {
        let written_at = written_at?;
        let later = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > written_at);
        if later(self.refused_at) {
            Some(Fault::OtherSecret(
                "signatures did not hold since it was written",
            ))
        } else if later(self.changed_at) {
            Some(Fault::OtherSecret(
                "the trigger was changed since it was written",
            ))
        } else {
            None
        }
    }
}

struct Asked<'a> {
    repository: &'a str,
    trigger: TriggerId,
    renew: bool,
    dry_run: bool,
    evidence: Evidence,
}

async fn put_right(
    host: &dyn Host,
    api: &Api,
    wanted: &Wanted,
    asked: &Asked<'_>,
) -> anyhow::Result<Report> {
    let path = host.path(asked.repository);
    let hooks = api.list(&path, host.page_size()).await?;
    let url = wanted.url.as_str().trim_end_matches('/');
    let calls = |hook: &&Value| host.url(hook).map(|url| url.trim_end_matches('/')) == Some(url);
    let mut same = hooks.iter().filter(calls);
    let mut report = Report {
        host: host.name(),
        repository: asked.repository.to_owned(),
        hook: None,
        url: wanted.url.to_string(),
        did: Did::Nothing,
        dry_run: asked.dry_run,
        faults: Vec::new(),
        notes: elsewhere(host, &hooks, url, asked.trigger),
    };
    let Some(hook) = same.next() else {
        report.did = Did::Created;
        if !asked.dry_run {
            let made = api
                .send(Method::POST, &path, Some(&host.made(wanted)))
                .await?;
            report.hook = id(&made);
            checked(host, &made, wanted)?;
        }
        return Ok(report);
    };
    for other in same {
        let id = id(other).unwrap_or_default();
        report.notes.push(format!(
            "the hook {id} has the same URL, so that everything comes twice: delete it there"
        ));
    }
    report.notes.extend(host.warnings(hook));
    report.hook = id(hook);
    let mut faults = host.faults(hook, wanted);
    if !faults.contains(&Fault::NoSecret) {
        let written_at = text(hook, "/updated_at").and_then(|at| at.parse().ok());
        let renewed = asked.renew.then_some(Fault::Renewed);
        match renewed.or_else(|| asked.evidence.against(written_at)) {
            Some(fault) => faults.push(fault),
            None if written_at.is_none() && asked.evidence.refused_at.is_some() => {
                report.notes.push(
                    "the last signature did not hold: if that was since the hook was set up, use --renew-secret"
                        .to_owned(),
                );
            }
            None => {}
        }
    }
    if faults.is_empty() {
        return Ok(report);
    }
    report.did = Did::Repaired;
    report.faults = faults.iter().map(Fault::to_string).collect();
    if !asked.dry_run {
        let id = id(hook).ok_or_else(|| anyhow!("the host shows a hook without an id"))?;
        let change = host.repaired(hook, wanted);
        let path = format!("{path}/{id}");
        let now = api.send(host.repair_method(), &path, Some(&change)).await?;
        checked(host, &now, wanted)?;
        if faults.contains(&Fault::Paused) {
            // A call that succeeds is what makes the host go on.
            // https://docs.gitlab.com/user/project/integrations/webhooks/#re-enable-disabled-webhooks
            api.send(Method::POST, &format!("{path}/test/push_events"), None)
                .await
                .context("the hook was repaired, and the call that lets its host go on failed")?;
        }
    }
    Ok(report)
}

/// Looks whether the host did what it was asked to: some leave out events that they do not know, and say nothing.
fn checked(host: &dyn Host, now: &Value, wanted: &Wanted) -> anyhow::Result<()> {
    let left: Vec<String> = host
        .faults(now, wanted)
        .iter()
        // It goes on after a call; and of a new one some do not say yet that it has a secret.
        .filter(|fault| !matches!(fault, Fault::Paused | Fault::NoSecret))
        .map(Fault::to_string)
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    bail!(
        "{} wrote the hook, and still {}: this version of it may not know all of it, see --events",
        host.name(),
        left.join("; ")
    )
}

/// What calls the trigger at another address.
fn elsewhere(host: &dyn Host, hooks: &[Value], url: &str, trigger: TriggerId) -> Vec<String> {
    let trigger = trigger.to_string();
    hooks
        .iter()
        .filter_map(|hook| Some((id(hook)?, host.url(hook)?)))
        .filter(|(_, there)| there.contains(&trigger) && there.trim_end_matches('/') != url)
        .map(|(id, _)| {
            format!("the hook {id} calls this trigger at another URL: delete it there if that is an old one")
        })
        .collect()
}

fn told(report: &Report) {
    let Report {
        host,
        repository,
        url,
        dry_run,
        ..
    } = report;
    let hook = report
        .hook
        .map_or_else(|| "the hook".to_owned(), |id| format!("the hook {id}"));
    let did = match (report.did, dry_run) {
        (Did::Created, false) => format!("{hook} was made at {host} for {repository}"),
        (Did::Created, true) => format!("a hook would be made at {host} for {repository}"),
        (Did::Repaired, false) => format!("{hook} of {repository} was repaired at {host}"),
        (Did::Repaired, true) => format!("{hook} of {repository} would be repaired at {host}"),
        (Did::Nothing, _) => {
            format!("{hook} of {repository} is as it should be: nothing was written")
        }
    };
    line(format_args!("{did}; it calls {url}"));
    for fault in &report.faults {
        line(format_args!("  {fault}"));
    }
    for note in &report.notes {
        line(format_args!("  note: {note}"));
    }
}

/// The secret and the scheme of the trigger, and what came of it so far.
async fn stored(
    env: &Env,
    args: &SetupArgs,
    host: &dyn Host,
) -> anyhow::Result<(SecretString, Proof, Evidence)> {
    let place = Place::new(env, &args.operator)?;
    let trigger = place.trigger(args.trigger).await?;
    if trigger.kind != TriggerKind::Git && trigger.kind != TriggerKind::Registry {
        bail!(
            "{} is of the kind {}: a hook of a repository calls one of the kind git",
            args.trigger,
            trigger.kind.as_str()
        );
    }
    let gitlab = host.name() == "gitlab";
    let proof = match &trigger.scheme {
        None => Proof::Secret,
        Some(Scheme::Standard(scheme)) if gitlab && scheme.public_keys.is_empty() => {
            Proof::Signature
        }
        Some(Scheme::Token(token)) if gitlab && token.header.as_str() == "x-gitlab-token" => {
            Proof::Secret
        }
        // The others sign in all the ways they know at once.
        Some(Scheme::Hmac(_)) if !gitlab => Proof::Secret,
        Some(_) => bail!(
            "the trigger's scheme is one that {} cannot be told: without a scheme it is the host's own",
            host.name()
        ),
    };
    let secret = trigger.secret.ok_or_else(|| {
        anyhow!(
            "{} has no secret: give it one on its page or by the API, and run this again",
            args.trigger
        )
    })?;
    let evidence = Evidence {
        changed_at: place.changed_at(trigger.tenant, args.trigger).await?,
        refused_at: place.refused_at(trigger.tenant, args.trigger).await?,
    };
    Ok((secret, proof, evidence))
}

fn token(env: &Env, host: HostName, file: Option<&Path>) -> anyhow::Result<SecretString> {
    if let Some(file) = file {
        return place::secret_of(file);
    }
    let variable = host.token_variable();
    let token = env.get(variable).filter(|token| !token.is_empty());
    token.map(SecretString::from).ok_or_else(|| {
        WrongSetting(format!(
            "give a token of the host with --token-file, or in {variable}"
        ))
        .into()
    })
}

/// The host's names for what was asked for.
fn events(host: &dyn Host, topics: &[Topic]) -> anyhow::Result<Vec<&'static str>> {
    let mut events = Vec::new();
    for &topic in topics {
        let names = host.events(topic);
        if names.is_empty() {
            let name = topic.to_possible_value();
            let name = name.as_ref().map_or("these", |name| name.get_name());
            return Err(WrongSetting(format!(
                "the hooks of {} do not tell of {name}",
                host.name()
            ))
            .into());
        }
        events.extend(
            names
                .iter()
                .filter(|name| !events.contains(*name))
                .copied()
                .collect::<Vec<_>>(),
        );
    }
    Ok(events)
}

/// The trigger's URL at an address that may be the whole of it.
fn hook_url(given: &Url, host: &str, trigger: TriggerId) -> Url {
    let trigger = trigger.to_string();
    let mut url = given.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.split('/').any(|part| part == trigger) {
        url.set_path(&format!("{path}/webhook-{host}/{trigger}"));
    }
    url
}

fn repository(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let usable = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
    if parts.len() >= 2 && parts.iter().all(usable) && !text.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err("it must be OWNER/NAME, without the host and without .git".to_owned())
    }
}

fn web_address(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("it must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold a user or a password".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
