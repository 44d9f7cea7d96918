//! What the integration tests share: the program under test and its golden files.

use std::path::PathBuf;
use std::process::Command;

/// The program under test.
pub(crate) fn mst() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mst"));
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A file or folder below `tests/golden`.
pub(crate) fn golden(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

/// Whether the long checks were asked for (`scripts/test --long`).
pub(crate) fn long() -> bool {
    std::env::var("MST_TEST_LONG").is_ok_and(|v| v == "1")
}
