//! Many hidden servers: how right a calibrated capacity is, and whether its interval holds the truth.

use std::sync::Arc;

use mst::calibration::{from_aggregates, from_token_times};
use mst::deployment::calibrated::Calibration;
use mst::deployment::{BuiltCluster, CostSource, Deployment, Library, Places};
use mst::sim::catalog::Efficiency;
use mst::sim::cluster::simulate;
use mst::sim::cost::calibrated::Calibrated;
use mst::sim::{Observer, PrefixSpan, PrefixTable, Record, Request, Source, Time};
use mst::stats::quantile::quantile_of;
use mst::workload::seeds;
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};

use super::{FromTrials, MODEL, calibrate_by, hidden_gpu, measure};

/// Requests of which the capacity is asked: gap in units of the mean, prompt, response.
type Load = Vec<(f64, u32, u32)>;

fn load() -> Load {
    let mut rng = seeds::stream(99, "load");
    (0..800)
        .map(|_| {
            let gap: f64 = Exp1.sample(&mut rng);
            (gap, rng.random_range(100..1500), rng.random_range(20..400))
        })
        .collect()
}

struct Arrivals<'a> {
    load: &'a Load,
    rate: f64,
    next: usize,
    at: f64,
}

impl Source for Arrivals<'_> {
    fn peek(&mut self) -> Option<Time> {
        let (gap, ..) = self.load.get(self.next)?;
        Some(Time::from_seconds(self.at + gap / self.rate))
    }

    fn next(&mut self) -> Option<Request> {
        let arrival = self.peek()?;
        let (gap, input_tokens, output_tokens) = self.load[self.next];
        self.at += gap / self.rate;
        self.next += 1;
        Some(Request {
            id: self.next as u64,
            arrival,
            input_tokens,
            output_tokens,
            session: None,
            deadline: Time::MAX,
            prefix: PrefixSpan::default(),
        })
    }
}

#[derive(Default)]
struct Ttft(Vec<f64>);

impl Observer for Ttft {
    fn request(&mut self, record: &Record) {
        self.0.push(record.ttft());
    }
}

/// The most requests a second at which 95 % of the first tokens come within a second.
fn capacity(built: &BuiltCluster, load: &Load) -> f64 {
    let meets = |rate: f64| {
        let mut source = Arrivals {
            load,
            rate,
            next: 0,
            at: 0.0,
        };
        let mut seen = Ttft::default();
        let prefixes = Arc::new(PrefixTable::default());
        simulate(&built.config, &mut source, &prefixes, Time::MAX, &mut seen);
        quantile_of(&seen.0, 0.95).unwrap() < 1.0
    };
    let (mut low, mut high) = (0.5f64, 50.0f64);
    for _ in 0..12 {
        let middle = (low * high).sqrt();
        if meets(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low * high).sqrt()
}

fn built(library: &Library) -> BuiltCluster {
    let deployment = Deployment {
        batching: serde_json::from_value(serde_json::json!({"scheduler": "vllm_v1", "chunk_size": 512}))
            .unwrap(),
        cost: CostSource::Roofline,
        ..Deployment::new(MODEL, "a100")
    };
    deployment.cluster(library, 0).unwrap()
}

fn with(base: &BuiltCluster, efficiency: Efficiency, scale: f64) -> BuiltCluster {
    let mut built = base.clone();
    built.config.cost =
        Arc::new(Calibrated::new(&base.model, &base.gpu, (1, 1), efficiency, scale, None).unwrap());
    built
}

/// Standard deviation of the logarithm of the capacity that the covariance of the factors makes.
fn spread(base: &BuiltCluster, calibration: &Calibration, load: &Load) -> f64 {
    let step = 0.15f64;
    let slope = |name: &str| {
        let at = |by: f64| {
            let mut e = serde_json::to_value(calibration.efficiency).unwrap();
            e[name] = (e[name].as_f64().unwrap() * by.exp()).into();
            let e = serde_json::from_value(e).unwrap();
            capacity(&with(base, e, calibration.scale), load).ln()
        };
        (at(step) - at(-step)) / (2.0 * step)
    };
    let slopes: Vec<f64> = calibration.factors.iter().map(|f| slope(&f.name)).collect();
    let mut sum = 0.0;
    for (i, row) in calibration.covariance.iter().enumerate() {
        for (j, covariance) in row.iter().enumerate() {
            sum += slopes[i] * slopes[j] * covariance;
        }
    }
    sum.sqrt()
}

/// A server drawn from what is known before.
pub(super) fn drawn(seed: u64) -> Efficiency {
    let mut rng = seeds::stream(seed, "hidden");
    let mut times = |median: f64, sd: f64| {
        let z: f64 = StandardNormal.sample(&mut rng);
        median * (sd * z).exp()
    };
    let known = Library::open(Places::default()).unwrap();
    let e = known.catalog().gpu("a100").unwrap().efficiency;
    Efficiency {
        weights: times(e.weights, 0.25),
        gemm: times(e.gemm, 0.25),
        kv: times(e.kv, 0.25),
        attention: times(e.attention, 0.25),
        sequence_us: times(e.sequence_us, 0.7),
        step_us: times(e.step_us, 0.7),
        ..e
    }
}

#[test]
fn calibrated_capacities_are_right_and_their_intervals_hold() {
    let held = hidden_servers("quantiles", from_aggregates);
    held.assert_within(held.with_s_disc);
}

#[test]
fn those_from_token_times_too() {
    let held = hidden_servers("token times", from_token_times);
    // So many iterations know the factors well enough; what the held-out errors add is for servers of another kind.
    held.assert_within(held.by_covariance);
    assert!(held.with_s_disc >= held.by_covariance);
}

/// How many intervals held the truth.
struct Held {
    servers: u64,
    by_covariance: u32,
    with_s_disc: u32,
}

impl Held {
    /// Of 20 servers, some 90 % of which are inside, 15 are outside of nothing but bad luck in one case of 90.
    fn assert_within(&self, held: u32) {
        let [least, most] = if self.servers == 200 {
            [0.85, 0.95]
        } else {
            [0.75, 1.0]
        };
        let share = f64::from(held) / self.servers as f64;
        assert!((least..=most).contains(&share), "{share}");
    }
}

fn hidden_servers(data: &str, from: FromTrials) -> Held {
    let seeds = if std::env::var_os("MST_TEST_LONG").is_some() {
        200
    } else {
        20
    };
    let load = load();
    let (mut errors, mut before) = (Vec::new(), Vec::new());
    let (mut inside, mut inside_whole, mut spreads) = (0, 0, Vec::new());
    for seed in 0..seeds {
        let dir = tempfile::tempdir().unwrap();
        let hidden = drawn(seed);
        measure(dir.path(), &hidden, "[1, 3, 5]", 300, seed);
        let calibration = calibrate_by(
            from,
            dir.path(),
            serde_json::json!({"scheduler": "vllm_v1", "chunk_size": 512}),
        );
        std::fs::write(dir.path().join("gpu.yml"), hidden_gpu(&hidden)).unwrap();
        let places = Places {
            catalog: vec![dir.path().join("gpu.yml")],
            profiles: Vec::new(),
        };
        let truth = capacity(&built(&Library::open(places).unwrap()), &load).ln();
        let base = built(&super::library());
        let found = with(&base, calibration.efficiency, calibration.scale);
        let error = capacity(&found, &load).ln() - truth;
        let sd = spread(&base, &calibration, &load);
        inside += u32::from(error.abs() <= 1.645 * sd);
        inside_whole += u32::from(error.abs() <= 1.645 * sd.hypot(calibration.s_disc));
        spreads.push(sd);
        errors.push(error.abs());
        before.push((capacity(&base, &load).ln() - truth).abs());
    }
    let within = errors.iter().filter(|e| **e <= 1.05f64.ln()).count();
    println!(
        "{data}, {seeds} hidden servers: capacity within 5 % in {within}, median error {:.2} %, 95 % quantile {:.2} %, uncalibrated {:.1} % \
         and {:.1} %; 90 % intervals hold the truth in {inside}, with s_disc in {inside_whole}; median sd {:.2} %",
        100.0 * quantile_of(&errors, 0.5).unwrap(),
        100.0 * quantile_of(&errors, 0.95).unwrap(),
        100.0 * quantile_of(&before, 0.5).unwrap(),
        100.0 * quantile_of(&before, 0.95).unwrap(),
        100.0 * quantile_of(&spreads, 0.5).unwrap(),
    );
    assert!(within as f64 >= 0.95 * seeds as f64, "{errors:?}");
    Held {
        servers: seeds,
        by_covariance: inside,
        with_s_disc: inside_whole,
    }
}
