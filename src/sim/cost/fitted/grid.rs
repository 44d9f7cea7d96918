//! Ratios over batch size and length.

use std::collections::BTreeMap;

/// Ratios of measured times to the roofline's: a line over lengths for each batch size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RatioGrid {
    lines: Vec<(f64, Vec<(f64, f64)>)>,
}

impl RatioGrid {
    /// From (batch size, length, ratio); several of one place count with their mean. `None` when there are none.
    pub(super) fn new(ratios: impl Iterator<Item = (u32, u32, f64)>) -> Option<Self> {
        let mut lines: BTreeMap<u32, BTreeMap<u32, (f64, f64)>> = BTreeMap::new();
        for (batch, length, ratio) in ratios {
            let (sum, n) = lines.entry(batch).or_default().entry(length).or_default();
            *sum += ratio;
            *n += 1.0;
        }
        let line = |points: BTreeMap<u32, (f64, f64)>| {
            points
                .into_iter()
                .map(|(length, (sum, n))| (f64::from(length), sum / n))
                .collect()
        };
        let lines: Vec<_> = lines
            .into_iter()
            .map(|(batch, points)| (f64::from(batch), line(points)))
            .collect();
        (!lines.is_empty()).then_some(Self { lines })
    }

    /// The largest measured batch.
    pub(super) fn batches(&self) -> u32 {
        self.lines.last().map_or(0, |line| line.0 as u32)
    }

    /// The ratio, and whether no measurement lies around the place.
    pub(super) fn at(&self, batch: u32, length: f64) -> (f64, bool) {
        let batch = f64::from(batch);
        let after = self.lines.partition_point(|l| l.0 < batch);
        let inner = |line: &(f64, Vec<(f64, f64)>)| interpolate(&line.1, length);
        match (
            after.checked_sub(1).and_then(|i| self.lines.get(i)),
            self.lines.get(after),
        ) {
            (_, Some(line)) if line.0 == batch => inner(line),
            (Some(low), Some(high)) => {
                let share = (batch - low.0) / (high.0 - low.0);
                let (a, b) = (inner(low), inner(high));
                (a.0 + share * (b.0 - a.0), a.1 || b.1)
            }
            (Some(edge), None) | (None, Some(edge)) => (inner(edge).0, true),
            (None, None) => (1.0, true),
        }
    }
}

fn interpolate(points: &[(f64, f64)], x: f64) -> (f64, bool) {
    let after = points.partition_point(|p| p.0 < x);
    match (
        after.checked_sub(1).and_then(|i| points.get(i)),
        points.get(after),
    ) {
        (_, Some((at, ratio))) if *at == x => (*ratio, false),
        (Some((x0, r0)), Some((x1, r1))) => (r0 + (x - x0) / (x1 - x0) * (r1 - r0), false),
        (Some((_, ratio)), None) | (None, Some((_, ratio))) => (*ratio, true),
        (None, None) => (1.0, true),
    }
}
