//! A real `git push` on its way to a live site, step by step.
//!
//! A bare repository with a `post-receive` hook, a workload that is deployed from it, a trigger with a secret, and two
//! bindings of which one matches. Everything after the push is the system's own work: the hook posts to the real webhook,
//! and what this shows is read from the rows that the work leaves.

mod git;
mod hook;
mod loopback;
mod payload;
mod repository;
mod walk;

use std::collections::BTreeMap;

use host::Env;

use crate::cli::{DemoArgs, Paint, Started, line};

pub(crate) use hook::hook;

/// The folder of the demo's repositories, in the data folder.
const FOLDER: &str = "demo";

/// Runs everything and shows a push. Afterwards it stays up, or ends with a failure if the page was not right.
pub(crate) async fn demo(env: &Env, args: DemoArgs) -> anyhow::Result<()> {
    let exit = args.exit;
    let started = Started {
        env,
        args: args.run,
        data_name: "switchyard-demo",
        settings: |data| {
            let folder = data.path().join(FOLDER);
            std::fs::create_dir_all(&folder)?;
            // The one place on this machine from which sites may be made.
            let name = "STATIC_LOCAL_ROOTS".to_owned();
            Ok(BTreeMap::from([(name, folder.display().to_string())]))
        },
    };
    let paint = Paint::stdout(env);
    started
        .run(async |running, signals| {
            running.summarise(paint);
            let walk = walk::Walk::new(running, env, paint);
            let result = signals.unless_asked(walk.run()).await;
            if exit {
                return result;
            }
            if let Err(error) = &result {
                line(paint.bad(crate::cli::failure_text(error)));
            }
            line(paint.quiet("It stays up, so that you can look at the pages. Ctrl-C ends it."));
            signals.asked().await;
            result.map_err(|_| crate::cli::Told.into())
        })
        .await
}
