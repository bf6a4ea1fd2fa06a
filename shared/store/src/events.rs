//! Events that no delivery made: of the clock, of a person, of a watcher, of a log, and of a replay.

use model::{BindingId, DeliveryId, EventId, TenantId, TriggerId};
use sqlx::PgConnection;

/// An event to be written with its row in the outbox.
#[derive(Debug, Clone)]
pub struct AddedEvent {
    /// Follows from the cause where there is one (`events::deterministic_uuid`), so that its repeat is the same event; new
    /// otherwise.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// Through which of the tenant's triggers.
    pub trigger: TriggerId,
    /// CloudEvents `type`.
    pub ty: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// The data as JSON text.
    pub data: String,
    /// The delivery whose event it repeats.
    pub delivery: Option<DeliveryId>,
    /// What the whole chain has in common; the event's own id when it begins one.
    pub correlation_id: Option<String>,
    /// What led to it, as an id with its prefix.
    pub causation_id: Option<String>,
    /// How many times work led here.
    pub depth: i32,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Only this binding of the trigger is asked.
    pub only_binding: Option<BindingId>,
    /// The event that it repeats.
    pub replays: Option<EventId>,
}

impl AddedEvent {
    /// An event that begins a chain of its own.
    #[must_use]
    pub fn new(
        id: EventId,
        tenant: TenantId,
        trigger: TriggerId,
        ty: impl Into<String>,
        source: impl Into<String>,
        data: String,
    ) -> Self {
        Self {
            id,
            tenant,
            trigger,
            ty: ty.into(),
            source: source.into(),
            subject: None,
            data,
            delivery: None,
            correlation_id: None,
            causation_id: None,
            depth: 0,
            traceparent: None,
            only_binding: None,
            replays: None,
        }
    }
}

/// Writes an event and wakes the relay, in the transaction of `conn`, which is the system's or a tenant's own. False, and
/// nothing is written, when an event with this id was there.
///
/// # Errors
/// When the database does not answer, the tenant has no such trigger, the trigger no such binding, the data is no JSON,
/// or the connection is another tenant's.
pub async fn add_event(conn: &mut PgConnection, event: &AddedEvent) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select switchyard.add_event(
            $1, $2, $3, $4, $5, $6, $7::text::json,
            p_delivery_id => $8,
            p_correlation_id => $9,
            p_causation_id => $10,
            p_depth => $11,
            p_traceparent => $12,
            p_only_binding => $13,
            p_replays => $14
        ) as "added!"
        "#,
        event.tenant.uuid(),
        event.trigger.uuid(),
        event.id.uuid(),
        event.ty,
        event.source,
        event.subject.as_deref() as _,
        event.data,
        event.delivery.map(DeliveryId::uuid) as _,
        event.correlation_id.as_deref() as _,
        event.causation_id.as_deref() as _,
        event.depth,
        event.traceparent.as_deref() as _,
        event.only_binding.map(BindingId::uuid) as _,
        event.replays.map(EventId::uuid) as _
    )
    .fetch_one(conn)
    .await
}

#[cfg(test)]
mod tests {
    use database::{Connect, TenantDb};
    use model::DatabaseRole;
    use uuid::Uuid;

    use super::*;

    const FOREIGN_KEY: &str = "23503";
    const REFUSED: &str = "42501";

    fn event(tenant: Uuid, trigger: Uuid) -> AddedEvent {
        AddedEvent::new(
            Uuid::now_v7().into(),
            tenant.into(),
            trigger.into(),
            "dev.switchyard.manual.requested.v1",
            "/test",
            r#"{"actor": "somebody"}"#.to_owned(),
        )
    }

    fn code(error: &sqlx::Error) -> Option<String> {
        error
            .as_database_error()
            .and_then(|error| error.code())
            .map(|code| code.into_owned())
    }

    #[tokio::test]
    async fn an_event_is_written_once_with_its_row_in_the_outbox() {
        let db = testkit::database().await;
        let owner = db.pool(None).await;
        let (tenant, trigger) = (Uuid::now_v7(), Uuid::now_v7());
        let make = format!(
            "insert into switchyard.tenants (database_id, name) values ('{tenant}', 'one');
             insert into switchyard.triggers (id, database_id, name, kind) values ('{trigger}', '{tenant}', 'now', 'manual')"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(make))
            .execute(&owner)
            .await
            .unwrap();
        let system = db.pool(Some("switchyard_system")).await;
        let mut conn = system.acquire().await.unwrap();
        let first = event(tenant, trigger);
        assert!(add_event(&mut conn, &first).await.unwrap());
        assert!(!add_event(&mut conn, &first).await.unwrap(), "a repeat");
        let (events, rows): (i64, i64) = sqlx::query_as(
            "select (select count(*) from switchyard.events), (select count(*) from switchyard.outbox where ce_id = $1)",
        )
        .bind(first.id.to_string())
        .fetch_one(&owner)
        .await
        .unwrap();
        assert_eq!((events, rows), (1, 1));
        let mut stray = event(tenant, Uuid::now_v7());
        let error = add_event(&mut conn, &stray).await.unwrap_err();
        assert_eq!(code(&error).as_deref(), Some(FOREIGN_KEY));
        stray.trigger = trigger.into();
        stray.only_binding = Some(Uuid::now_v7().into());
        let error = add_event(&mut conn, &stray).await.unwrap_err();
        assert_eq!(code(&error).as_deref(), Some(FOREIGN_KEY));
    }

    #[tokio::test]
    async fn a_tenant_adds_events_of_its_own_alone() {
        let db = testkit::database().await;
        let owner = db.pool(None).await;
        let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
        for tenant in [one, other] {
            let make = format!(
                "insert into switchyard.tenants (database_id, name) values ('{tenant}', '{tenant}');
                 insert into switchyard.triggers (id, database_id, name, kind)
                 values ('{tenant}', '{tenant}', 'now', 'manual')"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(make))
                .execute(&owner)
                .await
                .unwrap();
        }
        let tenants = TenantDb::new(&Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 2,
            acquire_timeout: std::time::Duration::from_secs(20),
        })
        .unwrap();
        let mut tx = tenants.begin(one.into()).await.unwrap();
        assert!(add_event(&mut tx, &event(one, one)).await.unwrap());
        tx.commit().await.unwrap();
        for (tenant, trigger, expected) in [
            (other, other, REFUSED),
            (other, one, REFUSED),
            (one, other, FOREIGN_KEY),
        ] {
            let mut tx = tenants.begin(one.into()).await.unwrap();
            let error = add_event(&mut tx, &event(tenant, trigger))
                .await
                .unwrap_err();
            assert_eq!(code(&error).as_deref(), Some(expected));
        }
    }
}
