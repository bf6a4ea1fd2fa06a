//! What a claim reads: buffers for each row that it returns, whatever lies beside and behind what it takes.

use std::time::Duration;

use anyhow::Context as _;
use queue::Ended;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::{Json, Uuid};

use crate::ground::{Ground, Place};
use crate::jobs::{self, Backlog, Drain};
use crate::report::Figure;

/// Rows that a claim asks for.
const LIMIT: i32 = 100;
/// Claims that are not counted, for their plans are made then, and those that are.
const WARM: usize = 10;
const CLAIMS: usize = 20;
const FEW: i64 = 10_000;
const MANY: i64 = 1_000_000;
const DEAD: i64 = 200_000;
const LATER: i64 = 100_000;
const MUCH_LATER: Duration = Duration::from_secs(24 * 60 * 60);
/// Lanes that cannot be claimed from.
const CLOSED: i64 = 10_000;

/// Measures it.
pub async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let few = {
        let ground = place.ground().await?;
        let case = Case::new(&ground).await?;
        case.add(FEW).await?;
        let found = case.claims("10 k ready").await?;
        ground.leave().await?;
        found
    };
    let (many, passed) = many(place).await?;
    let paused = closed(place, "10 000 lanes paused", true).await?;
    let capped = closed(place, "10 000 lanes at their cap", false).await?;
    let all = [&few, &many, &passed, &paused, &capped];
    let most = all.iter().map(|it| it.most).fold(0.0, f64::max);
    let told: Vec<String> = all.iter().map(|it| it.told()).collect();
    Ok(vec![
        Figure::at_most(
            "claims",
            "a claim of 100: buffers for each row, the most of any claim",
            most,
            20.0,
        )
        .showing(format!("{most:.1}"), "-")
        .noting(told.join("; "))
        .noting(format!(
            "one tenant's jobs of one task, `explain (analyze, buffers)` of {CLAIMS} claims that commit, after {WARM}; \
             all buffers of the call, hit or read, indexes and catalogue included, over the rows that it returned"
        )),
        Figure::at_most(
            "claims",
            "the same with 1 M ready, 200 k dead and 100 k later, over that with 10 k ready",
            many.mean / few.mean,
            1.2,
        )
        .showing(format!("{:.1}", many.mean), format!("{:.1}", few.mean))
        .noting(format!(
            "after 1 M have passed {:.2} of it",
            passed.mean / few.mean
        )),
        Figure::at_most(
            "claims",
            "the same after 1 M jobs have passed, over that with 10 k ready",
            passed.mean / few.mean,
            1.2,
        )
        .showing(format!("{:.1}", passed.mean), format!("{:.1}", few.mean)),
        Figure::at_most(
            "claims",
            "the same beside 10 000 lanes that are paused or at their cap, over that without",
            paused.mean.max(capped.mean) / few.mean,
            1.2,
        )
        .showing(
            format!("{:.1}, {:.1}", paused.mean, capped.mean),
            format!("{:.1}", few.mean),
        ),
    ])
}

/// Before and after the many have been worked off.
async fn many(place: Place<'_>) -> anyhow::Result<(Found, Found)> {
    let ground = place.ground().await?;
    let case = Case::new(&ground).await?;
    let queue = ground.queue()?;
    case.add(DEAD).await?;
    let dead = Drain {
        ended: Ended::Dead,
        ..Drain::new(&case.tasks, DEAD.unsigned_abs())
    };
    dead.run(&queue).await?;
    let later = Backlog {
        later: Some(MUCH_LATER),
        ..Backlog::new(LATER, std::slice::from_ref(&ground.tenant), &case.tasks)
    };
    later.add(&ground).await?;
    case.add(MANY).await?;
    let many = case.claims("1 M ready, 200 k dead, 100 k later").await?;
    let held = i64::from(LIMIT) * i64::try_from(WARM + CLAIMS)?;
    Drain::new(&case.tasks, (MANY - held).unsigned_abs())
        .run(&queue)
        .await?;
    case.add(FEW).await?;
    let passed = case.claims("10 k ready after 1 M have passed").await?;
    ground.leave().await?;
    Ok((many, passed))
}

/// Beside lanes that cannot be claimed from, of the same tenant and task.
async fn closed(place: Place<'_>, what: &'static str, paused: bool) -> anyhow::Result<Found> {
    let ground = place.ground().await?;
    let case = Case::new(&ground).await?;
    let queue = ground.queue()?;
    // One to be held in each queue, and one that waits behind it.
    let queued = Backlog {
        queues: Some(CLOSED),
        ..Backlog::new(
            2 * CLOSED,
            std::slice::from_ref(&ground.tenant),
            &case.tasks,
        )
    };
    queued.add(&ground).await?;
    if paused {
        // As `pause` leaves them behind, for each queue; said ten thousand times it would only take longer.
        sqlx::raw_sql(
            "insert into switchyard.pauses (kind, database_id, queue_name, by_whom)
            select 'pause', database_id, queue_name, 'bench' from switchyard.lanes where queue_name is not null;
            update switchyard.lanes set paused = true where queue_name is not null",
        )
        .execute(&mut ground.connection().await?)
        .await?;
    } else {
        let worker = Uuid::new_v4();
        let mut held = 0;
        while held < CLOSED {
            let claimed = queue
                .claim(worker, &case.tasks, jobs::BATCH, HELD_FOR)
                .await?;
            anyhow::ensure!(!claimed.is_empty(), "only {held} queues gave a job");
            held += i64::try_from(claimed.len())?;
        }
    }
    case.add(FEW).await?;
    let found = case.claims(what).await?;
    ground.leave().await?;
    Ok(found)
}

/// Longer than everything else takes.
const HELD_FOR: Duration = Duration::from_secs(60 * 60);

struct Case<'a> {
    ground: &'a Ground,
    tasks: Vec<String>,
}

/// What claims read for each row that they returned.
struct Found {
    what: &'static str,
    mean: f64,
    most: f64,
}

impl Found {
    fn told(&self) -> String {
        format!("{}: {:.1}, at most {:.1}", self.what, self.mean, self.most)
    }
}

impl<'a> Case<'a> {
    async fn new(ground: &'a Ground) -> anyhow::Result<Self> {
        let tasks = jobs::tasks(ground, "claimed", 1).await?;
        // Those that are held while others are worked off must not come back.
        sqlx::query("update switchyard.tasks set attempt_time_max = $1")
            .bind(HELD_FOR)
            .execute(&mut ground.connection().await?)
            .await?;
        Ok(Self { ground, tasks })
    }

    async fn add(&self, jobs: i64) -> anyhow::Result<()> {
        Backlog::new(jobs, &[self.ground.tenant], &self.tasks)
            .add(self.ground)
            .await
    }

    async fn claims(&self, what: &'static str) -> anyhow::Result<Found> {
        let mut connection = self.ground.system_connection().await?;
        sqlx::raw_sql("analyze")
            .execute(&mut self.ground.connection().await?)
            .await?;
        let (mut buffers, mut most) = (0.0, 0.0_f64);
        for at in 0..WARM + CLAIMS {
            let read = self.claim(&mut connection).await?;
            if at >= WARM {
                buffers += read;
                most = most.max(read / f64::from(LIMIT));
            }
        }
        Ok(Found {
            what,
            mean: buffers / (CLAIMS as f64 * f64::from(LIMIT)),
            most,
        })
    }

    /// Buffers that one claim reads; it must find as many rows as it asks for.
    async fn claim(&self, connection: &mut PgConnection) -> anyhow::Result<f64> {
        let Json(plan): Json<Value> = sqlx::query_scalar(
            "explain (analyze, buffers, format json)
            select * from switchyard.claim_jobs($1, $2, $3, make_interval(secs => $4))",
        )
        .bind(Uuid::new_v4())
        .bind(&self.tasks)
        .bind(LIMIT)
        .bind(HELD_FOR.as_secs_f64())
        .fetch_one(connection)
        .await?;
        let top = &plan[0]["Plan"];
        let number = |name: &str| top[name].as_f64().with_context(|| format!("no {name}"));
        let rows = number("Actual Rows")?;
        anyhow::ensure!(rows == f64::from(LIMIT), "a claim found {rows} rows");
        Ok(number("Shared Hit Blocks")? + number("Shared Read Blocks")?)
    }
}
