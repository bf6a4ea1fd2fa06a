//! What people look at, over a million finished jobs and a million events: how long the server takes for each page and for
//! each list of the API.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use database::{Connect, TenantDb};
use host::{Env, Resources};
use http::Request;
use http_body_util::Full;
use model::{DatabaseRole, Role};
use serde_json::Value;
use sqlx::PgConnection;
use store::people;

use super::served::Served;
use crate::ground::Ground;
use crate::jobs::{self, Backlog};
use crate::load::Client;
use crate::report::Figure;
use crate::stats::{Samples, ms};

const ROWS: i64 = 1_000_000;
/// Jobs that are queued besides.
const READY: i64 = 10_000;
/// Requests of each page that are timed, after some that are not.
const SAMPLES: usize = 100;
const WARM: usize = 5;
/// Pieces of a list that are read one after the other, each from where the one before ended.
const PIECES: usize = 100;

/// Where functions are that read a delivery or a workspace again.
const CALLED: [&str; 9] = [
    "CRON_WORKSPACES_URL",
    "WEBHOOK_AZURE_URL",
    "WEBHOOK_BITBUCKET_URL",
    "WEBHOOK_CLOUDEVENTS_URL",
    "WEBHOOK_GENERIC_URL",
    "WEBHOOK_GITEA_URL",
    "WEBHOOK_GITHUB_URL",
    "WEBHOOK_GITLAB_URL",
    "WEBHOOK_REGISTRY_URL",
];

/// Measures it.
pub async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    let tasks = jobs::tasks(ground, "shown", 1).await?;
    fill(ground, &tasks[0]).await?;
    Backlog::new(READY, &[ground.tenant], &tasks)
        .add(ground)
        .await?;
    ground.settle().await?;

    let token = sign_in(ground).await?;
    let portal = Served::start(
        portal::FUNCTION
            .mount(&env(ground), &Resources::new()?)?
            .router,
    )
    .await?;
    let api = Served::start(
        api::FUNCTION
            .mount(&env(ground), &Resources::new()?)?
            .router,
    )
    .await?;
    let asking = Asking { token };
    let mut timed = Vec::new();
    let mut client = Client::connect(portal.addr).await?;
    for path in portal_pages(ground).await? {
        let samples = asking.page(&mut client, &path).await?;
        timed.push((format!("portal {path}"), samples));
    }
    let mut client = Client::connect(api.addr).await?;
    for path in api_pages(ground, &tasks[0]).await? {
        let samples = asking.page(&mut client, &path).await?;
        timed.push((format!("api {path}"), samples));
    }
    for list in ["/jobs", "/deliveries", "/dead"] {
        let samples = asking.pieces(&mut client, list).await?;
        timed.push((format!("api {list}, {PIECES} pieces of 100"), samples));
    }
    drop(client);
    portal.stop().await?;
    api.stop().await?;
    timed.sort_by_key(|(_, samples)| std::cmp::Reverse(samples.percentile(99.0)));
    let (slowest, samples) = timed.first().context("nothing was measured")?;
    let worst = samples.percentile(99.0);
    let mut figure = Figure::at_most(
        "pages",
        "pages over 1 M archived jobs and 1 M events, server time p99 of the slowest, ms",
        worst.as_secs_f64() * 1e3,
        150.0,
    )
    .showing(ms(worst), "-")
    .noting(format!(
        "{slowest}; {ROWS} deliveries, events, decisions and finished jobs of one tenant over 30 days, every twentieth dead, \
         and {READY} queued ones; {SAMPLES} requests of each page, one after the other over loopback, the answer read to \
         its end"
    ));
    for (what, samples) in &timed {
        figure = figure.noting(format!(
            "{what}: p50 {}, p99 {}",
            ms(samples.p50()),
            ms(samples.percentile(99.0))
        ));
    }
    Ok(vec![figure])
}

/// With those whom pages and the API call when somebody asks them to; nobody does here.
fn env(ground: &Ground) -> Env {
    let env = ground.env().with("BLOBS_URL", ground.blobs_url());
    CALLED
        .iter()
        .fold(env, |env, name| env.with(name, "http://127.0.0.1:9/"))
}

/// The portal's first page and its lists, on whatever is there.
pub async fn list(ground: &Ground) -> anyhow::Result<Samples> {
    let token = sign_in(ground).await?;
    let mounted = portal::FUNCTION.mount(&env(ground), &Resources::new()?)?;
    let portal = Served::start(mounted.router).await?;
    let mut client = Client::connect(portal.addr).await?;
    let asking = Asking { token };
    let mut samples = Vec::new();
    for path in ["/", "/deliveries", "/dead", "/queues"] {
        for _ in 0..SAMPLES {
            samples.push(asking.get(&mut client, path).await?.0);
        }
    }
    drop(client);
    portal.stop().await?;
    Samples::new(samples)
}

async fn portal_pages(ground: &Ground) -> anyhow::Result<Vec<String>> {
    let mut connection = ground.connection().await?;
    let some = Picked::read(&mut connection).await?;
    Ok(vec![
        "/".to_owned(),
        "/deliveries".to_owned(),
        "/deliveries?verdict=rejected".to_owned(),
        format!("/deliveries?before={}", some.delivery),
        format!("/deliveries/{}", some.delivery),
        format!("/events/{}", some.event),
        format!("/jobs/{}", some.job),
        "/workloads".to_owned(),
        format!("/workloads/{}", some.workload),
    ])
}

async fn api_pages(ground: &Ground, task: &str) -> anyhow::Result<Vec<String>> {
    let mut connection = ground.connection().await?;
    let some = Picked::read(&mut connection).await?;
    Ok(vec![
        "/deliveries".to_owned(),
        "/deliveries?verdict=rejected".to_owned(),
        format!("/deliveries/{}", some.delivery),
        format!("/events/{}", some.event),
        "/jobs".to_owned(),
        format!("/jobs?workload={}", some.workload),
        format!("/jobs/{}", some.job),
        "/dead".to_owned(),
        "/queues".to_owned(),
        "/tasks".to_owned(),
        format!("/tasks/{task}"),
        "/pauses".to_owned(),
        "/schedules".to_owned(),
        "/workloads".to_owned(),
        format!("/workloads/{}", some.workload),
    ])
}

/// One of each, from the middle of the history, as their ids are written.
#[derive(sqlx::FromRow)]
struct Picked {
    delivery: String,
    event: String,
    job: String,
    workload: String,
}

impl Picked {
    async fn read(connection: &mut PgConnection) -> anyhow::Result<Self> {
        Ok(sqlx::query_as(
            "select 'dlv_' || replace(e.delivery_id::text, '-', '') as delivery,
                'evt_' || replace(e.id::text, '-', '') as event,
                d.job_id::text as job,
                'wkl_' || replace(w.id::text, '-', '') as workload
            from switchyard.events e
            join switchyard.decisions d on d.database_id = e.database_id and d.event_id = e.id
            cross join switchyard.workloads w
            order by e.seq
            offset $1
            limit 1",
        )
        .bind(ROWS / 2)
        .fetch_one(connection)
        .await?)
    }
}

struct Asking {
    token: String,
}

impl Asking {
    async fn page(&self, client: &mut Client, path: &str) -> anyhow::Result<Samples> {
        let mut samples = Vec::with_capacity(SAMPLES);
        for at in 0..WARM + SAMPLES {
            let (took, _) = self.get(client, path).await?;
            if at >= WARM {
                samples.push(took);
            }
        }
        Samples::new(samples)
    }

    async fn pieces(&self, client: &mut Client, list: &str) -> anyhow::Result<Samples> {
        let mut samples = Vec::with_capacity(PIECES);
        let mut path = format!("{list}?limit=100");
        for _ in 0..PIECES {
            let (took, body) = self.get(client, &path).await?;
            samples.push(took);
            let piece: Value = serde_json::from_slice(&body)?;
            let next = piece["next"]
                .as_str()
                .with_context(|| format!("{list} ended before {PIECES} pieces"))?;
            path = format!("{list}?limit=100&cursor={next}");
        }
        Samples::new(samples)
    }

    async fn get(&self, client: &mut Client, path: &str) -> anyhow::Result<(Duration, Bytes)> {
        let request = Request::get(path)
            .header("host", "localhost")
            .header("cookie", format!("switchyard_session={}", self.token))
            .body(Full::new(Bytes::new()))?;
        let asked = Instant::now();
        let answer = client.send(request).await?;
        let took = asked.elapsed();
        anyhow::ensure!(answer.status() == 200, "{path}: {}", answer.status());
        Ok((took, answer.into_body()))
    }
}

async fn sign_in(ground: &Ground) -> anyhow::Result<String> {
    let mut owner = ground.connection().await?;
    let (_, person) = people::ensure_member(&mut owner, "bench", "Ann", Role::Admin).await?;
    let link = people::create_sign_in_link(&mut owner, person).await?;
    let tenants = TenantDb::new(&Connect {
        url: ground.url().into(),
        role: DatabaseRole::Tenant,
        connections_max: 1,
        acquire_timeout: Duration::from_secs(10),
    })?;
    let session = people::open_session(&tenants, &link).await?;
    tenants.close().await;
    Ok(session
        .context("the link was used before")?
        .expose()
        .to_owned())
}

/// Rows as the system leaves them behind, without going through it a million times: a delivery, an event, a decision and a
/// finished job each, over the past 30 days.
async fn fill(ground: &Ground, task: &str) -> anyhow::Result<()> {
    let mut owner = ground.connection().await?;
    sqlx::raw_sql(
        "set role switchyard_owner;
        do $$
        begin
            for day in 1..31 loop
                execute format(
                    'create table switchyard.jobs_archive_%s partition of switchyard.jobs_archive
                    for values from (%L) to (%L)',
                    to_char(current_date - day, 'YYYYMMDD'), current_date - day, current_date - day + 1
                );
            end loop;
        end
        $$;
        reset role;
        create table bench.past as
        select n, now() - interval '30 days' * (1 - n / 1000001.0) as at,
            (
                lpad(to_hex((extract(epoch from now() - interval '30 days' * (1 - n / 1000001.0)) * 1000)::bigint), 12, '0')
                || '70008000' || lpad(to_hex(n), 12, '0')
            )::uuid as id,
            nextval(pg_get_serial_sequence('switchyard.jobs', 'id')) as job_id
        from generate_series(1, 1000000) n",
    )
    .execute(&mut owner)
    .await?;
    sqlx::raw_sql(
        "insert into switchyard.deliveries (
            id, database_id, trigger_id, vendor, vendor_event, delivery_key, verdict, reason, body_bytes, received_at
        )
        select p.id, t.database_id, t.id, 'github', 'push', 'key-' || p.n,
            (case when p.n % 50 = 0 then 'ignored' else 'accepted' end)::switchyard.delivery_verdict,
            case when p.n % 50 = 0 then 'it starts nothing' end, 8192, p.at
        from bench.past p cross join switchyard.triggers t;
        insert into switchyard.events (
            id, database_id, seq, type, source, subject, data, trigger_id, delivery_id, correlation_id, accepted_at,
            dispatched_at
        )
        select p.id, t.database_id, p.n, 'dev.switchyard.git.pushed.v1', '/github/team/site', 'main',
            '{\"vendor\": \"github\", \"repository\": {\"path\": \"team/site\"}, \"ref_name\": \"refs/heads/main\",
              \"branch\": \"main\", \"before\": null, \"after\": \"a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4\",
              \"changed_paths\": {\"known\": \"unknown\", \"reason\": \"a first push\"}}',
            t.id, p.id, 'dlv_' || replace(p.id::text, '-', ''), p.at, p.at
        from bench.past p cross join switchyard.triggers t;
        insert into switchyard.decisions (
            database_id, event_id, binding_id, matched, job_id, job_outcome, decided_at
        )
        select b.database_id, p.id, b.id, true, p.job_id, 'added', p.at
        from bench.past p cross join switchyard.bindings b;
        select setval('switchyard.accepted', 2000000)",
    )
    .execute(&mut owner)
    .await?;
    sqlx::query(
        "insert into switchyard.jobs_archive (
            id, database_id, task, queue_name, seq, state, priority, run_at, attempts, attempts_max, epoch, payload,
            started_at, reason, event_id, binding_id, workload_id, correlation_id, depth, created_at, finished_at
        )
        select p.job_id, b.database_id, $1, 'workload:' || b.workload_id, p.n,
            (case when p.n % 20 = 0 then 'dead' else 'succeeded' end)::switchyard.job_state, 0, p.at, 1, 5, 1,
            jsonb_build_object('id', p.n, 'data', 'test_' || p.n), p.at, case when p.n % 20 = 0 then 'it never will' end,
            p.id, b.id, b.workload_id, 'dlv_' || replace(p.id::text, '-', ''), 0, p.at, p.at
        from bench.past p cross join switchyard.bindings b",
    )
    .bind(task)
    .execute(&mut owner)
    .await?;
    Ok(())
}
