//! Which tasks to wake: one wake-up for each ready job that was not told of lately, so that a backlog brings as many as it
//! can use and a standing one brings no more than the poll does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use model::JobId;
use queue::Claimable;
use tokio::time::Instant;

/// Ready jobs looked at, and so wake-ups sent, of one task at a time.
pub(crate) const PER_TASK: i32 = 8;
/// A job that is still ready after this time is told of again.
const REPEAT: Duration = Duration::from_secs(5);

/// What was told when.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    told: HashMap<JobId, (String, Instant)>,
}

impl Wakeups {
    /// The tasks to wake, each as often as it has jobs to be told of.
    pub(crate) fn due(&mut self, claimable: &[Claimable], now: Instant) -> Vec<String> {
        self.told
            .retain(|_, (_, at)| now.duration_since(*at) < REPEAT);
        let mut due = Vec::new();
        for ready in claimable {
            if let Entry::Vacant(untold) = self.told.entry(ready.job) {
                untold.insert((ready.task.clone(), now));
                due.push(ready.task.clone());
            }
        }
        let per_task = usize::try_from(PER_TASK).unwrap_or(usize::MAX);
        let mut sent: HashMap<String, usize> = HashMap::new();
        due.retain(|task| {
            let count = sent.entry(task.clone()).or_default();
            *count += 1;
            *count <= per_task
        });
        due
    }

    /// A wake-up was not published: its task's jobs are told of again.
    pub(crate) fn forget(&mut self, task: &str) {
        self.told.retain(|_, (told, _)| told != task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(task: &str, job: i64) -> Claimable {
        Claimable {
            task: task.to_owned(),
            job: JobId(job),
        }
    }

    #[test]
    fn each_new_job_is_told_once_and_again_when_it_stays() {
        let mut wakeups = Wakeups::default();
        let start = Instant::now();
        let both = [ready("a", 1), ready("a", 2)];
        assert_eq!(wakeups.due(&both, start), ["a", "a"]);
        assert_eq!(wakeups.due(&both, start + REPEAT / 2), [""; 0]);
        let three = [ready("a", 1), ready("a", 2), ready("a", 3)];
        assert_eq!(wakeups.due(&three, start + REPEAT / 2), ["a"]);
        assert_eq!(wakeups.due(&both, start + REPEAT), ["a", "a"]);
    }

    #[test]
    fn what_was_not_published_is_told_again() {
        let mut wakeups = Wakeups::default();
        let start = Instant::now();
        wakeups.due(&[ready("a", 1), ready("b", 2)], start);
        wakeups.forget("a");
        assert_eq!(wakeups.due(&[ready("a", 1), ready("b", 2)], start), ["a"]);
    }

    #[test]
    fn a_task_with_many_lanes_is_not_woken_more_often_than_it_helps() {
        let many: Vec<_> = (0..100).map(|job| ready("a", job)).collect();
        assert_eq!(Wakeups::default().due(&many, Instant::now()).len(), 8);
    }
}
