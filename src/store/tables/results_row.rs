//! Reads `results.csv` of every generation.

use std::path::Path;

use crate::units::{Rate, TokenPair, TokenRange};

use super::columns::latest_name;
use super::output_read::{open, truth};
use super::{Layout, TableError};

/// Which program wrote a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The users' first form, January 2026.
    First,
    /// The form that their README describes.
    Doc,
    /// March 2026.
    New,
    /// The latest of theirs.
    Latest,
    /// This program.
    Mst,
}

impl Generation {
    /// The layout that writes the same columns; the first form has none and counts as the next.
    pub fn layout(self) -> Layout {
        match self {
            Self::First | Self::Doc => Layout::Doc,
            Self::New => Layout::New,
            Self::Latest => Layout::Latest,
            Self::Mst => Layout::Mst,
        }
    }
}

/// One row of `results.csv`: an iteration. An empty cell is unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultsRow {
    /// Which program wrote it, by its columns.
    pub generation: Generation,
    /// The cells with the names that the file has.
    cells: Vec<(String, String)>,
}

/// Columns that hold a number.
const NUMBERS: [&str; 11] = [
    "REQ_MIN",
    "TOTAL_REQUESTS",
    "SUCCESS_RATE",
    "MEDIAN_PROMPT_TOKENS",
    "MEDIAN_RESPONSE_TOKENS",
    "AVG_TOKENS_PER_REQUEST",
    "AVG_TOKENS_PER_RESPONSE",
    "BINARY_SEARCH_DISTANCE",
    "BINARY_SEARCH_RELATIVE_DISTANCE",
    "LARGEST_TRUE",
    "SMALLEST_FALSE",
];
/// Columns that hold a truth value.
const TRUTHS: [&str; 3] = ["EVALUATION", "FINISHED", "ADDITIVE"];

/// Reads all rows of a `results.csv`; there is one an iteration.
///
/// # Errors
/// [`TableError`] with file and line: not UTF-8, cells missing, no `REQ_MIN`, or a cell that is not what its column holds.
pub fn read_results_csv(path: &Path) -> Result<Vec<ResultsRow>, TableError> {
    let mut reader = open(path)?;
    let header = reader.headers().map_err(|e| TableError::csv(path, e))?.clone();
    let names: Vec<&str> = header.iter().map(str::trim).collect();
    if !names.contains(&"REQ_MIN") {
        return Err(TableError::MissingColumn {
            path: path.to_owned(),
            column: "REQ_MIN",
            found: names.join(", "),
        });
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| TableError::csv(path, e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = ResultsRow::new(names.iter().copied().zip(&record));
        row.check(path, line)?;
        rows.push(row);
    }
    Ok(rows)
}

impl ResultsRow {
    /// A row from names and cells in order.
    pub fn new<'a>(cells: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let cells: Vec<(String, String)> = cells
            .into_iter()
            .map(|(n, c)| (n.to_owned(), c.trim().to_owned()))
            .collect();
        let has = |name: &str| cells.iter().any(|(n, _)| n == name);
        let generation = if has("TRIAL_ID") {
            Generation::Mst
        } else if has("EXPERIMENT_TYPE") {
            Generation::Latest
        } else if has("MIN_INPUT_TOKENS") {
            Generation::New
        } else if has("MODEL") {
            Generation::First
        } else {
            Generation::Doc
        };
        Self { generation, cells }
    }

    /// Names and cells as they are in the file.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cells.iter().map(|(n, c)| (n.as_str(), c.as_str()))
    }

    /// A cell by the latest or the file's own name of its column; `None` when it is empty or not there.
    pub fn text(&self, column: &str) -> Option<&str> {
        let wanted = latest_name(column);
        let cell = self.cells.iter().find(|(name, _)| latest_name(name) == wanted)?;
        (!cell.1.is_empty()).then_some(cell.1.as_str())
    }

    /// A cell as a number.
    pub fn number(&self, column: &str) -> Option<f64> {
        self.text(column)?.parse().ok().filter(|n: &f64| n.is_finite())
    }

    /// A cell as a truth value.
    pub fn flag(&self, column: &str) -> Option<bool> {
        truth(self.text(column)?)
    }

    /// The rate asked for.
    pub fn rate(&self) -> Option<Rate> {
        self.number("REQ_MIN").map(Rate::per_minute)
    }

    /// The verdict; `None` where there is none or the program was unsure.
    pub fn evaluation(&self) -> Option<bool> {
        self.flag("EVALUATION")
    }

    /// Whether this row carries the answer of a search; only the latest form and ours say so.
    pub fn finished(&self) -> Option<bool> {
        self.flag("FINISHED")
    }

    /// The duration asked for, in seconds: `1800s`, `30m`, `1h30m` or a plain number of seconds.
    pub fn duration_s(&self) -> Option<f64> {
        seconds(self.text("DURATION")?)
    }

    /// The token pair; `None` for mixes, and where the row does not say.
    pub fn pair(&self) -> Option<TokenPair> {
        let bounds = |min: &str, max: &str| {
            let min = self.text(min)?.parse().ok()?;
            Some(TokenRange {
                min,
                max: self.text(max)?.parse().ok()?,
            })
        };
        let side = |name: &str| range(self.text(name)?);
        Some(TokenPair {
            input: bounds("MIN_INPUT_TOKENS", "MAX_INPUT_TOKENS").or_else(|| side("INPUT_TOKENS"))?,
            output: bounds("MIN_OUTPUT_TOKENS", "MAX_OUTPUT_TOKENS").or_else(|| side("OUTPUT_TOKENS"))?,
        })
    }

    fn check(&self, path: &Path, line: u64) -> Result<(), TableError> {
        for (name, value) in self.cells() {
            let latest = latest_name(name);
            let wrong = |expected| TableError::Cell {
                path: path.to_owned(),
                line,
                column: name.to_owned(),
                value: value.to_owned(),
                expected,
            };
            if value.is_empty() {
                continue;
            }
            if NUMBERS.contains(&latest) && value.parse::<f64>().is_err() {
                return Err(wrong("a number"));
            }
            if TRUTHS.contains(&latest) && truth(value).is_none() {
                return Err(wrong("TRUE or FALSE"));
            }
        }
        Ok(())
    }
}

/// `16` or `100-200`.
pub(crate) fn range(text: &str) -> Option<TokenRange> {
    let (min, max) = match text.split_once('-') {
        Some((min, max)) => (min.trim().parse().ok()?, max.trim().parse().ok()?),
        None => {
            let length = text.trim().parse().ok()?;
            (length, length)
        }
    };
    (min <= max).then_some(TokenRange { min, max })
}

/// A duration in the older grammar, in seconds.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.parse::<f64>().ok();
    let seconds = plain.or_else(|| Some(humantime::parse_duration(text).ok()?.as_secs_f64()))?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}
