//! Whose turn it is.

use model::TenantId;
use uuid::Uuid;

/// Where the last claim of some tasks ended in the circle of tenants, which is in the order of their ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Who was served last.
    pub(crate) after: Option<Uuid>,
    /// How many jobs in a row it has had.
    pub(crate) used: i32,
}

impl Turn {
    /// The turn after a claim that took jobs of these tenants, named once for each job.
    pub(crate) fn next(self, served: impl Iterator<Item = TenantId>) -> Self {
        let after = self.after.unwrap_or_default();
        // The claim began with `after` itself if that had something left of its turn, and went round from there.
        let place = |tenant: Uuid| (tenant < after, tenant);
        let mut next = Self::default();
        for tenant in served.map(TenantId::uuid) {
            match next.after {
                Some(last) if last == tenant => next.used = next.used.saturating_add(1),
                Some(last) if place(last) > place(tenant) => {}
                Some(_) | None => {
                    next = Self {
                        after: Some(tenant),
                        used: 1,
                    };
                }
            }
        }
        match next.after {
            None => self,
            Some(last) if self.after == Some(last) => Self {
                used: next.used.saturating_add(self.used),
                ..next
            },
            Some(_) => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn after(turn: Turn, served: &[u128]) -> (u128, i32) {
        let next = turn.next(served.iter().map(|n| TenantId::from(id(*n))));
        (next.after.map_or(0, |id| id.as_u128()), next.used)
    }

    #[test]
    fn the_last_one_on_the_way_round_is_remembered() {
        let turn = Turn {
            after: Some(id(5)),
            used: 1,
        };
        assert_eq!(after(turn, &[7, 2, 7, 2, 2]), (2, 3));
        assert_eq!(after(turn, &[7, 6]), (7, 1));
        assert_eq!(after(turn, &[]), (5, 1));
    }

    #[test]
    fn who_goes_on_keeps_what_it_had() {
        let turn = Turn {
            after: Some(id(5)),
            used: 1,
        };
        assert_eq!(after(turn, &[5, 5]), (5, 3));
        assert_eq!(after(Turn::default(), &[9]), (9, 1));
    }
}
