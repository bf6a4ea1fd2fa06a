//! `switchyard queue`: what the installation lets go on, and how much of it.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use host::Env;
use queue::rules::{Limit, Limits, Pause, PauseKind, Rate};

use super::operate::{Operator, OperatorArgs, ScopeArgs};
use super::output::line;

/// Rows that are listed of each.
const LISTED_MAX: i64 = 1000;
/// What is left in a drain is counted up to this.
const LEFT_MAX: i32 = 10_000;
/// How often is looked whether a drain is empty.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What to do to queues.
#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what stands still and what is limited
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Let nothing start in a task, a tenant or a queue; what runs goes on, what is added waits
    Pause {
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Let nothing be added to a task, a tenant or a queue; what is there is worked off
    Drain {
        /// Come back when nothing is left there
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// End a pause or a drain, or with neither named both
    Resume {
        /// Only this
        #[arg(long, value_enum)]
        only: Option<Kind>,
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Limit how much of a task or a tenant goes on; with no number, limit it no more
    Limit {
        /// How many jobs may be in flight
        #[arg(long, value_name = "JOBS")]
        in_flight: Option<i32>,
        /// How many jobs may start each second, on average
        #[arg(long, value_name = "PER_SECOND")]
        rate: Option<f64>,
        /// How many may start at once; as many as a second's if nothing is said
        #[arg(long, value_name = "JOBS", requires = "rate")]
        burst: Option<i32>,
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Set how many jobs of a tenant's task that are in no queue may be in flight; with no number, as many as there are workers
    Cap {
        /// How many
        #[arg(value_name = "JOBS")]
        cap: Option<i32>,
        /// Whose
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Of which task
        #[arg(long, value_name = "NAME")]
        task: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Set a tenant's part: one with weight 2 starts twice as many jobs as one with 1, while both have work
    Weight {
        /// 0.01 to 1000; it is 1 until it is set
        weight: f64,
        /// Whose
        #[arg(long, value_name = "NAME")]
        tenant: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Pause,
    Drain,
}

impl From<Kind> for PauseKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pause => Self::Pause,
            Kind::Drain => Self::Drain,
        }
    }
}

/// Does what was asked and says what became of it.
pub(crate) async fn queue(env: &Env, args: QueueArgs) -> anyhow::Result<()> {
    match args.what {
        What::List { json, operator } => list(&Operator::new(env, operator)?, json).await,
        What::Pause { scope, operator } => {
            let it = Operator::new(env, operator)?;
            let scope = it.scope(&scope).await?;
            it.queue.pause(PauseKind::Pause, scope, it.by()).await?;
            line("paused: nothing starts there until it is resumed");
            Ok(())
        }
        What::Drain {
            wait,
            scope,
            operator,
        } => drain(&Operator::new(env, operator)?, &scope, wait).await,
        What::Resume {
            only,
            scope,
            operator,
        } => {
            let it = Operator::new(env, operator)?;
            let scope = it.scope(&scope).await?;
            let kind = only.map(PauseKind::from);
            match it.queue.resume(kind, scope, it.by()).await? {
                0 => {
                    bail!("nothing is paused or drained exactly there; see `switchyard queue list`")
                }
                1 => line("resumed"),
                lifted => line(format_args!("resumed: {lifted} pauses and drains are over")),
            }
            Ok(())
        }
        What::Limit {
            in_flight,
            rate,
            burst,
            scope,
            operator,
        } => {
            let it = Operator::new(env, operator)?;
            let limits = Limits {
                in_flight_max: in_flight,
                rate: rate.map(|per_second| Rate { per_second, burst }),
            };
            let scope = it.scope(&scope).await?;
            let limited = it.queue.set_limit(scope, limits, it.by()).await?;
            line(if limited {
                "limited"
            } else {
                "not limited any more"
            });
            Ok(())
        }
        What::Cap {
            cap,
            tenant,
            task,
            operator,
        } => {
            let it = Operator::new(env, operator)?;
            let tenant = it.tenant(&tenant).await?;
            it.queue.set_cap(tenant, &task, cap, it.by()).await?;
            line("set");
            Ok(())
        }
        What::Weight {
            weight,
            tenant,
            operator,
        } => {
            let it = Operator::new(env, operator)?;
            let tenant = it.tenant(&tenant).await?;
            it.queue.set_weight(tenant, weight, it.by()).await?;
            line("set");
            Ok(())
        }
    }
}

async fn drain(it: &Operator, scope: &ScopeArgs, wait: bool) -> anyhow::Result<()> {
    let scope = it.scope(scope).await?;
    it.queue.pause(PauseKind::Drain, scope, it.by()).await?;
    let mut said = None;
    loop {
        let left = it.queue.left(scope, LEFT_MAX).await?;
        if said != Some(left) {
            line(match left {
                0 => "drained: nothing is left there, and nothing is added until it is resumed"
                    .to_owned(),
                LEFT_MAX => format!("draining: {LEFT_MAX} jobs or more are left"),
                left => format!("draining: {left} jobs are left"),
            });
            said = Some(left);
        }
        if left == 0 || !wait {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn list(it: &Operator, json: bool) -> anyhow::Result<()> {
    let pauses = it.queue.pauses(LISTED_MAX).await?;
    let limits = it.queue.limits(LISTED_MAX).await?;
    if json {
        let all = serde_json::json!({ "pauses": pauses, "limits": limits });
        line(serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    if pauses.is_empty() && limits.is_empty() {
        line("nothing stands still and nothing is limited");
    }
    for pause in &pauses {
        line(pause_line(pause));
    }
    for limit in &limits {
        line(limit_line(limit));
    }
    Ok(())
}

fn place(tenant: Option<&str>, task: Option<&str>, queue: Option<&str>) -> String {
    let mut parts = Vec::new();
    parts.extend(tenant.map(|tenant| format!("tenant {tenant}")));
    parts.extend(task.map(|task| format!("task {task}")));
    parts.extend(queue.map(|queue| format!("queue {queue}")));
    parts.join(", ")
}

fn pause_line(pause: &Pause) -> String {
    let Pause {
        tenant,
        task,
        queue,
        ..
    } = pause;
    let at = pause.at.format("%Y-%m-%d %H:%M:%S UTC");
    let why = pause
        .why
        .as_ref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    format!(
        "{}  {}  since {at}  by {}{}{why}",
        pause.kind,
        place(tenant.as_deref(), task.as_deref(), queue.as_deref()),
        pause.by,
        if pause.own { " of the tenant" } else { "" },
    )
}

fn limit_line(limit: &Limit) -> String {
    let mut parts = Vec::new();
    if let Some(most) = limit.in_flight_max {
        parts.push(format!(
            "{} of {most} in flight",
            limit.in_flight.unwrap_or_default()
        ));
    }
    if let Some(rate) = limit.rate {
        let burst = rate.burst.unwrap_or(1);
        parts.push(format!("{} a second, {burst} at once", rate.per_second));
    }
    let by = limit.by.as_deref().unwrap_or("nobody known");
    format!(
        "limit  {}  {}  by {by}{}",
        place(limit.tenant.as_deref(), limit.task.as_deref(), None),
        parts.join(", "),
        if limit.own { " of the tenant" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;
    use model::TenantId;
    use sqlx::PgPool;
    use testkit::TestDb;

    use super::*;
    use crate::cli::repair::{RepairArgs, repair};

    /// An installation with a tenant `acme`, whose operator speaks through the command line alone.
    struct Installation {
        env: Env,
        owner: PgPool,
        acme: TenantId,
        _db: TestDb,
    }

    impl Installation {
        async fn new() -> Self {
            let db = testkit::database().await;
            let owner = db.pool(None).await;
            let acme: uuid::Uuid = sqlx::query_scalar(
                "insert into switchyard.tenants (name) values ('acme') returning database_id",
            )
            .fetch_one(&owner)
            .await
            .expect("a tenant");
            let url = ("DATABASE_URL".to_owned(), db.owner_url());
            let user = ("USER".to_owned(), "ann".to_owned());
            Self {
                env: [url, user].into_iter().collect(),
                owner,
                acme: acme.into(),
                _db: db,
            }
        }

        async fn queue(&self, line: &str) -> Result<(), String> {
            let command = QueueArgs::augment_args(clap::Command::new("queue"));
            let words = std::iter::once("queue").chain(line.split_whitespace());
            let args = command
                .try_get_matches_from(words)
                .and_then(|matches| QueueArgs::from_arg_matches(&matches))
                .map_err(|error| error.to_string())?;
            queue(&self.env, args)
                .await
                .map_err(|error| format!("{error:#}"))
        }

        async fn repair(&self, line: &str) -> Result<(), String> {
            let command = RepairArgs::augment_args(clap::Command::new("repair"));
            let words = std::iter::once("repair").chain(line.split_whitespace());
            let args = command
                .try_get_matches_from(words)
                .and_then(|matches| RepairArgs::from_arg_matches(&matches))
                .map_err(|error| error.to_string())?;
            repair(&self.env, args)
                .await
                .map_err(|error| format!("{error:#}"))
        }

        async fn text(&self, sql: &'static str) -> String {
            sqlx::query_scalar::<_, Option<String>>(sql)
                .fetch_one(&self.owner)
                .await
                .expect("an answer")
                .unwrap_or_default()
        }
    }

    const PAUSES: &str = "select string_agg(concat_ws(' ', p.kind, t.name, p.task, p.queue_name, p.by_whom, p.why), '; '
        order by p.id) from switchyard.pauses p left join switchyard.tenants t using (database_id)";
    const LIMITS: &str =
        "select string_agg(concat_ws(' ', t.name, l.task, l.in_flight_max, l.rate, l.burst), '; '
        order by l.id) from switchyard.limits l left join switchyard.tenants t using (database_id)";

    #[tokio::test]
    async fn an_operator_rules_over_all_tenants_or_one() {
        let it = Installation::new().await;
        let done = [
            "pause --task task --why maintenance",
            "pause --tenant acme --task task",
            "drain --tenant acme --queue q --by bob",
            "limit --tenant acme --in-flight 8",
            "limit --task task --rate 2.5 --burst 10",
            "weight 3 --tenant acme",
            "cap 4 --tenant acme --task task",
            "list",
            "list --json",
        ];
        for line in done {
            assert_eq!(it.queue(line).await, Ok(()), "{line}");
        }
        assert_eq!(
            it.text(PAUSES).await,
            "pause task ann maintenance; pause acme task ann; drain acme q bob"
        );
        assert_eq!(it.text(LIMITS).await, "acme 8; task 2.5 10");
        let set = "select (select weight from switchyard.shares) || ' ' || (select cap from switchyard.lanes)";
        assert_eq!(it.text(set).await, "3 4");
        for line in [
            "resume --task task",
            "resume --tenant acme --task task --only pause",
            "resume --tenant acme --queue q",
            "limit --tenant acme",
            "limit --task task",
            "cap --tenant acme --task task",
        ] {
            assert_eq!(it.queue(line).await, Ok(()), "{line}");
        }
        assert_eq!(
            (it.text(PAUSES).await, it.text(LIMITS).await),
            <_>::default()
        );
    }

    #[tokio::test]
    async fn what_cannot_be_is_said_to_be_so() {
        let it = Installation::new().await;
        for (line, problem) in [
            ("pause", "say what"),
            ("pause --queue q", "--tenant"),
            (
                "pause --tenant acme --task t --queue q",
                "cannot be used with",
            ),
            (
                "pause --tenant nobody",
                "there is no tenant with the name \"nobody\"",
            ),
            (
                "resume --task task",
                "nothing is paused or drained exactly there",
            ),
            (
                "limit --tenant acme --queue q --in-flight 2",
                "one job at a time",
            ),
            ("limit --tenant acme --in-flight 0", "1 to 1000000"),
            ("weight 0 --tenant acme", "0.01 to 1000"),
        ] {
            let told = it.queue(line).await.expect_err(line);
            assert!(told.contains(problem), "{line}: {told}");
        }
        for (line, problem) in [
            ("reap", "required"),
            ("reap --task t --limit 1001", "1001"),
            ("reap --task t --tenant nobody", "there is no tenant"),
        ] {
            let told = it.repair(line).await.expect_err(line);
            assert!(told.contains(problem), "{line}: {told}");
        }
    }

    #[tokio::test]
    async fn an_operator_repairs_and_looks_first() {
        let it = Installation::new().await;
        sqlx::query("select switchyard.add_job($1, 'task', '{}')")
            .bind(it.acme.uuid())
            .execute(&it.owner)
            .await
            .expect("a job");
        sqlx::query("select switchyard.claim_jobs(gen_random_uuid(), '{task}', 1, '1 hour')")
            .execute(&it.owner)
            .await
            .expect("a claim");
        let state = "select state::text from switchyard.jobs";
        for (line, after) in [
            ("reap --task task --dry-run", "running"),
            ("reap --task task --tenant acme --json", "queued"),
            ("requeue --task task", "queued"),
            ("republish", "queued"),
        ] {
            assert_eq!(it.repair(line).await, Ok(()), "{line}");
            assert_eq!(it.text(state).await, after, "{line}");
        }
        let deeds = "select string_agg(deed, ' ' order by id) from switchyard.audit";
        assert_eq!(it.text(deeds).await, "reap requeue republish");
    }
}
