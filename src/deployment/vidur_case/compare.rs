//! Two runs side by side.

use std::collections::BTreeMap;

use super::rows::{IterationRow, Rows};
use super::{CaseFile, CaseReport};
use crate::sim::cluster::Totals;
use crate::sim::{Iteration, Observer, Record};

/// The largest of many errors, and where it is.
#[derive(Debug, Default)]
struct Largest {
    error: f64,
    place: Option<String>,
}

impl Largest {
    fn see(&mut self, error: f64, place: impl FnOnce() -> String) {
        if error > self.error || error.is_nan() {
            self.error = if error.is_nan() { f64::MAX } else { error };
            self.place = Some(place());
        }
    }
}

/// The recorded iterations of one stage, and how far they were compared.
#[derive(Debug, Default)]
struct Stage {
    rows: Vec<IterationRow>,
    seen: usize,
}

/// Compares a run with a recorded one as it goes.
pub(super) struct Comparison<'a> {
    rows: &'a Rows,
    stages: BTreeMap<(u32, u32), Stage>,
    ended: Vec<bool>,
    /// Whether the record holds only the first of the iterations.
    partial: bool,
    limited: bool,
    ttft: Largest,
    e2e: Largest,
    iteration: Largest,
    parting: Option<String>,
    restarts: [u64; 2],
    compared: u64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(rows: &'a Rows, limited: bool, total: Option<u64>) -> Self {
        let mut stages: BTreeMap<(u32, u32), Stage> = BTreeMap::new();
        for row in &rows.iterations {
            stages
                .entry((row.replica, row.stage))
                .or_default()
                .rows
                .push(*row);
        }
        Self {
            rows,
            stages,
            ended: vec![false; rows.requests.len()],
            partial: total.is_some_and(|total| total > rows.iterations.len() as u64),
            limited,
            ttft: Largest::default(),
            e2e: Largest::default(),
            iteration: Largest::default(),
            parting: None,
            restarts: [rows.requests.iter().map(|r| r.num_restarts).sum(), 0],
            compared: 0,
        }
    }

    /// The first place where the runs hold different things.
    fn part(&mut self, place: impl FnOnce() -> String) {
        if self.parting.is_none() {
            self.parting = Some(place());
        }
    }

    pub(super) fn report(
        mut self,
        case: &CaseFile,
        totals: &Totals,
        replayed_routing: bool,
        notes: Vec<String>,
    ) -> CaseReport {
        let missing =
            (0..self.ended.len()).find(|&row| !self.ended[row] && self.rows.requests[row].completed == 1);
        if let Some(row) = missing {
            let id = self.rows.requests[row].request_id;
            self.part(|| format!("request {id} ended in the record, and not here"));
            self.ttft.error = f64::MAX;
            self.e2e.error = f64::MAX;
        }
        let short = self
            .stages
            .iter()
            .find(|(_, stage)| stage.seen < stage.rows.len());
        if let Some((&(replica, stage), at)) = short
            && !self.limited
        {
            let (seen, known) = (at.seen, at.rows.len());
            self.part(|| {
                format!("replica {replica}, stage {stage}: {seen} iterations here, {known} in the record")
            });
        }
        if self.parting.is_some() {
            self.iteration.error = f64::MAX;
        }
        let mut places = Vec::new();
        places.extend(self.parting.iter().map(|place| format!("the runs part: {place}")));
        for (name, largest) in [
            ("TTFT", &self.ttft),
            ("E2E", &self.e2e),
            ("iteration", &self.iteration),
        ] {
            places.extend(
                largest
                    .place
                    .iter()
                    .map(|at| format!("largest {name} error: {at}")),
            );
        }
        self.restarts[1] = totals.restarts;
        CaseReport {
            case: case.name.clone(),
            simulator: case.simulator.clone(),
            requests: self.rows.requests.len() as u64,
            iterations: self.compared,
            max_abs_ttft_error_s: self.ttft.error,
            max_abs_e2e_error_s: self.e2e.error,
            max_rel_iteration_error: self.iteration.error,
            replayed_routing,
            cpu_seconds: 0.0,
            restarts: self.restarts,
            places,
            mismatch: self.parting.is_some(),
            notes,
        }
    }

    /// Compares one iteration with the next recorded one of its stage.
    fn one(&mut self, iteration: &Iteration) {
        let key = (iteration.replica, iteration.stage);
        let shape = iteration.shape;
        let stage = self.stages.entry(key).or_default();
        let number = stage.seen;
        let Some(row) = stage.rows.get(number).copied() else {
            if !self.partial {
                self.part(|| {
                    format!(
                        "replica {}, stage {}: iteration {number} at {:.6} s is not in the record",
                        key.0,
                        key.1,
                        iteration.start.as_seconds()
                    )
                });
            }
            return;
        };
        stage.seen += 1;
        self.compared += 1;
        let ours = [shape.sequences, shape.tokens, shape.decodes];
        let theirs = [row.batch_size, row.num_tokens, row.decode_batch_size];
        if ours != theirs {
            self.part(|| {
                format!(
                    "replica {}, stage {}, iteration {number} at {:.6} s holds {} requests, {} tokens, {} decodes; in \
                     the record {}, {}, {}",
                    key.0,
                    key.1,
                    iteration.start.as_seconds(),
                    ours[0],
                    ours[1],
                    ours[2],
                    theirs[0],
                    theirs[1],
                    theirs[2]
                )
            });
            return;
        }
        let time = iteration.time.as_seconds();
        self.iteration
            .see((time - row.stage_time_s).abs() / row.stage_time_s, || {
                format!(
                    "replica {}, stage {}, iteration {number}: {time} s, in the record {} s",
                    key.0, key.1, row.stage_time_s
                )
            });
    }
}

impl Observer for Comparison<'_> {
    const ITERATIONS: bool = true;

    fn request(&mut self, record: &Record) {
        let row = self.rows.row_of(record.id);
        self.ended[row] = true;
        let theirs = &self.rows.requests[row];
        let id = theirs.request_id;
        let (Some(ttft), Some(e2e)) = (theirs.ttft, theirs.e2e) else {
            self.part(|| format!("request {id} ended here, and not in the record"));
            return;
        };
        self.ttft.see((record.ttft() - ttft).abs(), || {
            format!("request {id}: {} s, in the record {ttft} s", record.ttft())
        });
        self.e2e.see((record.e2e() - e2e).abs(), || {
            format!("request {id}: {} s, in the record {e2e} s", record.e2e())
        });
    }

    fn iteration(&mut self, iteration: &Iteration) {
        let mut one = Iteration {
            count: 1,
            ..*iteration
        };
        for step in 0..iteration.count {
            if step > 0 {
                one.start += iteration.time;
                one.shape = one.shape.after(1);
            }
            self.one(&one);
        }
    }
}
