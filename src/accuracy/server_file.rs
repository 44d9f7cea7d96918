//! Files of servers.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Server, ServerError, ServerSpec};
use crate::deployment::{DeploymentError, Library, Places, yaml};

/// A panel: servers one after the other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    servers: Vec<ServerSpec>,
    /// Catalog files, or folders of them, beside the built-in ones.
    #[serde(default)]
    catalog: Vec<PathBuf>,
    /// Folders of profiles in Vidur's layout.
    #[serde(default)]
    profiles: Vec<PathBuf>,
}

/// Reads the servers of a file. Paths in it are looked for beside it, and then as they are.
///
/// # Errors
/// When it cannot be read, is not YAML, has unknown keys or wrong values; names the line where it is known.
pub fn read(path: &Path) -> Result<Vec<Server>, DeploymentError> {
    let text = std::fs::read_to_string(path).map_err(|error| DeploymentError::File {
        path: path.to_owned(),
        line: None,
        problem: format!("the file cannot be read: {error}"),
    })?;
    parse(path, &text)
}

/// The servers of a text; the path is for messages, and for what is looked for beside it.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Vec<Server>, DeploymentError> {
    let mut panel: Panel = yaml::parse(path, text)?;
    let beside = |place: &mut PathBuf| {
        let joined = path
            .parent()
            .map_or_else(|| place.clone(), |base| base.join(&place));
        if joined.exists() {
            *place = joined;
        }
    };
    panel.catalog.iter_mut().for_each(beside);
    panel.profiles.iter_mut().for_each(beside);
    let library = Library::open(Places {
        catalog: panel.catalog,
        profiles: panel.profiles,
    })?;
    let mut servers: Vec<Server> = Vec::with_capacity(panel.servers.len());
    for (index, spec) in panel.servers.into_iter().enumerate() {
        let start = starts(text, index);
        let name = spec.name.clone();
        let fail = |line, problem| {
            Err(DeploymentError::File {
                path: path.to_owned(),
                line,
                problem: format!("server `{name}`: {problem}"),
            })
        };
        if servers.iter().any(|server| server.name() == name) {
            return fail(
                Some(start),
                "another server has this name; write a name of its own".to_owned(),
            );
        }
        match Server::new(spec, &library) {
            Ok(server) => servers.push(server),
            Err(error) => return fail(Some(line_of(text, start, &error)), error.to_string()),
        }
    }
    if servers.is_empty() {
        return Err(DeploymentError::File {
            path: path.to_owned(),
            line: yaml::line_of(text, "servers"),
            problem: "there are no servers in it; write at least one below `servers`".to_owned(),
        });
    }
    Ok(servers)
}

/// The line, from 1, on which the server at a place begins.
fn starts(text: &str, index: usize) -> u64 {
    let mut inside = false;
    let mut indent = None;
    let mut seen = 0;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("servers:") {
            inside = true;
            continue;
        }
        let trimmed = line.trim_start();
        let depth = line.len() - trimmed.len();
        if !inside || !trimmed.starts_with('-') || *indent.get_or_insert(depth) != depth {
            continue;
        }
        if seen == index {
            return number as u64 + 1;
        }
        seen += 1;
    }
    1
}

/// The line that an error is about, at or after the line on which its server begins.
fn line_of(text: &str, start: u64, error: &ServerError) -> u64 {
    let key = match error {
        ServerError::Value { key, .. } | ServerError::Deployment(DeploymentError::Value { key, .. }) => *key,
        ServerError::Deployment(_) => "deployment",
    };
    let rest: String = text
        .lines()
        .skip(start as usize - 1)
        .flat_map(|line| [line, "\n"])
        .collect();
    yaml::line_of(&rest, key).map_or(start, |line| start + line - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: &str = "
# a panel
servers:
  - name: small
    engine: {batch: 8, step_ms: 20}
    lengths:
      input: {distribution: fixed, tokens: 128}
      output: {distribution: fixed, tokens: 128}
  - name: grid
    engine: {batch: 64, step_ms: 20, step_ms_per_sequence: 0.3, prefill_ms_per_token: 0.02}
    grid: {input: [16, 32], output: [8, 64, 128]}
";

    fn read_text(text: &str) -> Result<Vec<Server>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("panel.yml");
        std::fs::write(&path, text).unwrap();
        let base = format!("{}/", folder.path().display());
        read(&path).map_err(|error| error.to_string().replace(&base, ""))
    }

    #[test]
    fn a_file_holds_several_servers() {
        let servers = read_text(PANEL).unwrap();
        let names: Vec<&str> = servers.iter().map(Server::name).collect();
        assert_eq!(names, ["small", "grid"]);
        assert!(servers[0].pairs().is_empty());
        assert_eq!(servers[1].pairs().len(), 6);
        let cell = servers[1].at(servers[1].pairs()[5]);
        assert_eq!(cell.name(), "grid 32:128");
        assert_eq!(cell.lengths.map(|l| l.min()), [32, 128]);
    }

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        for (from, to, told) in [
            (
                "batch: 8, ",
                "bach: 8, ",
                "panel.yml:5: `bach` is not a key here; did you mean batch?",
            ),
            (
                "batch: 8, ",
                "batch: 0, ",
                "panel.yml:5: server `small`: batch: 0 does not do; write a number from 1",
            ),
            (
                "output: [8, 64, 128]",
                "output: []",
                "panel.yml:11: server `grid`: grid: write at least one",
            ),
            (
                "name: grid",
                "name: small",
                "panel.yml:9: server `small`: another server has this name",
            ),
            (
                "step_ms_per_sequence: 0.3",
                "kv_tokens: 159",
                "panel.yml:9: server `grid`: lengths: requests of up to 32 + 128 tokens do not fit the 144",
            ),
            (
                "    engine: {batch: 8, step_ms: 20}\n",
                "",
                "panel.yml:4: server `small`: name: a server needs either `engine` or `deployment`",
            ),
            (
                "name: small\n",
                "name: small\n    drain_s: -1\n",
                "panel.yml:5: server `small`: drain_s: -1 does not do; write seconds",
            ),
        ] {
            let error = read_text(&PANEL.replace(from, to)).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }

    const EVERYTHING: &str = "
servers:
  - name: everything
    engine:
      batch: 8
      step_ms: 20
      step_ms_per_sequence: 0.1
      prefill_ms_per_token: 0.02
      chunk_tokens: 512
      kv_tokens: 9000
      block_tokens: 32
      prefix_caching: true
    replicas: 2
    router: {scheduler: lor}
    noise: 0.1
    lengths:
      input: {distribution: lognormal, mean: 100, std: 80, max: 900}
      output: {distribution: empirical, values: [10, 200], weights: [3, 1]}
    prefixes: {count: 10, tokens: 64}
    stalls: {every_s: 60, for_s: 2}
    slow_start: {for_s: 30, speed: 0.5}
    slow_down: {to_speed: 0.9, over_s: 600}
    neighbour:
      per_minute: 30
      on_s: 60
      off_s: 60
      lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: fixed, tokens: 64}}
    rate_limit: {per_minute: 900, burst: 20}
    queue_limit: 50
    jitter_ms: 5
    success_rate_percent: 90
    drain_s: 60
";

    #[test]
    fn all_keys_go_together() {
        let servers = read_text(EVERYTHING).unwrap();
        assert!(!servers[0].is_stationary());
        assert_eq!(servers[0].success_rate_percent(), 90.0);
        let load = crate::accuracy::Load {
            rate: crate::units::Rate::per_minute(600.0),
            duration_s: 120.0,
            arrival: crate::workload::Arrival::Stratified,
            seed: 1,
        };
        let seen = servers[0].trial(&load, &mut |_| crate::criterion::Flow::Continue);
        assert_eq!(seen.records.len(), 1_200);
        assert!(seen.records.iter().any(|r| r.outcome.is_ok()));
        assert!(seen.records.iter().all(|r| r.outcome.is_finished()));
    }

    #[test]
    fn what_cannot_go_wrong_so_is_named() {
        for (from, to, told) in [
            (
                "for_s: 2",
                "for_s: 60",
                "panel.yml:20: server `everything`: stalls: 60 s every 60 s do not do",
            ),
            (
                "speed: 0.5",
                "speed: 0",
                "panel.yml:21: server `everything`: slow_start: write for_s",
            ),
            (
                "to_speed: 0.9",
                "to_speed: -1",
                "panel.yml:22: server `everything`: slow_down: write over_s",
            ),
            (
                "per_minute: 30",
                "per_minute: 0",
                "panel.yml:23: server `everything`: neighbour: write per_minute",
            ),
            (
                "burst: 20",
                "burst: 0",
                "panel.yml:28: server `everything`: rate_limit: write per_minute",
            ),
            (
                "queue_limit: 50",
                "queue_limit: 0",
                "panel.yml:29: server `everything`: queue_limit: 0 lets nothing in",
            ),
            (
                "jitter_ms: 5",
                "jitter_ms: -5",
                "panel.yml:30: server `everything`: jitter_ms: -5 does not do",
            ),
            (
                "count: 10",
                "count: 0",
                "panel.yml:19: server `everything`: prefixes: 0 prefixes",
            ),
            (
                "noise: 0.1",
                "noise: 3",
                "panel.yml:15: server `everything`: noise: 3 is not a coefficient",
            ),
        ] {
            let error = read_text(&EVERYTHING.replace(from, to)).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
