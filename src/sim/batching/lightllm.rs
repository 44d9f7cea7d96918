//! `LightLLM`: admits by the largest number of tokens that will ever be held at once, and looks at the queue every few
//! iterations only.

use std::cmp::Reverse;

use super::state::{Batch, State};

/// Prompts alone when nothing runs or the queue is due, else all decodes.
pub(super) fn plan(state: &mut State, max_tokens: u32, max_waiting_iterations: u32, batch: &mut Batch) {
    if state.running.is_empty() {
        state.since_look = 0;
        return prefills(state, max_tokens, batch);
    }
    if state.since_look >= max_waiting_iterations {
        state.since_look = 0;
        prefills(state, max_tokens, batch);
        if !batch.members.is_empty() {
            return;
        }
    }
    state.since_look += 1;
    let room = state.micro_batch();
    state.schedule_decodes(batch, room, &mut Vec::new());
}

fn prefills(state: &mut State, max_tokens: u32, batch: &mut Batch) {
    let room = u64::from(state.config.blocks) * u64::from(state.config.block_tokens);
    // What each holds, and what it will still add.
    let mut held: Vec<(u32, u32)> = state
        .running
        .iter()
        .map(|&slot| {
            let live = &state.live[slot as usize];
            (live.processed, live.total.saturating_sub(live.processed + 1))
        })
        .collect();
    while let Some(slot) = state.queue.front() {
        let live = &state.live[slot as usize];
        let prompt = live.prefill;
        held.push((prompt + 1, live.total.saturating_sub(prompt + 2)));
        if batch.shape.tokens + prompt > max_tokens
            || state.admitted == state.config.batch_size_cap
            || batch.members.len() == state.micro_batch()
            || peak(&mut held) >= room
            || state.blocks_for(prompt) > state.kv.free()
        {
            break;
        }
        let slot = state.admit(state.blocks_for(prompt));
        state.enlist(batch, slot, prompt);
    }
}

/// The most tokens held at once, if all run on together: when the one with `left` to go ends, it and those that have as
/// much or more to go hold what they hold now and `left` each.
fn peak(held: &mut [(u32, u32)]) -> u64 {
    held.sort_by_key(|&(_, left)| Reverse(left));
    let mut sum = 0;
    let mut most = 0;
    for (count, &(now, left)) in (1..).zip(held.iter()) {
        sum += u64::from(now);
        most = most.max(u64::from(left) * count + sum);
    }
    most
}
