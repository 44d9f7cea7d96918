//! `requests.jsonl.zst`: every request of a trial with every token time, one JSON object a line behind a header line,
//! compressed as a stream. `zstdcat requests.jsonl.zst | jq` reads it.
//!
//! Rows are in order of completion. The stream is flushed at intervals, so that a file that was cut off is readable up to
//! shortly before the cut.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::trial::RawRow;

/// Name of the file in a trial's folder.
pub const FILE_NAME: &str = "requests.jsonl.zst";
/// Version of the format.
pub const SCHEMA: u32 = 1;
/// Uncompressed bytes after which the stream is flushed on its own account.
const FLUSH_BYTES: usize = 256 * 1024;
/// Costs some 6 ms of CPU for a thousand requests of 32 tokens; the levels above gain little.
const LEVEL: i32 = 6;

/// The first line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the program that wrote it.
    pub mst_version: String,
    /// Seed of arrivals, lengths and prompts.
    pub seed: u64,
    /// Wall-clock time of the start, nanoseconds since 1970 (UTC): row times count from here.
    pub epoch_ns: i64,
    /// Requests that were planned.
    pub planned: u64,
    /// Whether token times are the kernel's receive stamps.
    pub kernel_timestamps: bool,
}

/// Writes a file of rows.
pub struct RowWriter {
    encoder: zstd::Encoder<'static, BufWriter<File>>,
    line: Vec<u8>,
    unflushed: usize,
}

impl RowWriter {
    /// Creates the file, replacing one that is there, and writes the header.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let file = fs_err::File::create(path)?.into_file();
        let mut writer = Self {
            encoder: zstd::Encoder::new(BufWriter::new(file), LEVEL)?,
            line: Vec::new(),
            unflushed: 0,
        };
        writer.line(header)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// When the file cannot be written, for example because the disk is full.
    pub fn write(&mut self, row: &RawRow) -> io::Result<()> {
        self.line(row)?;
        if self.unflushed >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.unflushed += self.line.len();
        self.encoder.write_all(&self.line)
    }

    /// Makes everything written so far readable by others. Costs some compression: not after every row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.unflushed = 0;
        self.encoder.flush()
    }

    /// Ends the stream and waits until the file is on disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> io::Result<()> {
        let file = self
            .encoder
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}

/// What is wrong with a file of rows.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It cannot be opened or read.
    #[error("failed to read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ends in the middle: the trial was killed, or the copy is not whole.
    #[error("{} is cut off after line {line}: the trial did not end; measure it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The last whole line.
        line: u64,
    },
    /// A line is not what it should be.
    #[error("{}, line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// Reads a file of rows one by one; after an error there is nothing more.
pub struct RowReader {
    path: PathBuf,
    lines: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    header: Header,
    buffer: String,
    line: u64,
    ended: bool,
}

impl RowReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When it cannot be opened, is not compressed rows, or was written by a later version.
    pub fn open(path: &Path) -> Result<Self, RowError> {
        let io_error = |source| RowError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io_error)?;
        let decoder = zstd::Decoder::new(file).map_err(io_error)?;
        let mut reader = Self {
            path: path.to_owned(),
            lines: BufReader::with_capacity(64 * 1024, decoder),
            header: Header::default(),
            buffer: String::new(),
            line: 0,
            ended: false,
        };
        if !reader.next_line()? {
            return Err(reader.truncated());
        }
        reader.header =
            serde_json::from_str(&reader.buffer).map_err(|e| reader.bad_line(format!("no header: {e}")))?;
        if reader.header.schema > SCHEMA {
            let why = format!("format {} is newer than this program", reader.header.schema);
            return Err(reader.bad_line(why));
        }
        Ok(reader)
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn truncated(&self) -> RowError {
        RowError::Truncated {
            path: self.path.clone(),
            line: self.line,
        }
    }

    fn bad_line(&self, why: String) -> RowError {
        RowError::Line {
            path: self.path.clone(),
            line: self.line,
            why,
        }
    }

    /// Reads the next line into the buffer; `false` at the end.
    fn next_line(&mut self) -> Result<bool, RowError> {
        self.buffer.clear();
        match self.lines.read_line(&mut self.buffer) {
            Ok(0) => Ok(false),
            // A line without its end is one that was being written.
            Ok(_) if !self.buffer.ends_with('\n') => Err(self.truncated()),
            Ok(_) => {
                self.line += 1;
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                self.line += 1;
                Err(self.bad_line("it is not UTF-8 text".to_owned()))
            }
            Err(source) => Err(RowError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

impl Iterator for RowReader {
    type Item = Result<RawRow, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = match self.next_line() {
            Ok(false) => None,
            Ok(true) => Some(serde_json::from_str(&self.buffer).map_err(|e| self.bad_line(e.to_string()))),
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: u32) -> RawRow {
        RawRow {
            i,
            intended_ns: u64::from(i) * 10_000_000,
            sent_ns: Some(u64::from(i) * 10_000_000 + 50_000),
            first_us: Some(50_000 + u64::from(i * 7919 % 997)),
            gaps_us: (0..31).map(|k| 10_000 + (i * 31 + k) * 7919 % 97).collect(),
            done_ns: Some(1),
            outcome: "ok".to_owned(),
            ..RawRow::default()
        }
    }

    #[test]
    fn rows_come_back_and_a_cut_file_gives_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let header = Header {
            schema: SCHEMA,
            seed: 3,
            epoch_ns: 17,
            ..Header::default()
        };
        let mut writer = RowWriter::create(&path, &header).unwrap();
        for i in 0..2_000 {
            writer.write(&row(i)).unwrap();
        }
        writer.finish().unwrap();
        let reader = RowReader::open(&path).unwrap();
        assert_eq!(reader.header(), &header);
        let rows: Vec<RawRow> = reader.map(Result::unwrap).collect();
        assert_eq!(rows, (0..2_000).map(row).collect::<Vec<_>>());
        let whole = std::fs::read(&path).unwrap();
        assert!(
            whole.len() < 2_000 * 32 * 3,
            "{} bytes for 64,000 tokens",
            whole.len()
        );

        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let mut cut: Vec<Result<RawRow, RowError>> = RowReader::open(&path).unwrap().collect();
        let last = cut.pop().unwrap();
        assert!(matches!(last, Err(RowError::Truncated { .. })), "{last:?}");
        assert!(cut.len() > 500, "{}", cut.len());
        assert!(
            cut.iter()
                .enumerate()
                .all(|(i, r)| r.as_ref().unwrap() == &row(i as u32))
        );
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        assert!(RowReader::open(&path).is_err());
        for content in [&b""[..], b"plain text", b"{}"] {
            std::fs::write(&path, content).unwrap();
            assert!(RowReader::open(&path).is_err());
        }
        std::fs::write(&path, zstd::encode_all(&b"{\"schema\":1}\n"[..], 1).unwrap()).unwrap();
        assert!(RowReader::open(&path).is_err());
    }
}
