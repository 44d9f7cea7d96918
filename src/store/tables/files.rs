//! Puts the users' files into a folder: each by rename, and only where its content changes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::search::Bracket;

use super::iteration::{Iteration, row, upper};
use super::output_csv::{Part, write_requests};
use super::prompts::write_prompts;
use super::requests::RequestTable;
use super::results_row::{ResultsRow, read_results_csv};
use super::{Layout, TableError};
use crate::workload::prompts::PromptUse;

/// Everything that the users' files of an iteration are made of.
#[derive(Clone, Copy, Debug)]
pub struct UserFiles<'a> {
    /// Names and columns.
    pub layout: Layout,
    /// What is known beside the requests.
    pub iteration: &'a Iteration,
    /// The finished requests.
    pub table: &'a RequestTable,
    /// What the halves cut at both ends, whole seconds; `None` leaves halves alone.
    pub filter_buffer_s: Option<i64>,
    /// For `prompts.csv`, which is not written without any.
    pub prompts: &'a [PromptUse],
    /// An earlier row whose facts are kept where the events do not tell better.
    pub existing: Option<&'a ResultsRow>,
}

/// Writes `output.csv`, `first_half.csv`, `second_half.csv`, `results.csv` and `prompts.csv` into `dir`, and returns the
/// names of those that changed. A file that would not change is not touched.
///
/// # Errors
/// When `dir` cannot be written.
pub fn write_user_files(dir: &Path, files: &UserFiles<'_>) -> io::Result<Vec<&'static str>> {
    let mut changed = Vec::new();
    let mut part = |name, part, buffer| -> io::Result<()> {
        let write = |out: &mut dyn Write| {
            write_requests(out, files.layout, part, files.table, buffer).map_err(io::Error::other)
        };
        if put(dir, name, write)? {
            changed.push(name);
        }
        Ok(())
    };
    part("output.csv", Part::Output, 0)?;
    if let Some(buffer) = files.filter_buffer_s {
        part("first_half.csv", Part::First, buffer)?;
        part("second_half.csv", Part::Second, buffer)?;
    }
    let cells = row(
        files.layout,
        files.iteration,
        files.table,
        files.prompts,
        files.existing,
    );
    if put(dir, "results.csv", |out| write_row(out, &cells))? {
        changed.push("results.csv");
    }
    let prompts = |out: &mut dyn Write| write_prompts(out, files.prompts).map_err(io::Error::other);
    if !files.prompts.is_empty() && put(dir, "prompts.csv", prompts)? {
        changed.push("prompts.csv");
    }
    Ok(changed)
}

/// Writes `results_from_json.csv`: the latest columns of `output.csv`, whatever the layout. Returns whether it changed.
///
/// # Errors
/// When `dir` cannot be written.
pub fn write_results_from_json(dir: &Path, table: &RequestTable) -> io::Result<bool> {
    put(dir, "results_from_json.csv", |out| {
        write_requests(out, Layout::Latest, Part::Output, table, 0).map_err(io::Error::other)
    })
}

/// How a search ended, for the row that carries its answer.
#[derive(Clone, Debug, Default)]
pub struct Finish<'a> {
    /// The older format's code of the reason; empty for the usual end.
    pub termination_reason: &'a str,
    /// The last bracket.
    pub bracket: Bracket,
}

/// Marks the row of `results.csv` in `dir` as the one that carries the answer. A form without the column is left as it
/// is.
///
/// # Errors
/// When the file is missing, cannot be read, or cannot be replaced.
pub fn mark_finished(dir: &Path, finish: &Finish<'_>) -> Result<(), TableError> {
    let path = dir.join("results.csv");
    let rows = read_results_csv(&path)?;
    let iteration = Iteration {
        termination_reason: Some(finish.termination_reason.to_owned()),
        bracket: finish.bracket,
        ..Iteration::default()
    };
    let told = row(Layout::Latest, &iteration, &RequestTable::default(), &[], None);
    let news = [
        "TERMINATION_REASON",
        "BINARY_SEARCH_DISTANCE",
        "BINARY_SEARCH_RELATIVE_DISTANCE",
        "LARGEST_TRUE",
        "SMALLEST_FALSE",
    ];
    if let Some(known) = rows.last() {
        let mut cells: Vec<(String, String)> =
            known.cells().map(|(n, c)| (n.to_owned(), c.to_owned())).collect();
        for (name, cell) in &mut cells {
            let new = told
                .iter()
                .find(|(n, c)| n == name && news.contains(&n.as_str()) && !c.is_empty());
            match new {
                _ if name == "FINISHED" => *cell = upper(true),
                Some((_, new)) => cell.clone_from(new),
                None => {}
            }
        }
        put(dir, "results.csv", |out| write_row(out, &cells)).map_err(|e| TableError::io(&path, e))?;
    }
    Ok(())
}

/// Takes the mark of [`mark_finished`] away: an earlier search ended here, and a later one went on. Files without a mark
/// are not touched.
///
/// # Errors
/// When the file is missing, cannot be read, or cannot be replaced.
pub fn clear_finished(dir: &Path) -> Result<(), TableError> {
    let path = dir.join("results.csv");
    let rows = read_results_csv(&path)?;
    let Some(known) = rows.last().filter(|row| row.finished() == Some(true)) else {
        return Ok(());
    };
    let cells: Vec<(String, String)> = known
        .cells()
        .map(|(name, cell)| {
            let cell = match name {
                "FINISHED" => upper(false),
                "TERMINATION_REASON" => String::new(),
                _ => cell.to_owned(),
            };
            (name.to_owned(), cell)
        })
        .collect();
    put(dir, "results.csv", |out| write_row(out, &cells)).map_err(|e| TableError::io(&path, e))?;
    Ok(())
}

/// One row under its header, CRLF.
fn write_row(out: &mut dyn Write, cells: &[(String, String)]) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer
        .write_record(cells.iter().map(|(name, _)| name))
        .map_err(io::Error::other)?;
    writer
        .write_record(cells.iter().map(|(_, cell)| cell))
        .map_err(io::Error::other)?;
    writer.flush()
}

/// Writes `dir/name` through a temporary file beside it. The file is replaced only when its content changes, which is
/// what the result says.
///
/// # Errors
/// When `dir` cannot be written or `write` fails; the old file is then still there.
pub fn put(dir: &Path, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<bool> {
    let path = dir.join(name);
    let temporary = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let result = (|| {
        let mut out = BufWriter::with_capacity(1 << 16, fs_err::File::create(&temporary)?);
        write(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if same_content(&temporary, &path)? {
            fs_err::remove_file(&temporary)?;
            return Ok(false);
        }
        file.sync_all()?;
        fs_err::rename(&temporary, &path)?;
        Ok(true)
    })();
    if result.is_err() {
        // The first error is the one to tell; what is left behind is a hidden file.
        let _ = fs_err::remove_file(&temporary);
    }
    result
}

/// Whether two files have the same bytes; a missing second file is different.
fn same_content(first: &Path, second: &Path) -> io::Result<bool> {
    let (first, second) = match (File::open(first), File::open(second)) {
        (Ok(first), Ok(second)) => (first, second),
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    if first.metadata()?.len() != second.metadata()?.len() {
        return Ok(false);
    }
    let mut others = BufReader::with_capacity(1 << 16, second);
    let mut chunk = vec![0; 1 << 16];
    let mut other = vec![0; 1 << 16];
    let mut first = first;
    loop {
        let count = first.read(&mut chunk)?;
        if count == 0 {
            return Ok(true);
        }
        others.read_exact(&mut other[..count])?;
        if chunk[..count] != other[..count] {
            return Ok(false);
        }
    }
}
