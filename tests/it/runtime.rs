//! The local runtime from outside: its broker, gateway, clocks and child processes, over HTTP.

#![expect(
    clippy::disallowed_methods,
    reason = "a test makes its own clients and servers"
)]

mod broker;
mod child;
mod fixture;
mod gateway;
