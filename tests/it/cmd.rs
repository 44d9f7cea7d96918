//! Transcripts of documented commands, `tests/cmd`: what the program prints is what the documents show.
//!
//! `TRYCMD=overwrite cargo test --test it cmd` writes them anew.

use std::path::{Path, PathBuf};

/// The width that help texts are wrapped at, and nothing else of the terminal.
const ENVIRONMENT: [(&str, &str); 3] = [("COLUMNS", "100"), ("NO_COLOR", "1"), ("CLICOLOR_FORCE", "0")];

#[test]
fn transcripts() {
    let cases = trycmd::TestCases::new();
    cases.register_bin("mst", Path::new(env!("CARGO_BIN_EXE_mst")));
    for (name, value) in ENVIRONMENT {
        cases.env(name, value);
    }
    // `.md`: verbs that read no settings. `.toml`: those that do, in an empty environment.
    cases.case("tests/cmd/*.md").case("tests/cmd/*.toml");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = walkdir::WalkDir::new(root.join("docs"))
        .into_iter()
        .map(|entry| entry.expect("docs can be read").into_path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    pages.extend(
        ["README.md", "CONTRIBUTING.md"]
            .map(|name| root.join(name))
            .into_iter()
            .filter(|p| p.exists()),
    );
    let mut links = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("UTF-8");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.with_file_name(file)
            };
            assert!(target.exists(), "{}: {link}: no such file", page.display());
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).expect("UTF-8");
                let found = text
                    .lines()
                    .any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(found, "{}: {link}: no such heading", page.display());
            }
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links were looked at");
}

/// A heading as the web pages of repositories name it.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
