//! Files that are read, opened by somebody else.

use std::io::Read;

use super::CostError;

/// A file: its name for messages, and its content, unpacked.
pub struct Input<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// Its content.
    pub reader: Box<dyn Read + 'a>,
}

impl<'a> Input<'a> {
    /// A file of that name.
    pub fn new(name: &'a str, reader: impl Read + 'a) -> Self {
        Self {
            name,
            reader: Box::new(reader),
        }
    }

    /// All of it, as text.
    pub(super) fn text(mut self) -> Result<String, CostError> {
        let mut text = String::new();
        let read = self.reader.read_to_string(&mut text);
        read.map_err(|error| CostError::file(self.name, format!("cannot be read: {error}")))?;
        Ok(text)
    }
}

/// A CSV file, row by row. Columns are found by their names; a cell is a number or empty.
pub(super) struct Rows<'a> {
    file: &'a str,
    reader: csv::Reader<Box<dyn Read + 'a>>,
    columns: Vec<String>,
    record: csv::StringRecord,
}

impl<'a> Rows<'a> {
    pub(super) fn open(input: Input<'a>) -> Result<Self, CostError> {
        let file = input.name;
        let mut reader = csv::Reader::from_reader(input.reader);
        let header = reader
            .headers()
            .map_err(|e| CostError::file(file, e.to_string()))?;
        let columns: Vec<String> = header.iter().map(|c| c.trim().to_owned()).collect();
        if columns.iter().all(String::is_empty) {
            return Err(CostError::file(file, "is empty; a header and rows are needed"));
        }
        Ok(Self {
            file,
            reader,
            columns,
            record: csv::StringRecord::new(),
        })
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    pub(super) fn column(&self, name: &str) -> Result<usize, CostError> {
        self.find(name)
            .ok_or_else(|| CostError::line(self.file, 1, format!("column `{name}` is missing")))
    }

    /// Goes to the next row; false after the last.
    pub(super) fn next(&mut self) -> Result<bool, CostError> {
        self.reader.read_record(&mut self.record).map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            CostError::line(self.file, line, format!("{:?}", error.kind()))
        })
    }

    pub(super) fn cell(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default().trim()
    }

    /// A count.
    pub(super) fn count(&self, column: usize) -> Result<u64, CostError> {
        let value = self.time(column)?.unwrap_or(f64::NAN);
        if value.fract() == 0.0 {
            Ok(value as u64)
        } else {
            Err(self.wrong(column, "a whole number"))
        }
    }

    /// A time: finite and not negative. `None` where the cell is empty: not measured.
    pub(super) fn time(&self, column: usize) -> Result<Option<f64>, CostError> {
        if self.cell(column).is_empty() {
            return Ok(None);
        }
        match self.cell(column).parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(Some(value)),
            _ => Err(self.wrong(column, "a number of 0 or more")),
        }
    }

    /// A time that has to be there.
    pub(super) fn value(&self, column: usize) -> Result<f64, CostError> {
        self.time(column)?
            .ok_or_else(|| self.wrong(column, "a number of 0 or more"))
    }

    /// An error of this row.
    pub(super) fn wrong(&self, column: usize, wanted: &str) -> CostError {
        let (name, cell) = (&self.columns[column], self.cell(column));
        self.error(format!(
            "{name} is `{cell}`, not {wanted}; remove or measure the row again"
        ))
    }

    pub(super) fn error(&self, what: String) -> CostError {
        let line = self.record.position().map_or(0, csv::Position::line);
        CostError::line(self.file, line, what)
    }
}
