//! What an operator asks who looks after the hooks of a trigger.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{TenantId, TriggerId};

use crate::Store;

impl Store {
    /// Whose trigger it is. Nothing when there is no such trigger.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant_of_trigger(
        &self,
        trigger: TriggerId,
    ) -> Result<Option<TenantId>, sqlx::Error> {
        let found = sqlx::query_scalar!(
            "select database_id from switchyard.triggers where id = $1 and removed_at is null",
            trigger.uuid()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(found.map(TenantId::from))
    }
}

/// When a trigger was changed last. Nothing when the tenant has no such trigger.
///
/// # Errors
/// When the database does not answer.
pub async fn trigger_changed_at(
    tx: &mut TenantTx,
    trigger: TriggerId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select updated_at
        from switchyard.triggers
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        "#,
        trigger.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}
