//! What a tenant's people declare beside triggers: rules on logs, whom to tell of what, what to look at by the clock. Here it
//! is checked, written and put on record, the same for programs and for pages.

mod endpoints;
mod log_rules;
mod notification_rules;
mod watches;

use std::fmt::Display;

use database::TenantTx;
use model::TenantId;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

pub use endpoints::{
    EndpointWanted, OVERLAP_HOURS_DEFAULT, OVERLAP_HOURS_MAX, TEST_TYPE, change_endpoint,
    create_endpoint, redeliver, remove_endpoint, renew_secret, switch_endpoint, test_endpoint,
};
pub use log_rules::{LogRuleWanted, remove_log_rule, save_log_rule};
pub use notification_rules::{
    NotificationRuleWanted, remove_notification_rule, save_notification_rule,
};
pub use watches::{WatchWanted, end_watch, look_soon, save_watch};

use crate::triggers::SaveError;

/// How long a name may be, in characters.
pub const NAME_CHARS_MAX: usize = 63;
/// How long a URL may be, in characters.
const URL_CHARS_MAX: usize = 2_048;

/// Who declares something, in which tenant.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// Who, as it is put on record.
    pub name: &'a str,
}

/// Whether calls to a URL would be let through, or why not.
pub type Admits<'a> = &'a (dyn Fn(&Url) -> Result<(), String> + Sync);

fn wrong<T>(place: &str, why: impl Display) -> Result<T, SaveError> {
    Err(SaveError::wrong(place, why))
}

fn check_name(name: &str) -> Result<(), SaveError> {
    let chars = name.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    wrong("name", format!("it has 1 to {NAME_CHARS_MAX} characters"))
}

fn check_url(url: &Url, admits: Admits<'_>) -> Result<(), SaveError> {
    admits(url).map_err(|why| SaveError::wrong("url", why))?;
    if url.as_str().chars().count() > URL_CHARS_MAX {
        return wrong("url", format!("it has at most {URL_CHARS_MAX} characters"));
    }
    Ok(())
}

/// Puts on record what somebody did, in the transaction in which it is done.
pub(crate) async fn note(
    tx: &mut TenantTx,
    by: &str,
    deed: &str,
    data: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select switchyard.note_own_deed($1, $2, $3)",
        deed,
        by,
        data
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The same of something that has an id; nothing where nothing was done.
async fn note_if(
    tx: &mut TenantTx,
    by: &str,
    deed: &str,
    id: Uuid,
    done: bool,
) -> Result<bool, sqlx::Error> {
    if done {
        note(tx, by, deed, json!({ "id": id })).await?;
    }
    Ok(done)
}
