//! The files that a report writes: CSV tables and the SVG heat map.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::scan::Scan;
use super::{Args, Map};
use crate::cli::exit::Failure;
use crate::report::compare::Comparison;
use crate::report::merge::{MergedTable, SourceRow, merge};
use crate::report::summary::PairSummary;
use crate::report::{csv_tables, svg};

/// Writes the files that were asked for, and says so on stderr.
///
/// # Errors
/// When a file cannot be written, or there is nothing to draw.
pub(super) fn write(
    args: &Args,
    found: &Scan,
    summaries: &[PairSummary],
    comparison: &Comparison,
    maps: &[Map],
) -> Result<(), Failure> {
    if let Some(path) = &args.csv {
        write_csv(path, &csv_tables::pairs(summaries, comparison))?;
    }
    if let Some(path) = &args.compare_csv {
        write_csv(path, &csv_tables::runs(comparison))?;
    }
    if let Some(path) = &args.merge {
        let rows: Vec<SourceRow> = found
            .rows
            .iter()
            .filter(|(pair, _)| args.mixes || !pair.is_mix())
            .map(|(_, row)| row.clone())
            .collect();
        write_csv(path, &merge(&rows))?;
        let left_out = found.rows.len() - rows.len();
        if left_out > 0 {
            eprintln!("{left_out} rows of mixes left out; --mixes takes them in");
        }
    }
    if let Some(path) = &args.svg {
        let drawn: Vec<_> = maps
            .iter()
            .filter(|(_, _, grid)| !grid.cells.is_empty())
            .collect();
        if drawn.is_empty() {
            return Err(Failure::input(anyhow!(
                "there is no token pair with an answer, so {} was not written",
                path.display()
            )));
        }
        for (at, (title, subtitle, grid)) in drawn.iter().enumerate() {
            let path = numbered(path, at);
            let text = svg::render(grid, title, subtitle).map_err(|why| anyhow!(why))?;
            fs_err::write(&path, text)?;
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// `map.svg`, then `map-2.svg`.
fn numbered(path: &Path, at: usize) -> PathBuf {
    if at == 0 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path
        .extension()
        .map_or(String::new(), |e| format!(".{}", e.to_string_lossy()));
    path.with_file_name(format!("{stem}-{}{end}", at + 1))
}

fn write_csv(path: &Path, table: &MergedTable) -> Result<(), Failure> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(fs_err::File::create(path)?);
    writer
        .write_record(&table.header)
        .and_then(|()| table.rows.iter().try_for_each(|row| writer.write_record(row)))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    writer.flush()?;
    eprintln!("wrote {} ({} rows)", path.display(), table.rows.len());
    Ok(())
}
