//! Which load generator sends, and what the external ones need to know.

use std::path::PathBuf;

use super::build::Reader;
use super::problem::Origin;
use super::values::{self, one_of};
use super::{CommandSettings, FmperfPrompts, FmperfSettings, LoadGenChoice, ToolName, ToolSettings};

/// Keys that fmperf reads itself; they are checked here and passed on as they were written.
const PASSED_ON: [&str; 11] = [
    "TARGET",
    "SAMPLE_SIZE",
    "FRAC_GREEDY",
    "CODE",
    "OVERWRITE",
    "MAX_GENERATE_ATTEMPTS",
    "RETRY_BACKOFF_SECONDS",
    "BACKOFF",
    "GRACE_PERIOD",
    "WORKER_RPM_CAPACITY",
    "MAX_WORKERS",
];

#[derive(Clone, Copy)]
enum Which {
    Native,
    Fmperf,
    Tool(ToolName),
    Command,
}

/// The words of `LOADGEN`.
const WORDS: [(&str, Which); 6] = [
    ("native", Which::Native),
    ("fmperf", Which::Fmperf),
    ("guidellm", Which::Tool(ToolName::Guidellm)),
    ("aiperf", Which::Tool(ToolName::Aiperf)),
    ("inference-perf", Which::Tool(ToolName::InferencePerf)),
    ("command", Which::Command),
];

/// The load generator that draws its own arrivals, where `LOADGEN` names one: it has no stratified ones.
pub(super) fn draws_its_own(r: &Reader<'_>) -> Option<ToolName> {
    match one_of(&WORDS, r.text("LOADGEN")) {
        Ok(Which::Tool(tool)) => Some(tool),
        _ => None,
    }
}

/// The load generator with its settings. `TARGET=tgis` is refused whichever is chosen.
pub(super) fn load_generator(r: &mut Reader<'_>) -> LoadGenChoice {
    let which = r.parse("LOADGEN", |text| one_of(&WORDS, text));
    check_passed_on(r, matches!(which, Which::Fmperf));
    let fresh_connections = r.switch("FRESH_CONNECTIONS");
    match which {
        Which::Native => LoadGenChoice::Native { fresh_connections },
        Which::Fmperf => LoadGenChoice::Fmperf(fmperf(r)),
        Which::Tool(name) => LoadGenChoice::Tool(tool(r, name)),
        Which::Command => LoadGenChoice::Command(command(r)),
    }
}

fn tool(r: &mut Reader<'_>, tool: ToolName) -> ToolSettings {
    let argv = r.parse(tool.command_key(), values::words);
    let own = r.optional_text("LOADGEN_TOKENIZER");
    let key = if own.is_some() {
        "LOADGEN_TOKENIZER"
    } else {
        "TOKENIZER"
    };
    let tokenizer = PathBuf::from(own.as_deref().unwrap_or_else(|| r.text("TOKENIZER")));
    if tokenizer.as_os_str().is_empty() {
        let problem = "it makes its prompts with the model's tokenizer; set LOADGEN_TOKENIZER (or TOKENIZER) to its \
                       tokenizer.json";
        r.refuse("LOADGEN", problem);
    } else if !tokenizer.exists() && key == "LOADGEN_TOKENIZER" {
        r.refuse(
            key,
            "there is no such file or folder; name a tokenizer.json, or the folder that holds it",
        );
    }
    ToolSettings {
        tool,
        argv,
        tokenizer,
    }
}

/// Names such as CODE in the environment are somebody else's unless fmperf is called.
fn check_passed_on(r: &mut Reader<'_>, used: bool) {
    let checked = |r: &Reader<'_>, name: &str| used || r.origin(name) != Origin::Environment;
    r.parse("TARGET", |text| match text {
        "vllm" => Ok(()),
        "tgis" => Err(
            "the tgis protocol is not supported; write vllm, and give the URL of an OpenAI API".to_owned(),
        ),
        other => Err(format!("`{other}` is not a protocol of fmperf; write vllm")),
    });
    for name in PASSED_ON.into_iter().filter(|name| *name != "TARGET") {
        if !checked(r, name) {
            continue;
        }
        r.parse(name, |text| match name {
            "FRAC_GREEDY" => values::number(text, 0.0, 1.0).map(|_| ()),
            "RETRY_BACKOFF_SECONDS" => values::number(text, 0.0, f64::INFINITY).map(|_| ()),
            "WORKER_RPM_CAPACITY" => match values::number(text, 0.0, f64::INFINITY)? {
                0.0 => Err("it must be above 0".to_owned()),
                _ => Ok(()),
            },
            "BACKOFF" | "GRACE_PERIOD" => values::duration(text).map(|_| ()),
            "CODE" | "OVERWRITE" => values::switch(text).map(|_| ()),
            _ => values::whole(text, 1).map(|_| ()),
        });
    }
}

fn fmperf(r: &mut Reader<'_>) -> FmperfSettings {
    let workdir = PathBuf::from(r.text("FMPERF_DIR"));
    if !workdir.is_dir() {
        r.refuse(
            "FMPERF_DIR",
            "there is no such folder; name the one that fmperf is run from",
        );
    }
    let source = r.text("PROMPT_SOURCE").to_owned();
    let prompt_source = match source.to_ascii_lowercase().as_str() {
        "native" => FmperfPrompts::Native,
        "fmperf" => FmperfPrompts::Fmperf,
        "file" => named_file(r, &workdir),
        other if other.starts_with("file:") => {
            let path = PathBuf::from(source["file:".len()..].trim());
            if !path.is_file() {
                r.refuse("PROMPT_SOURCE", "there is no such file; write file:PATH");
            }
            FmperfPrompts::File(path)
        }
        other => {
            let problem = format!("`{other}` is not one of native, fmperf, file:PATH");
            r.refuse("PROMPT_SOURCE", &problem);
            FmperfPrompts::Native
        }
    };
    FmperfSettings {
        python: r.text("FMPERF_PYTHON").to_owned(),
        workdir,
        prompt_source,
        passed_on: PASSED_ON
            .iter()
            .map(|name| ((*name).to_owned(), r.text(name).to_owned()))
            .collect(),
    }
}

/// The workload file as the older programs name it: `REQUESTS_DIR/REQUESTS_FILENAME`.
fn named_file(r: &mut Reader<'_>, workdir: &std::path::Path) -> FmperfPrompts {
    let name = r.text("REQUESTS_FILENAME").to_owned();
    let folder = r.raw("REQUESTS_DIR").unwrap_or(".").to_owned();
    let path = workdir.join(folder).join(&name);
    if name.is_empty() {
        r.refuse(
            "PROMPT_SOURCE",
            "REQUESTS_FILENAME does not say which; write file:PATH",
        );
    } else if !path.is_file() {
        let problem = format!("there is no file {}", path.display());
        r.refuse("REQUESTS_FILENAME", &problem);
    }
    FmperfPrompts::File(path)
}

fn command(r: &mut Reader<'_>) -> CommandSettings {
    for name in ["LOADGEN_COMMAND", "LOADGEN_OUTPUT", "LOADGEN_COLUMNS"] {
        if r.text(name).is_empty() {
            r.refuse(
                "LOADGEN",
                &format!("it needs {name}; docs/loadgen.md has examples"),
            );
        }
    }
    let output = r.text("LOADGEN_OUTPUT").to_owned();
    let outside = std::path::Path::new(&output)
        .components()
        .any(|c| !matches!(c, std::path::Component::Normal(_)));
    if outside {
        r.refuse(
            "LOADGEN_OUTPUT",
            "it must lie below the trial's folder; write a name without .. and without a leading /",
        );
    }
    CommandSettings {
        argv: r.optional("LOADGEN_COMMAND", values::words).unwrap_or_default(),
        output,
        columns: r.optional("LOADGEN_COLUMNS", values::columns).unwrap_or_default(),
    }
}
