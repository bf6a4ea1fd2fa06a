//! Leaves a target alone that does not answer.
//!
//! After [`FAILURES_MAX`] failures in a row a target's circuit is open for [`OPEN_MIN`], and each time that the one call
//! which is then let through fails as well, for twice as long as before, up to [`OPEN_MAX`]. A success closes it. Each
//! process learns for itself: nothing is asked of the database when all is well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a target is left alone.
const FAILURES_MAX: u32 = 5;
/// For how long it is left alone at first, and at most.
const OPEN_MIN: Duration = Duration::from_secs(5);
const OPEN_MAX: Duration = Duration::from_secs(120);
/// How long others wait while one call finds out whether it is back.
const TRIED_WAIT: Duration = Duration::from_secs(2);
/// Targets that are remembered because they failed. Beyond that, new ones are called without looking.
const TARGETS_MAX: usize = 1000;

/// The circuits of one process, by target. Only targets that failed are in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circuits(Arc<Mutex<HashMap<String, Circuit>>>);

#[derive(Debug, Default)]
struct Circuit {
    failures: u32,
    /// Left alone until then.
    open_until: Option<Instant>,
    /// How often in a row it was opened.
    opened: u32,
    /// One call is finding out.
    tried: bool,
}

/// Whether a target may be called now.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Yes; say how it went.
    Go(Pass),
    /// Not before this time is over.
    Open { left: Duration },
    /// Not while another call finds out whether it is back.
    Tried { wait: Duration },
}

/// One call to a target. If nobody says how it went, nothing is learnt.
#[derive(Debug)]
pub(crate) struct Pass {
    circuits: Circuits,
    target: String,
    finds_out: bool,
}

impl Circuits {
    /// Asks for a call to a target.
    pub(crate) fn admit(&self, target: &str, now: Instant) -> Admission {
        let mut circuits = self.lock();
        let mut finds_out = false;
        if let Some(circuit) = circuits.get_mut(target)
            && let Some(until) = circuit.open_until
        {
            if now < until {
                return Admission::Open { left: until - now };
            }
            if circuit.tried {
                return Admission::Tried { wait: TRIED_WAIT };
            }
            circuit.tried = true;
            finds_out = true;
        }
        Admission::Go(Pass {
            circuits: self.clone(),
            target: target.to_owned(),
            finds_out,
        })
    }

    /// Whether calls to a target are put off now.
    pub(crate) fn is_open(&self, target: &str, now: Instant) -> bool {
        self.lock()
            .get(target)
            .and_then(|circuit| circuit.open_until)
            .is_some_and(|until| now < until)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The target answered.
    pub(crate) fn answered(mut self) {
        self.finds_out = false;
        self.circuits.lock().remove(&self.target);
    }

    /// The target did not answer.
    pub(crate) fn failed(mut self, now: Instant) {
        let mut circuits = self.circuits.lock();
        if circuits.len() >= TARGETS_MAX && !circuits.contains_key(&self.target) {
            return;
        }
        let circuit = circuits.entry(self.target.clone()).or_default();
        circuit.failures += 1;
        // Calls that began before it was opened, and end after, say nothing new.
        let news = circuit.open_until.is_none() || self.finds_out;
        if news && (self.finds_out || circuit.failures >= FAILURES_MAX) {
            let time = OPEN_MIN.saturating_mul(2_u32.saturating_pow(circuit.opened));
            circuit.open_until = Some(now + time.min(OPEN_MAX));
            circuit.opened = circuit.opened.saturating_add(1);
            circuit.tried = false;
        }
        drop(circuits);
        self.finds_out = false;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.finds_out
            && let Some(circuit) = self.circuits.lock().get_mut(&self.target)
        {
            circuit.tried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(circuits: &Circuits, now: Instant) -> Pass {
        match circuits.admit("a", now) {
            Admission::Go(pass) => pass,
            other => panic!("{other:?}"),
        }
    }

    fn opened(now: Instant) -> Circuits {
        let circuits = Circuits::default();
        for _ in 0..FAILURES_MAX {
            assert!(!circuits.is_open("a", now));
            pass(&circuits, now).failed(now);
        }
        circuits
    }

    #[test]
    fn a_target_is_left_alone_after_failures_in_a_row() {
        let now = Instant::now();
        let circuits = opened(now);
        assert!(circuits.is_open("a", now));
        assert!(
            matches!(circuits.admit("a", now), Admission::Open { left } if left == OPEN_MIN),
            "it is open"
        );
        assert!(
            matches!(circuits.admit("b", now), Admission::Go(_)),
            "others are not"
        );
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                pass(&circuits, now).failed(now);
            }
            pass(&circuits, now).answered();
        }
        assert!(!circuits.is_open("a", now));
    }

    #[test]
    fn one_call_finds_out_while_the_others_wait() {
        let start = Instant::now();
        let circuits = opened(start);
        let later = start + OPEN_MIN;
        let first = pass(&circuits, later);
        assert!(matches!(
            circuits.admit("a", later),
            Admission::Tried { .. }
        ));
        first.answered();
        pass(&circuits, later).answered();
        assert!(!circuits.is_open("a", later));
    }

    #[test]
    fn who_found_out_nothing_leaves_it_to_the_next() {
        let start = Instant::now();
        let circuits = opened(start);
        let later = start + OPEN_MIN;
        drop(pass(&circuits, later));
        pass(&circuits, later).answered();
    }

    #[test]
    fn each_vain_try_doubles_the_time_up_to_a_limit() {
        let mut now = Instant::now();
        let circuits = opened(now);
        let mut times = Vec::new();
        for _ in 0..8 {
            let Admission::Open { left } = circuits.admit("a", now) else {
                panic!("it is open");
            };
            times.push(left.as_secs());
            now += left;
            pass(&circuits, now).failed(now);
        }
        assert_eq!(times, [5, 10, 20, 40, 80, 120, 120, 120]);
    }

    #[test]
    fn calls_that_began_before_it_was_opened_do_not_prolong_it() {
        let now = Instant::now();
        let circuits = Circuits::default();
        let passes: Vec<Pass> = (0..20).map(|_| pass(&circuits, now)).collect();
        for pass in passes {
            pass.failed(now);
        }
        assert!(
            matches!(circuits.admit("a", now), Admission::Open { left } if left == OPEN_MIN),
            "it is open for the shortest time"
        );
    }
}
