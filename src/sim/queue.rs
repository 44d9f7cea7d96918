//! The waiting requests of a replica.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Time;

/// Slots of waiting requests, in the order in which they are served.
#[derive(Clone, Debug)]
pub(super) enum WaitQueue {
    /// As they came; a preempted request goes to the front.
    Line(VecDeque<u32>),
    /// By a key, then by number: time of arrival, or deadline. A preempted request goes where its key puts it.
    Ranked(BinaryHeap<Reverse<(Time, u64, u32)>>),
}

impl WaitQueue {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Ranked(heap) => heap.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot that is served next.
    pub(super) fn front(&self) -> Option<u32> {
        match self {
            Self::Line(line) => line.front().copied(),
            Self::Ranked(heap) => heap.peek().map(|Reverse((_, _, slot))| *slot),
        }
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        match self {
            Self::Line(line) => line.pop_front(),
            Self::Ranked(heap) => heap.pop().map(|Reverse((_, _, slot))| slot),
        }
    }

    /// A request that has arrived.
    pub(super) fn join(&mut self, key: Time, id: u64, slot: u32) {
        match self {
            Self::Line(line) => line.push_back(slot),
            Self::Ranked(heap) => heap.push(Reverse((key, id, slot))),
        }
    }

    /// A request that was preempted.
    pub(super) fn rejoin(&mut self, key: Time, id: u64, slot: u32) {
        match self {
            Self::Line(line) => line.push_front(slot),
            Self::Ranked(_) => self.join(key, id, slot),
        }
    }
}
