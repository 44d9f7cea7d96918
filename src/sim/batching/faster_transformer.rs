//! `FasterTransformer`: batches of requests that start together; none joins, and the next begins when all have ended.

use super::orca;
use super::state::{Batch, State};

/// The batch under way without those that have ended, else a new one.
pub(super) fn plan(state: &mut State, batch: &mut Batch) {
    if let Some(cohort) = state.fixed.pop_front() {
        for &slot in &cohort {
            let live = &state.live[slot as usize];
            if live.processed < live.total {
                state.enlist(batch, slot, 1);
            }
        }
        batch.cohort = cohort;
        return;
    }
    orca::admit(state, state.config.batch_size_cap as usize, batch);
    batch.cohort.extend(batch.members.iter().map(|m| m.slot));
}
