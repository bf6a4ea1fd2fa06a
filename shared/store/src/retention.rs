//! Letting go of what came in from outside and is past keeping.

use std::time::Duration;

use crate::Store;

impl Store {
    /// Lets the bodies of up to `limit` deliveries go that are older than `keep`; their rows stay. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or the time is less than a day.
    pub async fn drop_bodies(&self, keep: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.drop_bodies(make_interval(secs => $1), $2) as "dropped!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Forgets up to `limit` deliveries that are older than `keep`. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or the time is less than a day.
    pub async fn forget_deliveries(&self, keep: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_deliveries(make_interval(secs => $1), $2) as "forgotten!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Forgets up to `limit` ids by which repeats are told that are older than `keep`, and those made of bodies that are over.
    /// Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or the time is less than eight days.
    pub async fn forget_delivery_keys(
        &self,
        keep: Duration,
        limit: i32,
    ) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_delivery_keys(make_interval(secs => $1), $2) as "forgotten!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Forgets up to `limit` counts of rejected requests that are older than `keep`. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or the time is less than a day.
    pub async fn forget_rejections(&self, keep: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_rejections(make_interval(secs => $1), $2) as "forgotten!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
