//! Why a page cannot be shown.

/// Why a page cannot be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// There is no such page, or it is not the reader's to know of.
    NotFound,
    /// The request did not come from our own page, or the role does not allow it.
    Forbidden,
    /// Something is wrong on our side.
    Internal,
    /// The database does not answer.
    Unavailable,
}
