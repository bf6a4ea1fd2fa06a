//! Who does the work of which tasks: as rows that change hands, and as defaults of those who have none.

use std::time::Duration;

use anyhow::{Context as _, Result};
use database::{Connect, SystemDb, TenantDb};
use model::{DatabaseRole, JobId, LogStream, TenantId};
use queue::executors::{self, CompletesBy, Executor, NewDefault, NewExecutor, Place, TaskExecutor};
use queue::{By, Hold, Queue, RunBy};
use sqlx::PgPool;
use testkit::TestDb;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(60);
const ANN: By<'static> = By {
    name: "Ann",
    why: Some("it moved"),
};

struct World {
    queue: Queue,
    tenants: TenantDb,
    rows: PgPool,
    _db: TestDb,
}

impl World {
    async fn new() -> Result<Self> {
        let db = testkit::database().await;
        let connect = |role| Connect {
            url: db.owner_url().into(),
            role,
            connections_max: 2,
            acquire_timeout: Duration::from_secs(20),
        };
        Ok(Self {
            queue: Queue::new(SystemDb::new(&connect(DatabaseRole::System))?),
            tenants: TenantDb::new(&connect(DatabaseRole::Tenant))?,
            rows: db.pool(None).await,
            _db: db,
        })
    }

    async fn tenant(&self, name: &str) -> Result<TenantId> {
        let id: Uuid = sqlx::query_scalar(
            "insert into switchyard.tenants (name) values ($1) returning database_id",
        )
        .bind(name)
        .fetch_one(&self.rows)
        .await?;
        Ok(id.into())
    }

    async fn add(&self, tenant: TenantId, task: &str, queue_name: Option<&str>) -> Result<JobId> {
        let id: i64 = sqlx::query_scalar(
            "select job_id from switchyard.add_job($1, $2, '{}', p_queue_name => $3)",
        )
        .bind(tenant.uuid())
        .bind(task)
        .bind(queue_name)
        .fetch_one(&self.rows)
        .await?;
        Ok(JobId(id))
    }

    async fn shown(&self, task: &str) -> Result<TaskExecutor> {
        let mut all = self.queue.task_executors().await?;
        all.retain(|it| it.task == task);
        all.pop().context("the task is listed")
    }

    async fn run_by(&self, job: JobId) -> Result<Option<RunBy>> {
        let claimable = self.queue.claimable(8).await?;
        let found = claimable.into_iter().find(|ready| ready.job == job);
        Ok(found.context("the job is ready")?.executor)
    }

    async fn claimed_by_default(&self) -> Result<Vec<JobId>> {
        let claimed = self
            .queue
            .claim_by_default(Uuid::new_v4(), 10, LEASE)
            .await?;
        let mut jobs: Vec<JobId> = claimed.into_iter().map(|job| job.hold.job).collect();
        jobs.sort_unstable_by_key(|job| job.0);
        Ok(jobs)
    }
}

fn to<'a>(task: &'a str, executor: Option<Executor>) -> NewExecutor<'a> {
    NewExecutor {
        task,
        executor,
        url: None,
        namespace: None,
        completes_by: None,
        callback_deadline: None,
        attempt_time_max: None,
        attempts_max: None,
        by: ANN,
    }
}

fn default(tenant: Option<TenantId>, executor: Option<Executor>) -> NewDefault<'static> {
    NewDefault {
        tenant,
        executor,
        namespace: None,
        completes_by: None,
        callback_deadline: None,
        by: ANN,
    }
}

#[tokio::test]
async fn a_task_keeps_what_a_change_of_hands_does_not_name() -> Result<()> {
    let world = World::new().await?;
    world
        .queue
        .set_executor(&NewExecutor {
            url: Some("http://hello.test/"),
            completes_by: Some(CompletesBy::Callback),
            callback_deadline: Some(Duration::from_secs(90)),
            attempt_time_max: Some(Duration::from_secs(900)),
            attempts_max: Some(3),
            ..to("hello", Some(Executor::Http))
        })
        .await?;
    let before = world.shown("hello").await?;
    assert_eq!(before.url.as_deref(), Some("http://hello.test/"));
    world
        .queue
        .set_executor(&to("hello", Some(Executor::Knative)))
        .await?;
    let expected = TaskExecutor {
        executor: Some(Executor::Knative),
        url: None,
        ..before
    };
    assert_eq!(world.shown("hello").await?, expected);
    let told: (String, String) = sqlx::query_as(
        "select executor_by, executor_why from switchyard.tasks where name = 'hello'",
    )
    .fetch_one(&world.rows)
    .await?;
    assert_eq!(told, ("Ann".to_owned(), "it moved".to_owned()));
    let place = Place {
        task: "hello".to_owned(),
        executor: Executor::Knative,
        url: None,
        namespace: None,
    };
    assert!(world.queue.external_tasks().await?.contains(&place));
    Ok(())
}

#[tokio::test]
async fn a_place_that_cannot_be_is_refused() -> Result<()> {
    let world = World::new().await?;
    for (task, executor, url) in [
        ("email:send", Executor::Knative, None),
        ("Hello", Executor::Knative, None),
        ("a/b", Executor::OpenFaas, None),
        ("hello", Executor::Http, Some("file:///etc/passwd")),
    ] {
        let new = NewExecutor {
            url,
            ..to(task, Some(executor))
        };
        let refused = world.queue.set_executor(&new).await;
        let error = refused.expect_err("it is refused");
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("23514"), "{task} {executor}: {error}");
    }
    let http = default(None, Some(Executor::Http));
    assert!(world.queue.set_default_executor(&http).await.is_err());
    Ok(())
}

#[tokio::test]
async fn wake_ups_name_who_runs_a_job() -> Result<()> {
    let world = World::new().await?;
    let (acme, umbra) = (world.tenant("acme").await?, world.tenant("umbra").await?);
    let job = world.add(acme, "hello", None).await?;
    assert_eq!(world.run_by(job).await?, None, "out of the box nobody");
    for executor in Executor::ALL {
        let new = NewExecutor {
            url: (executor == Executor::Http).then_some("http://hello.test/"),
            ..to("hello", Some(executor))
        };
        world.queue.set_executor(&new).await?;
        let expected = match executor {
            Executor::Builtin => RunBy::Builtin,
            Executor::Knative | Executor::OpenFaas | Executor::Http => RunBy::External,
        };
        assert_eq!(world.run_by(job).await?, Some(expected), "{executor}");
    }
    assert!(world.queue.forget_task("hello").await?);
    assert_eq!(world.run_by(job).await?, None);

    let other = world.add(umbra, "hello", None).await?;
    world
        .queue
        .set_default_executor(&default(Some(acme), Some(Executor::Knative)))
        .await?;
    assert_eq!(world.run_by(job).await?, Some(RunBy::External));
    assert_eq!(world.run_by(other).await?, None);
    Ok(())
}

#[tokio::test]
async fn by_default_only_what_has_no_row_is_claimed_of_those_who_have_a_default() -> Result<()> {
    let world = World::new().await?;
    let (acme, umbra) = (world.tenant("acme").await?, world.tenant("umbra").await?);
    world
        .queue
        .set_executor(&to("ours", Some(Executor::Builtin)))
        .await?;
    world.queue.set_executor(&to("nobodys", None)).await?;
    let mut wanted = Vec::new();
    for tenant in [acme, umbra] {
        world.add(tenant, "ours", None).await?;
        world.add(tenant, "nobodys", None).await?;
        wanted.push(world.add(tenant, "hello", None).await?);
        wanted.push(world.add(tenant, "other", Some("queue")).await?);
    }
    assert_eq!(world.claimed_by_default().await?, []);
    let of_acme = default(Some(acme), Some(Executor::OpenFaas));
    world.queue.set_default_executor(&of_acme).await?;
    assert_eq!(world.claimed_by_default().await?, wanted[..2]);
    let of_all = default(None, Some(Executor::Knative));
    world.queue.set_default_executor(&of_all).await?;
    assert_eq!(world.claimed_by_default().await?, wanted[2..]);

    // A tenant may be left out of what all others get, and come back to it.
    world
        .queue
        .set_default_executor(&default(Some(umbra), None))
        .await?;
    let job = world.add(umbra, "hello", None).await?;
    assert_eq!(world.claimed_by_default().await?, []);
    assert!(world.queue.drop_default_executor(Some(umbra)).await?);
    assert!(!world.queue.drop_default_executor(Some(umbra)).await?);
    assert_eq!(world.claimed_by_default().await?, [job]);
    Ok(())
}

#[tokio::test]
async fn by_default_a_cap_is_kept_and_every_lane_gets_its_part() -> Result<()> {
    let world = World::new().await?;
    let of_all = default(None, Some(Executor::Knative));
    world.queue.set_default_executor(&of_all).await?;
    let (acme, umbra) = (world.tenant("acme").await?, world.tenant("umbra").await?);
    for _ in 0..50 {
        world.add(acme, "hello", None).await?;
    }
    let queued = world.add(acme, "hello", Some("queue")).await?;
    world.add(acme, "hello", Some("queue")).await?;
    let single = world.add(umbra, "hello", None).await?;
    let claimed = world.claimed_by_default().await?;
    assert!(
        claimed.contains(&queued) && claimed.contains(&single),
        "{claimed:?}"
    );
    assert!(claimed.len() <= 10);
    // Of a named queue one at a time, whoever asks.
    let of_queue: i64 = sqlx::query_scalar(
        "select count(*) from switchyard.jobs where queue_name = 'queue' and state = 'running'",
    )
    .fetch_one(&world.rows)
    .await?;
    assert_eq!(of_queue, 1);
    Ok(())
}

#[tokio::test]
async fn what_to_call_is_read_with_the_job() -> Result<()> {
    let world = World::new().await?;
    let acme = world.tenant("acme").await?;
    world
        .queue
        .set_default_executor(&NewDefault {
            namespace: Some("acme"),
            completes_by: Some(CompletesBy::Callback),
            callback_deadline: Some(Duration::from_secs(30)),
            ..default(Some(acme), Some(Executor::Knative))
        })
        .await?;
    world.add(acme, "hello", None).await?;
    let claimed = world
        .queue
        .claim_by_default(Uuid::new_v4(), 1, LEASE)
        .await?;
    let hold = claimed[0].hold;
    let call = world.queue.call(hold).await?.context("it is held")?;
    assert_eq!(call.place.namespace.as_deref(), Some("acme"));
    assert_eq!(call.completes_by, CompletesBy::Callback);
    assert_eq!(call.callback_deadline, Duration::from_secs(30));
    assert_eq!(call.attempt_time_max, Duration::from_secs(120));
    assert!(call.time_left <= call.attempt_time_max);
    // Its own row wins as soon as there is one.
    world
        .queue
        .set_executor(&to("hello", Some(Executor::OpenFaas)))
        .await?;
    let call = world.queue.call(hold).await?.context("it is held")?;
    assert_eq!(call.place.executor, Executor::OpenFaas);
    assert_eq!(call.place.namespace, None);
    world
        .queue
        .set_executor(&to("hello", Some(Executor::Builtin)))
        .await?;
    assert!(
        world.queue.call(hold).await?.is_none(),
        "it is nobody else's"
    );
    let old = Hold {
        epoch: hold.epoch - 1,
        ..hold
    };
    assert!(world.queue.call(old).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_tenant_says_only_where_its_own_function_is() -> Result<()> {
    let world = World::new().await?;
    let (acme, umbra) = (world.tenant("acme").await?, world.tenant("umbra").await?);
    let mut tx = world.tenants.begin(acme).await?;
    assert!(executors::set_own_url(&mut tx, "task-http", "https://a.test/", "Ann").await?);
    assert!(!executors::set_own_url(&mut tx, "nothing", "https://a.test/", "Ann").await?);
    tx.commit().await?;
    let mut tx = world.tenants.begin(umbra).await?;
    let seen = executors::tenant_executor(&mut tx, "task-http").await?;
    assert_eq!(seen.context("the task is there")?.own_url, None);
    assert!(!executors::drop_own_url(&mut tx, "task-http").await?);
    tx.commit().await?;
    let mut tx = world.tenants.begin(acme).await?;
    assert!(executors::drop_own_url(&mut tx, "task-http").await?);
    tx.commit().await?;
    let mut tx = world.tenants.begin(acme).await?;
    let http = executors::set_own_url(&mut tx, "task-http", "http://a.test/", "Ann").await;
    assert!(http.is_err(), "the table takes https alone");
    Ok(())
}

#[tokio::test]
async fn lines_are_numbered_behind_those_that_are_there_by_who_holds_the_job() -> Result<()> {
    let world = World::new().await?;
    let acme = world.tenant("acme").await?;
    world.add(acme, "hello", None).await?;
    let claimed = world
        .queue
        .claim(Uuid::new_v4(), &["hello".to_owned()], 1, LEASE)
        .await?;
    let hold = claimed[0].hold;
    let append = async |hold, lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        world
            .queue
            .append_lines(hold, LogStream::Stdout, &lines)
            .await
    };
    assert!(append(hold, &["a", "b"]).await?);
    assert!(
        append(hold, &["a"]).await?,
        "without numbers a repeat is not known"
    );
    let old = Hold {
        epoch: hold.epoch - 1,
        ..hold
    };
    assert!(!append(old, &["c"]).await?);
    let lines: Vec<(i64, String)> =
        sqlx::query_as("select seq, line from switchyard.job_logs order by seq")
            .fetch_all(&world.rows)
            .await?;
    let expected = [(1, "a"), (2, "b"), (3, "a")];
    assert_eq!(lines, expected.map(|(seq, line)| (seq, line.to_owned())));
    Ok(())
}
