//! Webhooks: what a vendor sends becomes facts in our own words, and only after its signature held.
//!
//! A request is a [`Delivery<Raw>`]. [`Delivery::verify`] turns it into a [`Delivery<Verified>`], the only one whose
//! payload can be read; [`Delivery::parse`] turns that into [`Parsed`]. A [`Vendor`] is those two steps for one kind of
//! sender. That much is pure: no I/O, no clock. [`endpoint`] serves it over HTTP for whoever is an [`Inbox`]; functions
//! are one by their [`host::Ctx`], and [`routes`] is all that a vendor's function adds to its [`Vendor`].
//!
//! Reading a payload whose signature nobody checked does not compile:
//!
//! ```compile_fail
//! # use webhook::{Delivery, Raw};
//! fn read(delivery: &Delivery<Raw>) {
//!     let _ = delivery.json::<serde_json::Value>();
//! }
//! ```
//!
//! ```
//! # use webhook::{Delivery, Verified};
//! fn read(delivery: &Delivery<Verified>) {
//!     let _ = delivery.json::<serde_json::Value>();
//! }
//! ```

mod answer;
mod any;
pub mod conformance;
mod ctx;
mod delivery;
pub mod diff;
mod endpoint;
mod error;
mod form;
mod functions;
pub mod git;
mod handshake;
mod headers;
pub mod image;
mod inbox;
mod json;
pub mod mutation;
mod scheme;
mod sender;
mod taking;
mod tested;
mod text;
mod vendor;

pub use any::{HandOn, HandedOn, Unreached, any};
pub use ctx::{keys_url, routes};
pub use delivery::{Delivery, Raw, Verified};
pub use endpoint::{BODY_BYTES_MAX, REDELIVERY, endpoint};
pub use error::{BadIdentity, BadSignature, Cause, HeaderProblem, ParseError};
pub use functions::{Functions, NotRedelivered, Redelivered, StoredDelivery};
pub use handshake::handshake;
pub use headers::stored as stored_headers;
pub use inbox::{
    Again, FoundTrigger, Inbox, InboxError, Incoming, Key, Meaning, Recorded, Rejection,
};
pub use json::{read as read_json, without_nul};
pub use scheme::hmac::{HmacSha256, Signed};
pub use scheme::oidc::{BadKeys, SigningKey};
pub use scheme::path::{PathHash, PathSecrets, new_path_secret};
pub use scheme::{Secrets, Which};
pub use sender::{SENDERS, SHAPES, Sender, Shape, sender, shape};
pub use taking::Taking;
pub use tested::{OF_A_CHANGE, Tested, With};
pub use text::{Line, Name, NulError, Text};
pub use vendor::{Labels, Normalised, Parsed, Vendor};
