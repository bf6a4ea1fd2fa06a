//! Looking by the clock at what hooks tell of: which places are due, what a look found, and what the triggers that watch a
//! place are to be told of it.
//!
//! A look tells only what differs from the last state that a hook or a look told, so that a change which both see starts
//! things once, and one that comes back starts them again. Which came first is decided where the event is dispatched.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{EventId, Glob, TenantId, TriggerId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{Keyring, SealedError, Store, credentials};

/// How many names a listing may have.
pub const NAMES_MAX: usize = 5_000;

/// The state of what is not there.
pub const GONE: &str = "gone";
/// The state that a hook told of without saying which it is.
const UNKNOWN: &str = "?";

/// What sort of place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceKind {
    /// Branches and tags of a repository.
    Git,
    /// Tags of a repository of images.
    Registry,
}

impl PlaceKind {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Registry => "registry",
        }
    }
}

/// What is there under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// A commit or digest.
    pub state: String,
    /// Another name for the same: the commit that a tag object names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
}

/// What is there, by name.
pub type Listing = BTreeMap<String, Found>;

/// A place that is to be looked at now, by us alone.
#[derive(Debug)]
pub struct Place {
    /// Which.
    pub id: Uuid,
    /// Whose.
    pub tenant: TenantId,
    /// Which look at it this is.
    pub look: i64,
    /// Of the repository where it is Git's, of the registry where it is one.
    pub url: String,
    /// Within the registry.
    pub repository: String,
    /// What was there when it was last looked at.
    pub listing: Listing,
    /// What the other side gave then to ask with whether anything changed.
    pub etag: Option<String>,
    /// What the other side lets us in with.
    pub login: Result<Option<Login>, LoginError>,
}

/// A credential, opened.
#[derive(Debug, Clone)]
pub struct Login {
    /// The only host that it is for, with a port unless it is 443.
    pub host: String,
    /// Empty where a token is all.
    pub username: String,
    /// A password or token.
    pub secret: SecretString,
}

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Its secret does not open.
    #[error("the secret of the credential cannot be opened; write it again")]
    Sealed(#[from] SealedError),
    /// Its secret is not text.
    #[error("the secret of the credential is not UTF-8; write it again")]
    NotText,
}

/// The last state that was told of a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// The state.
    pub state: String,
    /// Rises when it changes.
    pub version: i64,
}

/// A trigger that watches a place.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Which trigger.
    pub trigger: TriggerId,
    /// Which names it watches.
    pub names: Vec<Glob>,
    /// Whether nobody has looked for it yet.
    pub first: bool,
    /// Whether it wants to be told of what is there at the first look.
    pub report_first: bool,
    /// What was told of the place's names.
    pub seen: BTreeMap<String, Seen>,
}

impl Watch {
    /// Whether it watches a name.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.names.iter().any(|glob| glob.matches(name))
    }
}

/// A difference between what is there and what was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who is to be told.
    pub trigger: TriggerId,
    /// Of which name, as the place calls it.
    pub name: String,
    /// The name under which its state is kept.
    pub told_as: String,
    /// The version of the state that it was compared with; 0 where there was none.
    pub version: i64,
    /// What was told last, where that was something.
    pub before: Option<String>,
    /// What is there now; nothing when it is gone.
    pub after: Option<String>,
    /// Another name for what is there now.
    pub also: Option<String>,
}

impl Change {
    /// The id of the event that tells of it: the same however often a look finds it.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        let trigger = self.trigger.to_string();
        let version = self.version.to_string();
        let after = self.after.as_deref().unwrap_or(GONE);
        events::deterministic_uuid(&["look", &trigger, &self.told_as, &version, after]).into()
    }
}

/// What a look comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// What is to be told.
    pub changes: Vec<Change>,
    /// What is there from the first look on without being told: trigger, name and state.
    pub first: Vec<(TriggerId, String, String)>,
    /// Triggers whose first look this was.
    pub begun: Vec<TriggerId>,
}

/// Compares what is there with what was told to each trigger. States are kept under the name with `prefix` before it. Names
/// whose state could not be found out (`unsure`) are neither changed nor gone.
#[must_use]
pub fn compare(watches: &[Watch], listing: &Listing, unsure: &[String], prefix: &str) -> Compared {
    let mut compared = Compared::default();
    for watch in watches {
        if watch.first {
            compared.begun.push(watch.trigger);
        }
        for (name, found) in listing.iter().filter(|(name, _)| watch.wants(name)) {
            let told_as = format!("{prefix}{name}");
            let seen = watch.seen.get(&told_as);
            if seen.is_some_and(|seen| is(&seen.state, found)) {
                continue;
            }
            if seen.is_none() && watch.first && !watch.report_first {
                let first = (watch.trigger, told_as, found.state.clone());
                compared.first.push(first);
                continue;
            }
            compared.changes.push(Change {
                trigger: watch.trigger,
                name: name.clone(),
                told_as,
                version: seen.map_or(0, |seen| seen.version),
                before: seen.and_then(Seen::something),
                after: Some(found.state.clone()),
                also: found.also.clone(),
            });
        }
        for (told_as, seen) in &watch.seen {
            let Some(name) = told_as.strip_prefix(prefix) else {
                continue;
            };
            let known = listing.contains_key(name) || unsure.iter().any(|unsure| unsure == name);
            if known || seen.state == GONE || !watch.wants(name) {
                continue;
            }
            compared.changes.push(Change {
                trigger: watch.trigger,
                name: name.to_owned(),
                told_as: told_as.clone(),
                version: seen.version,
                before: seen.something(),
                after: None,
                also: None,
            });
        }
    }
    compared
}

/// Whether a state is what was found, by either of its names.
fn is(state: &str, found: &Found) -> bool {
    state == found.state || Some(state) == found.also.as_deref()
}

impl Seen {
    fn something(&self) -> Option<String> {
        let something = self.state != GONE && self.state != UNKNOWN;
        something.then(|| self.state.clone())
    }
}

/// An event that tells of a change.
#[derive(Debug, Clone)]
pub struct LookEvent {
    /// CloudEvents `type`.
    pub ty: &'static str,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// The data.
    pub data: Value,
}

/// A look that went well.
#[derive(Debug)]
pub struct EndedLook<'a> {
    /// What is there.
    pub listing: &'a Listing,
    /// What to ask with the next time whether anything changed.
    pub etag: Option<&'a str>,
    /// What it comes to.
    pub compared: &'a Compared,
    /// The events that tell of its changes, in their order.
    pub events: &'a [LookEvent],
}

#[derive(Debug, Deserialize)]
struct WatchRow {
    names: Vec<String>,
    first: bool,
    report_first: bool,
    seen: BTreeMap<String, Seen>,
}

impl Store {
    /// Takes up to `limit` places that are due for a look, for `time` at the most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_places(
        &self,
        keyring: &Keyring,
        kind: PlaceKind,
        time: Duration,
        limit: i32,
    ) -> Result<Vec<Place>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select p.id as "id!", p.database_id as "database_id!", p.look as "look!", p.url as "url!",
                p.repository as "repository!", p.listing as "listing!: Json<Listing>", p.etag,
                c.id as "credential?", c.host as "host?", c.username as "username?", c.secret as "secret?"
            from switchyard.take_places($1::text::switchyard.place_kind, make_interval(secs => $2), $3) p
            left join switchyard.credentials c on c.database_id = p.database_id and c.id = p.credential_id
            "#,
            kind.as_str(),
            time.as_secs_f64(),
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        let places = rows.into_iter().map(|row| {
            let tenant = TenantId::from(row.database_id);
            let login = match (row.credential, row.host, row.username, row.secret) {
                (Some(row), Some(host), Some(username), Some(secret)) => {
                    credentials::opened(keyring, tenant, row, &secret).map(|secret| {
                        Some(Login {
                            host,
                            username,
                            secret,
                        })
                    })
                }
                _ => Ok(None),
            };
            Place {
                id: row.id,
                tenant,
                look: row.look,
                url: row.url,
                repository: row.repository,
                listing: row.listing.0,
                etag: row.etag,
                login,
            }
        });
        Ok(places.collect())
    }

    /// The triggers that watch a place and are switched on, with what was told to them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn watches_of(&self, place: &Place) -> Result<Vec<Watch>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select w.trigger_id,
                jsonb_build_object(
                    'names', w.names, 'first', w.begun_at is null, 'report_first', w.first_look = 'report',
                    'seen', coalesce((
                        select jsonb_object_agg(s.name, jsonb_build_object('state', s.state, 'version', s.version))
                        from switchyard.seen s
                        where s.database_id = w.database_id and s.trigger_id = w.trigger_id
                    ), '{}')
                ) as "row!: Json<WatchRow>"
            from switchyard.watches w
            join switchyard.triggers t on t.database_id = w.database_id and t.id = w.trigger_id
            where w.database_id = $1 and w.place_id = $2 and t.enabled
            order by w.trigger_id
            "#,
            place.tenant.uuid(),
            place.id
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let WatchRow {
                    names,
                    first,
                    report_first,
                    seen,
                } = row.row.0;
                Watch {
                    trigger: row.trigger_id.into(),
                    // They were globs when they were saved.
                    names: names
                        .into_iter()
                        .filter_map(|name| name.try_into().ok())
                        .collect(),
                    first,
                    report_first,
                    seen,
                }
            })
            .collect())
    }

    /// Ends a look that went well: what was there, and the events that tell of what changed, or nothing of it. Nothing
    /// happens when another look began meanwhile. Returns how many events were written.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_look(&self, place: &Place, look: EndedLook<'_>) -> Result<i32, sqlx::Error> {
        let changes = look.compared.changes.iter().zip(look.events);
        let events: Vec<Value> = changes
            .map(|(change, event)| {
                json!({
                    "trigger": change.trigger.uuid(),
                    "name": change.told_as,
                    "version": change.version,
                    "id": change.event_id().uuid(),
                    "type": event.ty,
                    "source": event.source,
                    "subject": event.subject,
                    "data": event.data,
                })
            })
            .collect();
        let first = look.compared.first.iter();
        let first: Vec<Value> = first
            .map(|(trigger, name, state)| {
                json!({"trigger": trigger.uuid(), "name": name, "state": state})
            })
            .collect();
        let begun: Vec<Uuid> = look.compared.begun.iter().map(|id| id.uuid()).collect();
        let listing = serde_json::to_value(look.listing)
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query_scalar!(
            r#"select switchyard.end_look($1, $2, $3, $4, $5, $6, $7) as "told!""#,
            place.id,
            place.look,
            listing,
            look.etag,
            Value::Array(events),
            Value::Array(first),
            &begun
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Ends a look that failed. The next is after `wait` where the other side said so, else ever later.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fail_look(
        &self,
        place: &Place,
        problem: &str,
        wait: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.fail_look($1, $2, $3, make_interval(secs => $4))",
            place.id,
            place.look,
            problem,
            wait.unwrap_or_default().as_secs_f64()
        )
        .execute(&mut *self.db.acquire().await?)
        .await?;
        Ok(())
    }

    /// Writes down, each once, what looks found and no hook told of within `after`. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flag_silent_hooks(&self, after: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.flag_silent_hooks(make_interval(secs => $1), $2) as "count!""#,
            after.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

#[cfg(test)]
mod tests;
