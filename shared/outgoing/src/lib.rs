//! Messages to others about what was observed, without a database or a network: which rule wants which event, what the
//! message looks like, how it is signed, and when it is tried again.

mod message;
mod retry;
mod rule;
mod signature;

pub use message::{BODY_BYTES_MAX, Format, Observed, UnknownFormat};
pub use retry::{RETRIES, next_attempt};
pub use rule::{Wanted, WrongRule};
pub use signature::{Secret, SecretError, headers};
