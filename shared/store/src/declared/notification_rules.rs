//! Who is told of what.

use ::triggers::Fault;
use ::triggers::cel::Compiled;
use database::TenantTx;
use model::{Condition, Severity};
use outgoing::Wanted;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{Author, check_name, note, note_if, wrong};
use crate::notifications::{self as messages, NotificationRule, RULES_MAX, Written};
use crate::triggers::SaveError;

const TYPES_MAX: usize = 50;
const TEXT_CHARS_MAX: usize = 500;

/// A rule as somebody wants it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotificationRuleWanted {
    /// Whom it tells.
    pub endpoint: Uuid,
    /// What people call it.
    pub name: String,
    /// `*` at the end stands for whatever follows; all unless given.
    #[serde(default = "all")]
    pub types: Vec<String>,
    /// At least so bad.
    pub severity: Option<Severity>,
    /// What the event's source begins with.
    pub source: Option<String>,
    /// What its data holds somewhere, whatever the case.
    pub contains: Option<String>,
    /// What must be true besides.
    pub condition: Option<Condition>,
    /// Whether it is switched on.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

const fn yes() -> bool {
    true
}

impl NotificationRuleWanted {
    fn checked(self, id: Uuid) -> Result<NotificationRule, SaveError> {
        check_name(&self.name)?;
        if self.types.is_empty() || self.types.len() > TYPES_MAX {
            return wrong("types", format!("there are 1 to {TYPES_MAX}"));
        }
        for (field, text) in [("source", &self.source), ("contains", &self.contains)] {
            let fits = |text: &String| (1..=TEXT_CHARS_MAX).contains(&text.chars().count());
            if !text.as_ref().is_none_or(fits) {
                return wrong(field, format!("it has 1 to {TEXT_CHARS_MAX} characters"));
            }
        }
        let severity = self.severity.map(Severity::as_str);
        let (source, contains) = (self.source.as_deref(), self.contains.as_deref());
        if let Err(error) = Wanted::new(&self.types, severity, source, contains) {
            return Err(SaveError::Wrong(vec![Fault::said("", error)]));
        }
        if let Some(condition) = &self.condition
            && let Err(error) = Compiled::new(condition)
        {
            return wrong("condition", error);
        }
        let condition = self.condition.map(serde_json::to_value).transpose();
        Ok(NotificationRule {
            id,
            endpoint: self.endpoint,
            name: self.name,
            types: self.types,
            severity: severity.map(str::to_owned),
            source: self.source,
            contains: self.contains,
            condition: condition.map_err(|error| sqlx::Error::Encode(error.into()))?,
            enabled: self.enabled,
        })
    }
}

/// Makes a rule, or changes the one of this id.
///
/// # Errors
/// When something is wrong with it, its name is taken, there are too many or none of this id, or the database does not answer.
pub async fn save_notification_rule(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Option<Uuid>,
    wanted: NotificationRuleWanted,
) -> Result<NotificationRule, SaveError> {
    let rule = wanted.checked(id.unwrap_or_else(Uuid::now_v7))?;
    match messages::write_rule(tx, by.tenant, &rule, id.is_none()).await? {
        Written::Done(_) => {}
        Written::Absent => return Err(SaveError::Missing("notification rule")),
        Written::Taken => {
            return Err(SaveError::Conflict("another rule has this name".to_owned()));
        }
        Written::TooMany => {
            return Err(SaveError::Conflict(format!(
                "a tenant has at most {RULES_MAX} of these"
            )));
        }
        Written::NoEndpoint => return wrong("endpoint", "there is none of this id"),
    }
    let deed = if id.is_some() {
        "notification_rule_change"
    } else {
        "notification_rule_create"
    };
    let data = serde_json::to_value(&rule).map_err(|error| sqlx::Error::Encode(error.into()))?;
    note(tx, by.name, deed, json!({ "rule": data })).await?;
    Ok(rule)
}

/// Removes a rule. False when there is none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_notification_rule(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Uuid,
) -> Result<bool, sqlx::Error> {
    let removed = messages::remove_rule(tx, id).await?;
    note_if(tx, by.name, "notification_rule_remove", id, removed).await
}
