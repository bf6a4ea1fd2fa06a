//! The moment between being started and being the program: what the runner's own program, called again, does to itself before
//! it becomes the one that a step runs.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};
use tokio::signal::unix::{SignalKind, signal};

/// What the program that is called again is told to do.
pub const SHIM_COMMAND: &str = "runner-exec";
/// The exit code of a step whose program was found and could not be started.
pub const EXIT_NOT_STARTED: u8 = 126;
/// Files outside the run's own folders that every program may write to: it would not find out much by them.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];
/// The newest version of Landlock whose rights are known here; of an older kernel's those that it has.
const LANDLOCK: ABI = ABI::V5;

/// In what a program is held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hold {
    /// It ends when this process does.
    pub(crate) parent: i32,
    /// The only folders in which it may write, where the kernel can see to that; none: wherever its user may.
    pub(crate) writable: Vec<PathBuf>,
    /// Bytes of address space.
    pub(crate) memory_bytes: Option<u64>,
    /// Bytes of one file.
    pub(crate) file_bytes: Option<u64>,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// Called by somebody else than us.
    #[error(
        "{SHIM_COMMAND} is called by the runner, as {SHIM_COMMAND} <parent> <memory> <file> <folders> … -- <program> …"
    )]
    Arguments,
    /// The runner ended before the program began.
    #[error("the runner is gone")]
    Orphaned,
    /// The kernel refused to hold it.
    #[error("the program cannot be held within its bounds: {0}")]
    Held(String),
    /// The program.
    #[error(
        "{program} cannot be started as this user: {why}. It and what it needs must be readable for everybody, or RUN_AS name a user \
         who may read it"
    )]
    Program {
        /// Which.
        program: String,
        /// What the system says.
        why: std::io::Error,
    },
}

impl Hold {
    /// The arguments that [`become_program`] reads.
    #[must_use]
    pub(crate) fn arguments(&self, program: &Path) -> Vec<OsString> {
        let limit =
            |limit: Option<u64>| limit.map_or_else(|| "-".into(), |bytes| bytes.to_string());
        let mut arguments: Vec<OsString> = vec![
            self.parent.to_string().into(),
            limit(self.memory_bytes).into(),
            limit(self.file_bytes).into(),
        ];
        arguments.extend(self.writable.iter().map(|path| path.clone().into()));
        arguments.push("--".into());
        arguments.push(program.into());
        arguments
    }

    fn read(arguments: &[OsString]) -> Option<(Self, &[OsString])> {
        let end = arguments.iter().position(|argument| argument == "--")?;
        let (held, program) = (&arguments[..end], &arguments[end + 1..]);
        let [parent, memory, file, writable @ ..] = held else {
            return None;
        };
        let limit = |text: &OsString| match text.to_str()? {
            "-" => Some(None),
            bytes => bytes.parse().ok().map(Some),
        };
        let hold = Self {
            parent: parent.to_str()?.parse().ok()?,
            memory_bytes: limit(memory)?,
            file_bytes: limit(file)?,
            writable: writable.iter().map(PathBuf::from).collect(),
        };
        (!program.is_empty()).then_some((hold, program))
    }

    fn take_effect(&self) -> Result<(), ShimError> {
        let held = |what: &str| {
            let what = what.to_owned();
            move |error: rustix::io::Errno| ShimError::Held(format!("{what}: {error}"))
        };
        // Its user is another by now, which is why this is not done earlier: the kernel forgets it with the user.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(held("parent"))?;
        if getppid() != Pid::from_raw(self.parent) {
            return Err(ShimError::Orphaned);
        }
        let both = |bytes| Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        // What a program leaves of its memory may have secrets in it.
        setrlimit(Resource::Core, both(0)).map_err(held("core dumps"))?;
        if let Some(bytes) = self.memory_bytes {
            setrlimit(Resource::As, both(bytes)).map_err(held("memory"))?;
        }
        if let Some(bytes) = self.file_bytes {
            setrlimit(Resource::Fsize, both(bytes)).map_err(held("size of files"))?;
        }
        if !self.writable.is_empty() {
            self.fence()
                .map_err(|error| ShimError::Held(error.to_string()))?;
        }
        Ok(())
    }

    /// Reading stays as the system allows it; writing is for these folders.
    fn fence(&self) -> Result<RulesetStatus, landlock::RulesetError> {
        let writing = AccessFs::from_write(LANDLOCK);
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(writing)?
            .create()?
            .add_rules(path_beneath_rules(&self.writable, writing))?
            .add_rules(path_beneath_rules(DEVICES, writing))?
            .restrict_self()?;
        Ok(status.ruleset)
    }
}

/// Whether this kernel can see to it that programs write where they may. Asked in a process of its own, for the answer is a
/// fence around who asks.
#[must_use]
pub fn is_fenced(folder: &Path) -> bool {
    let hold = Hold {
        writable: vec![folder.to_owned()],
        ..Hold::default()
    };
    matches!(
        hold.fence(),
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced)
    )
}

/// Who is started in the background of a shell, or by `nohup`, ignores signals, and so would all that it starts: a program that is
/// asked to stop would not hear it. What is handled here becomes the usual again for the program that we become.
fn hear_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _guard = runtime.enter();
    for kind in [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
    ] {
        // Handled from here on, also when nobody listens any more.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Holds this process as its arguments say and becomes the program that they name. Returns only when that failed.
///
/// # Errors
/// Always, when it returns.
pub fn become_program(arguments: &[OsString]) -> Result<Infallible, ShimError> {
    let (hold, program) = Hold::read(arguments).ok_or(ShimError::Arguments)?;
    hear_signals().map_err(|error| ShimError::Held(format!("signals: {error}")))?;
    hold.take_effect()?;
    let why = Command::new(&program[0]).args(&program[1..]).exec();
    Err(ShimError::Program {
        program: program[0].display().to_string(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_arguments_reads_back() {
        let hold = Hold {
            parent: 7,
            writable: vec!["/a b".into(), "/c".into()],
            memory_bytes: Some(1024),
            file_bytes: None,
        };
        let mut arguments = hold.arguments(Path::new("/bin/echo"));
        arguments.extend(["--".into(), "x".into()]);
        let (read, program) = Hold::read(&arguments).expect("it was just written");
        assert_eq!(read, hold);
        assert_eq!(program, ["/bin/echo", "--", "x"].map(OsString::from));
    }

    #[test]
    fn arguments_of_somebody_else_are_refused() {
        for arguments in [
            &[][..],
            &["1", "-"],
            &["1", "-", "-", "--"],
            &["x", "-", "-", "--", "true"],
        ] {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert!(
                matches!(become_program(&arguments), Err(ShimError::Arguments)),
                "{arguments:?}"
            );
        }
    }
}
