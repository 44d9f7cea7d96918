//! YAML files with errors that name file, line, and what is known.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::Error as YamlError;

use super::DeploymentError;

/// How alike two names must be for the one to be meant by the other.
const NEAR: f64 = 0.6;

/// Reads a YAML file.
///
/// # Errors
/// When it cannot be read, is not YAML, has unknown keys or wrong values.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, DeploymentError> {
    parse(path, &super::files::text(path)?)
}

/// Reads the text of a YAML file; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, DeploymentError> {
    serde_saphyr::from_str(text).map_err(|error| DeploymentError::File {
        path: path.to_owned(),
        line: error.location().map(|at| at.line()),
        problem: problem(error.without_snippet()),
    })
}

/// The line, from 1, where the last part of a dotted key stands, below the parts before it.
pub fn line_of(text: &str, key: &str) -> Option<u64> {
    let mut from = 0;
    let lines: Vec<&str> = text.lines().collect();
    for part in key.split('.') {
        let found = lines[from..].iter().position(|line| {
            // Also within `{...}` and after `- `.
            line.split(['{', ',', '-', ' '])
                .any(|word| word.strip_prefix(part).is_some_and(|rest| rest.starts_with(':')))
        })?;
        from += found;
    }
    Some(from as u64 + 1)
}

/// What is wrong, with the known names where one is not known.
fn problem(error: &YamlError) -> String {
    if let YamlError::SerdeUnknownField { field, expected, .. } = error {
        let near = expected
            .iter()
            .map(|known| (*known, strsim::normalized_damerau_levenshtein(field, known)))
            .filter(|(_, closeness)| *closeness >= NEAR)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let hint = near.map_or(String::new(), |(known, _)| format!("did you mean {known}? "));
        return format!(
            "`{field}` is not a key here; {hint}known are {}",
            expected.join(", ")
        );
    }
    let text = error.to_string();
    // The place stands in front of the message already.
    let end = text
        .find("\n -->")
        .or(text.find(" at line "))
        .unwrap_or(text.len());
    let place = text.strip_prefix("error: ").map_or(0, |_| "error: ".len());
    text[place..end.max(place)].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Two {
        #[serde(default, rename = "replicas")]
        _replicas: u32,
        #[serde(default, rename = "router")]
        _router: Option<Box<Two>>,
    }

    #[test]
    fn errors_name_the_line_and_what_was_meant() {
        let told = |text: &str| {
            parse::<Two>(Path::new("run.yml"), text)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            told("# a comment\nreplicas: 1\nreplcias: 2\n"),
            "run.yml:3: `replcias` is not a key here; did you mean replicas? known are replicas, router"
        );
        assert!(told("replicas: many\n").starts_with("run.yml:1: "));
        assert!(!told("replicas: many\n").contains(" at line "));
    }

    #[test]
    fn keys_are_found_below_their_parents() {
        let text = "replicas: 1\nrouter:\n  replicas: 2\nflow: {replicas: 3}\n";
        assert_eq!(line_of(text, "router.replicas"), Some(3));
        assert_eq!(line_of(text, "flow.replicas"), Some(4));
        assert_eq!(line_of(text, "nothing"), None);
    }
}
