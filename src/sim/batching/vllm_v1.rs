//! vLLM from version 1: one token budget for all, running requests first.

use super::state::{Batch, State};

/// Running requests in their order, then waiting ones if none had to give way, while the budget lasts.
pub(super) fn plan(state: &mut State, budget: u32, batch: &mut Batch) {
    if !schedule_running(state, budget, batch) {
        admit_waiting(state, budget, batch);
    }
}

/// Whether a request was preempted.
fn schedule_running(state: &mut State, budget: u32, batch: &mut Batch) -> bool {
    state.schedule_group(batch, budget as usize);
    let mut preempted = false;
    let mut next = 0;
    while next < state.running.len() && batch.shape.tokens < budget {
        let slot = state.running[next];
        let live = &state.live[slot as usize];
        let left = if live.prefilled() {
            1
        } else {
            live.prefill - live.processed
        };
        let tokens = left.min(budget - batch.shape.tokens);
        let reaches = live.processed + tokens;
        while !extend(state, slot, reaches) {
            // The last to be admitted gives way, at last the request itself.
            let victim = state.running.pop().expect("the request itself is running");
            state.preempt(victim);
            preempted = true;
            if victim == slot {
                return true;
            }
        }
        state.enlist(batch, slot, tokens);
        next += 1;
    }
    preempted
}

/// Tries to give a running request the blocks that `reaches` tokens need, and some to spare. The pages that they fill are
/// published at once: others may hit them in the very same iteration.
pub(super) fn extend(state: &mut State, slot: u32, reaches: u32) -> bool {
    let room = state.live[slot as usize].room;
    if reaches > room {
        let needed = state.blocks_for(reaches - room);
        if needed > state.kv.free() {
            return false;
        }
        state.give(slot, (needed + spare(state)).min(state.kv.free()));
    }
    state.publish(slot, reaches);
    true
}

/// Blocks taken beyond those needed, whenever some are.
fn spare(state: &State) -> u32 {
    state.blocks_for(state.config.preallocate_tokens)
}

fn admit_waiting(state: &mut State, budget: u32, batch: &mut Batch) {
    while batch.shape.tokens < budget && (state.admitted as usize) < state.micro_batch() {
        let Some(member) = state.admit_with_prefix(budget - batch.shape.tokens, spare(state)) else {
            break;
        };
        let reaches = state.live[member.slot as usize].processed + member.tokens;
        state.publish(member.slot, reaches);
        state.running.push(member.slot);
        state.enlist(batch, member.slot, member.tokens);
    }
}
