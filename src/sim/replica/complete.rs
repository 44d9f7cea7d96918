//! The end of an iteration: tokens come out, requests end.

use super::{Flight, Replica};
use crate::sim::batching::Batching;
use crate::sim::batching::state::{Batch, Member};
use crate::sim::cluster::Rules;
use crate::sim::cost::BatchShape;
use crate::sim::{Observer, Record, Time};

impl Replica {
    /// Ends the iterations of a flight at `at`.
    pub(super) fn complete<O: Observer>(&mut self, mut flight: Box<Flight>, at: Time, observer: &mut O) {
        let Flight {
            ref mut batch,
            count,
            time,
            execution,
            ..
        } = *flight;
        let shape = batch.shape;
        let (steps, decodes) = (u64::from(count), u64::from(shape.decodes));
        self.totals.tokens += u64::from(shape.tokens) * steps;
        self.totals.pairs +=
            shape.decode_kv * steps + decodes * (steps * (steps - 1) / 2) + shape.prefill_pairs;
        self.load.uncomputed_prefill_tokens -= i64::from(shape.tokens - shape.decodes);
        if count > 1 {
            self.grow(batch, count, time.total);
        }
        // The end of the first of the iterations.
        let first_end = at - time.total * (count - 1);
        let mut usual_gaps = u64::from(shape.decodes - batch.grouped) * (steps - 1);
        let fixed = matches!(self.state.config.batching, Batching::FasterTransformer {});
        // `vllm_v1` keeps its members among the running requests, before those that the budget left out.
        let mut out_of_budget = Vec::new();
        if matches!(self.state.config.batching, Batching::VllmV1 { .. }) {
            out_of_budget = self.state.running.split_off(batch.members.len());
            self.state.running.clear();
        }
        self.state.left_out = self.state.running.len();
        self.state.disordered |= shape.prefills > 0 || self.state.left_out > 0;
        if batch.grouped > 0 {
            self.complete_group(count, time.total, at, observer);
        }
        for &Member { slot, tokens } in &batch.members {
            let live = &mut self.state.live[slot as usize];
            live.execution += execution * count;
            if live.prefilled() {
                live.processed += count;
            } else {
                live.processed += tokens;
                if live.processed < live.prefill {
                    self.state.go_on(slot);
                    continue;
                }
                // The end of the prefill yields a token.
                live.processed += 1;
            }
            if live.last_token == Time::ZERO {
                self.prefill_ended(slot, Some(at));
            } else {
                let gap = first_end - live.last_token;
                live.max_tbt = live.max_tbt.max(gap);
                if gap == time.total {
                    usual_gaps += 1;
                } else {
                    observer.gaps(gap, 1);
                    if count > 1 {
                        live.max_tbt = live.max_tbt.max(time.total);
                    }
                }
            }
            let live = &mut self.state.live[slot as usize];
            live.last_token = at;
            if O::TOKENS {
                let number = self.state.tickets[slot as usize].request.id;
                observer.token(number, at);
            }
            if live.processed == live.total {
                self.end(slot, at, observer);
                if !fixed {
                    self.state.leave(slot);
                }
            } else if !fixed {
                self.state.go_on(slot);
            }
        }
        if usual_gaps > 0 {
            observer.gaps(time.total, usual_gaps);
        }
        for slot in out_of_budget {
            self.state.go_on(slot);
        }
        self.state.form_group();
        if fixed {
            self.end_cohort(std::mem::take(&mut batch.cohort), &batch.members);
        }
        batch.members.clear();
        batch.grouped = 0;
        batch.shape = BatchShape::default();
        self.spare.push(flight);
    }

    /// Ends the iterations of the group.
    fn complete_group<O: Observer>(&mut self, count: u32, time: Time, at: Time, observer: &mut O) {
        let mut ended = std::mem::take(&mut self.ended);
        let gap = |gap, count| observer.gaps(gap, count);
        self.state.advance_group(count, time, at, gap, &mut ended);
        for slot in ended.drain(..) {
            self.end(slot, at, observer);
            self.state.leave(slot);
        }
        self.ended = ended;
    }

    /// Gives the decodes the blocks that all iterations but the planned first have taken.
    fn grow(&mut self, batch: &Batch, count: u32, step: Time) {
        let mut held = 0;
        if batch.grouped > 0 {
            held += self.state.grow_group(count);
        }
        for member in &batch.members {
            held += self.state.grow_by(member.slot, count - 1);
        }
        self.state.skipped(count - 1);
        self.kv_area += u128::from(held) * u128::from(step.as_ps());
        self.kv_peak = self.kv_peak.max(self.state.kv.used());
    }

    /// A request's first token is there; or never will be.
    pub(super) fn prefill_ended(&mut self, slot: u32, at: Option<Time>) {
        let ticket = &mut self.state.tickets[slot as usize];
        ticket.first_token = at;
        self.load.pending_prefills -= 1;
        self.load.pending_prefill_tokens -= u64::from(ticket.request.input_tokens);
        self.load.pending_uncached_tokens -= u64::from(ticket.uncached);
    }

    /// A request has its last token.
    fn end<O: Observer>(&mut self, slot: u32, at: Time, observer: &mut O) {
        let live = &self.state.live[slot as usize];
        let ticket = &self.state.tickets[slot as usize];
        observer.request(&Record {
            id: ticket.request.id,
            replica: self.number,
            arrival: ticket.request.arrival,
            first_scheduled: ticket.first_scheduled.unwrap_or(at),
            first_token: ticket.first_token.unwrap_or(at),
            completed: at,
            input_tokens: ticket.request.input_tokens,
            output_tokens: ticket.request.output_tokens,
            cached_tokens: ticket.cached,
            execution: live.execution,
            max_tbt: live.max_tbt,
            restarts: ticket.restarts,
            session: ticket.request.session,
        });
        self.load.outstanding -= 1;
        self.totals.completed += 1;
    }

    /// Requests that began together keep their room until the last of them ends, with one of `members`.
    fn end_cohort(&mut self, cohort: Vec<u32>, members: &[Member]) {
        let live = &self.state.live;
        let goes_on = |&slot: &u32| live[slot as usize].processed < live[slot as usize].total;
        if cohort.iter().any(goes_on) {
            self.state.fixed.push_back(cohort);
            return;
        }
        for slot in cohort {
            if self.state.config.rules == Rules::Vidur && members.iter().all(|m| m.slot != slot) {
                self.state.leave_room_behind(slot);
            } else {
                self.state.leave(slot);
            }
        }
    }
}
