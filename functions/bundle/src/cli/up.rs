//! `switchyard up`.

use std::collections::BTreeMap;

use host::Env;

use super::arguments::RunArgs;
use super::output::{Paint, line};
use super::run::Started;

/// Runs everything until it is asked to stop.
pub(crate) async fn up(env: &Env, args: RunArgs) -> anyhow::Result<()> {
    let started = Started {
        env,
        args,
        data_name: "switchyard",
        settings: |_| Ok(BTreeMap::new()),
    };
    let paint = Paint::stdout(env);
    started
        .run(async |running, signals| {
            running.summarise(paint);
            line(paint.quiet("Ctrl-C ends it. `switchyard demo` shows a push on its way."));
            signals.asked().await;
            Ok(())
        })
        .await
}
