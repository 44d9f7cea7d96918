//! Settings as a file that means the same wherever and whenever it is read: every value in effect, paths absolute, no
//! secrets.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::keys::{Group, KEYS};
use super::load::{self, Loaded, Sources};
use super::{FmperfPrompts, LoadGenChoice, Settings};
use crate::loadgen::API_KEY_VARIABLE as KEY_VARIABLE;

/// Settings that cannot be frozen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// A path cannot be written into a text file.
    #[error("{key}: the path {} is not UTF-8; choose another", path.display())]
    Path {
        /// The setting.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A file of them would be read as something else.
    #[error("these settings cannot be frozen: {0}")]
    Differs(String),
}

/// The text of a settings file that is read back as the same settings, wherever from: paths are absolute, seen from
/// `base`. The API key is left out; the file names `MST_API_KEY` for it. `profile` takes the place of
/// `CLUSTER_PROFILE`.
///
/// # Errors
/// When the file would be read back as other settings, or a path is not UTF-8.
pub fn frozen(loaded: &Loaded, base: &Path, profile: Option<&Path>) -> Result<String, FreezeError> {
    let mut wanted = absolute(&loaded.settings, base);
    if profile.is_some() {
        wanted.cluster.profile = None;
    }
    // What a start belongs to depends on which list it stands beside: by place here, word for word there.
    let by_place = starts(&wanted);
    let mut why = String::new();
    for starts in [by_place.as_str(), loaded.raw("REQ_MIN_START")] {
        let text = text(loaded, &wanted, starts)?;
        match read_back(&text, &wanted) {
            Ok(()) => {
                // It may not be there yet.
                wanted.cluster.profile = profile.map(Path::to_owned).or(wanted.cluster.profile);
                return self::text(loaded, &wanted, starts);
            }
            Err(error) => why = error,
        }
    }
    Err(FreezeError::Differs(why))
}

/// The settings with absolute paths.
fn absolute(settings: &Settings, base: &Path) -> Settings {
    let mut wanted = settings.clone();
    let seen_from_base = |path: &mut PathBuf| *path = base.join(path.as_path());
    seen_from_base(&mut wanted.results_dir);
    wanted.prompts_file.as_mut().map(seen_from_base);
    wanted.tokenizer.as_mut().map(seen_from_base);
    if let LoadGenChoice::Fmperf(fmperf) = &mut wanted.loadgen {
        seen_from_base(&mut fmperf.workdir);
        if let FmperfPrompts::File(path) = &mut fmperf.prompt_source {
            seen_from_base(path);
        }
    }
    if let LoadGenChoice::Tool(tool) = &mut wanted.loadgen {
        seen_from_base(&mut tool.tokenizer);
    }
    wanted.cluster.profile.as_mut().map(seen_from_base);
    wanted
}

/// One start for each experiment.
fn starts(settings: &Settings) -> String {
    let all: Vec<String> = settings
        .experiments
        .iter()
        .map(|experiment| experiment.start.as_per_minute().to_string())
        .collect();
    all.join(",")
}

fn text(loaded: &Loaded, wanted: &Settings, starts: &str) -> Result<String, FreezeError> {
    let fmperf = match &wanted.loadgen {
        LoadGenChoice::Fmperf(fmperf) => Some(fmperf),
        LoadGenChoice::Native { .. } | LoadGenChoice::Tool(_) | LoadGenChoice::Command(_) => None,
    };
    let tool = match &wanted.loadgen {
        LoadGenChoice::Tool(tool) => Some(tool),
        _ => None,
    };
    let pairs: Option<Vec<String>> = wanted
        .experiments
        .iter()
        .map(|experiment| {
            // A mix may have one class only.
            let pair = experiment
                .pair()
                .filter(|pair| pair.folder_name() == experiment.name);
            pair.map(|pair| pair.to_string())
        })
        .collect();
    let mixes_hold = pairs.is_none() && !loaded.lists_are_additive();
    let mut text = String::from(
        "# Every setting of this run, frozen. Changing it changes what the run measures from now on.\n",
    );
    let mut group = None;
    for key in KEYS {
        let path = |path: &Path| {
            let text = path.to_str().ok_or_else(|| FreezeError::Path {
                key: key.name,
                path: path.to_owned(),
            });
            text.map(str::to_owned)
        };
        let optional = |file: &Option<PathBuf>| file.as_deref().map_or(Ok(String::new()), path);
        let value = match key.name {
            "API_KEY" => String::new(),
            "API_KEY_VARIABLE" => wanted.api_key.as_ref().map_or("", |_| KEY_VARIABLE).to_owned(),
            "RESULTS_DIR" => path(&wanted.results_dir)?,
            "PROMPTS_FILE" => optional(&wanted.prompts_file)?,
            "PRIOR" => optional(&wanted.prior)?,
            "TOKENIZER" => optional(&wanted.tokenizer)?,
            "CLUSTER_PROFILE" => optional(&wanted.cluster.profile)?,
            "TOKENS_LIST" => match &pairs {
                Some(pairs) => pairs.join(","),
                None if mixes_hold => String::new(),
                None => loaded.raw(key.name).to_owned(),
            },
            "REQ_MIN_START" => starts.to_owned(),
            "WORKLOAD_MIXES" if !mixes_hold => String::new(),
            "ADDITIVE" | "TOKENS_LIST_PROPORTION" if pairs.is_some() || mixes_hold => String::new(),
            "FMPERF_DIR" => fmperf.map_or(Ok(String::new()), |fmperf| path(&fmperf.workdir))?,
            "PROMPT_SOURCE" => match fmperf.map(|fmperf| &fmperf.prompt_source) {
                Some(FmperfPrompts::File(file)) => format!("file:{}", path(file)?),
                Some(_) => loaded.raw(key.name).to_owned(),
                None => String::new(),
            },
            // Where only TOKENIZER was set it serves for both.
            "LOADGEN_TOKENIZER" if loaded.raw(key.name).is_empty() => String::new(),
            "LOADGEN_TOKENIZER" => tool.map_or(Ok(String::new()), |tool| path(&tool.tokenizer))?,
            // Names such as CODE may have come from the environment, where they mean nothing to us.
            _ if key.group == Group::Fmperf && fmperf.is_none() => String::new(),
            name => loaded.raw(name).to_owned(),
        };
        if value.is_empty() {
            continue;
        }
        if group != Some(key.group) {
            group = Some(key.group);
            let _ = writeln!(text, "\n# {}", key.group.title());
        }
        let _ = writeln!(text, "{}={}", key.name, encode(&value));
    }
    Ok(text)
}

/// A value as the reader of `.env` files reads it back.
fn encode(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=()[]{}|&^~<>".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    if value.contains(['\n', '\r']) {
        let mut quoted = String::from("\"");
        for c in value.chars() {
            match c {
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\\' | '"' => quoted.extend(['\\', c]),
                other => quoted.push(other),
            }
        }
        quoted.push('"');
        return quoted;
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Loads the text as a driver does, and compares.
fn read_back(text: &str, wanted: &Settings) -> Result<(), String> {
    let environment = wanted
        .api_key
        .iter()
        .map(|key| (KEY_VARIABLE.to_owned(), key.expose().to_owned()))
        .collect();
    let sources = Sources {
        env_file: Some(PathBuf::from("settings.env")),
        environment,
        flags: Vec::new(),
    };
    let again = load::load_text(&sources, text.as_bytes()).map_err(|errors| errors.to_string())?;
    if again.settings == *wanted {
        return Ok(());
    }
    let (again, wanted) = (format!("{:#?}", again.settings), format!("{wanted:#?}"));
    let differs = again
        .lines()
        .zip(wanted.lines())
        .find(|(again, wanted)| again != wanted);
    let (again, wanted) = differs.unwrap_or(("fewer lines", "more lines"));
    Err(format!("`{}` would be read as `{}`", wanted.trim(), again.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::dotenv;
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Loaded {
        let owned = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        let sources = Sources {
            env_file: Some(PathBuf::from(".env")),
            environment: owned(environment),
            flags: owned(flags),
        };
        load::load_text(&sources, text.as_bytes()).unwrap()
    }

    type Pairs = &'static [(&'static str, &'static str)];

    #[test]
    fn settings_from_every_source_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("it's a file");
        std::fs::write(&file, "").unwrap();
        let prompts = format!(
            "PROMPTS_FILE='{}'",
            file.display().to_string().replace('\'', "\\'")
        );
        let shares =
            "WORKLOAD_MIXES=[(1:1,1),(2:2,2)],[(3:3,1),(1-9:4,0.333333333333)]\nREQ_MIN_START=7,9.25";
        let cases: [(&str, Pairs, Pairs); 14] = [
            ("", &[], &[]),
            (
                "URL=http://h:1\nFILTER_BUFFER_MINUTES=5\nREQUESTS_DIR=old",
                &[],
                &[],
            ),
            (
                "TOKENS_LIST=1:1,2:2,3:3\nREQ_MIN_START=10,20,30",
                &[],
                &[("TOKENS_LIST", "3:3,2:2")],
            ),
            ("TOKENS_LIST=1:1,1:1,2:2\nREQ_MIN_START=10,20,30", &[], &[]),
            (shares, &[], &[]),
            (shares, &[], &[("TOKENS_LIST", "5:5")]),
            (
                "WORKLOAD_MIXES=[(1:1,1)],[(1:1,1)],[(2:2,1)]\nREQ_MIN_START=1,2,3",
                &[],
                &[],
            ),
            (
                "ADDITIVE=true\nTOKENS_LIST=1:1,2:2,7:7\nTOKENS_LIST_PROPORTION=3,1\nREQ_MIN_START=33.3",
                &[],
                &[],
            ),
            (
                "SEARCH=stages-legacy\nSTOP_THRESHOLD=0.5\nTHRESHOLD_TYPE=absolute",
                &[("CODE", "no code"), ("TARGET", "x")],
                &[],
            ),
            (
                "SERVER_COMMAND='[\"a b\", \"it\\'s\", \"{port}\", \"$HOME #x\", \"\\\\\\\\\"]\'\nSERVER_PLACE=group",
                &[],
                &[],
            ),
            (
                "LOADGEN=command\nLOADGEN_OUTPUT=o",
                &[
                    ("LOADGEN_COMMAND", "[\"a\",\n \"b\"]"),
                    ("LOADGEN_COLUMNS", "sent=s:s,done=e:s,ok=o"),
                ],
                &[],
            ),
            ("SEARCH=adaptive\nCONFIRM=edges", &[], &[("BUDGET", "1h 30m")]),
            ("API_KEY='secret # key'", &[("GPUS", "4 x \"A100\"")], &[]),
            (
                &prompts,
                &[],
                &[("WALLTIME", "1-00:00:00"), ("NODE_LIST", "n[1-3]")],
            ),
        ];
        for (text, environment, flags) in cases {
            let loaded = load(text, environment, flags);
            let text =
                frozen(&loaded, Path::new("/some where"), None).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(!text.contains("secret"), "{text}");
            assert!(text.contains("RESULTS_DIR='/some where/"), "{text}");
        }
    }

    #[test]
    fn fmperf_is_frozen_with_its_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("in/w.json"), "").unwrap();
        let text = format!(
            "URL=h\nLOADGEN=fmperf\nFMPERF_DIR={}\nPROMPT_SOURCE=file\nREQUESTS_DIR=in\nREQUESTS_FILENAME=w.json\nRESULTS_DIR=out",
            dir.path().display()
        );
        let text = frozen(&load(&text, &[("SAMPLE_SIZE", "3")], &[]), Path::new("/"), None).unwrap();
        let file = dir.path().join("in/w.json");
        assert!(
            text.contains(&format!("PROMPT_SOURCE=file:{}\n", file.display())),
            "{text}"
        );
        assert!(text.contains("SAMPLE_SIZE=3\n"), "{text}");
    }

    #[test]
    fn the_tokenizer_of_a_load_generator_is_frozen_with_its_place() {
        let here = std::env::current_dir().unwrap();
        let file = "tests/golden/external/tokenizers/byte-level.json";
        for (text, expected) in [
            (
                format!("URL=h\nLOADGEN=aiperf\nTOKENIZER={file}"),
                format!("\nTOKENIZER={}\n", here.join(file).display()),
            ),
            (
                "URL=h\nLOADGEN=guidellm\nLOADGEN_TOKENIZER=tests/golden\nGUIDELLM_COMMAND=a b".to_owned(),
                format!("\nLOADGEN_TOKENIZER={}\n", here.join("tests/golden").display()),
            ),
        ] {
            let frozen =
                frozen(&load(&text, &[], &[]), &here, None).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(frozen.contains(&expected), "{frozen}");
        }
    }

    #[test]
    fn the_key_is_named_and_not_written() {
        let loaded = load("API_KEY=hunter2\nCLUSTER_PROFILE=", &[], &[]);
        let text = frozen(&loaded, Path::new("/"), Some(Path::new("/no such/cluster.yml"))).unwrap();
        assert!(
            text.contains("CLUSTER_PROFILE='/no such/cluster.yml'\n"),
            "{text}"
        );
        assert!(text.contains("API_KEY_VARIABLE=MST_API_KEY\n"));
        assert!(!text.contains("hunter2"));
        assert!(!format!("{loaded:?}").contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_read_back(value in "[^\0]*") {
            let (lines, bad) = dotenv::read(format!("K={}\n", encode(&value)).as_bytes());
            proptest::prop_assert_eq!(bad, []);
            proptest::prop_assert_eq!(&lines[0].value, &value);
            proptest::prop_assert_eq!(lines.len(), 1);
        }
    }
}
