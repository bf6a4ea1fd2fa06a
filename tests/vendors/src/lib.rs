//! Every vendor, against payloads that others recorded. Which headers a sender sends is written here once; signatures are
//! made here by code that shares nothing with what checks them.

pub mod asked;
pub mod golden;
pub mod hostile;
mod judge;
mod proof;
mod request;
mod row;

pub use judge::{Judge, Verdict};
pub use proof::{OTHER_SECRET, Proof, SECRET};
pub use request::{Recorded, Request, recorded};
pub use row::{ROWS, Row};
