//! Runs programs that are not ours, within bounds, to an end that is certain.
//!
//! [`run`] starts one program in its own process group, with the environment that it is given, as the user and within the folders
//! that its [`Place`] says; reads what it writes in bounded memory ([`lines`]), takes out what must not be seen ([`Redactor`]),
//! and goes down the ladder when it has to stop. It returns when nothing of the program is left ([`Processes`]).
//!
//! Between a start and the program stands [`become_program`]: our own program, called again, puts itself under the bounds and
//! becomes the other. [`unpack`] is how an archive becomes files.

pub mod lines;
mod processes;
mod program;
mod redact;
mod shim;
mod unpack;

pub use processes::{Found, Left, MARK_ARGUMENT, MARK_VARIABLE, Processes, put_away_orphans};
pub use program::{Ended, ExecError, PIECES_MAX, Piece, Place, Program, Reading, Stop, User, run};
pub use redact::{Redactor, SECRET_BYTES_MIN};
pub use shim::{EXIT_NOT_STARTED, SHIM_COMMAND, ShimError, become_program, is_fenced};
pub use unpack::{UnpackError, UnpackLimits, unpack};

/// FNV-1a: the same number for the same bytes wherever they are, and rarely the same for two. Nobody is kept from finding two.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
