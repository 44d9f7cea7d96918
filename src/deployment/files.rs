//! Opening data files, packed or not.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::DeploymentError;

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
