//! What a runner runs elsewhere.

use exec::Ended;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use runner::{Executes, Remote};

use crate::{HostKeys, RemoteProgram, Target, run};

/// Runs the steps of a runner that are for another machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ssh;

impl Executes for Ssh {
    fn execute<'a>(&'a self, remote: Remote<'a>) -> BoxFuture<'a, anyhow::Result<Ended>> {
        async move {
            let program = remote.program;
            // Not the runner's own mark: it may be on the same machine, and is not to be found there.
            let mark = format!("{}-there", remote.mark);
            let target = Target {
                address: program.address,
                user: &program.user,
                key: remote.key,
                host_keys: HostKeys::read(program.host_keys.iter().map(String::as_str))?,
            };
            let program = RemoteProgram {
                mark: &mark,
                argv: &program.argv,
                environment: remote.environment,
                folder_there: program.folder.as_deref(),
                folder_here: remote.folder,
                upload: &program.upload,
                download: &program.download,
                ladder: remote.ladder,
                stop: remote.stop,
                redactor: remote.redactor,
                lines: remote.lines,
            };
            Ok(run(&target, &program).await?)
        }
        .boxed()
    }
}
