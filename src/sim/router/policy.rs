//! The policies at work.

use std::collections::HashMap;

use rand::RngExt;
use rand_pcg::Pcg64;

use super::{Choice, Load, RouterConfig};
use crate::sim::Request;
use crate::workload::seeds;

/// Sends each request to a replica. What it remembers grows with the conversations seen, not with the requests.
#[derive(Clone, Debug)]
pub struct Router {
    policy: RouterConfig,
    replicas: u32,
    rng: Pcg64,
    /// Turns taken in round robin.
    turns: u64,
    /// Where each conversation is.
    homes: HashMap<u32, u32>,
    /// Room for the uncached tokens of the present request on each replica.
    uncached: Vec<u32>,
    /// Room for the spreads.
    spreads: Vec<u64>,
}

impl Router {
    /// A router of this policy over so many replicas, at least one.
    pub fn new(policy: &RouterConfig, replicas: u32, seed: u64) -> Self {
        Self {
            policy: *policy,
            replicas: replicas.max(1),
            rng: seeds::stream(seed, "routing"),
            turns: 0,
            homes: HashMap::new(),
            uncached: Vec::new(),
            spreads: Vec::new(),
        }
    }

    /// Chooses for a request, given the load of every replica (of none for a policy that [reads no
    /// loads](RouterConfig::reads_loads)). `cached` tells how many tokens of its prompt a replica has in its prefix cache;
    /// only the policies that [look there](RouterConfig::reads_caches) call it, once a replica.
    pub fn route(&mut self, request: &Request, loads: &[Load], cached: &mut dyn FnMut(u32) -> u32) -> Choice {
        if self.policy.reads_caches() {
            return self.by_spread(request, loads, cached);
        }
        let session = request.session.filter(|_| self.policy.is_sticky());
        let home = session.and_then(|s| self.homes.get(&s)).copied();
        let replica = home.unwrap_or_else(|| self.fresh(loads));
        self.settle(session, replica);
        Choice {
            replica,
            uncached_tokens: request.input_tokens,
        }
    }

    /// The choice for a request whose conversation has no home.
    fn fresh(&mut self, loads: &[Load]) -> u32 {
        match self.policy {
            RouterConfig::Random => self.rng.random_range(0..self.replicas),
            RouterConfig::Lor | RouterConfig::StickyLor => self.least(loads, |l| l.outstanding),
            RouterConfig::Lop | RouterConfig::StickyLop => self.least(loads, |l| l.pending_prefill_tokens),
            RouterConfig::LopBinary => self.least(loads, |l| l.pending_prefills),
            RouterConfig::LopBatchEnd => self.least(loads, |l| l.uncomputed_prefill_tokens),
            RouterConfig::LorWaiting => {
                let fewest = loads.iter().enumerate().min_by_key(|(_, l)| l.waiting);
                fewest.map_or(0, |(replica, _)| replica as u32)
            }
            RouterConfig::RoundRobin
            | RouterConfig::StickyRoundRobin
            | RouterConfig::LopUncached
            | RouterConfig::RankedStickyLopUncached { .. }
            | RouterConfig::TolerantStickyLopUncached { .. } => {
                self.turns += 1;
                ((self.turns - 1) % u64::from(self.replicas)) as u32
            }
        }
    }

    fn by_spread(&mut self, request: &Request, loads: &[Load], cached: &mut dyn FnMut(u32) -> u32) -> Choice {
        self.uncached.clear();
        let tokens = request.input_tokens;
        self.uncached
            .extend((0..self.replicas).map(|r| tokens.saturating_sub(cached(r))));
        spreads(loads, &self.uncached, &mut self.spreads);
        let session = request.session.filter(|_| self.policy.is_sticky());
        let home = session.and_then(|s| self.homes.get(&s)).copied();
        let replica = match home {
            Some(home) if self.may_stay(home) => home,
            _ => {
                let spreads = std::mem::take(&mut self.spreads);
                let replica = self.least(&spreads, |&s| s);
                self.spreads = spreads;
                replica
            }
        };
        self.settle(session, replica);
        Choice {
            replica,
            uncached_tokens: self.uncached[replica as usize],
        }
    }

    /// Gives a conversation its home.
    fn settle(&mut self, session: Option<u32>, replica: u32) {
        if let Some(session) = session {
            self.homes.insert(session, replica);
        }
    }

    /// Whether a conversation may stay at its home, given the spreads.
    fn may_stay(&mut self, home: u32) -> bool {
        let own = self.spreads[home as usize];
        match self.policy {
            RouterConfig::RankedStickyLopUncached { top_k } => {
                let better = self.spreads.iter().filter(|&&s| s < own).count() as u64;
                let equal = self.spreads.iter().filter(|&&s| s == own).count() as u64;
                let places = u64::from(top_k).saturating_sub(better);
                // Those of equal spread draw for the places that are left.
                places >= equal || (places > 0 && self.rng.random_range(0..equal) < places)
            }
            RouterConfig::TolerantStickyLopUncached { tolerance_factor } => {
                let best = self.spreads.iter().min().copied().unwrap_or(0);
                own as f64 <= tolerance_factor * best as f64
            }
            _ => false,
        }
    }

    /// The place of the smallest; among equals a draw.
    fn least<T, K: Ord>(&mut self, all: &[T], key: impl Fn(&T) -> K) -> u32 {
        let Some(least) = all.iter().map(&key).min() else {
            return 0;
        };
        let equal = all.iter().filter(|a| key(a) == least).count();
        let pick = if equal > 1 {
            self.rng.random_range(0..equal)
        } else {
            0
        };
        let mut found = all.iter().enumerate().filter(|(_, a)| key(a) == least);
        found.nth(pick).map_or(0, |(place, _)| place as u32)
    }
}

/// For each replica the spread of pending tokens if it got the request: the largest and the smallest of the others are
/// among the two largest and the two smallest of all.
fn spreads(loads: &[Load], uncached: &[u32], out: &mut Vec<u64>) {
    let (mut low, mut high) = ([u64::MAX; 2], [0; 2]);
    let (mut lowest, mut highest) = (0, 0);
    for (place, pending) in loads.iter().map(|l| l.pending_uncached_tokens).enumerate() {
        if place == 0 || pending < low[0] {
            low = [pending, low[0]];
            lowest = place;
        } else if pending < low[1] {
            low[1] = pending;
        }
        if place == 0 || pending > high[0] {
            high = [pending, high[0]];
            highest = place;
        } else if pending > high[1] {
            high[1] = pending;
        }
    }
    out.clear();
    out.extend(
        loads
            .iter()
            .zip(uncached)
            .enumerate()
            .map(|(place, (load, &new))| {
                let with = load.pending_uncached_tokens + u64::from(new);
                let others_high = high[usize::from(place == highest)];
                let others_low = low[usize::from(place == lowest)];
                with.max(others_high) - with.min(others_low)
            }),
    );
}

#[cfg(test)]
mod tests;
