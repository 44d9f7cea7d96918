//! Whether fmperf is there, and whether it is the form that can hold a rate.

use std::path::Path;

use fs_err as fs;

use super::NAME;
use crate::loadgen::LoadGenError;

/// Imports what a trial imports, and tells the two forms apart by what they read. Prints [`FOUND`] and a digest of the
/// load generator's source.
pub(super) const PROGRAM: &str = "\
import hashlib, inspect
import fmperf.loadgen.run as run
source = inspect.getsource(run)
print('mst-fmperf', 'rate' if 'REQ_MIN' in source else 'closed-loop', hashlib.sha256(source.encode()).hexdigest()[:12])
";
/// The word before the answer.
const FOUND: &str = "mst-fmperf ";

/// What to do about a form that cannot hold a rate.
pub(super) const REMEDY: &str = "this is upstream fmperf: it keeps NUM_USERS requests open and cannot hold a rate; point \
    FMPERF_DIR to the fork that knows REQ_MIN, or use LOADGEN=native";

/// What to do where it is not there.
const INSTALL: &str = "fmperf is in no package registry: clone the fork that knows REQ_MIN, install its requirements.txt \
    (and pytest, python-dotenv, grpcio, setuptools below 81) into a virtual environment, and set FMPERF_DIR to the clone and \
    FMPERF_PYTHON to the environment's bin/python; or use LOADGEN=native";

/// Reads the answer of the check command: the version that stands in a trial's identity.
///
/// # Errors
/// When fmperf is not there or cannot hold a rate, with what to do.
pub(super) fn explain(succeeded: bool, log: &Path) -> Result<String, LoadGenError> {
    let unusable = |why: String| LoadGenError::Unusable { name: NAME, why };
    let text = fs::read_to_string(log).unwrap_or_default();
    let answer = text.lines().rev().find_map(|l| l.strip_prefix(FOUND));
    match answer.and_then(|a| a.split_once(' ')) {
        Some(("rate", digest)) if succeeded => Ok(digest.trim().to_owned()),
        Some(("closed-loop", _)) => Err(unusable(REMEDY.to_owned())),
        _ => {
            let last = last_line(&text).unwrap_or("the interpreter printed nothing");
            Err(unusable(format!("{last}; {INSTALL}")))
        }
    }
}

/// The last line that is not blank.
pub(super) fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|l| !l.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("check.log");
        let ask = |text: &str, succeeded| {
            fs::write(&log, text).unwrap();
            explain(succeeded, &log).map_err(|e| e.to_string())
        };
        assert_eq!(
            ask("a warning\nmst-fmperf rate 0123456789ab\n", true).unwrap(),
            "0123456789ab"
        );
        assert!(
            ask("mst-fmperf closed-loop 0123\n", true)
                .unwrap_err()
                .contains("REQ_MIN")
        );
        let missing = ask(
            "Traceback …\nModuleNotFoundError: No module named 'fmperf'\n\n",
            false,
        )
        .unwrap_err();
        assert!(
            missing.contains("No module named 'fmperf'; fmperf is in no package registry"),
            "{missing}"
        );
        assert!(ask("", false).unwrap_err().contains("printed nothing"));
    }
}
