//! Sarathi-Serve: decodes first, and what is left of the chunk for prefills.

use super::state::{Batch, State};

/// All decodes, then prefills under way, then waiting requests, while the chunk lasts.
pub(super) fn plan(state: &mut State, chunk_size: u32, batch: &mut Batch) {
    let room = state.micro_batch();
    let [mut prefills, mut skipped] = std::mem::take(&mut state.scratch);
    if state.schedule_group(batch, room) {
        prefills.append(&mut state.running);
    } else {
        state.schedule_decodes(batch, room, &mut prefills);
    }
    for slot in prefills.drain(..) {
        match chunk(state, slot, chunk_size, batch) {
            0 => skipped.push(slot),
            tokens => state.enlist(batch, slot, tokens),
        }
    }
    if !skipped.is_empty() {
        state.disordered = true;
        skipped.append(&mut state.running);
        std::mem::swap(&mut skipped, &mut state.running);
    }
    state.sort_running();
    state.scratch = [prefills, skipped];
    while let Some(slot) = state.queue.front() {
        let blocks = state.blocks_for(state.live[slot as usize].prefill);
        let tokens = chunk(state, slot, chunk_size, batch);
        if state.admitted == state.config.batch_size_cap
            || batch.len() == room
            || state.kv.free() < blocks + state.watermark
            || tokens == 0
        {
            break;
        }
        let slot = state.admit(blocks);
        state.enlist(batch, slot, tokens);
    }
}

/// What of a prefill the rest of the chunk holds.
fn chunk(state: &State, slot: u32, chunk_size: u32, batch: &Batch) -> u32 {
    let live = &state.live[slot as usize];
    (live.prefill - live.processed).min(chunk_size.saturating_sub(batch.shape.tokens))
}
