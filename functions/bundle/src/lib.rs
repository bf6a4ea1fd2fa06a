//! Every function in one binary, and the runtime that joins them on one machine.

pub mod local;
