//! Everything on one machine, with `task-inline` beside the functions that are shipped.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bundle::functions::FUNCTIONS;
use bundle::local::manifests::Manifests;
use bundle::local::{Databases, Runtime, RuntimeOptions};
use host::{Env, LogFormat};

/// The command.
pub(crate) const COMMAND: &str = "up-with-inline";

/// Runs everything until it is killed: on `DATABASE_URL`, in `FOLDER`, with the manifests there, on `PORT`.
pub(crate) fn main() -> ExitCode {
    let env = Env::of_process();
    host::init_telemetry(&env, LogFormat::Text, "info");
    match up(&env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn up(env: &Env) -> anyhow::Result<()> {
    let folder = PathBuf::from(env.require("FOLDER")?);
    let url = || env.get("DATABASE_URL").unwrap_or_default().into();
    let mut functions = FUNCTIONS.to_vec();
    functions.push(task_inline::FUNCTION);
    let options = RuntimeOptions {
        manifests: Manifests::find(Some(&folder.join("manifests")))?,
        functions,
        databases: Databases {
            system_url: url(),
            tenant_url: url(),
            observer_url: url(),
            owner_url: url(),
        },
        master_key_file: folder.join("key"),
        blobs_url: folder.join("blobs").display().to_string(),
        run_data: folder,
        port: env.require("PORT")?.parse().context("PORT is no port")?,
        isolate: Vec::new(),
        executable: None,
        settings: BTreeMap::new(),
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let runtime = Runtime::start(options).await?;
            writeln!(std::io::stderr(), "everything is running").ok();
            std::future::pending::<()>().await;
            runtime.stop().await;
            Ok(())
        })
}
