//! The rules of tenants, kept for a moment: much is observed, and rules change seldom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host::Ctx;
use model::TenantId;
use outgoing::{Format, Observed, Wanted};
use serde_json::json;
use tokio::time::Instant;
use triggers::cel::{Compiled, Subject};
use uuid::Uuid;

/// How long a tenant's rules are kept: a change is seen so much later at the most.
const KEPT: Duration = Duration::from_secs(3);
/// How many tenants' rules are kept.
const TENANTS_MAX: usize = 1_000;

/// A rule, ready to be asked.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Uuid,
    pub(crate) endpoint: Uuid,
    pub(crate) format: Format,
    wanted: Wanted,
    condition: Option<Compiled>,
}

impl Rule {
    /// Whether it wants to be told of an event. A condition that cannot be told of it does not hold.
    pub(crate) fn wants(&self, event: &Observed) -> bool {
        if !self.wanted.wants(event) {
            return false;
        }
        let Some(condition) = &self.condition else {
            return true;
        };
        let subject = Subject::new(&json!({
            "id": event.id,
            "type": event.ty,
            "source": event.source,
            "subject": event.subject,
            "time": event.time,
            "severity": event.severity().as_str(),
            "data": event.data,
        }));
        condition.holds(&subject).unwrap_or_else(|error| {
            tracing::debug!(rule.id = %self.id, "a condition cannot be told: {error}");
            false
        })
    }
}

type Kept = (Instant, Arc<Vec<Rule>>);

/// What is known of tenants' rules.
#[derive(Debug, Default)]
pub(crate) struct Rules(Mutex<HashMap<TenantId, Kept>>);

impl Rules {
    pub(crate) async fn of(
        &self,
        ctx: &Ctx,
        tenant: TenantId,
    ) -> Result<Arc<Vec<Rule>>, sqlx::Error> {
        let now = Instant::now();
        {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match kept.get(&tenant) {
                Some((at, rules)) if now - *at < KEPT => return Ok(Arc::clone(rules)),
                Some(_) | None => {}
            }
            if kept.len() >= TENANTS_MAX {
                kept.clear();
            }
        }
        let rows = ctx.store().notification_rules(tenant).await?;
        let rules = rows.into_iter().filter_map(|row| match ready(&row) {
            Ok(rule) => Some(rule),
            Err(error) => {
                // It was good when it was saved.
                tracing::error!(rule.id = %row.id, "a notification rule is left out: {error:#}");
                None
            }
        });
        let rules = Arc::new(rules.collect::<Vec<_>>());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(tenant, (now, Arc::clone(&rules)));
        Ok(rules)
    }
}

fn ready(row: &store::notifications::ActiveRule) -> anyhow::Result<Rule> {
    Ok(Rule {
        id: row.id,
        endpoint: row.endpoint,
        format: row.format.parse()?,
        wanted: Wanted::new(
            &row.types,
            row.severity.as_deref(),
            row.source.as_deref(),
            row.contains.as_deref(),
        )?,
        condition: match row.condition.clone() {
            Some(condition) => Some(Compiled::new(&serde_json::from_value(condition)?)?),
            None => None,
        },
    })
}
