//! Opening data files, packed or not.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::DeploymentError;
use crate::sim::source::{Trace, TraceFormat};

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a file to be read; a gzip file, known by its first bytes, is unpacked on the way.
///
/// # Errors
/// When it cannot be opened or read.
pub fn open(path: &Path) -> Result<Box<dyn BufRead>, DeploymentError> {
    let unreadable = |error: std::io::Error| DeploymentError::File {
        path: path.to_owned(),
        line: None,
        problem: format!("the file cannot be read: {error}"),
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let packed = reader.fill_buf().map_err(unreadable)?.starts_with(&GZIP);
    Ok(if packed {
        let unpacked: Box<dyn Read> = Box::new(MultiGzDecoder::new(reader));
        Box::new(BufReader::with_capacity(1 << 16, unpacked))
    } else {
        Box::new(reader)
    })
}

/// A file by its name, or by its name with `.gz`; `None` where neither is there.
pub(super) fn packed_or_not(path: &Path) -> Option<PathBuf> {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    [path.to_owned(), PathBuf::from(packed)]
        .into_iter()
        .find(|path| path.is_file())
}

/// The text of a file, packed or not.
pub(super) fn text(path: &Path) -> Result<String, DeploymentError> {
    let mut text = String::new();
    open(path)?
        .read_to_string(&mut text)
        .map_err(|error| DeploymentError::File {
            path: path.to_owned(),
            line: None,
            problem: format!("the file cannot be read: {error}"),
        })?;
    Ok(text)
}

/// What is wrong with a row of a CSV file.
pub(super) fn csv_problem(path: &Path, error: &csv::Error) -> DeploymentError {
    let (line, problem) = match error.kind() {
        csv::ErrorKind::Deserialize { pos, err } => (pos.as_ref().map(csv::Position::line), err.to_string()),
        _ => (error.position().map(csv::Position::line), error.to_string()),
    };
    DeploymentError::File {
        path: path.to_owned(),
        line,
        problem,
    }
}

/// Reads a trace, packed or not.
///
/// # Errors
/// When it cannot be read, or is no trace.
pub fn trace(path: &Path, format: TraceFormat) -> Result<Trace, DeploymentError> {
    let name = path.display().to_string();
    Ok(Trace::read(open(path)?, format, &name)?)
}
