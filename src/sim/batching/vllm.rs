//! vLLM before version 1: whole prompts first, alone.

use super::state::{Batch, State};

/// A batch of waiting prompts if any can be admitted, else of all decodes.
pub(super) fn plan(state: &mut State, max_tokens_in_batch: u32, batch: &mut Batch) {
    let room = state.micro_batch();
    let mut longest = 0;
    while let Some(slot) = state.queue.front() {
        let prompt = state.live[slot as usize].prefill;
        let blocks = state.blocks_for(prompt);
        // Prompts are padded to the longest.
        let padded = u64::from(longest.max(prompt)) * (batch.members.len() as u64 + 1);
        if state.kv.free() < blocks + state.watermark
            || padded > u64::from(max_tokens_in_batch)
            || state.admitted == state.config.batch_size_cap
            || batch.len() == room
        {
            break;
        }
        longest = longest.max(prompt);
        let slot = state.admit(blocks);
        state.enlist(batch, slot, prompt);
    }
    if batch.members.is_empty() && !state.schedule_group(batch, room) {
        state.sort_running();
        state.schedule_decodes(batch, room, &mut Vec::new());
    }
}
