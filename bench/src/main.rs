//! Measures the figures that the project promises, all in one run on one machine with default durability.

mod conditions;
mod ground;
mod harm;
mod jobs;
mod load;
mod machine;
mod peers;
mod push;
mod report;
mod rows;
mod stats;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;

use chaos::Times;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::conditions::Conditions;
use crate::ground::{Ground, Place};
use crate::harm::Fault;
use crate::report::Figure;

/// Measures the figures that the project promises. Without rows: all of them.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    /// What to measure.
    rows: Vec<Row>,
    #[command(subcommand)]
    instead: Option<Instead>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Where the database is put, and so on which disk; removed afterwards.
    #[arg(long, default_value = "/tmp", global = true)]
    folder: PathBuf,
    /// Where the database's programs are looked for.
    #[arg(long, env = "PATH", default_value = "", hide = true, global = true)]
    path: String,
}

#[derive(Debug, Subcommand)]
enum Instead {
    /// Do harm to real processes, with the leases and times of production, and see that nothing is lost. Without faults:
    /// all of them, which takes about an hour.
    Chaos {
        /// What to do.
        faults: Vec<Fault>,
        /// With the seconds of the tests, to see that it works; then order and loss are what counts, and what is only
        /// measured is left out.
        #[arg(long)]
        short: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// A signed push of 8 KiB → durable 202, over a bare insert.
    Ingest,
    /// Webhook accepted → task starts.
    Started,
    /// Job committed → task starts.
    Pickup,
    /// Events a second through the local broker, over a bare insert.
    Broker,
    /// `switchyard up`: time to ready, idle memory.
    Up,
    /// Jobs a second that are claimed and finished in batches, over raw SQL and over other queues.
    Drain,
    /// Jobs a second that are added one by one, over a bare insert.
    Enqueue,
    /// Jobs beside dead ones, later ones, a hot tenant's and a long queue's.
    Flat,
    /// How soon one job starts beside a flood, equal shares, caps, and what they cost.
    Fair,
    /// What a claim reads.
    Claims,
    /// Work under an old snapshot; about 7 minutes.
    Xmin,
    /// Pages over a long history.
    Pages,
    /// A runner's lines into the log, over raw SQL; its memory; what its start costs.
    Runs,
    /// 10 000 pushes over 4 000 connections at once, by senders that come again when they are told to.
    Flood,
    /// An honest sender beside 4 000 connections that say next to nothing.
    Slow,
    /// Whether the time of a refusal tells which triggers exist.
    Timing,
}

#[derive(Debug, Serialize)]
struct Run {
    conditions: Conditions,
    figures: Vec<Figure>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    logs_into_the_void();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let run = runtime.block_on(run(&arguments))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&run)?);
    } else {
        println!("{}\n{}", run.conditions.text(), report::table(&run.figures));
    }
    let met = run.figures.iter().all(|figure| figure.met);
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> anyhow::Result<Run> {
    let place = Place {
        folder: &arguments.folder,
        path: &arguments.path,
    };
    let ground = place.ground().await?;
    let mut conditions = Conditions::read(&ground).await?;
    ground.leave().await?;
    let mut figures = Vec::new();
    match &arguments.instead {
        None => {
            for row in all_unless_named(&arguments.rows) {
                eprintln!("measuring {row:?} …");
                figures.extend(measure(*row, place).await?);
            }
        }
        Some(Instead::Chaos { faults, short }) => {
            let times = if *short { Times::SHORT } else { Times::LONG };
            figures.extend(harm::run(place, times, all_unless_named(faults)).await?);
        }
    }
    conditions.end()?;
    Ok(Run {
        conditions,
        figures,
    })
}

fn all_unless_named<T: ValueEnum>(named: &[T]) -> &[T] {
    if named.is_empty() {
        T::value_variants()
    } else {
        named
    }
}

async fn measure(row: Row, place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    match row {
        Row::Ingest => on_ground(place, rows::ingest::measure).await,
        Row::Started => on_ground(place, rows::started::measure).await,
        Row::Pickup => on_ground(place, rows::pickup::measure).await,
        Row::Broker => on_ground(place, rows::broker::measure).await,
        Row::Up => rows::up::measure(place.folder).await,
        Row::Drain => rows::drain::measure(place).await,
        Row::Enqueue => on_ground(place, rows::enqueue::measure).await,
        Row::Flat => rows::flat::measure(place).await,
        Row::Fair => rows::fair::measure(place).await,
        Row::Claims => rows::claims::measure(place).await,
        Row::Xmin => rows::xmin::measure(place).await,
        Row::Pages => on_ground(place, rows::pages::measure).await,
        Row::Runs => on_ground(place, rows::runs::measure).await,
        Row::Flood => rows::flood::measure(place.folder).await,
        Row::Slow => rows::slow::measure(place.folder).await,
        Row::Timing => rows::timing::measure(place.folder).await,
    }
}

/// Each on a ground of its own: what one leaves behind, such as a full outbox, would be work for the next.
async fn on_ground(
    place: Place<'_>,
    measure: impl AsyncFnOnce(&Ground) -> anyhow::Result<Vec<Figure>>,
) -> anyhow::Result<Vec<Figure>> {
    let ground = place.ground().await?;
    let figures = measure(&ground).await?;
    ground.leave().await?;
    Ok(figures)
}

/// Logs are written as in production, at the level `info` and as JSON, and then thrown away: their cost is measured, that
/// of somebody's terminal is not. What other queues say is not even formatted.
fn logs_into_the_void() {
    let levels = Targets::new()
        .with_default(tracing::Level::INFO)
        .with_targets(peers::TARGETS.map(|target| (target, LevelFilter::OFF)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::sink);
    tracing_subscriber::registry()
        .with(levels)
        .with(lines)
        .init();
}
