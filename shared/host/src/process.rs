//! A function as a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::serve::GRACE;
use crate::{Background, Ctx, CtxError, Env, Function, LogFormat, Resources, ServeLimits};
use crate::{init_telemetry, listen, raise_open_files, serve};

/// The exit code for a setting that is missing or wrong (`EX_CONFIG` of sysexits).
pub const EXIT_SETTINGS: u8 = 78;

/// The exit code for a process that has to be replaced (`EX_SOFTWARE` of sysexits): a handler of it does not come to an end.
const EXIT_STUCK: u8 = 70;
/// How long the runtime may do nothing at all until the process ends itself. Its leases are over then, and nobody else would
/// end it: it holds its port and its connections.
const STALL_MAX_SECS: u32 = 20;

/// Where Knative wants a container to listen when it does not say.
const PORT_DEFAULT: u16 = 8080;

/// Runs one function until it is asked to stop: on AWS Lambda when `AWS_LAMBDA_RUNTIME_API` is set, else as an HTTP server
/// on `0.0.0.0:$PORT`, as Knative Serving wants it.
#[must_use]
pub fn main(function: Function) -> ExitCode {
    let env = Env::of_process();
    init_telemetry(&env, LogFormat::Json, "info");
    raise_open_files();
    let mounted = Resources::new()
        .and_then(|resources| install_tls().map(|()| resources))
        .and_then(|resources| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(|error| crate::SettingsError::wrong("the machine", error))?;
            let guard = runtime.enter();
            let mounted = function.mount(&env, &resources)?;
            drop(guard);
            Ok((runtime, mounted))
        });
    let (runtime, mounted) = match mounted {
        Ok(ready) => ready,
        Err(error) => return refused(function.name, &error),
    };
    let ctx = mounted.ctx.clone();
    let result = if env.get("AWS_LAMBDA_RUNTIME_API").is_some() {
        runtime
            .block_on(lambda_http::run(mounted.router))
            .map_err(|error| anyhow::anyhow!(error))
    } else {
        runtime.block_on(knative(&env, mounted))
    };
    let stuck = ctx.wants_new_process().is_cancelled();
    // What does not end is left: the grace is over.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) if stuck => ExitCode::from(EXIT_STUCK),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(function = function.name, "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn refused(name: &str, error: &CtxError) -> ExitCode {
    tracing::error!(
        function = name,
        error = error as &dyn std::error::Error,
        "the function cannot start"
    );
    ExitCode::from(EXIT_SETTINGS)
}

/// The one TLS provider of the process. Fails only when there is one already, which is as good.
#[expect(clippy::unnecessary_wraps, reason = "a step of a chain")]
fn install_tls() -> Result<(), CtxError> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    Ok(())
}

async fn knative(env: &Env, mounted: crate::Mounted) -> anyhow::Result<()> {
    let port = match env.get("PORT") {
        Some(text) => text.parse().context("PORT is not a port")?,
        None => PORT_DEFAULT,
    };
    let address = SocketAddr::from((
        // A process that others on the machine started for themselves stays on the machine.
        if env.get("HOST_LOOPBACK").is_some() {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        },
        port,
    ));
    let listener = listen(address).with_context(|| format!("could not listen on {address}"))?;
    tracing::info!(
        function = mounted.ctx.function(),
        version = env!("CARGO_PKG_VERSION"),
        "serving on {address}"
    );
    let ctx = mounted.ctx.clone();
    watch_for_stalls();
    mounted.start_background();
    let stop = ctx.stopping().clone();
    let asked = ctx.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "waits for a signal for as long as the process lives"
    )]
    tokio::spawn(async move {
        asked_to_stop().await;
        tracing::info!("asked to stop");
        asked.stopping().cancel();
    });
    let stuck = ctx.clone();
    ctx.spawn(async move {
        tokio::select! {
            () = stuck.stopping().cancelled() => {}
            () = stuck.wants_new_process().cancelled() => {
                tracing::error!("leaving, so that a new process takes the place of this one");
                stuck.stopping().cancel();
            }
        }
    });
    if env.get("EXIT_WITH_STDIN").is_some() {
        let parent_gone = stdin_ended();
        let alone = ctx.clone();
        ctx.spawn(async move {
            tokio::select! {
                () = alone.stopping().cancelled() => {}
                _ = parent_gone => {
                    tracing::warn!("the process that started this one has gone; leaving");
                    alone.stopping().cancel();
                }
            }
        });
    }
    let stopped = stop.clone();
    let grace = async move {
        stopped.cancelled().await;
        tokio::time::Instant::now() + GRACE
    };
    let ((), deadline) = tokio::join!(
        serve(listener, mounted.router, ServeLimits::default(), stop),
        grace
    );
    ctx.stop(deadline.saturating_duration_since(tokio::time::Instant::now()))
        .await;
    Ok(())
}

/// Ends the process when nothing of it moves any more: all threads of the runtime are kept by handlers that do not yield.
/// What it held is taken back when its leases are over.
fn watch_for_stalls() {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    let moves = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&moves);
    #[expect(
        clippy::disallowed_methods,
        reason = "counts for as long as the process lives"
    )]
    tokio::spawn(async move {
        loop {
            counts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    // A thread of its own, which no handler can keep. It counts its own looks: a process that was stopped and goes on has
    // not stalled.
    std::thread::spawn(move || {
        let (mut before, mut same) = (0, 0);
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = moves.load(Ordering::Relaxed);
            same = if now == before { same + 1 } else { 0 };
            before = now;
            if same >= STALL_MAX_SECS {
                tracing::error!("nothing moved for {same} s; the process ends itself");
                std::process::exit(EXIT_STUCK.into());
            }
        }
    });
}

/// Fires when the standard input ends. Whoever starts this process with a pipe there and `EXIT_WITH_STDIN=1` need not live
/// to end it: the pipe closes with them, however they die.
fn stdin_ended() -> tokio::sync::oneshot::Receiver<()> {
    let (ended, waits) = tokio::sync::oneshot::channel();
    // A thread of its own, because a read cannot be cancelled and the process must be able to leave all the same.
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).ok();
        ended.send(()).ok();
    });
    waits
}

async fn asked_to_stop() {
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => {
            tracing::error!("signals cannot be received; the process ends only when it is killed");
            std::future::pending::<()>().await;
        }
    }
}

/// Runs background work again when it ends before it was asked to.
async fn supervise(ctx: Ctx, background: Background) {
    const WAIT: Duration = Duration::from_secs(1);
    while !ctx.stopping().is_cancelled() {
        match background(ctx.clone()).await {
            Ok(()) if ctx.stopping().is_cancelled() => return,
            Ok(()) => tracing::warn!(
                function = ctx.function(),
                "background work ended; it starts again"
            ),
            Err(error) => tracing::error!(
                function = ctx.function(),
                "background work failed and starts again: {error:#}"
            ),
        }
        tokio::select! {
            () = ctx.stopping().cancelled() => {}
            () = tokio::time::sleep(WAIT) => {}
        }
    }
}

impl crate::Mounted {
    /// Starts what the function does beside its requests, if anything.
    pub fn start_background(&self) {
        if let Some(background) = &self.background {
            self.ctx
                .spawn(supervise(self.ctx.clone(), background.clone()));
        }
    }
}
