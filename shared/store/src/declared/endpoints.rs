//! Where messages go.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::TenantTx;
use outgoing::{Format, Observed, Secret};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{Admits, Author, check_name, check_url, note, note_if, wrong};
use crate::Keyring;
use crate::notifications::{self as messages, ENDPOINTS_MAX, Endpoint, WantedEndpoint, Written};
use crate::triggers::SaveError;

/// For how long messages are signed with the secret before, too, in hours, unless it is said.
pub const OVERLAP_HOURS_DEFAULT: u64 = 24;
/// And at most.
pub const OVERLAP_HOURS_MAX: u64 = 24 * 30;
/// The type of the event that a trial of an endpoint tells of.
pub const TEST_TYPE: &str = "dev.switchyard.notification.endpoint.tested.v1";

/// An endpoint as somebody wants it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointWanted {
    /// What people call it.
    pub name: String,
    /// Where messages go.
    pub url: Url,
    /// What they look like: `standard` or `slack`.
    #[serde(default = "standard")]
    pub format: String,
    /// Whether messages are sent.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn standard() -> String {
    "standard".to_owned()
}

const fn yes() -> bool {
    true
}

impl EndpointWanted {
    fn check(&self, admits: Admits<'_>) -> Result<WantedEndpoint<'_>, SaveError> {
        check_name(&self.name)?;
        let format: Result<Format, _> = self.format.parse();
        if let Err(error) = format {
            return wrong("format", error);
        }
        check_url(&self.url, admits)?;
        Ok(WantedEndpoint {
            name: &self.name,
            url: self.url.as_str(),
            format: &self.format,
            enabled: self.enabled,
        })
    }

    fn told(&self, id: Uuid) -> serde_json::Value {
        // The path of a chat's URL is its secret.
        let host = self.url.host_str();
        json!({
            "id": id, "name": self.name, "host": host, "format": self.format, "enabled": self.enabled,
        })
    }
}

fn done(written: Written) -> Result<Uuid, SaveError> {
    match written {
        Written::Done(id) => Ok(id),
        Written::Absent | Written::NoEndpoint => Err(SaveError::Missing("endpoint")),
        Written::Taken => Err(SaveError::Conflict(
            "another endpoint has this name".to_owned(),
        )),
        Written::TooMany => Err(SaveError::Conflict(format!(
            "a tenant has at most {ENDPOINTS_MAX} of these"
        ))),
    }
}

/// Makes an endpoint, and gives the secret that its messages are signed with.
///
/// # Errors
/// When something is wrong with it, its name is taken, there are too many, or the database does not answer.
pub async fn create_endpoint(
    tx: &mut TenantTx,
    by: Author<'_>,
    keyring: &Keyring,
    wanted: &EndpointWanted,
    admits: Admits<'_>,
) -> Result<(Uuid, SecretString), SaveError> {
    let secret = Secret::generate();
    let new = wanted.check(admits)?;
    let id = done(messages::create_endpoint(tx, by.tenant, keyring, &new, &secret).await?)?;
    note(tx, by.name, "endpoint_create", wanted.told(id)).await?;
    Ok((id, secret))
}

/// Changes an endpoint. One that is switched on forgets why it was switched off.
///
/// # Errors
/// When something is wrong with it, its name is taken, there is none of this id, or the database does not answer.
pub async fn change_endpoint(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Uuid,
    wanted: &EndpointWanted,
    admits: Admits<'_>,
) -> Result<(), SaveError> {
    let new = wanted.check(admits)?;
    done(messages::change_endpoint(tx, id, &new).await?)?;
    note(tx, by.name, "endpoint_change", wanted.told(id)).await?;
    Ok(())
}

/// Switches an endpoint on or off, and changes nothing else.
///
/// # Errors
/// When there is none of this id, or the database does not answer.
pub async fn switch_endpoint(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Uuid,
    enabled: bool,
) -> Result<(), SaveError> {
    let found = found(tx, id).await?;
    let wanted = WantedEndpoint {
        name: &found.name,
        url: &found.url,
        format: &found.format,
        enabled,
    };
    done(messages::change_endpoint(tx, id, &wanted).await?)?;
    let data = json!({ "id": id, "name": found.name, "enabled": enabled });
    note(tx, by.name, "endpoint_change", data).await?;
    Ok(())
}

async fn found(tx: &mut TenantTx, id: Uuid) -> Result<Endpoint, SaveError> {
    let found = messages::endpoints(tx, Some(id)).await?.pop();
    found.ok_or(SaveError::Missing("endpoint"))
}

/// Gives an endpoint another secret; for `overlap_hours` messages are signed with the one before, too.
///
/// # Errors
/// When the overlap is too long, there is none of this id, or the database does not answer.
pub async fn renew_secret(
    tx: &mut TenantTx,
    by: Author<'_>,
    keyring: &Keyring,
    id: Uuid,
    overlap_hours: u64,
) -> Result<SecretString, SaveError> {
    if overlap_hours > OVERLAP_HOURS_MAX {
        return wrong("overlap_hours", format!("it is 0 to {OVERLAP_HOURS_MAX}"));
    }
    let secret = Secret::generate();
    let overlap = Duration::from_secs(overlap_hours * 3_600);
    if !messages::rotate_secret(tx, by.tenant, keyring, id, &secret, overlap).await? {
        return Err(SaveError::Missing("endpoint"));
    }
    let data = json!({ "id": id, "overlap_hours": overlap_hours });
    note(tx, by.name, "endpoint_secret", data).await?;
    Ok(secret)
}

/// Removes an endpoint with its rules and messages. False when there is none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_endpoint(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Uuid,
) -> Result<bool, sqlx::Error> {
    let removed = messages::remove_endpoint(tx, id).await?;
    note_if(tx, by.name, "endpoint_remove", id, removed).await
}

/// Has a message sent once more. Nothing when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn redeliver(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Uuid,
) -> Result<Option<Uuid>, sqlx::Error> {
    let again = messages::redeliver(tx, id).await?;
    note_if(tx, by.name, "notification_redeliver", id, again.is_some()).await?;
    Ok(again)
}

/// Writes a message that tells of nothing but the trial itself, to be sent like any other. Returns its id.
///
/// # Errors
/// When there is none of this id, it is switched off, a trial is still to be sent, or the database does not answer.
pub async fn test_endpoint(
    tx: &mut TenantTx,
    by: Author<'_>,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Uuid, SaveError> {
    let found = found(tx, id).await?;
    if !found.enabled {
        return Err(SaveError::Conflict(
            "the endpoint is switched off; switch it on first".to_owned(),
        ));
    }
    let format: Format = found
        .format
        .parse()
        .map_err(|error| SaveError::wrong("format", error))?;
    let message = Uuid::now_v7();
    let event = Observed {
        id: format!("test-{message}"),
        ty: TEST_TYPE.to_owned(),
        source: "/switchyard/portal".to_owned(),
        subject: Some(id.to_string()),
        time: Some(now),
        severity: Some("info".to_owned()),
        data: json!({
            "endpoint": id, "name": found.name,
            "message": format!("a trial of {:?}, asked for by {}", found.name, by.name),
        }),
    };
    let written = sqlx::query_scalar!(
        r#"select switchyard.test_own_endpoint($1, $2, $3, $4, $5) as "written!""#,
        id,
        message,
        event.id,
        TEST_TYPE,
        event.message(format)
    )
    .fetch_one(&mut **tx)
    .await?;
    if !written {
        return Err(SaveError::Conflict(
            "a trial of this endpoint is still to be sent; look what becomes of it first"
                .to_owned(),
        ));
    }
    note(tx, by.name, "endpoint_test", json!({ "id": id })).await?;
    Ok(message)
}
