//! YAML files with errors that name file, line, and what is known.

use std::path::Path;

use super::DeploymentError;
use serde::de::DeserializeOwned;

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
        problem: crate::yaml::problem(error.without_snippet()),
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
