//! Tests that need more than one crate, in one binary.

mod adding_a_task;
mod browser;
mod burst;
mod cli;
mod deliveries;
mod external;
mod flood;
mod harness;
mod hostile;
mod ledger;
mod manifests;
mod monitoring;
mod outside;
mod parallel;
mod processes;
mod registration;
mod reversed;
mod runs;
mod runtime;
mod senders;
mod shell;
mod terraform;
mod tidy;
mod upstream;
mod watchers;
mod zombie;
