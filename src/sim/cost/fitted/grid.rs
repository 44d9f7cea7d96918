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
        let (low, high, share, outside) = around(&self.lines, batch, |line| line.0);
        let inner = |line: usize| {
            let points = &self.lines[line].1;
            let (low, high, share, outside) = around(points, length, |point| point.0);
            (points[low].1 + share * (points[high].1 - points[low].1), outside)
        };
        let a = inner(low);
        if share <= 0.0 {
            return (a.0, a.1 || outside);
        }
        let b = inner(high);
        (a.0 + share * (b.0 - a.0), a.1 || b.1)
    }
}

/// The two places around `x`, how far it is on the way from one to the other, and whether it lies outside of all: then
/// both are the edge. There is at least one place.
fn around<T>(places: &[T], x: f64, at: impl Fn(&T) -> f64) -> (usize, usize, f64, bool) {
    let after = places.partition_point(|p| at(p) <= x);
    if after == 0 {
        return (0, 0, 0.0, true);
    }
    let low = after - 1;
    if after == places.len() {
        return (low, low, 0.0, at(&places[low]) < x);
    }
    let (x0, x1) = (at(&places[low]), at(&places[after]));
    (low, after, (x - x0) / (x1 - x0), false)
}
