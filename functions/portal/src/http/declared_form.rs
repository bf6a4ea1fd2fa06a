//! Making and changing what people declare: what is written becomes one, or comes back with what is wrong and nothing stored.

use std::sync::Arc;

use axum::Extension;
use axum::response::{IntoResponse as _, Redirect, Response};
use database::TenantTx;
use egress::Guard;
use host::Ctx;
use http::StatusCode;
use log_rules::{Pattern, Trial};
use maud::Markup;
use model::TriggerId;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use store::declared::{self, Author};
use store::triggers::SaveError;
use store::{credentials, notifications, pages};
use triggers::{Fault, Why};
use url::Url;
use uuid::Uuid;

use super::notify::endpoint_page;
use super::problem::Problem;
use super::session::Signed;
use super::trigger_form::{Deed, Filter, Sent, faults, status, turned};
use crate::views::declared_form::{declared_form, fields};
use crate::views::model::{ConfigAs, Declared, DeclaredForm, DeclaredFormPage, FormFault, Link};
use crate::views::notify::endpoint as endpoint_view;

/// Things to choose one of.
const CHOICES: usize = 200;

/// What looks at URLs before they are saved.
pub(super) type Admitted = Extension<Arc<Guard>>;

/// What is made or changed, and what is known of it beforehand.
pub(super) struct Subject {
    pub(super) what: Declared,
    /// What is there already: its id and name.
    pub(super) changes: Option<(Uuid, String)>,
    /// The trigger that is looked at for.
    pub(super) trigger: Option<(TriggerId, String)>,
    /// Keys that the form does not decide.
    pub(super) fixed: Map<String, Value>,
}

impl Subject {
    pub(super) fn new(what: Declared) -> Self {
        Self {
            what,
            changes: None,
            trigger: None,
            fixed: Map::new(),
        }
    }

    fn list(&self) -> &'static str {
        match self.what {
            Declared::LogRule { .. } => "/log-rules",
            Declared::Endpoint => "/notification-endpoints",
            Declared::NotificationRule => "/notification-rules",
            Declared::Watch(_) => "/triggers",
        }
    }

    fn action(&self) -> String {
        match (&self.trigger, &self.changes) {
            (Some((id, _)), _) => format!("/triggers/{id}/watch"),
            (None, Some((id, _))) => format!("{}/{id}", self.list()),
            (None, None) => self.list().to_owned(),
        }
    }

    /// Its own page, or the one that it is listed on.
    fn page(&self, id: Option<Uuid>) -> String {
        match (self.what, &self.trigger, id) {
            (_, Some((id, _)), _) => format!("/triggers/{id}"),
            (Declared::LogRule { .. } | Declared::Endpoint, None, Some(id)) => {
                format!("{}/{id}", self.list())
            }
            (Declared::LogRule { .. }, None, None) => self.list().to_owned(),
            (_, None, _) => "/notification-endpoints".to_owned(),
        }
    }

    fn crumbs(&self, signed: &Signed) -> Vec<Link> {
        let language = signed.visitor.language;
        let (name, href) = match self.what {
            Declared::LogRule { .. } => (language.t("log-rules-title"), "/log-rules"),
            Declared::Endpoint | Declared::NotificationRule => {
                (language.t("notify-title"), "/notification-endpoints")
            }
            Declared::Watch(_) => (language.t("triggers-title"), "/triggers"),
        };
        let above = Link {
            name,
            href: href.to_owned(),
        };
        let own = match (&self.trigger, &self.changes) {
            (Some((_, name)), _) => Some(name.clone()),
            (None, Some((_, name))) if self.what != Declared::NotificationRule => {
                Some(name.clone())
            }
            (None, _) => None,
        };
        let own = own.map(|name| Link {
            name,
            href: self.page(self.changes.as_ref().map(|(id, _)| *id)),
        });
        [Some(above), own].into_iter().flatten().collect()
    }
}

fn filter(what: Declared, form: &mut DeclaredForm) -> Filter<'_> {
    Filter {
        known: fields(what),
        config_as: &mut form.config_as,
        fields: &mut form.fields,
        rest: &mut form.rest,
        json: &mut form.config_json,
    }
}

/// What there is to choose from in a form.
async fn picks(
    tx: &mut TenantTx,
    what: Declared,
) -> Result<Vec<(&'static str, Vec<(String, String)>)>, Problem> {
    Ok(match what {
        Declared::LogRule { .. } => {
            let triggers = pages::trigger_list(tx, None, CHOICES).await?;
            let triggers = triggers
                .into_iter()
                .filter(|trigger| trigger.kind == "log")
                .map(|trigger| (trigger.id.to_string(), trigger.name));
            vec![
                ("workload", workloads(tx).await?),
                ("trigger", triggers.collect()),
            ]
        }
        Declared::Endpoint => Vec::new(),
        Declared::NotificationRule => vec![("endpoint", endpoints(tx).await?)],
        Declared::Watch(_) => {
            let all = credentials::list(tx).await?;
            let named = all
                .into_iter()
                .map(|one| (one.id.to_string(), format!("{} ({})", one.name, one.host)));
            vec![("credential", named.collect())]
        }
    })
}

/// Workloads to choose from: ids and names.
pub(super) async fn workloads(tx: &mut TenantTx) -> Result<Vec<(String, String)>, Problem> {
    let found = pages::workloads(tx, None, CHOICES).await?;
    let named = found.into_iter().map(|one| (one.id.to_string(), one.name));
    Ok(named.collect())
}

/// Endpoints to choose from: ids and names.
pub(super) async fn endpoints(tx: &mut TenantTx) -> Result<Vec<(String, String)>, Problem> {
    let found = notifications::endpoints(tx, None).await?;
    let named = found.into_iter().map(|one| (one.id.to_string(), one.name));
    Ok(named.collect())
}

async fn page(
    tx: &mut TenantTx,
    signed: &Signed,
    subject: &Subject,
    form: DeclaredForm,
    wrong: Vec<FormFault>,
) -> Result<DeclaredFormPage, Problem> {
    let id = subject.changes.as_ref().map(|(id, _)| *id);
    Ok(DeclaredFormPage {
        what: subject.what,
        changes: subject.changes.as_ref().map(|(_, name)| name.clone()),
        crumbs: subject.crumbs(signed),
        action: subject.action(),
        leave_href: subject.page(id),
        picks: picks(tx, subject.what).await?,
        form,
        wrong,
        trial: None,
    })
}

/// The form of what is there, or of what a new one begins with.
pub(super) async fn show(
    ctx: &Ctx,
    signed: &Signed,
    subject: &Subject,
    config: &Map<String, Value>,
) -> Result<Markup, Problem> {
    let mut form = DeclaredForm::default();
    filter(subject.what, &mut form).write(config, ConfigAs::Fields);
    let mut tx = signed.begin(ctx).await?;
    let view = page(&mut tx, signed, subject, form, Vec::new()).await?;
    tx.commit().await?;
    Ok(declared_form(&signed.reader(), &view))
}

/// What is stored, as somebody would write it: without what is not theirs to write.
pub(super) fn written(stored: &impl serde::Serialize, keys: &[&str]) -> Map<String, Value> {
    let value = serde_json::to_value(stored).unwrap_or_default();
    let Value::Object(all) = value else {
        return Map::new();
    };
    all.into_iter()
        .filter(|(key, value)| keys.contains(&key.as_str()) && !value.is_null())
        .collect()
}

fn read<T: DeserializeOwned>(config: Map<String, Value>) -> Result<T, SaveError> {
    serde_path_to_error::deserialize(Value::Object(config)).map_err(|error| {
        let place = match error.path().to_string() {
            whole if whole == "." => String::new(),
            place => place,
        };
        let why = Why::Value(error.into_inner().to_string());
        SaveError::Wrong(vec![Fault { place, why }])
    })
}

/// What was saved: where it is shown, and the secret that is shown with it this once.
struct Saved {
    id: Option<Uuid>,
    secret: Option<SecretString>,
}

async fn save(
    ctx: &Ctx,
    signed: &Signed,
    tx: &mut TenantTx,
    guard: &Guard,
    subject: &Subject,
    config: Map<String, Value>,
) -> Result<Saved, SaveError> {
    let by = author(signed);
    let admits = |url: &Url| guard.check_url(url).map_err(|denied| denied.to_string());
    let there = subject.changes.as_ref().map(|(id, _)| *id);
    let mut secret = None;
    let id = match (subject.what, &subject.trigger) {
        (Declared::LogRule { .. }, _) => {
            Some(declared::save_log_rule(tx, by, there, read(config)?).await?)
        }
        (Declared::Endpoint, _) => {
            let wanted = read(config)?;
            Some(match there {
                Some(id) => {
                    declared::change_endpoint(tx, by, id, &wanted, &admits).await?;
                    id
                }
                None => {
                    let keyring = ctx
                        .keyring()
                        .map_err(|_| SaveError::Conflict("no master key is set".to_owned()))?;
                    let (id, made) =
                        declared::create_endpoint(tx, by, keyring, &wanted, &admits).await?;
                    secret = Some(made);
                    id
                }
            })
        }
        (Declared::NotificationRule, _) => {
            let rule = declared::save_notification_rule(tx, by, there, read(config)?).await?;
            Some(rule.id)
        }
        (Declared::Watch(_), Some((trigger, _))) => {
            declared::save_watch(tx, by, *trigger, &read(config)?, &admits).await?;
            None
        }
        (Declared::Watch(_), None) => return Err(SaveError::Missing("trigger")),
    };
    Ok(Saved { id, secret })
}

/// Who declares something here.
pub(super) fn author(signed: &Signed) -> Author<'_> {
    Author {
        tenant: signed.tenant,
        name: signed.name(),
    }
}

/// Saves what is sent, or turns it into its other form, or tries it.
pub(super) async fn take(
    ctx: &Ctx,
    signed: &Signed,
    guard: &Guard,
    subject: &Subject,
    Sent { deed, mut form }: Sent<DeclaredForm>,
) -> Result<Response, Problem> {
    let mut trial = None;
    let wrong = match turned(deed, filter(subject.what, &mut form)) {
        Some(wrong) => wrong,
        None => match filter(subject.what, &mut form).read() {
            Err(fault) => vec![fault],
            Ok(config) if deed == Deed::Try => match tried(&config, &form.sample) {
                Ok(found) => {
                    trial = Some(found);
                    Vec::new()
                }
                Err(why) => vec![FormFault::Said(format!("pattern: {why}"))],
            },
            Ok(mut config) => {
                config.extend(subject.fixed.clone());
                let mut tx = signed.begin(ctx).await?;
                match save(ctx, signed, &mut tx, guard, subject, config).await {
                    Ok(saved) => return answer(signed, tx, subject, saved).await,
                    Err(error) => faults(error)?,
                }
            }
        },
    };
    // What was refused may have ended its transaction.
    let mut tx = signed.begin(ctx).await?;
    let mut view = page(&mut tx, signed, subject, form, wrong).await?;
    tx.commit().await?;
    view.trial = trial;
    Ok((status(&view.wrong), declared_form(&signed.reader(), &view)).into_response())
}

async fn answer(
    signed: &Signed,
    mut tx: TenantTx,
    subject: &Subject,
    saved: Saved,
) -> Result<Response, Problem> {
    let Saved { id, secret } = saved;
    if let (Some(id), Some(secret)) = (id, secret) {
        // Not by way of another address: the secret is nowhere but in this answer.
        let mut view = endpoint_page(&mut tx, signed, id).await?;
        tx.commit().await?;
        view.shown = Some(secret.expose_secret().to_owned());
        let page = endpoint_view(&signed.reader(), &view);
        return Ok((StatusCode::CREATED, page).into_response());
    }
    tx.commit().await?;
    tracing::info!(tenant.id = %signed.tenant, what = ?subject.what, "saved what was declared");
    Ok(Redirect::to(&subject.page(id)).into_response())
}

fn tried(config: &Map<String, Value>, sample: &str) -> Result<Trial, String> {
    let pattern = config.get("pattern").and_then(Value::as_str);
    let pattern: Pattern = pattern
        .unwrap_or_default()
        .parse()
        .map_err(|error: log_rules::PatternError| error.to_string())?;
    Ok(Trial::of(&pattern, sample))
}
