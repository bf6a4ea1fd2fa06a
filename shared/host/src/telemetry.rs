//! Logs.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::Env;

/// How logs are written, to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people at a terminal.
    Text,
}

/// Starts logging. `RUST_LOG` chooses what is logged; `default` counts where it is not given. Does nothing the second time.
pub fn init_telemetry(env: &Env, format: LogFormat, default: &str) {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(env.get("RUST_LOG").unwrap_or(default));
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stderr().is_terminal() && env.get("NO_COLOR").is_none();
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    // A second start in one process (a test) keeps the first subscriber.
    match format {
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true))
            .try_init()
            .ok(),
        LogFormat::Text => registry
            .with(layer.with_target(false).compact())
            .try_init()
            .ok(),
    };
}
