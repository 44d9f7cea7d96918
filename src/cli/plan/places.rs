//! The files of a plan: none that is written may be one that is read, or written twice.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::Args;
use crate::plan::launch::Launch;
use crate::plan::prices::Prices;
use crate::plan::request::{PlanLengths, PlanRequest};

/// How the file of a launch begins that another plan may have left, and this one does not write.
const OURS: &str = "# Verifies the plan";

/// A file as the file system knows it, whether it is there or not.
fn place(path: &Path) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (whole.parent().map(Path::canonicalize), whole.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => whole,
    }
}

/// Refuses what would overwrite an input, or another output.
pub(super) fn check(args: &Args, request: &PlanRequest) -> anyhow::Result<()> {
    let mut read: Vec<(&str, PathBuf)> = vec![("--workload", args.workload.clone())];
    let mut add = |name, path: Option<&PathBuf>| read.extend(path.map(|path| (name, path.clone())));
    add("--profile", args.profile.as_ref());
    add("--constraints", args.constraints.as_ref());
    add("--telemetry", args.telemetry.as_ref());
    let prices = args.prices.as_deref().filter(|name| !Prices::is_built_in(name));
    add("--prices", prices.map(PathBuf::from).as_ref());
    for catalog in &args.catalog {
        add("--catalog", Some(catalog));
    }
    if let PlanLengths::Recorded { trace_file, .. } = &request.workload.lengths {
        add("the trace", Some(trace_file));
    }
    let mut known: Vec<(String, PathBuf)> = read
        .into_iter()
        .map(|(name, path)| (name.to_owned(), place(&path)))
        .collect();
    for (name, path) in written(args) {
        let at = place(&path);
        if let Some((other, _)) = known.iter().find(|(_, known)| *known == at) {
            bail!(
                "{}: {name} would overwrite {other}; give it another name",
                path.display()
            );
        }
        known.push((name, at));
    }
    Ok(())
}

fn written(args: &Args) -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    if let Some(output) = &args.output {
        all.push(("the report of --output".to_owned(), output.clone()));
        all.push((
            "the summary beside --output".to_owned(),
            output.with_extension("txt"),
        ));
        all.push((
            "what is kept beside --output".to_owned(),
            output.with_extension("probes.jsonl"),
        ));
    }
    if let Some(html) = &args.html {
        all.push(("the page of --html".to_owned(), html.clone()));
    }
    if let Some(folder) = &args.launch {
        all.extend(
            Launch::FILES
                .iter()
                .map(|name| (format!("{name} of --launch"), folder.join(name))),
        );
    }
    all
}

/// What another plan left in the folder of the launch files, where this one leaves none.
pub(super) fn left_over(folder: &Path) -> Option<String> {
    let left: Vec<&str> = Launch::FILES
        .into_iter()
        .filter(|name| folder.join(name).is_file())
        .collect();
    (!left.is_empty()).then(|| {
        format!(
            "{}: {} are of another plan; nothing was recommended, and nothing was written there",
            folder.display(),
            left.join(", ")
        )
    })
}

/// Removes the verification of another plan, where this one has none.
pub(super) fn clear(folder: &Path, launch: &Launch) -> std::io::Result<()> {
    let stale = folder.join("verify.yml");
    let is_ours = fs_err::read_to_string(&stale).is_ok_and(|text| text.starts_with(OURS));
    if is_ours && launch.files.iter().all(|(name, _)| *name != "verify.yml") {
        fs_err::remove_file(stale)?;
    }
    Ok(())
}
