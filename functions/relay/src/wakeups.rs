//! Which tasks to wake: one wake-up for as many ready jobs as one process works on at a time, of those that were not told of
//! lately. So a backlog brings as many processes as it can use, and a standing one no more wake-ups than the poll does.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::JobId;
use queue::{Claimable, RunBy};
use tokio::time::Instant;

/// Ready jobs of one task that are looked at at a time.
pub(crate) const PER_TASK: i32 = 64;
/// Wake-ups of a task at a time while nobody has said how many jobs it works on.
const UNKNOWN_MAX: usize = 8;
/// A job that is still ready after this time is told of again.
const REPEAT: Duration = Duration::from_secs(5);
/// Works on the jobs of all tasks that have an executor outside.
const EXTERNAL_FUNCTION: &str = "task-http";

/// A task that is to be woken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wakeup {
    pub(crate) task: String,
    pub(crate) executor: &'static str,
}

/// What was told when.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    /// By job and epoch: one that was claimed and is ready again, as after an approval, is news.
    told: HashMap<(JobId, i64), (String, Instant)>,
    /// How many jobs a process of a function works on at a time. What was known stays known when the last process has gone.
    slots: HashMap<String, usize>,
}

impl Wakeups {
    /// What the workers say of themselves.
    pub(crate) fn know_slots(&mut self, slots: Vec<(String, i32)>) {
        self.slots.extend(
            slots
                .into_iter()
                .filter_map(|(function, slots)| Some((function, usize::try_from(slots).ok()?))),
        );
    }

    /// What to send, at most `room`: each task in its turn, so that none takes the place of another.
    pub(crate) fn due(
        &mut self,
        claimable: &[Claimable],
        room: usize,
        now: Instant,
    ) -> Vec<Wakeup> {
        self.told
            .retain(|_, (_, at)| now.duration_since(*at) < REPEAT);
        let mut untold: BTreeMap<Wakeup, Vec<(JobId, i64)>> = BTreeMap::new();
        for ready in claimable {
            // Nobody of ours would take it: a worker that claims by itself does, or nobody.
            let Some(executor) = ready.executor else {
                continue;
            };
            let job = (ready.job, ready.epoch);
            if !self.told.contains_key(&job) {
                let wakeup = Wakeup {
                    task: ready.task.clone(),
                    executor: executor.as_str(),
                };
                untold.entry(wakeup).or_default().push(job);
            }
        }
        for (wakeup, jobs) in &mut untold {
            if self.slots(wakeup).is_none() {
                jobs.truncate(UNKNOWN_MAX);
            }
        }
        let mut due = Vec::new();
        while !untold.is_empty() && due.len() < room {
            untold.retain(|wakeup, jobs| {
                if due.len() < room {
                    let slots = self.slots(wakeup).unwrap_or(1).clamp(1, jobs.len());
                    for job in jobs.drain(..slots) {
                        self.told.insert(job, (wakeup.task.clone(), now));
                    }
                    due.push(wakeup.clone());
                }
                !jobs.is_empty()
            });
        }
        due
    }

    fn slots(&self, wakeup: &Wakeup) -> Option<usize> {
        let function = if wakeup.executor == RunBy::External.as_str() {
            EXTERNAL_FUNCTION
        } else {
            &wakeup.task
        };
        self.slots.get(function).copied()
    }

    /// A wake-up was not published: its task's jobs are told of again.
    pub(crate) fn forget(&mut self, task: &str) {
        self.told.retain(|_, (told, _)| told != task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 48;

    fn ready(task: &str, job: i64) -> Claimable {
        Claimable {
            task: task.to_owned(),
            executor: Some(RunBy::Builtin),
            job: JobId(job),
            epoch: 0,
        }
    }

    fn tasks(due: Vec<Wakeup>) -> Vec<String> {
        due.into_iter().map(|wakeup| wakeup.task).collect()
    }

    #[test]
    fn each_new_job_is_told_once_and_again_when_it_stays() {
        let mut wakeups = Wakeups::default();
        let start = Instant::now();
        let both = [ready("a", 1), ready("a", 2)];
        assert_eq!(tasks(wakeups.due(&both, ROOM, start)), ["a", "a"]);
        assert_eq!(wakeups.due(&both, ROOM, start + REPEAT / 2), []);
        let three = [ready("a", 1), ready("a", 2), ready("a", 3)];
        assert_eq!(tasks(wakeups.due(&three, ROOM, start + REPEAT / 2)), ["a"]);
        assert_eq!(tasks(wakeups.due(&both, ROOM, start + REPEAT)), ["a", "a"]);
    }

    #[test]
    fn a_job_that_is_ready_again_is_told_again() {
        let mut wakeups = Wakeups::default();
        let now = Instant::now();
        let first = ready("a", 1);
        let approved = Claimable {
            epoch: 1,
            ..ready("a", 1)
        };
        assert_eq!(tasks(wakeups.due(&[first], ROOM, now)), ["a"]);
        assert_eq!(tasks(wakeups.due(&[approved], ROOM, now)), ["a"]);
    }

    #[test]
    fn what_was_not_published_is_told_again() {
        let mut wakeups = Wakeups::default();
        let start = Instant::now();
        let both = [ready("a", 1), ready("b", 2)];
        wakeups.due(&both, ROOM, start);
        wakeups.forget("a");
        assert_eq!(tasks(wakeups.due(&both, ROOM, start)), ["a"]);
    }

    #[test]
    fn a_backlog_brings_as_many_processes_as_it_can_use() {
        let many: Vec<_> = (0..64).map(|job| ready("a", job)).collect();
        let mut wakeups = Wakeups::default();
        let now = Instant::now();
        assert_eq!(wakeups.due(&many, ROOM, now).len(), UNKNOWN_MAX);
        wakeups.forget("a");
        wakeups.know_slots(vec![("a".to_owned(), 4)]);
        assert_eq!(wakeups.due(&many, ROOM, now).len(), 16);
        assert_eq!(wakeups.due(&many, ROOM, now), []);
        let one_more = [ready("a", 100)];
        assert_eq!(wakeups.due(&one_more, ROOM, now).len(), 1);
    }

    #[test]
    fn a_large_backlog_leaves_room_for_other_tasks() {
        let mut all: Vec<_> = (0..64).map(|job| ready("a", job)).collect();
        all.push(ready("b", 100));
        let mut wakeups = Wakeups::default();
        wakeups.know_slots(vec![("a".to_owned(), 1), ("b".to_owned(), 1)]);
        let due = tasks(wakeups.due(&all, 2, Instant::now()));
        assert_eq!(due, ["a", "b"]);
        // What there was no room for is not forgotten.
        assert_eq!(wakeups.due(&all, ROOM, Instant::now()).len(), ROOM);
    }

    #[test]
    fn who_works_outside_is_told_and_who_does_not_exist_is_not() {
        let mut wakeups = Wakeups::default();
        let claimable = [
            Claimable {
                executor: Some(RunBy::External),
                ..ready("resize", 1)
            },
            Claimable {
                executor: None,
                ..ready("theirs", 2)
            },
        ];
        let due = wakeups.due(&claimable, ROOM, Instant::now());
        assert_eq!(
            due,
            [Wakeup {
                task: "resize".to_owned(),
                executor: "external"
            }]
        );
    }
}
