//! A continuous-batching server of known capacity in virtual time, step by step, to calibrate criteria on.

use std::collections::VecDeque;

use mst::trial::{ClientHealth, Measurement, Outcome, RequestRecord};
use mst::units::Rate;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Up to `batch` sequences run together; a step with `n` of them lasts `t0 + t1 n`, plus `prefill` an admission.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) batch: usize,
    pub(crate) t0_s: f64,
    pub(crate) t1_s: f64,
    pub(crate) prefill_s: f64,
    /// Smallest and largest output length, uniform between.
    pub(crate) length: (u32, u32),
    /// What makes it something else than the formula of [`Server::capacity`].
    pub(crate) trouble: Trouble,
}

/// What else befalls a server.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    None,
    /// Room for so many tokens; a prompt takes so many. When it is full, the youngest sequence is put back and its tokens are
    /// computed again. Capacity relative to the formula's was found by long runs.
    Memory {
        tokens: u32,
        prompt: u32,
        capacity: f64,
    },
    /// Every so many seconds it stands still for so many.
    Stalls {
        period_s: f64,
        length_s: f64,
    },
    /// In the first part of every period steps take longer by this factor.
    Neighbour {
        period_s: f64,
        on_s: f64,
        factor: f64,
    },
    /// Steps slow down evenly, by this share at the end of half an hour.
    Heat {
        share: f64,
    },
    /// The prefill costs this many times as much at first and comes down with this many seconds.
    ColdCache {
        times: f64,
        seconds: f64,
    },
    /// At most so many requests wait; the others are refused.
    Bounded {
        queue: usize,
    },
}

pub(crate) const B64_L128: Server = Server {
    name: "B64 L128",
    batch: 64,
    t0_s: 0.015,
    t1_s: 0.000_25,
    prefill_s: 0.008_6,
    length: (128, 128),
    trouble: Trouble::None,
};
pub(crate) const B64_UNIFORM: Server = Server {
    name: "B64 L~U(1,256)",
    length: (1, 256),
    ..B64_L128
};
pub(crate) const B256_L512: Server = Server {
    name: "B256 L512",
    batch: 256,
    t0_s: 0.015,
    t1_s: 0.000_14,
    prefill_s: 0.009_4,
    length: (512, 512),
    trouble: Trouble::None,
};
pub(crate) const B256_UNIFORM: Server = Server {
    name: "B256 L~U(1,1023)",
    length: (1, 1023),
    ..B256_L512
};
pub(crate) const MEMORY: Server = Server {
    name: "B128 L~U(1,512) KV",
    batch: 128,
    t0_s: 0.012,
    t1_s: 0.000_15,
    prefill_s: 0.006,
    length: (1, 512),
    trouble: Trouble::Memory {
        tokens: 32_000,
        prompt: 300,
        capacity: 0.729,
    },
};
pub(crate) const STALLS: Server = Server {
    name: "B64 L128, 10 s of 120 s stalled",
    trouble: Trouble::Stalls {
        period_s: 120.0,
        length_s: 10.0,
    },
    ..B64_L128
};
pub(crate) const LONG_STALLS: Server = Server {
    name: "B64 L128, 30 s of 600 s stalled",
    trouble: Trouble::Stalls {
        period_s: 600.0,
        length_s: 30.0,
    },
    ..B64_L128
};
pub(crate) const NEIGHBOUR: Server = Server {
    name: "B64 L128, 1.3 times slower for 100 s of 300 s",
    trouble: Trouble::Neighbour {
        period_s: 300.0,
        on_s: 100.0,
        factor: 1.3,
    },
    ..B64_L128
};
pub(crate) const HEAT: Server = Server {
    name: "B64 L128, slower by 10 % in half an hour",
    trouble: Trouble::Heat { share: 0.1 },
    ..B64_L128
};
pub(crate) const COLD: Server = Server {
    name: "B64 L128, cache cold for 120 s",
    trouble: Trouble::ColdCache {
        times: 3.0,
        seconds: 120.0,
    },
    ..B64_L128
};
pub(crate) const BOUNDED: Server = Server {
    name: "B64 L128, at most 50 waiting",
    trouble: Trouble::Bounded { queue: 50 },
    ..B64_L128
};
pub(crate) const DEMO: Server = Server {
    name: "demo B48 L32",
    batch: 48,
    t0_s: 0.002_5,
    t1_s: 0.000_08,
    prefill_s: 0.000_77,
    length: (32, 32),
    trouble: Trouble::None,
};
pub(crate) const DEMO_UNIFORM: Server = Server {
    name: "demo B48 L~U(1,63)",
    length: (1, 63),
    ..DEMO
};
/// About 600 requests in half an hour.
pub(crate) const SLOW: Server = Server {
    name: "slow B8 L~U(1,511)",
    batch: 8,
    t0_s: 0.08,
    t1_s: 0.001_5,
    prefill_s: 0.1,
    length: (1, 511),
    trouble: Trouble::None,
};

/// When requests arrive; their count is fixed either way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrivals {
    Poisson,
    /// In blocks of 100: times uniform within a block, one length from each hundredth of the distribution.
    Stratified,
    Constant,
}

impl Server {
    /// Requests per second: `(B/L) / (t0 + t1 B + p B/L)`, corrected for what befalls it.
    pub(crate) fn capacity(&self) -> f64 {
        let finishing = self.batch as f64 / self.mean_length();
        let full = finishing / (self.t0_s + self.t1_s * self.batch as f64 + self.prefill_s * finishing);
        full * match self.trouble {
            Trouble::None | Trouble::ColdCache { .. } => 1.0,
            Trouble::Memory { capacity, .. } => capacity,
            Trouble::Stalls { period_s, length_s } => 1.0 - length_s / period_s,
            Trouble::Neighbour {
                period_s,
                on_s,
                factor,
            } => 1.0 - on_s / period_s * (1.0 - 1.0 / factor),
            Trouble::Heat { share } => 1.0 / (1.0 + share),
            // What is good of all must be 95 %.
            Trouble::Bounded { .. } => 1.0 / 0.95,
        }
    }

    pub(crate) fn mean_length(&self) -> f64 {
        f64::midpoint(f64::from(self.length.0), f64::from(self.length.1))
    }

    /// A trial at `load` times the capacity, with a drain of 300 s.
    pub(crate) fn trial(&self, process: Arrivals, load: f64, duration_s: f64, seed: u64) -> Measurement {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let rate = Rate::per_second(load * self.capacity());
        let count = rate.count_in(duration_s);
        let stratified = matches!(process, Arrivals::Stratified);
        let per_request_s = duration_s / count as f64;
        let mut arrivals: Vec<f64> = (0..count)
            .map(|i| match process {
                Arrivals::Poisson => rng.random::<f64>() * duration_s,
                Arrivals::Stratified => {
                    let (first, block) = (i / 100 * 100, 100.min(count - i / 100 * 100));
                    (first as f64 + rng.random::<f64>() * block as f64) * per_request_s
                }
                Arrivals::Constant => i as f64 * per_request_s,
            })
            .collect();
        arrivals.sort_by(f64::total_cmp);
        let span = f64::from(self.length.1 - self.length.0 + 1);
        let mut strata: Vec<u32> = Vec::new();
        let mut length = |rng: &mut Pcg64Mcg| -> u32 {
            if !stratified {
                return rng.random_range(self.length.0..=self.length.1);
            }
            if strata.is_empty() {
                strata = (0..100).collect();
                strata.shuffle(rng);
            }
            let stratum = f64::from(strata.pop().unwrap());
            self.length.0 + ((stratum + rng.random::<f64>()) / 100.0 * span) as u32
        };
        let mut records: Vec<RequestRecord> = arrivals
            .iter()
            .map(|&at| {
                let ns = (at * 1e9) as i64;
                RequestRecord {
                    intended_ns: ns,
                    sent_ns: Some(ns),
                    first_token_ns: None,
                    done_ns: None,
                    class: 0,
                    input_tokens: 1,
                    output_tokens: length(&mut rng),
                    outcome: Outcome::Unfinished,
                }
            })
            .collect();
        let observed_s = duration_s + 300.0;
        self.serve(&mut records, observed_s, rng.random());
        Measurement {
            asked: rate,
            duration_s,
            offered_s: duration_s,
            observed_s,
            epoch_ns: 1_790_000_000_000_000_000,
            records,
            client: ClientHealth::default(),
            planned_output: Some(self.mean_length()),
            stopped_early: false,
            tokens: None,
        }
    }

    /// The time of a step at `now`, which is `work` seconds of an untroubled server; `phase` in [0, 1) places periods.
    fn step(&self, now: f64, steps: f64, prefills: f64, phase: f64) -> f64 {
        let work = steps + prefills;
        match self.trouble {
            Trouble::Stalls { period_s, length_s } => {
                let at = (now + phase * period_s) % period_s;
                work + if at + work > period_s { length_s } else { 0.0 }
            }
            Trouble::Neighbour {
                period_s,
                on_s,
                factor,
            } => {
                let at = (now + phase * period_s) % period_s;
                work * if at < on_s { factor } else { 1.0 }
            }
            Trouble::Heat { share } => work * (1.0 + share * now / 1800.0),
            Trouble::ColdCache { times, seconds } => {
                steps + prefills * (1.0 + (times - 1.0) * (-now / seconds).exp())
            }
            _ => work,
        }
    }

    fn serve(&self, records: &mut [RequestRecord], until_s: f64, phase: f64) {
        let (room, prompt) = match self.trouble {
            Trouble::Memory { tokens, prompt, .. } => (u64::from(tokens), u64::from(prompt)),
            _ => (u64::MAX, 0),
        };
        let most_waiting = match self.trouble {
            Trouble::Bounded { queue } => queue,
            _ => usize::MAX,
        };
        // Running: index and tokens got. Put back: the same.
        let mut running: Vec<(usize, u32)> = Vec::new();
        let mut waiting: VecDeque<(usize, u32)> = VecDeque::new();
        let (mut now, mut next, mut used) = (0.0_f64, 0_usize, 0_u64);
        while now < until_s {
            while next < records.len() && records[next].intended_ns as f64 / 1e9 <= now {
                if waiting.len() >= most_waiting {
                    records[next].done_ns = Some((now * 1e9).ceil() as i64);
                    records[next].outcome = Outcome::Http(503);
                } else {
                    waiting.push_back((next, 0));
                }
                next += 1;
            }
            let mut prefills = 0.0;
            let before = running.len();
            while running.len() < self.batch {
                let Some(&(index, got)) = waiting.front() else {
                    break;
                };
                let needs = prompt + u64::from(got) + 1;
                if used + needs + running.len() as u64 > room {
                    break;
                }
                used += needs - 1;
                waiting.pop_front();
                running.push((index, got));
                prefills += self.prefill_s * (1.0 + f64::from(got) / prompt.max(1) as f64);
            }
            while used + running.len() as u64 > room {
                let (index, got) = running.pop().unwrap();
                used -= prompt + u64::from(got);
                waiting.push_front((index, got));
            }
            if running.is_empty() {
                let Some(record) = records.get(next) else { break };
                now = record.intended_ns as f64 / 1e9;
                continue;
            }
            let steps = self.t0_s + self.t1_s * running.len() as f64;
            now += self.step(now, steps, prefills, phase);
            let ns = Some((now * 1e9).ceil() as i64);
            for &(index, _) in running.iter().skip(before) {
                let first = &mut records[index].first_token_ns;
                *first = first.or(ns);
            }
            used += running.len() as u64;
            running.retain_mut(|(index, got)| {
                *got += 1;
                let record = &mut records[*index];
                if *got < record.output_tokens {
                    return true;
                }
                record.done_ns = ns;
                record.outcome = Outcome::Ok;
                used -= prompt + u64::from(*got);
                false
            });
        }
        for (index, got) in running.into_iter().chain(waiting) {
            records[index].output_tokens = got;
        }
        for record in &mut records[next..] {
            record.output_tokens = 0;
        }
    }
}
