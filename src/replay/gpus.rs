//! Allocation of GPUs: sequences of requests and releases.

use serde::Deserialize;
use serde_json::{Value, json};

use super::compare::{Comparison, Nearness};
use super::{Case, Malformed};
use crate::capacity::gpus::{Gpu, Gpus};

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Step {
    Get {
        gpus: usize,
        #[serde(default)]
        granted: Value,
    },
    Release {
        of_step: usize,
    },
}

pub(super) fn replay(file: &Value) -> Result<Vec<Case>, Malformed> {
    let source = file.get("source").and_then(Value::as_str).unwrap_or("");
    let (nodes, of_node) = cluster(source, file)?;
    Ok(super::each(file, "sequences", |path, sequence| {
        let steps: Vec<Step> = super::given(path, sequence)?;
        let number = path.trim_start_matches("sequences[").trim_end_matches(']');
        let mut comparison = Comparison::at(path);
        let mut gpus = Gpus::new(nodes.len(), of_node);
        let mut held: Vec<Vec<Gpu>> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let mut taken = Vec::new();
            match step {
                Step::Get { gpus: count, granted } => {
                    // One that can never be granted waits for ever.
                    let ours = gpus.take(*count).unwrap_or(None);
                    let told = ours.as_ref().map_or(Value::Null, |granted| {
                        granted
                            .iter()
                            .map(|&(node, gpu)| json!([nodes[node], gpu]))
                            .collect()
                    });
                    let below = format!("[{index}].granted");
                    comparison.value(&below, Some(granted), &told, Nearness::Exact);
                    taken = ours.unwrap_or_default();
                }
                Step::Release { of_step } => {
                    let back = held.get_mut(*of_step).map(std::mem::take);
                    gpus.release(&back.unwrap_or_default());
                }
            }
            held.push(taken);
        }
        Ok(Case::new(format!("sequence {number}"), comparison.first()))
    }))
}

/// The names of the nodes and the GPUs of each: from the source, as `2 nodes (node:a,node:b) x 4 GPUs`.
fn cluster(source: &str, file: &Value) -> Result<(Vec<String>, usize), Malformed> {
    let listed = || {
        let (_, rest) = source.split_once('(')?;
        let (names, rest) = rest.split_once(')')?;
        let count = rest.split_whitespace().find_map(|word| word.parse().ok())?;
        let names = names.split(',').map(|name| name.trim().to_owned()).collect();
        Some((names, count))
    };
    let fields = || {
        let nodes = file.get("nodes")?.as_array()?.iter();
        let names = nodes
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        let count = file.get("gpus_per_node")?.as_u64()?;
        Some((names, count as usize))
    };
    listed().or_else(fields).ok_or_else(|| {
        Malformed(
            "source: the cluster is not told; write for example `2 nodes (node:a,node:b) x 4 GPUs`"
                .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_read_from_the_source() {
        let source = "a manager; cluster of 2 nodes (node:a,node:b) x 4 GPUs";
        let expected = (vec!["node:a".to_owned(), "node:b".to_owned()], 4);
        assert_eq!(cluster(source, &Value::Null), Ok(expected));
        assert!(cluster("nothing", &Value::Null).is_err());
        let fields = json!({"nodes": ["x"], "gpus_per_node": 8});
        assert_eq!(cluster("", &fields), Ok((vec!["x".to_owned()], 8)));
    }
}
