//! A continuous-batching server of known capacity in virtual time, step by step, to calibrate criteria on.

use mst::trial::{ClientHealth, Measurement, Outcome, RequestRecord};
use mst::units::Rate;
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
}

pub(crate) const B64_L128: Server = Server {
    name: "B64 L128",
    batch: 64,
    t0_s: 0.015,
    t1_s: 0.000_25,
    prefill_s: 0.008_6,
    length: (128, 128),
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
};
pub(crate) const DEMO: Server = Server {
    name: "demo B48 L32",
    batch: 48,
    t0_s: 0.002_5,
    t1_s: 0.000_08,
    prefill_s: 0.000_77,
    length: (32, 32),
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
};

/// When requests arrive; their count is fixed either way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrivals {
    Poisson,
    Constant,
}

impl Server {
    /// Requests per second: `(B/L) / (t0 + t1 B + p B/L)`.
    pub(crate) fn capacity(&self) -> f64 {
        let mean = f64::midpoint(f64::from(self.length.0), f64::from(self.length.1));
        let finishing = self.batch as f64 / mean;
        finishing / (self.t0_s + self.t1_s * self.batch as f64 + self.prefill_s * finishing)
    }

    /// A trial at `load` times the capacity, with a drain of 300 s.
    pub(crate) fn trial(&self, process: Arrivals, load: f64, duration_s: f64, seed: u64) -> Measurement {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let rate = Rate::per_second(load * self.capacity());
        let count = rate.count_in(duration_s);
        let mut arrivals: Vec<f64> = match process {
            Arrivals::Poisson => (0..count).map(|_| rng.random::<f64>() * duration_s).collect(),
            Arrivals::Constant => (0..count).map(|i| i as f64 / count as f64 * duration_s).collect(),
        };
        arrivals.sort_by(f64::total_cmp);
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
                    output_tokens: rng.random_range(self.length.0..=self.length.1),
                    outcome: Outcome::Unfinished,
                }
            })
            .collect();
        self.serve(&mut records, duration_s + 300.0);
        Measurement {
            asked: rate,
            duration_s,
            offered_s: duration_s,
            observed_s: duration_s + 300.0,
            epoch_ns: 1_790_000_000_000_000_000,
            records,
            client: ClientHealth::default(),
            planned_output: None,
            stopped_early: false,
        }
    }

    fn serve(&self, records: &mut [RequestRecord], until_s: f64) {
        // A ring of the requests that end at a step, by step number.
        let ring = self.length.1 as usize + 1;
        let mut ends: Vec<Vec<usize>> = vec![Vec::new(); ring];
        let (mut now, mut step, mut next, mut running) = (0.0_f64, 0_usize, 0_usize, 0_usize);
        while now < until_s {
            let first = next;
            while next < records.len()
                && running < self.batch
                && records[next].intended_ns as f64 / 1e9 <= now
            {
                ends[(step + records[next].output_tokens as usize) % ring].push(next);
                running += 1;
                next += 1;
            }
            if running == 0 {
                let Some(record) = records.get(next) else { break };
                now = record.intended_ns as f64 / 1e9;
                continue;
            }
            now += self.t0_s + self.t1_s * running as f64 + self.prefill_s * (next - first) as f64;
            step += 1;
            let ns = Some((now * 1e9).ceil() as i64);
            for record in &mut records[first..next] {
                record.first_token_ns = ns;
            }
            for index in std::mem::take(&mut ends[step % ring]) {
                records[index].done_ns = ns;
                records[index].outcome = Outcome::Ok;
                running -= 1;
            }
        }
    }
}
