//! A row of `results.csv` by column name, whatever generation wrote it.

use std::time::Duration;

/// A row with its columns in the file's order. Empty means unknown, never zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultRow(Vec<(String, String)>);

impl ResultRow {
    /// A row from its columns and cells.
    pub fn new(cells: Vec<(String, String)>) -> Self {
        Self(cells)
    }

    /// Columns and cells in the file's order.
    pub fn cells(&self) -> &[(String, String)] {
        &self.0
    }

    /// Whether there is such a column, empty or not.
    pub fn has(&self, column: &str) -> bool {
        self.0.iter().any(|(name, _)| name == column)
    }

    /// The trimmed text of a cell; `None` when it is empty or missing.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == column)
            .map(|(_, cell)| cell.trim())
            .filter(|cell| !cell.is_empty())
    }

    /// A cell as a finite number.
    pub fn number(&self, column: &str) -> Option<f64> {
        self.text(column)?.parse().ok().filter(|n: &f64| n.is_finite())
    }

    /// A cell as `TRUE`/`True`/`1`/`yes` or their opposites.
    pub fn flag(&self, column: &str) -> Option<bool> {
        match self.text(column)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        }
    }

    /// A cell as a duration in seconds: `1800`, `1800s`, `30m`, `1h30m`.
    pub fn seconds(&self, column: &str) -> Option<f64> {
        let text = self.text(column)?;
        text.parse()
            .ok()
            .or_else(|| {
                humantime::parse_duration(text)
                    .ok()
                    .as_ref()
                    .map(Duration::as_secs_f64)
            })
            .filter(|s: &f64| s.is_finite() && *s >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_leniently_and_empty_is_unknown() {
        let cells = [
            ("A", " 3072.0 "),
            ("B", ""),
            ("C", "True"),
            ("D", "1h30m"),
            ("E", "45"),
        ];
        let row = ResultRow::new(cells.map(|(n, c)| (n.to_owned(), c.to_owned())).to_vec());
        assert_eq!(row.number("A"), Some(3072.0));
        assert_eq!((row.number("B"), row.has("B"), row.has("Z")), (None, true, false));
        assert_eq!((row.flag("C"), row.flag("A")), (Some(true), None));
        assert_eq!((row.seconds("D"), row.seconds("E")), (Some(5400.0), Some(45.0)));
    }
}
