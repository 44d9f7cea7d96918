//! Which version a program is.
//!
//! Only versions whose output was read are accepted. Each minor version of these programs so far changed names or units in
//! its files; a renamed field can be missed as an absent one, and a changed unit cannot be noticed at all.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

use super::{ToolConfig, words};
use crate::loadgen::{Command, LoadGenError};

/// Most time that starting may take; the first start after an installation compiles.
const TIMEOUT: Duration = Duration::from_mins(3);
const LOG: &str = "check.log";

fn command(argv: Vec<OsString>, dir: &Path) -> Command {
    Command {
        argv,
        env: vec![("HF_HUB_OFFLINE".to_owned(), "1".to_owned())],
        cwd: None,
        log: dir.join(LOG),
        timeout: Some(TIMEOUT),
    }
}

/// Asks the program itself.
pub(super) fn by_flag(config: &ToolConfig, dir: &Path) -> Command {
    command(words(config).chain(["--version".into()]).collect(), dir)
}

/// Asks the program's Python interpreter for the version of `package`: for a program that does not tell.
pub(in crate::loadgen) fn by_interpreter(
    name: &'static str,
    config: &ToolConfig,
    package: &str,
    dir: &Path,
) -> Result<Command, LoadGenError> {
    let program: Vec<OsString> = words(config).collect();
    let code = format!("import importlib.metadata as m; print(m.version('{package}'))");
    let module = program.iter().position(|word| word == "-m");
    let mut argv = match (module, program.first()) {
        (Some(at), _) => program[..at].to_vec(),
        (None, Some(first)) => vec![interpreter(first).ok_or_else(|| LoadGenError::Unusable {
            name,
            why: format!(
                "{} is not a Python program on the PATH, so its version is not known; name the program that `pip install \
                 {package}` makes, or write `PYTHON -m {}.main`",
                first.display(),
                package.replace('-', "_")
            ),
        })?],
        (None, None) => Vec::new(),
    };
    argv.extend(["-c".into(), code.into()]);
    Ok(command(argv, dir))
}

/// The interpreter of a console script, from its first lines: `#!/venv/bin/python`, or, where that would be too long,
/// `#!/bin/sh` and `'''exec' /venv/bin/python …`.
fn interpreter(program: &OsString) -> Option<OsString> {
    let given = PathBuf::from(program);
    let file = if given.components().count() > 1 {
        given
    } else {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(&given))
            .find(|file| file.is_file())?
    };
    let lines = BufReader::new(fs::File::open(file).ok()?).lines().take(2);
    lines.map_while(Result::ok).find_map(|line| {
        line.trim_start_matches("#!")
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']))
            .find(|word| {
                let path = Path::new(word);
                let stem = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
                path.is_absolute() && stem.starts_with("python")
            })
            .map(OsString::from)
    })
}

/// Reads the answer: the version that stands in a trial's identity.
pub(super) fn explain(
    name: &'static str,
    (known, package): (&str, &str),
    succeeded: bool,
    dir: &Path,
) -> Result<String, LoadGenError> {
    let unusable = |why: String| LoadGenError::Unusable { name, why };
    let text = fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    let remedy = format!(
        "install one in a virtual environment (python3 -m venv ENV; ENV/bin/pip install '{package}=={known}*') and set {}_COMMAND \
         to its ENV/bin/{package}, or use LOADGEN=native",
        name.to_ascii_uppercase().replace('-', "_")
    );
    if !succeeded {
        let last = text.lines().map(str::trim).rfind(|l| !l.is_empty());
        let last = last.unwrap_or("the program did not start");
        return Err(unusable(format!("{last}; {remedy}")));
    }
    let version = text
        .lines()
        .rev()
        .flat_map(str::split_whitespace)
        .find(|word| is_version(word))
        .ok_or_else(|| unusable(format!("it does not say which version it is; {remedy}")))?;
    if version.starts_with(known) {
        return Ok(version.to_owned());
    }
    Err(unusable(format!(
        "this is version {version}, and the output of {known}x is what is known here: with each minor version its files \
         changed; {remedy}"
    )))
}

/// `0.8.1`, `0.13.0rc1`, `0.8.2.dev3+g1234`.
fn is_version(word: &str) -> bool {
    let mut parts = word.split('.');
    let number =
        |part: Option<&str>| part.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    number(parts.next())
        && number(parts.next())
        && parts
            .next()
            .is_some_and(|p| p.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str, succeeded: bool) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOG), text).unwrap();
        explain("guidellm", ("0.8.", "guidellm"), succeeded, dir.path()).map_err(|e| e.to_string())
    }

    #[test]
    fn only_known_versions_pass() {
        assert_eq!(explained("guidellm version: 0.8.1\n", true).unwrap(), "0.8.1");
        assert_eq!(
            explained("a warning of 3 words\n0.8.0rc1\n", true).unwrap(),
            "0.8.0rc1"
        );
        let other = explained("guidellm version: 0.9.0\n", true).unwrap_err();
        assert!(
            other.contains("this is version 0.9.0, and the output of 0.8.x"),
            "{other}"
        );
        assert!(other.contains("pip install 'guidellm==0.8.*'"), "{other}");
        assert!(other.contains("GUIDELLM_COMMAND"), "{other}");
        assert!(explained("guidellm version: 0.80.1\n", true).is_err());
        assert!(explained("hello\n", true).unwrap_err().contains("does not say"));
        let broken = explained(
            "Traceback\nModuleNotFoundError: No module named 'jinja2'\n",
            false,
        );
        assert!(broken.unwrap_err().contains("No module named 'jinja2'; install"));
    }

    #[test]
    fn the_interpreter_of_a_script_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("tool");
        for (text, expected) in [
            ("#!/a/bin/python3.12\nimport sys\n", Some("/a/bin/python3.12")),
            ("#!/bin/sh\n'''exec' \"/a b/python\" \"$0\"\n", None),
            (
                "#!/bin/sh\n'''exec' /very/long/python \"$0\" \"$@\"\n",
                Some("/very/long/python"),
            ),
            ("#!/bin/sh\necho no\n", None),
        ] {
            fs::write(&script, text).unwrap();
            let found = interpreter(&script.clone().into_os_string());
            assert_eq!(found, expected.map(OsString::from), "{text}");
        }
        let config = ToolConfig {
            argv: ["/x/python", "-m", "inference_perf.main"]
                .map(str::to_owned)
                .to_vec(),
            tokenizer: PathBuf::new(),
            api_key: false,
        };
        let command = by_interpreter("inference-perf", &config, "inference-perf", dir.path()).unwrap();
        assert_eq!(command.argv[..2], ["/x/python", "-c"].map(OsString::from));
    }
}
