//! Decodes that go on together.
//!
//! While there are blocks for all of them, every decode takes part in every iteration that any takes part in. One counter
//! then stands for all: a request that joined at clock `j` with `p` tokens computed has `p + clock - j`. When it ends, and at
//! which clock it wants its next blocks, is known when it joins; so an iteration costs the same for any number of decodes.
//! As soon as memory runs short the group is dissolved: its members become running requests as they would be without it,
//! and the policy decides about each. A replica with a pipeline, or one that is to go step by step, has no group.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Batching;
use super::state::{Batch, State};
use crate::sim::Time;
use crate::sim::cluster::EngineConfig;

/// What the group knows of a member, by slot.
#[derive(Clone, Copy, Debug, Default)]
struct Membership {
    /// The clock at which it joined.
    joined: u64,
    /// The clock of the first iteration whose gap is also its gap.
    since: u64,
    /// The clock of the first iteration that it wants blocks for; it may lie one before `joined`, and is then late.
    wants: i64,
    /// What the group had worked when it joined.
    worked: Time,
    /// Its place among all running requests.
    stamp: u64,
}

/// The group.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Group {
    /// Whether the policy can have one.
    possible: bool,
    /// Whether decodes are in the group rather than among the running requests.
    active: bool,
    /// Completions to wait for until another group is tried.
    rest: u32,
    /// Blocks that a member takes when it wants some, and iterations until it wants again. None where room was set aside.
    demand: Option<(u32, u32)>,
    clock: u64,
    /// Tokens computed of all members.
    kv: u64,
    /// Members by the clock at which they end, and by their places.
    ends: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Members that want blocks at a clock, by the clock's remainder.
    wants: Vec<u32>,
    /// Members that wanted some before they joined.
    late: u32,
    worked: Time,
    /// The end of its latest iteration.
    last_end: Time,
    /// Gaps of iterations by clock, those only that no later one equals or exceeds.
    gaps: VecDeque<(u64, Time)>,
    /// Members that joined while the group did not take part: their first gap is their own.
    fresh: Vec<u32>,
    members: Vec<Membership>,
    stamps: u64,
}

impl Group {
    pub(super) fn new(config: &EngineConfig, stepwise: bool) -> Self {
        let unit = match config.batching {
            Batching::VllmV1 { .. } => Some(1 + config.preallocate_tokens.div_ceil(config.block_tokens)),
            Batching::Vllm { .. } | Batching::Sarathi { .. } => Some(1),
            _ => None,
        };
        let demand = unit.map(|unit| (unit, unit * config.block_tokens));
        let policy = !matches!(
            config.batching,
            Batching::FasterTransformer {} | Batching::Lightllm { .. }
        );
        // A request of `vllm_v1` may lack two tokens of room when it joins; one taking must do.
        let possible = policy
            && !stepwise
            && config.pipeline_stages == 1
            && (demand.is_none() || config.block_tokens > 1);
        Self {
            possible,
            active: possible,
            rest: 0,
            demand,
            clock: 0,
            kv: 0,
            ends: BinaryHeap::new(),
            wants: vec![0; demand.map_or(1, |d| d.1) as usize],
            late: 0,
            worked: Time::ZERO,
            last_end: Time::ZERO,
            gaps: VecDeque::new(),
            fresh: Vec::new(),
            members: Vec::new(),
            stamps: 0,
        }
    }

    fn size(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Blocks wanted by the iteration at `clock`, if nobody is late.
    fn wanted_at(&self, clock: u64) -> u32 {
        self.demand.map_or(0, |(unit, period)| {
            unit * self.wants[(clock % u64::from(period)) as usize]
        })
    }

    /// The gap before the tokens of the iteration at `clock`.
    fn note_gap(&mut self, clock: u64, gap: Time) {
        while self.gaps.back().is_some_and(|&(_, earlier)| earlier <= gap) {
            self.gaps.pop_back();
        }
        self.gaps.push_back((clock, gap));
    }

    /// The longest gap from the iteration at `clock` on.
    fn longest_gap(&self, clock: u64) -> Time {
        let index = self.gaps.partition_point(|&(at, _)| at < clock);
        self.gaps.get(index).map_or(Time::ZERO, |&(_, gap)| gap)
    }
}

impl State {
    /// Gives a request the next place among the running ones.
    fn stamp(&mut self, slot: u32) {
        let group = &mut self.group;
        if group.members.len() <= slot as usize {
            group.members.resize(slot as usize + 1, Membership::default());
        }
        group.members[slot as usize].stamp = group.stamps;
        group.stamps += 1;
    }

    /// Adds all decodes to a batch, if they are in a group and there is room for them. Otherwise says no, and they are
    /// running requests for the policy to decide about.
    pub(super) fn schedule_group(&mut self, batch: &mut Batch, room: usize) -> bool {
        if !self.group.active {
            return false;
        }
        let group = &self.group;
        let unit = group.demand.map_or(0, |d| d.0);
        let wanted = group.wanted_at(group.clock) + unit * group.late;
        let short = group.demand.is_some() && wanted >= self.kv.free();
        if group.size() as usize > room || (short && group.size() > 0) {
            self.dissolve_group();
            return false;
        }
        let group = &mut self.group;
        group.late = 0;
        batch.grouped = group.size();
        batch.shape.add_decodes(group.size(), group.kv);
        self.kv.take_unnamed(wanted);
        true
    }

    /// The most iterations, up to `count`, that the group can go through without any change but its own.
    pub(in crate::sim) fn group_iterations(&self, count: u32) -> u32 {
        let group = &self.group;
        let Some(Reverse((end, ..))) = group.ends.peek() else {
            return 1;
        };
        let count = u64::from(count).min(end - group.clock) as u32;
        if group.demand.is_none() {
            return count;
        }
        let mut wanted = 0;
        for step in 1..count {
            wanted += group.wanted_at(group.clock + u64::from(step));
            if wanted >= self.kv.free() {
                return step;
            }
        }
        count
    }

    /// Takes the blocks that the iterations after the first of `count` have taken. Says for how many iterations in all
    /// they are held.
    pub(in crate::sim) fn grow_group(&mut self, count: u32) -> u64 {
        let mut held = 0;
        if self.group.demand.is_none() {
            return held;
        }
        for step in 1..count {
            let wanted = self.group.wanted_at(self.group.clock + u64::from(step));
            self.kv.take_unnamed(wanted);
            held += u64::from(wanted) * u64::from(count - step);
        }
        held
    }

    /// Ends `count` iterations of `time` each, the last at `at`. Calls `gap` with gaps between tokens and how many there
    /// are, and puts those that have their last token into `ended`, in their order.
    pub(in crate::sim) fn advance_group(
        &mut self,
        count: u32,
        time: Time,
        at: Time,
        mut gap: impl FnMut(Time, u64),
        ended: &mut Vec<u32>,
    ) {
        let first_end = at - time * (count - 1);
        let group = &mut self.group;
        let usual = first_end - group.last_end;
        let old = group.size() as usize - group.fresh.len();
        if old > 0 {
            gap(usual, old as u64);
            group.note_gap(group.clock, usual);
        }
        for slot in group.fresh.drain(..) {
            let live = &mut self.live[slot as usize];
            let own = first_end - live.last_token;
            gap(own, 1);
            live.max_tbt = live.max_tbt.max(own);
            group.members[slot as usize].since = group.clock + 1;
        }
        if count > 1 {
            gap(time, u64::from(group.size()) * u64::from(count - 1));
            group.note_gap(group.clock + 1, time);
        }
        group.clock += u64::from(count);
        group.kv += u64::from(count) * u64::from(group.size());
        group.worked += time * count;
        group.last_end = at;
        while let Some(&Reverse((end, _, slot))) = self.group.ends.peek()
            && end <= self.group.clock
        {
            self.group.ends.pop();
            self.leave_group(slot);
            ended.push(slot);
        }
        if self.group.ends.is_empty() {
            self.group.gaps.clear();
        }
    }

    /// Takes in a request whose prefill has ended, and which has its latest token.
    fn join_group(&mut self, slot: u32) {
        self.stamp(slot);
        let group = &mut self.group;
        let live = &mut self.live[slot as usize];
        if group.size() == 0 {
            group.last_end = live.last_token;
        } else if live.last_token != group.last_end {
            group.fresh.push(slot);
        }
        let member = &mut group.members[slot as usize];
        member.joined = group.clock;
        member.since = group.clock;
        member.worked = group.worked;
        if let Some((_, period)) = group.demand {
            let ahead = i64::from(matches!(self.config.batching, Batching::VllmV1 { .. }));
            member.wants = group.clock as i64 + i64::from(live.room) - i64::from(live.processed) - ahead + 1;
            if member.wants < group.clock as i64 {
                group.late += 1;
            }
            group.wants[member.wants.rem_euclid(i64::from(period)) as usize] += 1;
        }
        let left = u64::from(live.total - live.processed);
        group.ends.push(Reverse((group.clock + left, member.stamp, slot)));
        group.kv += u64::from(live.processed);
    }

    /// Writes down what the group's counter stood for. The caller has taken the member off `ends`.
    fn leave_group(&mut self, slot: u32) {
        let group = &mut self.group;
        let member = group.members[slot as usize];
        let live = &mut self.live[slot as usize];
        let steps = group.clock - member.joined;
        live.processed += steps as u32;
        live.execution += group.worked - member.worked;
        if steps > 0 {
            live.last_token = group.last_end;
            live.max_tbt = live.max_tbt.max(group.longest_gap(member.since));
        } else {
            group.fresh.retain(|&other| other != slot);
        }
        group.kv -= u64::from(live.processed);
        if let Some((unit, period)) = group.demand {
            group.wants[member.wants.rem_euclid(i64::from(period)) as usize] -= 1;
            // A late member takes at the first iteration.
            let latest = group.clock as i64 - 1;
            if steps == 0 {
                group.late -= u32::from(member.wants < group.clock as i64);
            } else if member.wants <= latest {
                let times = ((latest - member.wants) / i64::from(period) + 1) as u32;
                self.tickets[slot as usize].holding.blocks += times * unit;
                live.room += times * unit * self.config.block_tokens;
            }
        }
    }

    /// Makes the members running requests again.
    fn dissolve_group(&mut self) {
        let mut slots: Vec<u32> = std::mem::take(&mut self.group.ends)
            .into_iter()
            .map(|Reverse((_, _, slot))| slot)
            .collect();
        for &slot in &slots {
            self.leave_group(slot);
        }
        self.group.gaps.clear();
        self.group.active = false;
        self.group.rest = slots.len() as u32;
        // Those that a policy left out come first, then all others as the latest batch held them.
        let left_out = self.left_out.min(self.running.len());
        slots.extend(self.running.drain(left_out..));
        let members = &self.group.members;
        slots.sort_by_key(|&slot| members[slot as usize].stamp);
        self.running.extend(slots);
        self.disordered = true;
    }

    /// Makes a group of the running decodes, if there may be one and memory is not short.
    pub(in crate::sim) fn form_group(&mut self) {
        let group = &mut self.group;
        if !group.possible || group.active {
            return;
        }
        if group.rest > 0 {
            group.rest -= 1;
            return;
        }
        let unit = group.demand.map_or(0, |d| d.0);
        if u64::from(self.kv.free()) < 2 * u64::from(unit) * u64::from(self.admitted + 1) {
            return;
        }
        let running = std::mem::take(&mut self.running);
        self.group.active = true;
        self.left_out = 0;
        for slot in running {
            self.go_on(slot);
        }
    }

    /// Puts an admitted request among the running ones, or into the group.
    pub(in crate::sim) fn go_on(&mut self, slot: u32) {
        let decodes = self.live[slot as usize].prefilled();
        if decodes && self.group.active && self.kv.keeps_prefixes() && self.publishes(slot) {
            // It publishes the pages of its response one by one.
            self.group.possible = false;
            self.dissolve_group();
        }
        if decodes && self.group.active {
            self.join_group(slot);
        } else {
            self.stamp(slot);
            self.running.push(slot);
        }
    }
}
