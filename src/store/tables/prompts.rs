//! `prompts.csv`: which prompts were sent, and how often.

use std::io::Write;
use std::path::Path;

use super::TableError;
use super::error::line_of;
use super::output_read::open;
use crate::workload::prompts::PromptUse;

/// The text with line ends turned into blanks.
pub(super) fn one_line(prompt: &PromptUse) -> String {
    prompt.text.replace("\r\n", " ").replace(['\n', '\r'], " ")
}

/// Writes the table, CRLF, in the order given.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_prompts<'a>(
    out: impl Write,
    prompts: impl IntoIterator<Item = &'a PromptUse>,
) -> csv::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(["PROMPT_TEXT", "PROMPT_TOKEN_COUNT", "OCCURRENCES"])?;
    for prompt in prompts {
        let (tokens, times) = (prompt.tokens.to_string(), prompt.occurrences.to_string());
        writer.write_record([one_line(prompt).as_str(), &tokens, &times])?;
    }
    writer.flush()?;
    Ok(())
}

/// Reads a `prompts.csv`.
///
/// # Errors
/// [`TableError`] with file and line: not UTF-8, cells missing, or a count that is none.
pub fn read_prompts(path: &Path) -> Result<Vec<PromptUse>, TableError> {
    let mut reader = open(path)?;
    let header = reader.headers().map_err(|e| TableError::csv(path, e))?.clone();
    let place = |column: &'static str| {
        header
            .iter()
            .position(|h| h == column)
            .ok_or_else(|| TableError::MissingColumn {
                path: path.to_owned(),
                column,
                found: header.iter().collect::<Vec<_>>().join(", "),
            })
    };
    let columns = [
        place("PROMPT_TEXT")?,
        place("PROMPT_TOKEN_COUNT")?,
        place("OCCURRENCES")?,
    ];
    let mut prompts = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| TableError::csv(path, e))?;
        let count = |column: usize| {
            record[column]
                .trim()
                .parse::<u64>()
                .map_err(|_| TableError::Cell {
                    path: path.to_owned(),
                    line: line_of(path, record.position()),
                    column: header[column].to_owned(),
                    value: record[column].to_owned(),
                    expected: "a whole number",
                })
        };
        prompts.push(PromptUse {
            text: record[columns[0]].to_owned(),
            tokens: u32::try_from(count(columns[1])?).unwrap_or(u32::MAX),
            occurrences: count(columns[2])?,
        });
    }
    Ok(prompts)
}
