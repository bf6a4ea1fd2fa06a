use crate::StartError;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

/// The data folder is ours while this lives. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock or says who has it; never waits.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, StartError> {
        let path = data_dir.join("lock");
        let io = |action| {
            let path = path.clone();
            move |source| StartError::Io {
                action,
                path,
                source,
            }
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // The holder writes its id right after it locks; between the two there is an old one or none.
                let pid = std::fs::read_to_string(&path).map_err(io("read"))?;
                return Err(StartError::Locked {
                    data_dir: data_dir.to_owned(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(io("write"))?;
        Ok(Self { _file: file })
    }
}
