//! What people do to the queue, tried on a real Postgres: who may, what it does, and what it leaves alone.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "ruling/dead.rs"]
mod dead;
#[path = "ruling/repair.rs"]
mod repair;
#[path = "ruling/rules.rs"]
mod rules;
#[path = "queue/world.rs"]
#[expect(dead_code, reason = "it is made for other tests as well")]
mod world;
