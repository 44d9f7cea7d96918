//! What of a page of metrics tells how loaded a server is, in the names of vLLM and llama.cpp.

use std::fmt;

use super::exposition::samples;

/// Whose names the metrics have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// vLLM, and the embedded endpoint.
    Vllm,
    /// llama.cpp.
    LlamaCpp,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama.cpp",
        })
    }
}

/// How loaded a server is. `None` is what it does not offer. Counts are those of all its engines together, shares the
/// largest of theirs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gauges {
    /// Whose names the metrics have.
    pub engine: Engine,
    /// Requests in the batch.
    pub running: Option<f64>,
    /// Requests that wait for a place in it.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_cache_usage: Option<f64>,
    /// Preemptions since the server's start.
    pub preemptions: Option<f64>,
    /// Prompt tokens looked up in the prefix cache since the start.
    pub prefix_queries: Option<f64>,
    /// Prompt tokens found there.
    pub prefix_hits: Option<f64>,
}

impl Gauges {
    /// Those of a page; `None` where it has neither a running nor a waiting count.
    pub fn read(page: &str) -> Option<Self> {
        let mut gauges = Self {
            engine: Engine::Vllm,
            running: None,
            waiting: None,
            kv_cache_usage: None,
            preemptions: None,
            prefix_queries: None,
            prefix_hits: None,
        };
        // Under names that vLLM has given up, in case the newer ones are not there: use, queries, hits.
        let mut older = [None; 3];
        for sample in samples(page) {
            // vLLM says NaN of what it has not measured yet.
            if !sample.value.is_finite() {
                continue;
            }
            let (place, shared) = match sample.name {
                "vllm:num_requests_running" | "llamacpp:requests_processing" => (&mut gauges.running, false),
                "vllm:num_requests_waiting" | "llamacpp:requests_deferred" => (&mut gauges.waiting, false),
                "vllm:kv_cache_usage_perc" | "llamacpp:kv_cache_usage_ratio" => {
                    (&mut gauges.kv_cache_usage, true)
                }
                "vllm:gpu_cache_usage_perc" => (&mut older[0], true),
                "vllm:num_preemptions_total" => (&mut gauges.preemptions, false),
                "vllm:prefix_cache_queries_total" => (&mut gauges.prefix_queries, false),
                "vllm:gpu_prefix_cache_queries_total" => (&mut older[1], false),
                "vllm:prefix_cache_hits_total" => (&mut gauges.prefix_hits, false),
                "vllm:gpu_prefix_cache_hits_total" => (&mut older[2], false),
                _ => continue,
            };
            let before = place.unwrap_or(0.0);
            *place = Some(if shared {
                before.max(sample.value)
            } else {
                before + sample.value
            });
            if sample.name.starts_with("llamacpp:") {
                gauges.engine = Engine::LlamaCpp;
            }
        }
        gauges.kv_cache_usage = gauges.kv_cache_usage.or(older[0]);
        gauges.prefix_queries = gauges.prefix_queries.or(older[1]);
        gauges.prefix_hits = gauges.prefix_hits.or(older[2]);
        (gauges.running.is_some() || gauges.waiting.is_some()).then_some(gauges)
    }

    /// Requests that run or wait.
    pub fn present(&self) -> f64 {
        self.running.unwrap_or(0.0) + self.waiting.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_file(name: &str) -> Gauges {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics/");
        let page = std::fs::read_to_string(format!("{folder}{name}")).unwrap();
        Gauges::read(&page).unwrap()
    }

    #[test]
    fn real_servers_are_understood() {
        let vllm = sample_file("vllm_under_load.prom");
        assert_eq!(
            (vllm.engine, vllm.running, vllm.waiting),
            (Engine::Vllm, Some(16.0), Some(104.0))
        );
        assert_eq!(vllm.kv_cache_usage, Some(0.044_077_134_986_225_9));
        assert_eq!(
            (vllm.preemptions, vllm.prefix_queries, vllm.prefix_hits),
            (Some(0.0), Some(0.0), Some(0.0))
        );
        assert_eq!(vllm.present(), 120.0);
        assert_eq!(sample_file("vllm_idle.prom").present(), 0.0);
        let llama = sample_file("llamacpp_under_load.prom");
        assert_eq!(
            (llama.engine, llama.running, llama.waiting),
            (Engine::LlamaCpp, Some(16.0), Some(24.0))
        );
        assert_eq!((llama.kv_cache_usage, llama.preemptions), (None, None));
        assert_eq!(sample_file("llamacpp_idle.prom").present(), 0.0);
    }

    #[test]
    fn engines_are_added_and_the_fullest_cache_counts() {
        let page = "vllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_running{engine=\"1\"} 4\n\
                    vllm:num_requests_waiting{engine=\"0\"} 0\nvllm:num_requests_waiting{engine=\"1\"} NaN\n\
                    vllm:gpu_cache_usage_perc{engine=\"0\"} 0.25\nvllm:gpu_cache_usage_perc{engine=\"1\"} 0.5\n\
                    vllm:num_preemptions_total{engine=\"0\"} 2\nvllm:num_preemptions_total{engine=\"1\"} 5\n\
                    vllm:num_preemptions_created{engine=\"1\"} 1e9\n";
        let gauges = Gauges::read(page).unwrap();
        assert_eq!((gauges.running, gauges.waiting), (Some(7.0), Some(0.0)));
        assert_eq!(
            (gauges.kv_cache_usage, gauges.preemptions),
            (Some(0.5), Some(7.0))
        );
        let both = Gauges::read(
            "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.3",
        );
        assert_eq!(both.unwrap().kv_cache_usage, Some(0.3));
    }

    #[test]
    fn other_pages_are_none() {
        for page in [
            "",
            "<html>login</html>",
            "go_goroutines 8\n",
            "vllm:num_requests_running NaN",
        ] {
            assert_eq!(Gauges::read(page), None, "{page}");
        }
    }
}
