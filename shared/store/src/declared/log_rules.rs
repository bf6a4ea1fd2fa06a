//! Rules on what logs say.

use ::log_rules::{Pattern, Stream};
use ::triggers::Fault;
use database::TenantTx;
use model::{Severity, TriggerId, WorkloadId};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{Author, check_name, note, note_if, wrong};
use crate::log_rules::{OVERRIDES_MAX, Override, RULES_MAX, WantedRule, Written, remove, write};
use crate::triggers::SaveError;

/// After a match the rule is quiet for so long, in seconds.
const COOLDOWN_DEFAULT: i32 = 60;
const COOLDOWN_MAX: i32 = 86_400;
/// The least of a rule that starts work.
const COOLDOWN_OF_WORK: i32 = 60;

/// A rule as somebody wants it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRuleWanted {
    /// Of all the tenant's logs unless given.
    pub workload: Option<WorkloadId>,
    /// What people call it.
    pub name: String,
    /// The regular expression.
    pub pattern: String,
    /// How bad a match is.
    pub severity: Severity,
    /// Which streams are looked at; all unless given.
    pub streams: Option<Vec<Stream>>,
    /// How long it is quiet after a match, in seconds.
    #[serde(default = "cooldown")]
    pub cooldown_secs: i32,
    /// What a match fires.
    pub trigger: Option<TriggerId>,
    /// Whether it is switched on.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// For which workloads it is otherwise.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

const fn cooldown() -> i32 {
    COOLDOWN_DEFAULT
}

const fn yes() -> bool {
    true
}

fn check_override(own: &Override) -> Result<(), SaveError> {
    if let Some(severity) = &own.severity {
        let known: Result<Severity, _> = serde_json::from_value(severity.clone().into());
        if let Err(error) = known {
            return wrong("overrides.severity", error);
        }
    }
    if own
        .cooldown_secs
        .is_none_or(|secs| (0..=COOLDOWN_MAX).contains(&secs))
    {
        return Ok(());
    }
    wrong(
        "overrides.cooldown_secs",
        format!("it is 0 to {COOLDOWN_MAX}"),
    )
}

impl LogRuleWanted {
    fn checked(self) -> Result<WantedRule, SaveError> {
        check_name(&self.name)?;
        let compiled: Result<Pattern, _> = self.pattern.parse();
        if let Err(error) = compiled {
            return wrong("pattern", error);
        }
        let least = if self.trigger.is_some() {
            COOLDOWN_OF_WORK
        } else {
            0
        };
        if !(least..=COOLDOWN_MAX).contains(&self.cooldown_secs) {
            let problem = format!("it is {least} to {COOLDOWN_MAX} here");
            return wrong("cooldown_secs", problem);
        }
        if self.overrides.len() > OVERRIDES_MAX {
            return wrong("overrides", format!("{OVERRIDES_MAX} are the most"));
        }
        if self.workload.is_some() && !self.overrides.is_empty() {
            let problem = "a rule of one workload is itself what holds there";
            return wrong("overrides", problem);
        }
        self.overrides.iter().try_for_each(check_override)?;
        let mut streams = self.streams.unwrap_or_else(|| Stream::ALL.to_vec());
        streams.sort_unstable();
        streams.dedup();
        if streams.is_empty() {
            return wrong("streams", "one is the least");
        }
        let streams = streams.iter().map(|stream| stream.as_str().to_owned());
        Ok(WantedRule {
            streams: streams.collect(),
            workload: self.workload,
            name: self.name,
            pattern: self.pattern,
            severity: self.severity.as_str().to_owned(),
            cooldown_secs: self.cooldown_secs,
            trigger: self.trigger,
            enabled: self.enabled,
            overrides: self.overrides,
        })
    }
}

/// Makes a rule, or changes the one of this id; its workload stays.
///
/// # Errors
/// When something is wrong with it, its name is taken, there are too many or none of this id, or the database does not answer.
pub async fn save_log_rule(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Option<Uuid>,
    wanted: LogRuleWanted,
) -> Result<Uuid, SaveError> {
    let wanted = wanted.checked()?;
    let written = match write(tx, by.tenant, id, &wanted).await? {
        Written::Done(written) => written,
        Written::Absent => return Err(SaveError::Missing("log rule")),
        Written::Taken => {
            let name = wanted.name;
            return Err(SaveError::Conflict(format!(
                "there is another rule with the name {name:?}"
            )));
        }
        Written::TooMany => {
            return Err(SaveError::Conflict(format!(
                "a tenant has at most {RULES_MAX} log rules"
            )));
        }
        Written::Unknown(what) => return Err(SaveError::Wrong(vec![Fault::said("", what)])),
    };
    let deed = if id.is_some() {
        "log_rule_change"
    } else {
        "log_rule_create"
    };
    let data = json!({
        "id": written, "name": wanted.name, "pattern": wanted.pattern, "severity": wanted.severity,
        "trigger": wanted.trigger, "enabled": wanted.enabled,
    });
    note(tx, by.name, deed, data).await?;
    Ok(written)
}

/// Removes a rule with its overrides and counts. False when there is none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_log_rule(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Uuid,
) -> Result<bool, sqlx::Error> {
    let removed = remove(tx, id).await?;
    note_if(tx, by.name, "log_rule_remove", id, removed).await
}
