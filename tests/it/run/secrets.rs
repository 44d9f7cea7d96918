//! The API key: sent, and found nowhere else.

use std::io::Read;
use std::process::Stdio;

use super::{Server, Workspace, processes, stderr};

const KEY: &str = "sk-e2e-0123456789-not-to-be-found";

fn workspace(server: &Server, key: &str) -> Workspace {
    Workspace::native(&format!(
        "URL={}\nAPI_KEY={key}\nTOKENS_LIST=8:4\nREQ_MIN_START=9000\nITERATION_HARD_LIMIT=2\nRETRIES=0",
        server.url
    ))
}

/// The content of a file, unpacked where it is packed.
fn content(path: &std::path::Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|e| e == "zst") {
        let mut plain = Vec::new();
        zstd::stream::read::Decoder::new(&*bytes)
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap();
        return plain;
    }
    bytes
}

#[test]
fn the_key_is_sent_and_stays_secret() {
    let server = Server::start(&["--port", "0", "--api-key-env", "SERVE_KEY"], Some(KEY));
    let space = workspace(&server, KEY);
    let child = space
        .run(&["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (watched, looks) = std::thread::scope(|scope| {
        let (done, finished) = std::sync::mpsc::channel::<()>();
        let watcher = scope.spawn(move || {
            let (mut told, mut looks) = (Vec::new(), 0);
            while finished
                .recv_timeout(std::time::Duration::from_millis(10))
                .is_err()
            {
                looks += processes("--job").len();
                told.extend(processes(KEY));
            }
            (told, looks)
        });
        let output = child.wait_with_output().unwrap();
        done.send(()).unwrap();
        let said = stderr(&output);
        assert!(matches!(output.status.code(), Some(0 | 5)), "{said}");
        assert!(!said.contains(KEY) && !String::from_utf8_lossy(&output.stdout).contains(KEY));
        watcher.join().unwrap()
    });
    assert!(looks > 0, "the load generator was seen");
    assert!(watched.is_empty(), "{watched:?}");
    let mut files = 0;
    for entry in walkdir::WalkDir::new(space.results())
        .into_iter()
        .map(Result::unwrap)
    {
        if entry.file_type().is_file() {
            let bytes = content(entry.path());
            let found = bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes());
            assert!(!found, "the key is in {}", entry.path().display());
            files += 1;
        }
    }
    assert!(files > 10);
    let shown = crate::support::mst()
        .current_dir(space.path())
        .arg("config")
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(KEY));
}

#[test]
fn a_wrong_or_missing_key_is_told_before_the_first_trial() {
    let server = Server::start(&["--port", "0", "--api-key-env", "SERVE_KEY"], Some(KEY));
    for key in ["sk-wrong", ""] {
        let output = workspace(&server, key).run(&[]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(12), "{said}");
        assert!(said.contains("401") && said.contains("API_KEY"), "{said}");
        assert!(key.is_empty() || !said.contains(key), "{said}");
    }
}
