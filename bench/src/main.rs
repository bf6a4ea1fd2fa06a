//! Measures the figures that the project promises, all in one run on one machine with default durability.

mod conditions;
mod ground;
mod load;
mod push;
mod report;
mod rows;
mod stats;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::conditions::Conditions;
use crate::ground::Ground;
use crate::report::Figure;

/// Measures the figures that the project promises. Without rows: all of them.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    rows: Vec<Row>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Where the database is put, and so on which disk; removed afterwards.
    #[arg(long, default_value = "/tmp")]
    folder: PathBuf,
    /// Where the database's programs are looked for.
    #[arg(long, env = "PATH", hide = true)]
    path: String,
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
    let rows = if arguments.rows.is_empty() {
        Row::value_variants()
    } else {
        &arguments.rows
    };
    let mut conditions = None;
    let mut figures = Vec::new();
    for row in rows {
        eprintln!("measuring {row:?} …");
        // Each on a ground of its own: what one leaves behind, such as a full outbox, would be work for the next.
        let ground = Ground::make(&arguments.folder, &arguments.path).await?;
        if conditions.is_none() {
            conditions = Some(Conditions::read(&ground).await?);
        }
        figures.extend(match row {
            Row::Ingest => rows::ingest::measure(&ground).await?,
            Row::Started => rows::started::measure(&ground).await?,
            Row::Pickup => rows::pickup::measure(&ground).await?,
            Row::Broker => rows::broker::measure(&ground).await?,
            Row::Up => rows::up::measure(&arguments.folder).await?,
        });
        ground.leave().await?;
    }
    let mut conditions = conditions.context("there is nothing to measure")?;
    conditions.end()?;
    Ok(Run {
        conditions,
        figures,
    })
}

/// Logs are written as in production, at the level `info` and as JSON, and then thrown away: their cost is measured, that
/// of somebody's terminal is not.
fn logs_into_the_void() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::sink)
        .init();
}
