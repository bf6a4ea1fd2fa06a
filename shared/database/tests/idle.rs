//! What becomes of a pool whose server went away and came back.

use std::time::Duration;

use database::{Connect, SystemDb};
use model::DatabaseRole;

const CONNECTIONS: u32 = 4;

#[tokio::test]
async fn connections_that_broke_while_idle_fail_nobodys_statement() -> Result<(), sqlx::Error> {
    let test = testkit::database().await;
    let owner = test.pool(None).await;
    let db = SystemDb::new(&Connect {
        url: test.owner_url().into(),
        role: DatabaseRole::System,
        connections_max: CONNECTIONS,
        acquire_timeout: Duration::from_secs(20),
    })
    .expect("the server's own URL is one");
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(db.acquire().await?);
    }
    drop(held);
    // The database keeps the time: a connection is asked once it has lain idle for longer than it is trusted.
    let ended: i64 = sqlx::query_scalar(
        "select count(*) filter (where pg_terminate_backend(pid, 10000)) from pg_stat_activity, pg_sleep(1.5)
        where datname = current_database() and application_name = 'switchyard_system'",
    )
    .fetch_one(&owner)
    .await?;
    assert_eq!(ended, i64::from(CONNECTIONS));
    for _ in 0..CONNECTIONS {
        sqlx::query("select 1")
            .execute(&mut *db.acquire().await?)
            .await?;
    }
    Ok(())
}
