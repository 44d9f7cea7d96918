//! Probes on the built-in simulator.

use std::cell::Cell as Flag;
use std::path::Path;
use std::rc::Rc;

use super::bounds;
use super::file::SearchFor;
use super::grid::Cell;
use super::keep;
use super::probe::{Evaluator, Facts, Limit, Point, Probed};
use super::traces::{Loaded, Traces};
use crate::deployment::{BuiltCluster, Library};
use crate::sim::{Observer, Record, Request, Source, Time, cluster};
use crate::slo::{SloConfig, Tally};
use crate::stats::quantile::quantile;

/// Simulates cells.
#[derive(Debug)]
pub struct Simulated<'a> {
    library: &'a Library,
    traces: &'a Traces,
}

impl<'a> Simulated<'a> {
    /// With what is known of models and GPUs, and the traces of the grid.
    pub fn new(library: &'a Library, traces: &'a Traces) -> Self {
        Self { library, traces }
    }

    fn build(&self, cell: &Cell, point: Point) -> Result<(BuiltCluster, &Loaded), String> {
        let mut deployment = cell.deployment.clone();
        deployment.replicas = point.replicas;
        let built = deployment
            .cluster(self.library, point.seed)
            .map_err(|e| e.to_string())?;
        built.config.engine.check().map_err(|e| e.to_string())?;
        Ok((built, self.traces.of(cell)?))
    }

    fn first(cell: &Cell) -> Point {
        Point {
            replicas: cell.deployment.replicas,
            qps: cell.search.qps,
            seed: 0,
        }
    }
}

impl Evaluator for Simulated<'_> {
    fn facts(&self, cell: &Cell) -> Result<Facts, String> {
        let (built, loaded) = self.build(cell, Self::first(cell))?;
        let mut notes = loaded.notes(cell);
        notes.extend(
            built
                .origin
                .notes
                .iter()
                .map(|note| format!("{}: {note}", cell.model)),
        );
        Ok(Facts {
            requests: loaded.count(cell),
            cost: built.origin.label.to_owned(),
            content: format!(
                "{} {:?} {}",
                loaded.digest,
                built.config.engine,
                built.fingerprint()
            ),
            notes,
        })
    }

    fn probe(&self, cell: &Cell, point: Point, slos: &[SloConfig]) -> Result<Probed, String> {
        let (built, loaded) = self.build(cell, point)?;
        let requests = loaded.count(cell);
        let source = loaded
            .source(cell, point.qps, point.seed)
            .map_err(|e| e.to_string())?;
        let lost = Rc::new(Flag::new(false));
        let mut source = UntilLost {
            inner: source,
            lost: Rc::clone(&lost),
        };
        let mut watch = Watch {
            tally: Tally::new(slos, requests as usize),
            lost,
            may_end_early: cell.search.search_for != SearchFor::Isoqps,
            times: [const { Vec::new() }; 3],
            input_tokens: 0,
        };
        let totals = cluster::simulate(
            &built.config,
            &mut source,
            &loaded.prefixes,
            Time::MAX,
            &mut watch,
        );
        let keys = slos.iter().map(SloConfig::key);
        if watch.lost.get() {
            return Ok(Probed {
                judgements: keys.zip(watch.tally.judge_lost()).collect(),
                ended_early: true,
                requests,
                ..Probed::default()
            });
        }
        let mut latency = std::collections::BTreeMap::new();
        for (name, times) in ["ttft", "tpot", "e2e"].iter().zip(&mut watch.times) {
            times.sort_unstable_by(f64::total_cmp);
            for percent in [50, 90, 99] {
                if let Some(value) = quantile(times, f64::from(percent) / 100.0) {
                    latency.insert(format!("{name}_p{percent}"), value);
                }
            }
        }
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Ok(Probed {
            judgements: keys.zip(watch.tally.judge()).collect(),
            ended_early: false,
            requests,
            completed: totals.completed,
            restarts: totals.restarts,
            latency,
            cached_share: share(totals.cached_tokens as f64, watch.input_tokens as f64),
            extrapolated_share: share(totals.extrapolated.as_seconds(), totals.busy.as_seconds()),
            kv_peak: totals.kv_peak,
        })
    }

    fn limit(&self, cell: &Cell, slo: &SloConfig) -> Limit {
        match self.build(cell, Self::first(cell)) {
            Ok((built, loaded)) => bounds::limit(cell, slo, &built.config, loaded),
            Err(_) => Limit::None,
        }
    }

    fn keep(&self, cell: &Cell, point: Point, folder: &Path) -> Result<(), String> {
        let (built, loaded) = self.build(cell, point)?;
        let source = loaded
            .source(cell, point.qps, point.seed)
            .map_err(|e| e.to_string())?;
        keep::write(cell, point, &built, source, &loaded.prefixes, folder).map_err(|e| e.to_string())
    }
}

/// Judges requests as they end.
struct Watch<'a> {
    tally: Tally<'a>,
    lost: Rc<Flag<bool>>,
    /// Given rates are to be compared by their latencies, also where no objective is kept.
    may_end_early: bool,
    times: [Vec<f64>; 3],
    input_tokens: u64,
}

impl Observer for Watch<'_> {
    fn request(&mut self, record: &Record) {
        if self.lost.get() {
            return;
        }
        self.tally.add(record);
        self.input_tokens += u64::from(record.input_tokens);
        for (times, value) in self
            .times
            .iter_mut()
            .zip([record.ttft(), record.tpot(), record.e2e()])
        {
            times.push(value);
        }
        self.lost.set(self.may_end_early && self.tally.is_lost());
    }
}

/// Ends when nothing can be kept any more: what happened until then does not depend on what would have come.
struct UntilLost<S> {
    inner: S,
    lost: Rc<Flag<bool>>,
}

impl<S: Source> Source for UntilLost<S> {
    fn peek(&mut self) -> Option<Time> {
        if self.lost.get() { None } else { self.inner.peek() }
    }

    fn next(&mut self) -> Option<Request> {
        self.inner.next()
    }
}
