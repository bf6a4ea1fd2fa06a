//! A client that speaks as upstream's packages do.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Column as _, PgConnection, PgPool, Row as _, ValueRef as _};
use testkit::TestDb;

/// Two tenants that nobody has made known.
pub(crate) const A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
pub(crate) const B: &str = "bbbbbbbb-0000-4000-8000-000000000000";

// Word for word what `@constructive-io/job-utils` sends.
const FAIL: &str = r#"SELECT * FROM "app_jobs".fail_job($1, $2, $3);"#;
const COMPLETE: &str = r#"SELECT * FROM "app_jobs".complete_job($1, $2);"#;
const GET: &str = r#"SELECT * FROM "app_jobs".get_job($1, $2::text[]);"#;
const GET_SCHEDULED: &str = r#"SELECT * FROM "app_jobs".get_scheduled_job($1, $2::text[]);"#;
const RUN_SCHEDULED: &str = r#"SELECT * FROM "app_jobs".run_scheduled_job($1);"#;
const RELEASE_SCHEDULED: &str = r#"SELECT "app_jobs".release_scheduled_jobs($1, $2::bigint[]);"#;
const RELEASE: &str = r#"SELECT "app_jobs".release_jobs($1);"#;

/// A row as the wire has it: texts, and nothing where there is no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found(BTreeMap<String, Option<String>>);

impl Found {
    #[track_caller]
    pub(crate) fn maybe(&self, column: &str) -> Option<&str> {
        let value = self.0.get(column);
        value
            .unwrap_or_else(|| panic!("{column} is no column of {:?}", self.0))
            .as_deref()
    }

    #[track_caller]
    pub(crate) fn text(&self, column: &str) -> &str {
        self.maybe(column)
            .unwrap_or_else(|| panic!("{column} has a value: {:?}", self.0))
    }

    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.text("id").to_owned()
    }

    /// Whether it is the row without values by which upstream's functions say that they hit nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.values().all(Option::is_none)
    }
}

/// A database with the schema, and a superuser's connections, as upstream's packages have them.
pub(crate) struct Client {
    pub(crate) db: TestDb,
    pub(crate) pool: PgPool,
}

impl Client {
    pub(crate) async fn new() -> Self {
        let db = testkit::database().await;
        let pool = db.pool(None).await;
        let client = Self { db, pool };
        client
            .rows("select switchyard.install_jobs_schema('app_jobs')")
            .await;
        client
    }

    /// Sends a statement whose parameters have no types of their own, as `pg` for Node does.
    pub(crate) async fn sent(
        &self,
        statement: &str,
        parameters: &[Option<&str>],
    ) -> Result<Vec<Found>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let statement = statement.trim_end_matches(';');
        run(&mut connection, &format!("prepare sent as {statement}")).await?;
        let values: Vec<String> = parameters
            .iter()
            .map(|value| match value {
                Some(value) => format!("'{}'", value.replace('\'', "''")),
                None => "null".to_owned(),
            })
            .collect();
        let values = match values.join(", ") {
            none if none.is_empty() => none,
            some => format!("({some})"),
        };
        let answer = found(&mut connection, &format!("execute sent{values}")).await;
        run(&mut connection, "deallocate sent").await?;
        answer
    }

    async fn one(&self, statement: &str, parameters: &[Option<&str>]) -> Found {
        let mut rows = self.sent(statement, parameters).await.unwrap();
        assert_eq!(rows.len(), 1, "{statement} answers with one row");
        rows.remove(0)
    }

    /// Rows of any statement.
    pub(crate) async fn rows(&self, statement: &str) -> Vec<Found> {
        let mut connection = self.pool.acquire().await.unwrap();
        found(&mut connection, statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// The only row of any statement.
    pub(crate) async fn row(&self, statement: &str) -> Found {
        let mut rows = self.rows(statement).await;
        assert_eq!(rows.len(), 1, "{statement} has one row: {rows:?}");
        rows.remove(0)
    }

    /// Why a statement is refused.
    pub(crate) async fn refused(&self, statement: &str) -> (String, String) {
        let mut connection = self.pool.acquire().await.unwrap();
        let error = found(&mut connection, statement).await.unwrap_err();
        // It may have been in a transaction of its own.
        run(&mut connection, "rollback").await.unwrap();
        let error = error.into_database_error().unwrap();
        (
            error.code().unwrap_or_default().into_owned(),
            error.message().to_owned(),
        )
    }

    pub(crate) async fn number(&self, statement: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned()))
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// `add_job` with named arguments after the tenant and the task.
    pub(crate) async fn add(&self, tenant: &str, task: &str, more: &str) -> Found {
        self.row(&format!(
            "select * from app_jobs.add_job('{tenant}'::uuid, '{task}'{more})"
        ))
        .await
    }

    pub(crate) async fn get(&self, worker: &str) -> Found {
        self.one(GET, &[Some(worker), None]).await
    }

    pub(crate) async fn get_of(&self, worker: &str, tasks: &str) -> Found {
        self.one(GET, &[Some(worker), Some(tasks)]).await
    }

    pub(crate) async fn complete(&self, worker: &str, job: &str) -> Found {
        self.one(COMPLETE, &[Some(worker), Some(job)]).await
    }

    pub(crate) async fn fail(&self, worker: &str, job: &str, error: Option<&str>) -> Found {
        self.one(FAIL, &[Some(worker), Some(job), error]).await
    }

    pub(crate) async fn release(&self, worker: &str) {
        self.one(RELEASE, &[Some(worker)]).await;
    }

    pub(crate) async fn get_scheduled(&self, worker: &str) -> Found {
        self.one(GET_SCHEDULED, &[Some(worker), None]).await
    }

    pub(crate) async fn release_scheduled(&self, worker: &str, ids: Option<&str>) {
        self.one(RELEASE_SCHEDULED, &[Some(worker), ids]).await;
    }

    /// What a tick of upstream's scheduler gets: `None` for ALREADY_SCHEDULED, which it reads in the message.
    pub(crate) async fn run_scheduled(&self, schedule: &str) -> Option<Found> {
        match self.sent(RUN_SCHEDULED, &[Some(schedule)]).await {
            Ok(mut rows) => {
                assert_eq!(rows.len(), 1, "it answers with one row");
                Some(rows.remove(0))
            }
            Err(error) => {
                let error = error.into_database_error().unwrap();
                assert_eq!(error.message(), "ALREADY_SCHEDULED");
                None
            }
        }
    }

    /// The row of a job in `app_jobs.jobs`, if it shows there.
    pub(crate) async fn job(&self, id: &str) -> Option<Found> {
        let mut rows = self
            .rows(&format!("select * from app_jobs.jobs where id = {id}"))
            .await;
        assert!(rows.len() <= 1, "an id is one job's: {rows:?}");
        rows.pop()
    }

    /// The state of a job in our own words.
    pub(crate) async fn state(&self, id: &str) -> String {
        self.row(&format!(
            "select state from switchyard.jobs where id = {id}
             union all select state from switchyard.jobs_archive where id = {id}"
        ))
        .await
        .text("state")
        .to_owned()
    }

    /// Lets the time of a job come, as somebody with upstream's schema at hand would.
    pub(crate) async fn come_due(&self, id: &str) {
        self.rows(&format!(
            "select app_jobs.reschedule_jobs(array[{id}], run_at => now())"
        ))
        .await;
    }

    /// Makes it look as if a job had been locked for so long.
    pub(crate) async fn locked_for(&self, id: &str, age: &str) {
        self.rows(&format!(
            "update app_jobs.jobs set locked_at = now() - interval '{age}' where id = {id}"
        ))
        .await;
    }

    pub(crate) async fn listen(&self, channel: &str) -> PgListener {
        let mut listener = PgListener::connect(&self.db.owner_url()).await.unwrap();
        listener.listen(channel).await.unwrap();
        listener
    }

    /// Fails unless every lane's count is the truth and no lane sleeps over ready work.
    pub(crate) async fn check(&self) {
        let wrong = self
            .rows(
                "with truth as (
                    select l.id,
                        (select count(*) from switchyard.jobs j where j.lane_id = l.id and (
                            j.state in ('running', 'cancelling', 'waiting')
                            or j.state = 'queued' and not j.due and j.id = l.holder
                        )) as in_flight,
                        exists (
                            select from switchyard.jobs j
                            where j.lane_id = l.id and j.state = 'queued' and j.due
                        ) as ready
                    from switchyard.lanes l
                )
                select l.*, t.in_flight as really from switchyard.lanes l join truth t on t.id = l.id
                where l.cap is not null and l.in_flight <> t.in_flight or t.ready and not l.active",
            )
            .await;
        assert!(wrong.is_empty(), "lanes that are wrong: {wrong:#?}");
    }
}

async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .map(drop)
}

async fn found(connection: &mut PgConnection, statement: &str) -> Result<Vec<Found>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .fetch_all(connection)
        .await?;
    let rows = rows.iter().map(|row| {
        let values = row.columns().iter().map(|column| {
            let value = row.try_get_raw(column.ordinal()).unwrap();
            let text = (!value.is_null()).then(|| value.as_str().unwrap().to_owned());
            (column.name().to_owned(), text)
        });
        Found(values.collect())
    });
    Ok(rows.collect())
}

/// Whether a notification comes. One that was sent before is there by the time that a later one of ours is.
pub(crate) async fn told(client: &Client, listener: &mut PgListener) -> usize {
    listener.listen("the end").await.unwrap();
    client.rows("select pg_notify('the end', '')").await;
    let mut count = 0;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), listener.recv());
        let notification = next.await.expect("the end is notified").unwrap();
        if notification.channel() == "the end" {
            return count;
        }
        assert_eq!(notification.payload(), "", "upstream's say nothing");
        count += 1;
    }
}
