//! Deliveries are written in groups: whatever arrives while one group is being written goes into the next, so that one
//! alone pays no wait and many share a statement and a commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use database::SystemDb;
use model::DeliveryId;
use serde_json::Value;
use sqlx::types::Json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::inbox::{Stored, is_there_already};

/// Deliveries in one group.
const GROUP_MAX: usize = 64;
/// A group takes no more once its bodies have this many bytes.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Groups that are being written at a time: one that waits for another process's key does not hold up the rest.
const GROUPS_MAX: usize = 2;
/// How long a group that is being written is waited for before there is a second one, unless that is full. What a group costs
/// beside its rows is shared by the more of them.
const LATE: Duration = Duration::from_millis(10);
/// Deliveries that may wait. More wait with their senders.
const WAITING_MAX: usize = 256;

/// A delivery as its row will be.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) database_id: Uuid,
    pub(crate) trigger_id: Uuid,
    pub(crate) trigger_version: i64,
    pub(crate) secret: Option<&'static str>,
    pub(crate) function: &'static str,
    pub(crate) vendor: &'static str,
    pub(crate) vendor_event: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) key_secs: Option<i32>,
    pub(crate) verdict: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Json<Value>,
    pub(crate) body: Vec<u8>,
    pub(crate) body_bytes: i64,
    pub(crate) body_sha256: Vec<u8>,
    pub(crate) traceparent: Option<String>,
    pub(crate) redelivery_of: Option<Uuid>,
    pub(crate) events: Vec<EventRow>,
}

/// An event of a delivery as its row will be.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) id: Uuid,
    pub(crate) ty: &'static str,
    pub(crate) source: String,
    pub(crate) subject: Option<String>,
    pub(crate) data: String,
}

/// Hands deliveries to the one who writes them. Cheap to clone; the writer ends with the last clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    waiting: Arc<OnceLock<mpsc::Sender<Asked>>>,
}

#[derive(Debug)]
struct Asked {
    row: Row,
    tell: oneshot::Sender<Result<Stored, sqlx::Error>>,
}

impl Group {
    /// Stores a delivery. It is durable when this returns.
    pub(crate) async fn store(&self, db: &SystemDb, row: Row) -> Result<Stored, sqlx::Error> {
        let waiting = self.waiting.get_or_init(|| {
            let (waiting, asked) = mpsc::channel(WAITING_MAX);
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the last clone of the store"
            )]
            tokio::spawn(write_groups(db.clone(), asked));
            waiting
        });
        let (tell, told) = oneshot::channel();
        let gone = || sqlx::Error::WorkerCrashed;
        waiting
            .send(Asked { row, tell })
            .await
            .map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

async fn write_groups(db: SystemDb, mut asked: mpsc::Receiver<Asked>) {
    let mut writing = JoinSet::new();
    while let Some(first) = asked.recv().await {
        while writing.try_join_next().is_some() {}
        if writing.len() >= GROUPS_MAX {
            writing.join_next().await;
        } else if !writing.is_empty() && asked.len() + 1 < GROUP_MAX {
            tokio::time::timeout(LATE, writing.join_next()).await.ok();
        }
        let mut bytes = first.row.body.len();
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && bytes < GROUP_BYTES_MAX
            && let Ok(next) = asked.try_recv()
        {
            bytes += next.row.body.len();
            group.push(next);
        }
        let db = db.clone();
        writing.spawn(async move { write(&db, group).await });
    }
    // Those who asked wait for it, also when nobody else will ask.
    while writing.join_next().await.is_some() {}
}

async fn write(db: &SystemDb, group: Vec<Asked>) {
    let (rows, tells): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|asked| (asked.row, asked.tell))
        .unzip();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let failed = match accept_once(db, &rows).await {
        Ok(stored) => {
            for (id, tell) in ids.iter().zip(tells) {
                let found = stored.iter().find(|(stored, _)| stored == id);
                // What has no row was not stored, for its trigger has changed; who asked may have gone.
                tell.send(Ok(found.map_or(Stored::Changed, |(_, stored)| *stored)))
                    .ok();
            }
            return;
        }
        Err(error) => error,
    };
    if tells.len() == 1 || database::is_passing(&failed) {
        // Whether it is there is not known, and each sender is told to send again.
        let text = failed.to_string();
        let mut failed = Some(failed);
        for tell in tells {
            let error = failed.take().unwrap_or_else(|| {
                sqlx::Error::Protocol(format!("with others in one group: {text}"))
            });
            tell.send(Err(error)).ok();
        }
        return;
    }
    // One of them is at fault: each is written alone, so that it fails alone.
    for (row, tell) in rows.into_iter().zip(tells) {
        let stored = accept(db, &[row]).await;
        tell.send(stored.map(|stored| {
            stored
                .first()
                .map_or(Stored::Changed, |(_, stored)| *stored)
        }))
        .ok();
    }
}

/// A group whose connection broke is there as a whole or not at all: which of them is looked up before it is written again.
async fn accept_once(db: &SystemDb, rows: &[Row]) -> Result<Vec<(Uuid, Stored)>, sqlx::Error> {
    let again = AtomicBool::new(false);
    db.reconnected(|| async {
        if !again.swap(true, Ordering::Relaxed) {
            return accept(db, rows).await;
        }
        let stored = already(db, rows).await?;
        if !stored.is_empty() {
            return Ok(stored);
        }
        match accept(db, rows).await {
            // A connection that broke on our side alone: the server was still at it when we looked, and we waited for it.
            Err(error) if is_there_already(&error) => already(db, rows).await,
            accepted => accepted,
        }
    })
    .await
}

/// Those of these deliveries that are stored.
async fn already(db: &SystemDb, rows: &[Row]) -> Result<Vec<(Uuid, Stored)>, sqlx::Error> {
    let tenants: Vec<Uuid> = rows.iter().map(|row| row.database_id).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let rows = sqlx::query!(
        r#"
        select d.id, d.verdict::text as "verdict!", d.first_id
        from unnest($1::uuid[], $2::uuid[]) as asked (database_id, id)
        join switchyard.deliveries d on d.database_id = asked.database_id and d.id = asked.id
        "#,
        &tenants,
        &ids
    )
    .fetch_all(&mut *db.acquire().await?)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, outcome(&row.verdict, row.first_id)))
        .collect())
}

fn outcome(verdict: &str, first: Option<Uuid>) -> Stored {
    match (verdict, first.map(DeliveryId::from)) {
        ("duplicate", Some(first)) => Stored::Duplicate { first },
        ("conflict", Some(first)) => Stored::Conflict { first },
        _ => Stored::AsGiven,
    }
}

/// One statement for all.
async fn accept(db: &SystemDb, rows: &[Row]) -> Result<Vec<(Uuid, Stored)>, sqlx::Error> {
    fn all<'a, T>(rows: &'a [Row], of: impl Fn(&'a Row) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    fn each<'a, T>(rows: &'a [Row], of: impl Fn(&'a Row, &'a EventRow) -> T) -> Vec<T> {
        let events = rows.iter();
        let events = events.flat_map(|row| row.events.iter().map(move |event| (row, event)));
        events.map(|(row, event)| of(row, event)).collect()
    }
    let stored = sqlx::query!(
        r#"
        select delivery_id as "id!", verdict::text as "verdict!", first_id
        from switchyard.take_deliveries(
            $1, $2, $3, $4, $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int4[], $11::text[],
            $12::text[], $13::jsonb[], $14::bytea[], $15, $16::bytea[], $17::text[], $18::uuid[], $19, $20, $21::text[],
            $22::text[], $23::text[], $24::text[]
        )
        "#,
        &all(rows, |row| row.id),
        &all(rows, |row| row.database_id),
        &all(rows, |row| row.trigger_id),
        &all(rows, |row| row.trigger_version),
        all(rows, |row| row.secret) as _,
        all(rows, |row| row.function) as _,
        all(rows, |row| row.vendor) as _,
        all(rows, |row| row.vendor_event.as_deref()) as _,
        all(rows, |row| row.key.as_deref()) as _,
        all(rows, |row| row.key_secs) as _,
        all(rows, |row| row.verdict) as _,
        all(rows, |row| row.reason.as_deref()) as _,
        all(rows, |row| &row.headers) as _,
        all(rows, |row| row.body.as_slice()) as _,
        &all(rows, |row| row.body_bytes),
        all(rows, |row| row.body_sha256.as_slice()) as _,
        all(rows, |row| row.traceparent.as_deref()) as _,
        all(rows, |row| row.redelivery_of) as _,
        &each(rows, |row, _| row.id),
        &each(rows, |_, event| event.id),
        each(rows, |_, event| event.ty) as _,
        each(rows, |_, event| event.source.as_str()) as _,
        each(rows, |_, event| event.subject.as_deref()) as _,
        each(rows, |_, event| event.data.as_str()) as _,
    )
    .fetch_all(&mut *db.acquire().await?)
    .await?;
    Ok(stored
        .into_iter()
        .map(|row| (row.id, outcome(&row.verdict, row.first_id)))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use database::Connect;
    use model::DatabaseRole;
    use sqlx::PgPool;
    use testkit::Proxy;

    use super::*;

    fn delivery(tenant: Uuid, trigger: Uuid, version: i64) -> Row {
        Row {
            id: Uuid::now_v7(),
            database_id: tenant,
            trigger_id: trigger,
            trigger_version: version,
            secret: Some("current"),
            function: "webhook-gitea",
            vendor: "gitea",
            vendor_event: Some("push".to_owned()),
            key: Some("delivery-1".to_owned()),
            key_secs: None,
            verdict: "accepted",
            reason: None,
            headers: Json(serde_json::json!({})),
            body: vec![1],
            body_bytes: 1,
            body_sha256: vec![7; 32],
            traceparent: None,
            redelivery_of: None,
            events: vec![EventRow {
                id: Uuid::now_v7(),
                ty: "dev.switchyard.git.pushed.v1",
                source: "/test".to_owned(),
                subject: None,
                data: "{}".to_owned(),
            }],
        }
    }

    fn system_db(url: String) -> SystemDb {
        SystemDb::new(&Connect {
            url: url.into(),
            role: DatabaseRole::System,
            connections_max: 2,
            acquire_timeout: Duration::from_secs(20),
        })
        .expect("a URL")
    }

    /// A tenant with a trigger in this version.
    async fn with_trigger(rows: &PgPool) -> Result<(Uuid, Uuid, i64), sqlx::Error> {
        let (tenant, trigger) = (Uuid::new_v4(), Uuid::now_v7());
        sqlx::query("insert into switchyard.tenants (database_id, name) values ($1, 'acme')")
            .bind(tenant)
            .execute(rows)
            .await?;
        let version: i64 = sqlx::query_scalar(
            "insert into switchyard.triggers (id, database_id, name, kind) values ($2, $1, 'push', 'git')
             returning xmin::text::bigint",
        )
        .bind(tenant)
        .bind(trigger)
        .fetch_one(rows)
        .await?;
        Ok((tenant, trigger, version))
    }

    /// Waits until so many sessions wait for a lock.
    async fn until_waiting(rows: &PgPool, count: i64) -> Result<(), sqlx::Error> {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(rows)
            .await?
            < count
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_comes_while_a_group_waits_for_a_key_is_written_as_one() -> Result<(), sqlx::Error>
    {
        let test = testkit::database().await;
        let rows = test.pool(None).await;
        let (tenant, trigger, version) = with_trigger(&rows).await?;
        // Another process is at this key, and may yet fail.
        let mut other = rows.acquire().await?;
        sqlx::raw_sql("begin").execute(&mut *other).await?;
        sqlx::query(
            "insert into switchyard.delivery_keys (database_id, trigger_id, key, delivery_id, body_sha256)
             values ($1, $2, 'delivery-1', gen_random_uuid(), '')",
        )
        .bind(tenant)
        .bind(trigger)
        .execute(&mut *other)
        .await?;
        let db = system_db(test.owner_url());
        let group = Group::default();
        let store = |key: String| {
            let row = Row {
                key: Some(key),
                ..delivery(tenant, trigger, version)
            };
            group.store(&db, row)
        };
        let rest = async {
            until_waiting(&rows, 1).await?;
            let stored = tokio::try_join!(
                store("delivery-2".to_owned()),
                store("delivery-3".to_owned()),
                store("delivery-4".to_owned()),
            )?;
            sqlx::raw_sql("rollback").execute(&mut *other).await?;
            Ok::<_, sqlx::Error>(stored)
        };
        let (first, rest) = tokio::try_join!(store("delivery-1".to_owned()), rest)?;
        let as_given = Stored::AsGiven;
        assert_eq!((first, rest), (as_given, (as_given, as_given, as_given)));
        // A statement has one time.
        let groups: i64 = sqlx::query_scalar(
            "select count(distinct received_at) from switchyard.deliveries where delivery_key <> 'delivery-1'",
        )
        .fetch_one(&rows)
        .await?;
        assert_eq!(groups, 1);
        Ok(())
    }

    #[tokio::test]
    async fn a_group_that_the_server_is_still_at_is_not_written_twice() -> Result<(), sqlx::Error> {
        let test = testkit::database().await;
        let rows = test.pool(None).await;
        let (tenant, trigger, version) = with_trigger(&rows).await?;
        // Whoever writes a delivery waits for this.
        let mut lock = rows.acquire().await?;
        sqlx::raw_sql("begin; lock table switchyard.delivery_keys in exclusive mode")
            .execute(&mut *lock)
            .await?;

        let url = test.owner_url();
        let (before, after) = url.split_once('@').expect("a login");
        let (server, database) = after.split_once('/').expect("a database");
        let server: SocketAddr = server
            .replace("localhost", "127.0.0.1")
            .parse()
            .expect("an address");
        let proxy = Proxy::to(server).await;
        let db = system_db(format!("{before}@{}/{database}", proxy.address()));
        let row = delivery(tenant, trigger, version);
        let id = row.id;
        let rows_given = [row];
        let breaking = async {
            until_waiting(&rows, 1).await?;
            // Our side is told; the server finds out when it answers, which is after it has committed.
            proxy.cut();
            until_waiting(&rows, 2).await?;
            sqlx::raw_sql("rollback").execute(&mut *lock).await
        };
        let (stored, _) = tokio::try_join!(accept_once(&db, &rows_given), breaking)?;
        assert_eq!(stored, [(id, Stored::AsGiven)]);
        let counts: (i64, i64) = sqlx::query_as(
            "select (select count(*) from switchyard.deliveries), (select count(*) from switchyard.events)",
        )
        .fetch_one(&rows)
        .await?;
        assert_eq!(counts, (1, 1));
        Ok(())
    }
}
