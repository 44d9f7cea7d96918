//! Input by output: the cells of a campaign's heat map.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{ComparedPair, Comparison, Spread};
use super::pair::PairName;
use super::summary::PairSummary;
use crate::search::Status;
use crate::units::{Plain, TokenPair, TokenRange};

/// Ratio of the largest to the smallest value from which colours follow the logarithm.
const WIDE: f64 = 10.0;

/// Which number a cell shows when several runs answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// Mean of all runs.
    #[default]
    Mean,
    /// Mean of the runs that are not flagged.
    Clean,
    /// Smallest.
    Min,
    /// Largest.
    Max,
}

impl Pick {
    fn of(self, row: &ComparedPair) -> Option<f64> {
        let from = |spread: Option<Spread>, get: fn(Spread) -> f64| spread.map(get);
        match self {
            Self::Mean => from(row.all, |s| s.mean),
            Self::Clean => from(row.clean, |s| s.mean),
            Self::Min => from(row.all, |s| s.min),
            Self::Max => from(row.all, |s| s.max),
        }
    }

    /// What a title says of it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Clean => "mean without outliers",
            Self::Min => "smallest",
            Self::Max => "largest",
        }
    }
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Requests per minute.
    pub value: f64,
    /// Whether both ends of every answer behind it are decided.
    pub firm: bool,
}

impl Cell {
    /// A whole number (one decimal below ten), marked `*` where it is not firm.
    pub fn label(&self) -> String {
        let number = if self.value < 10.0 {
            (10.0 * self.value).round() / 10.0
        } else {
            self.value.round()
        };
        format!("{}{}", Plain(number), if self.firm { "" } else { "*" })
    }
}

/// Cells by input and output range.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Input ranges, ascending by their bounds: the rows, smallest at the bottom.
    pub inputs: Vec<TokenRange>,
    /// Output ranges, ascending by their bounds: the columns.
    pub outputs: Vec<TokenRange>,
    /// The cells that have an answer.
    pub cells: BTreeMap<TokenPair, Cell>,
    /// What has no place in the map, with its answer.
    pub beside: Vec<(PairName, Option<f64>)>,
}

impl Grid {
    /// The map of the experiments of one kind (`MST` or `MIT`).
    pub fn new(summaries: &[PairSummary], comparison: &Comparison, kind: &str, pick: Pick) -> Self {
        let mut cells = BTreeMap::new();
        let mut beside = Vec::new();
        let (mut inputs, mut outputs) = (BTreeSet::new(), BTreeSet::new());
        for row in comparison.rows.iter().filter(|row| row.kind == kind) {
            let value = pick.of(row);
            let Some(pair) = row.pair.pair() else {
                beside.push((row.pair.clone(), value));
                continue;
            };
            inputs.insert(pair.input);
            outputs.insert(pair.output);
            if let Some(value) = value {
                let firm = summaries
                    .iter()
                    .filter(|s| s.key.pair == row.pair && s.key.kind == kind && s.sustained().is_some())
                    .all(|s| s.status == Status::Bracketed);
                cells.insert(pair, Cell { value, firm });
            }
        }
        Self {
            inputs: inputs.into_iter().collect(),
            outputs: outputs.into_iter().collect(),
            cells,
            beside,
        }
    }

    /// Whether there is something to compare: two answers at least.
    pub fn is_map(&self) -> bool {
        self.cells.len() > 1
    }

    /// The cell of an input and an output range.
    pub fn cell(&self, input: TokenRange, output: TokenRange) -> Option<Cell> {
        self.cells.get(&TokenPair { input, output }).copied()
    }

    /// A line for each experiment that has no place in the map.
    pub fn lines_beside(&self) -> Vec<String> {
        self.beside
            .iter()
            .map(|(name, value)| {
                let value = value.map_or("no answer".to_owned(), |v| {
                    format!("{} req/min", Plain(v.round()))
                });
                format!("{name}: {value}")
            })
            .collect()
    }

    /// Whether any cell is marked.
    pub fn has_marks(&self) -> bool {
        self.cells.values().any(|c| !c.firm)
    }

    /// The colour scale of its values.
    pub fn scale(&self) -> Scale {
        let all: Vec<f64> = self.cells.values().map(|c| c.value).collect();
        let (low, high) = Spread::of(&all).map_or((0.0, 0.0), |s| (s.min, s.max));
        Scale {
            low,
            high,
            logarithmic: low > 0.0 && high / low >= WIDE,
        }
    }
}

/// From a value to a place between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Whether equal ratios, rather than equal differences, look equally far apart.
    pub logarithmic: bool,
}

impl Scale {
    /// The place of a value; one half where all are equal.
    pub fn place(&self, value: f64) -> f64 {
        if self.high <= self.low {
            return 0.5;
        }
        let at = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        at.clamp(0.0, 1.0)
    }

    /// The value at a place.
    pub fn value(&self, place: f64) -> f64 {
        if self.logarithmic {
            self.low * (self.high / self.low).powf(place)
        } else {
            self.low + (self.high - self.low) * place
        }
    }
}

/// Dark blue over green to yellow, even in lightness, so that it also reads in grey and by colour-blind eyes (the
/// scale known as viridis, at eight of its points).
const COLOURS: [(u8, u8, u8); 8] = [
    (68, 1, 84),
    (70, 50, 126),
    (54, 92, 141),
    (39, 127, 142),
    (31, 161, 135),
    (74, 193, 109),
    (160, 218, 57),
    (253, 231, 37),
];

/// The colour at a place between 0 and 1.
pub fn colour(place: f64) -> (u8, u8, u8) {
    let at = place.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let below = (at.floor() as usize).min(COLOURS.len() - 2);
    let share = at - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    let (a, b) = (COLOURS[below], COLOURS[below + 1]);
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Whether black text reads better on a colour than white (relative luminance of ITU-R BT.709).
pub fn wants_black((r, g, b): (u8, u8, u8)) -> bool {
    0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b) > 118.0
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::summary::summarise;
    use super::super::testing::trial;
    use super::*;
    use crate::criterion::Ruling;

    #[test]
    fn ranges_are_sorted_and_gaps_stay_empty() {
        let found = [
            ("300-600_1-100", 50.0),
            ("1-100_100-300", 200.0),
            ("1-100_1-100", 900.0),
            ("1000-1500_1-100", 7.46),
            ("mix_a", 70.0),
        ]
        .map(|(name, rate)| {
            let mut found = trial(rate, Ruling::Sustainable);
            found.pair = PairName::from_folder(name).unwrap();
            found
        });
        let mut broken = trial(2000.0, Ruling::Unsustainable);
        broken.pair = found[2].pair.clone();
        let mut all = found.to_vec();
        all.push(broken);
        let summaries = summarise(all, &BTreeMap::new());
        let grid = Grid::new(&summaries, &compare(&summaries), "MST", Pick::Mean);
        let names = |ranges: &[TokenRange]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&grid.inputs), ["1-100", "300-600", "1000-1500"]);
        assert_eq!(names(&grid.outputs), ["1-100", "100-300"]);
        assert_eq!(grid.cell(grid.inputs[1], grid.outputs[1]), None);
        let label = |i: usize| grid.cell(grid.inputs[i], grid.outputs[0]).unwrap().label();
        assert_eq!(
            (label(0), label(1), label(2)),
            ("900".into(), "50*".into(), "7.5*".into())
        );
        assert_eq!(grid.beside.len(), 1);
        assert!(grid.scale().logarithmic);
        assert!(
            Grid::new(&summaries, &compare(&summaries), "MIT", Pick::Mean)
                .cells
                .is_empty()
        );
    }

    #[test]
    fn scales_span_their_values() {
        for logarithmic in [false, true] {
            let scale = Scale {
                low: 10.0,
                high: 1000.0,
                logarithmic,
            };
            assert!((scale.place(10.0), scale.place(1000.0)) == (0.0, 1.0));
            assert!((scale.value(scale.place(77.0)) - 77.0).abs() < 1e-9);
        }
        assert!(
            (Scale {
                low: 5.0,
                high: 5.0,
                logarithmic: false
            }
            .place(5.0)
                - 0.5)
                .abs()
                < 1e-12
        );
        assert_eq!((colour(0.0), colour(1.0)), (COLOURS[0], COLOURS[7]));
        assert!(wants_black(colour(1.0)) && !wants_black(colour(0.0)));
    }
}
