//! What a runner is told, as it lies in the database.

use model::{JobId, TenantId};
use uuid::Uuid;

use crate::Slot;

/// The largest spec of a run, in bytes of JSON: what is larger travels as an artifact that the spec names.
pub const RUN_SPEC_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The place that the sealed spec of a run belongs to: that of one claim of one job.
#[must_use]
pub fn run_spec_slot(tenant: TenantId, job: JobId, epoch: i64) -> Slot {
    Slot {
        tenant,
        column: "runs.spec",
        row: Uuid::from_u64_pair(job.0.cast_unsigned(), epoch.cast_unsigned()),
    }
}
