//! What the broker of the local runtime keeps: accepted events and their deliveries. Not used on a cluster.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use crate::Store;

/// An event that a Broker accepts.
#[derive(Debug, Clone)]
pub struct AcceptedEvent {
    /// Version 7: ids are in the order of acceptance.
    pub id: Uuid,
    /// The Broker's name.
    pub broker: String,
    /// The tenant that the event names.
    pub tenant: Option<Uuid>,
    /// CloudEvents `id`.
    pub ce_id: String,
    /// CloudEvents `type`.
    pub ce_type: String,
    /// CloudEvents `source`.
    pub ce_source: String,
    /// Headers of the event as an HTTP message.
    pub head: String,
    /// Its body.
    pub body: Bytes,
    /// How many brokers a reply to it may still go through.
    pub ttl: i32,
    /// Trigger → the clause that failed.
    pub unmatched: Value,
    /// The Triggers that matched.
    pub triggers: Vec<String>,
}

/// A delivery that has not ended.
#[derive(Debug, Clone)]
pub struct PendingDelivery {
    /// The event.
    pub event_id: Uuid,
    /// Its headers.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
    /// How many brokers a reply to it may still go through.
    pub ttl: i32,
    /// How far it is.
    pub progress: DeliveryProgress,
    /// How long until the next attempt is due.
    pub wait: Duration,
}

/// How far a delivery is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryProgress {
    /// Requests to the subscriber that were answered or given up.
    pub attempts: u32,
    /// Whether it is the dead letter sink's turn.
    pub dead_lettering: bool,
    /// Requests to the dead letter sink that were answered or given up.
    pub dead_letter_attempts: u32,
    /// The last failure.
    pub failure: Option<DeliveryFailure>,
}

/// Why an attempt failed, in the words of Knative's dead letter extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// Which URL did not take the event.
    pub dest: String,
    /// The status; 500 when there was no answer.
    pub code: u16,
    /// The beginning of the answer, or what went wrong.
    pub data: Bytes,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledDelivery {
    /// The event.
    pub event_id: Uuid,
    /// The Trigger.
    pub trigger: String,
    /// Where the delivery stands now.
    pub state: DeliveryState,
    /// How far it is.
    pub progress: DeliveryProgress,
    /// How long until the next attempt, where there is one.
    pub wait: Duration,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is tried again.
    Pending,
    /// The subscriber took it.
    Delivered,
    /// The dead letter sink took it.
    DeadLettered,
    /// Nobody took it.
    Lost,
}

impl DeliveryState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Lost => "lost",
        }
    }
}

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Events at most.
    pub events_max: i64,
    /// No event older than this.
    pub age_max: Duration,
    /// Events deleted by one statement.
    pub batch: i64,
}

impl Store {
    /// Keeps events and one delivery for each Trigger that matched, all or none. Where it is not `durable`, it returns
    /// before the rows are on disk; they outlive this process all the same.
    ///
    /// # Errors
    /// When the database does not answer: it is then not known whether the events were kept.
    pub async fn broker_accept(
        &self,
        durable: bool,
        events: &[AcceptedEvent],
    ) -> Result<(), sqlx::Error> {
        fn each<T>(events: &[AcceptedEvent], pick: impl Fn(&AcceptedEvent) -> T) -> Vec<T> {
            events.iter().map(pick).collect()
        }
        let deliveries = || {
            events
                .iter()
                .flat_map(|event| event.triggers.iter().map(move |trigger| (event, trigger)))
        };
        let delivery_events: Vec<Uuid> = deliveries().map(|(event, _)| event.id).collect();
        let delivery_triggers: Vec<String> =
            deliveries().map(|(_, trigger)| trigger.clone()).collect();
        let delivery_tenants: Vec<Option<Uuid>> =
            deliveries().map(|(event, _)| event.tenant).collect();
        sqlx::query!(
            "select switchyard_local.accept($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            durable,
            &each(events, |event| event.id),
            &each(events, |event| event.broker.clone()),
            &each(events, |event| event.tenant) as &[Option<Uuid>],
            &each(events, |event| event.ce_id.clone()),
            &each(events, |event| event.ce_type.clone()),
            &each(events, |event| event.ce_source.clone()),
            &each(events, |event| event.head.clone()),
            &each(events, |event| event.body.to_vec()),
            &each(events, |event| event.ttl),
            &each(events, |event| event.unmatched.clone()),
            &delivery_events,
            &delivery_triggers,
            &delivery_tenants as &[Option<Uuid>]
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Deliveries of a Trigger that have not ended, oldest first, without those that the caller has in hand.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn broker_pending(
        &self,
        trigger: &str,
        in_hand: &[Uuid],
        limit: i64,
    ) -> Result<Vec<PendingDelivery>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select e.id, e.head, e.body, e.ttl,
                d.attempts, d.dead_lettering, d.dead_letter_attempts, d.error_dest, d.error_code, d.error_data,
                extract(epoch from d.next_at - clock_timestamp())::float8 as "wait_secs!"
            from switchyard_local.deliveries d
            join switchyard_local.events e on e.id = d.event_id
            where d.trigger = $1
              and d.state = 'pending'
              and d.event_id <> all ($2)
            order by d.event_id
            limit $3
            "#,
            trigger,
            in_hand,
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        let pending = rows.into_iter().map(|row| {
            let failure = match (row.error_dest, row.error_code, row.error_data) {
                (Some(dest), Some(code), Some(data)) => Some(DeliveryFailure {
                    dest,
                    code: u16::try_from(code).unwrap_or(500),
                    data: data.into(),
                }),
                _ => None,
            };
            PendingDelivery {
                event_id: row.id,
                head: row.head,
                body: row.body,
                ttl: row.ttl,
                progress: DeliveryProgress {
                    attempts: row.attempts.unsigned_abs(),
                    dead_lettering: row.dead_lettering,
                    dead_letter_attempts: row.dead_letter_attempts.unsigned_abs(),
                    failure,
                },
                wait: Duration::try_from_secs_f64(row.wait_secs).unwrap_or_default(),
            }
        });
        Ok(pending.collect())
    }

    /// Records what became of attempts. A delivery that has ended does not change any more.
    ///
    /// # Errors
    /// When the database does not answer; the same may then be recorded again.
    pub async fn broker_settle(&self, settled: &[SettledDelivery]) -> Result<(), sqlx::Error> {
        fn each<T>(settled: &[SettledDelivery], pick: impl Fn(&SettledDelivery) -> T) -> Vec<T> {
            settled.iter().map(pick).collect()
        }
        let failure = |one: &SettledDelivery| one.progress.failure.clone();
        sqlx::query!(
            "select switchyard_local.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &each(settled, |one| one.event_id),
            &each(settled, |one| one.trigger.clone()),
            &each(settled, |one| one.state.as_str().to_owned()),
            &each(settled, |one| one.progress.attempts.cast_signed()),
            &each(settled, |one| one.progress.dead_lettering),
            &each(settled, |one| one
                .progress
                .dead_letter_attempts
                .cast_signed()),
            &each(settled, |one| failure(one).map(|it| it.dest)) as &[Option<String>],
            &each(settled, |one| failure(one).map(|it| i32::from(it.code))) as &[Option<i32>],
            &each(settled, |one| failure(one).map(|it| it.data.to_vec())) as &[Option<Vec<u8>>],
            &each(settled, |one| one.wait.as_secs_f64())
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Ends the deliveries of Triggers that are not among `triggers` any more, and says how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn broker_abandon(&self, triggers: &[String]) -> Result<u64, sqlx::Error> {
        let done = sqlx::query!(
            r#"
            update switchyard_local.deliveries
            set state = 'lost', ended_at = clock_timestamp()
            where state = 'pending'
              and trigger <> all ($1)
            "#,
            triggers
        )
        .execute(&mut *self.db.acquire().await?)
        .await?;
        Ok(done.rows_affected())
    }

    /// Deletes one batch of events that are beyond what is kept and have no pending delivery, and says how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn broker_forget(&self, retention: Retention) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            with old as (
                select e.id
                from switchyard_local.events e
                where (
                    e.accepted_at < clock_timestamp() - make_interval(secs => $2)
                    or e.id <= (
                        select id from switchyard_local.events order by id desc offset $1 limit 1
                    )
                )
                  and not exists (
                    select from switchyard_local.deliveries d where d.event_id = e.id and d.state = 'pending'
                )
                order by e.id
                limit $3
            ), deliveries as (
                delete from switchyard_local.deliveries d using old where d.event_id = old.id
            ), events as (
                delete from switchyard_local.events e using old where e.id = old.id returning 1
            )
            select count(*) as "count!" from events
            "#,
            retention.events_max,
            retention.age_max.as_secs_f64(),
            retention.batch
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

#[cfg(test)]
mod tests {
    use database::{Connect, SystemDb};
    use model::DatabaseRole;
    use testkit::TestDb;

    use super::*;

    fn store(db: &TestDb) -> Store {
        let connect = Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::System,
            connections_max: 2,
            acquire_timeout: Duration::from_secs(20),
        };
        Store::new(SystemDb::new(&connect).expect("the test server's URL"))
    }

    fn event(triggers: &[&str]) -> AcceptedEvent {
        AcceptedEvent {
            id: Uuid::now_v7(),
            broker: "b".to_owned(),
            tenant: None,
            ce_id: "1".to_owned(),
            ce_type: "t".to_owned(),
            ce_source: "/s".to_owned(),
            head: "ce-id: 1\n".to_owned(),
            body: Bytes::from_static(&[0, 255]),
            ttl: 16,
            unmatched: Value::Object(serde_json::Map::new()),
            triggers: triggers.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn settled(event: &AcceptedEvent, state: DeliveryState) -> SettledDelivery {
        SettledDelivery {
            event_id: event.id,
            trigger: "a".to_owned(),
            state,
            progress: DeliveryProgress {
                attempts: 1,
                failure: Some(DeliveryFailure {
                    dest: "http://s/".to_owned(),
                    code: 503,
                    data: Bytes::from_static(b"why"),
                }),
                ..DeliveryProgress::default()
            },
            wait: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn a_delivery_is_found_as_it_was_left_until_it_has_ended() -> Result<(), sqlx::Error> {
        let db = testkit::database().await;
        let store = store(&db);
        let events = [event(&["a", "b"]), event(&["a"]), event(&[])];
        store.broker_accept(true, &events[..2]).await?;
        store.broker_accept(false, &events[2..]).await?;
        let found = store.broker_pending("a", &[events[1].id], 10).await?;
        assert_eq!(found.len(), 1, "one of two is in hand");
        assert_eq!((found[0].event_id, found[0].ttl), (events[0].id, 16));
        assert_eq!(
            (found[0].head.as_str(), found[0].body.as_slice()),
            ("ce-id: 1\n", [0, 255].as_slice())
        );
        assert_eq!(
            (found[0].wait, &found[0].progress),
            (Duration::ZERO, &DeliveryProgress::default())
        );

        let waits = settled(&events[0], DeliveryState::Pending);
        store
            .broker_settle(&[waits.clone(), settled(&events[1], DeliveryState::Lost)])
            .await?;
        let found = store.broker_pending("a", &[], 10).await?;
        assert_eq!(found.len(), 1, "the other has ended");
        assert_eq!(found[0].progress, waits.progress);
        assert!(found[0].wait > Duration::from_secs(50));
        assert_eq!(store.broker_pending("b", &[], 10).await?.len(), 1);

        assert_eq!(store.broker_abandon(&["a".to_owned()]).await?, 1);
        assert!(store.broker_pending("b", &[], 10).await?.is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn old_events_are_forgotten_but_none_that_is_still_to_be_delivered()
    -> Result<(), sqlx::Error> {
        let db = testkit::database().await;
        let store = store(&db);
        let events = [event(&["a"]), event(&["a"]), event(&[]), event(&[])];
        store.broker_accept(true, &events).await?;
        store
            .broker_settle(&[settled(&events[1], DeliveryState::Delivered)])
            .await?;
        let retention = Retention {
            events_max: 1,
            age_max: Duration::from_secs(3600),
            batch: 10,
        };
        assert_eq!(
            store.broker_forget(retention).await?,
            2,
            "but the first waits and the last is kept"
        );
        let aged = Retention {
            events_max: 100,
            age_max: Duration::ZERO,
            ..retention
        };
        assert_eq!(store.broker_forget(aged).await?, 1);
        assert_eq!(store.broker_pending("a", &[], 10).await?.len(), 1);
        let left: i64 = sqlx::query_scalar("select count(*) from switchyard_local.deliveries")
            .fetch_one(&db.pool(None).await)
            .await?;
        assert_eq!(left, 1);
        Ok(())
    }
}
