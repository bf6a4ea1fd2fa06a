use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const BYTES_MAX: u64 = 16 * 1024 * 1024;
const LAST_WORDS_BYTES_MAX: u64 = 2048;

/// What the server prints.
#[derive(Clone, Debug)]
pub(crate) struct ServerLog {
    path: PathBuf,
}

impl ServerLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// For appending, readable by us alone: a failed statement is in it.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
    }

    /// 0 when there is no log, which is all that the callers need to know.
    pub(crate) fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Puts a log that has grown too long aside, in place of the one before.
    pub(crate) fn shorten(&self) -> io::Result<()> {
        if self.bytes() > BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("log.old"))?;
        }
        Ok(())
    }

    /// The end of what was logged since the log had `start` bytes, on one line.
    pub(crate) fn last_words(&self, start: u64) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.path)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(
                start.max(end.saturating_sub(LAST_WORDS_BYTES_MAX)),
            ))?;
            let mut bytes = Vec::new();
            file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().replace('\n', " | "))
        };
        match read() {
            Ok(words) if words.is_empty() => "none".to_owned(),
            Ok(words) => words,
            Err(error) => format!("cannot be read ({error})"),
        }
    }
}
