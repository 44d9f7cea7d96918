//! One table over a whole archive: where each row comes from, then every column that any file has.

use crate::store::tables::ResultsRow;

/// The columns that say where a row comes from.
const OWN: [&str; 2] = ["IDENTIFIER", "DATE"];

/// A row of `results.csv` and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// The folder of the pair, below the archive's root.
    pub identifier: String,
    /// The folder of the trial: its time.
    pub date: String,
    /// The row.
    pub row: ResultsRow,
}

/// Header and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedTable {
    /// IDENTIFIER, DATE, then the union of all columns in the order in which they are first seen.
    pub header: Vec<String>,
    /// One line a row; empty where a file has no such column.
    pub rows: Vec<Vec<String>>,
}

/// Merges rows in the order given.
pub fn merge(sources: &[SourceRow]) -> MergedTable {
    let mut header: Vec<String> = OWN.map(ToOwned::to_owned).to_vec();
    for source in sources {
        for (column, _) in source.row.cells() {
            if !header.iter().any(|h| h == column) {
                header.push(column.to_owned());
            }
        }
    }
    let rows = sources
        .iter()
        .map(|source| {
            let mut line = vec![String::new(); header.len()];
            for (column, cell) in source.row.cells() {
                let at = header
                    .iter()
                    .position(|h| h == column)
                    .expect("every column is in the header");
                cell.clone_into(&mut line[at]);
            }
            line[0].clone_from(&source.identifier);
            line[1].clone_from(&source.date);
            line
        })
        .collect();
    MergedTable { header, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_united_in_first_seen_order() {
        let source = |date: &str, cells: &[(&str, &str)]| SourceRow {
            identifier: "16_16".into(),
            date: date.into(),
            row: ResultsRow::new(cells.iter().copied()),
        };
        let merged = merge(&[
            source("d1", &[("MODEL", "m"), ("REQ_MIN", "1")]),
            source("d2", &[("REQ_MIN", "2"), ("STAGE", "1"), ("MODEL", "n")]),
        ]);
        assert_eq!(merged.header, ["IDENTIFIER", "DATE", "MODEL", "REQ_MIN", "STAGE"]);
        assert_eq!(merged.rows[0], ["16_16", "d1", "m", "1", ""]);
        assert_eq!(merged.rows[1], ["16_16", "d2", "n", "2", "1"]);
        assert_eq!(merge(&[]).header, ["IDENTIFIER", "DATE"]);
    }
}
