//! Orca: whole prompts among decodes, with room for the longest request set aside for each.

use super::state::{Batch, State};

/// All running requests, then waiting ones while there is room.
pub(super) fn plan(state: &mut State, batch: &mut Batch) {
    let room = state.config.batch_size_cap as usize;
    state.schedule_group(batch, room);
    let running = std::mem::take(&mut state.running);
    let taken = running.len().min(room - batch.len());
    for &slot in &running[..taken] {
        state.enlist(batch, slot, 1);
    }
    state.running = running;
    state.running.drain(..taken);
    admit(state, room, batch);
}

/// Admits waiting requests, each with room for the longest.
pub(super) fn admit(state: &mut State, room: usize, batch: &mut Batch) {
    let blocks = state.blocks_for(state.config.max_model_len);
    while batch.len() < room && !state.queue.is_empty() && state.kv.free() >= blocks {
        let slot = state.admit(blocks);
        let prompt = state.live[slot as usize].prefill;
        state.enlist(batch, slot, prompt);
    }
}
