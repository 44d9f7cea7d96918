//! Counters and histograms in vLLM's names (version 0.32), as Prometheus text. Times are the replica's.

use std::fmt::Write;

use crate::sim::Time;
use crate::sim::affine::Counts;

/// vLLM's bounds for the first token, in seconds.
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
/// vLLM's bounds for times between tokens, in seconds.
const PER_TOKEN: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
/// vLLM's bounds for phases of a request, in seconds.
const REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

/// A cumulative histogram of seconds.
pub(super) struct Histogram {
    bounds: &'static [f64],
    /// Observations in each bucket, not cumulative; the last is beyond all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    pub(super) fn observe(&mut self, span: Time) {
        let seconds = span.as_seconds();
        let bucket = self.bounds.partition_point(|&bound| bound < seconds);
        self.counts[bucket] += 1;
        self.sum += seconds;
    }
}

/// Everything that `/metrics` tells beyond the present state.
pub(super) struct Metrics {
    pub(super) prompt_tokens: u64,
    pub(super) generation_tokens: u64,
    pub(super) aborted: u64,
    pub(super) rejected: u64,
    pub(super) max_lag_s: f64,
    lag_sum_s: f64,
    finished_length: u64,
    finished_stop: u64,
    pub(super) first_token: Histogram,
    pub(super) inter_token: Histogram,
    pub(super) per_token: Histogram,
    pub(super) whole_request: Histogram,
    pub(super) queue_time: Histogram,
    pub(super) prefill_time: Histogram,
    pub(super) decode_time: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            prompt_tokens: 0,
            generation_tokens: 0,
            aborted: 0,
            rejected: 0,
            max_lag_s: 0.0,
            lag_sum_s: 0.0,
            finished_length: 0,
            finished_stop: 0,
            first_token: Histogram::new(FIRST_TOKEN),
            inter_token: Histogram::new(PER_TOKEN),
            per_token: Histogram::new(PER_TOKEN),
            whole_request: Histogram::new(REQUEST),
            queue_time: Histogram::new(REQUEST),
            prefill_time: Histogram::new(REQUEST),
            decode_time: Histogram::new(REQUEST),
        }
    }
}

impl Metrics {
    /// A request ended with `reason`, `length` or `stop`.
    pub(super) fn finished(&mut self, reason: &str) {
        if reason == "stop" {
            self.finished_stop += 1;
        } else {
            self.finished_length += 1;
        }
    }

    /// The tokens of a step were delivered `lag` after its end.
    pub(super) fn observe_lag(&mut self, lag: Time) {
        self.max_lag_s = self.max_lag_s.max(lag.as_seconds());
        self.lag_sum_s += lag.as_seconds();
    }

    /// Prometheus text, version 0.0.4.
    pub(super) fn render(&self, model: &str, counts: Counts, kv_share: f64, steps: u64) -> String {
        let model = model
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let mut page = Page {
            text: String::with_capacity(16_384),
            labels: format!("engine=\"0\",model_name=\"{model}\""),
        };
        page.gauge(
            "vllm:num_requests_running",
            "Requests in the batch.",
            counts.running.into(),
        );
        page.gauge(
            "vllm:num_requests_waiting",
            "Requests in the queue.",
            counts.waiting.into(),
        );
        page.gauge(
            "vllm:kv_cache_usage_perc",
            "Reserved share of the KV cache, 0 to 1; 0 where it has no limit.",
            kv_share,
        );
        for (name, help, value) in [
            (
                "vllm:num_preemptions_total",
                "Preemptions; this server never preempts.",
                0,
            ),
            (
                "vllm:prompt_tokens_total",
                "Prompt tokens processed.",
                self.prompt_tokens,
            ),
            (
                "vllm:generation_tokens_total",
                "Tokens generated.",
                self.generation_tokens,
            ),
        ] {
            page.counter(name, help, &[("", value)]);
        }
        page.counter(
            "vllm:request_success_total",
            "Requests that ended, by reason.",
            &[
                ("finished_reason=\"stop\"", self.finished_stop),
                ("finished_reason=\"length\"", self.finished_length),
                ("finished_reason=\"abort\"", self.aborted),
            ],
        );
        page.counter(
            "vllm:admission_rejections_total",
            "Requests refused by a queue limit, by reason.",
            &[("reason=\"max_num_queued_reqs\"", self.rejected)],
        );
        for (name, help, histogram) in [
            (
                "time_to_first_token",
                "Arrival to first token.",
                &self.first_token,
            ),
            (
                "inter_token_latency",
                "Between successive tokens.",
                &self.inter_token,
            ),
            (
                "request_time_per_output_token",
                "Mean time between the tokens of a request.",
                &self.per_token,
            ),
            (
                "e2e_request_latency",
                "Arrival to last token.",
                &self.whole_request,
            ),
            ("request_queue_time", "Time in the queue.", &self.queue_time),
            (
                "request_prefill_time",
                "Admission to first token.",
                &self.prefill_time,
            ),
            ("request_decode_time", "First to last token.", &self.decode_time),
        ] {
            page.histogram(&format!("vllm:{name}_seconds"), help, histogram);
        }
        page.gauge(
            "mst:pacing_lag_seconds",
            "Largest delay of a step's tokens behind the replica's virtual time.",
            self.max_lag_s,
        );
        page.gauge(
            "mst:pacing_lag_sum_seconds",
            "Sum of these delays over all steps.",
            self.lag_sum_s,
        );
        page.counter("mst:steps_total", "Steps begun.", &[("", steps)]);
        page.text
    }
}

/// Prometheus text in the making.
struct Page {
    text: String,
    labels: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, help, "gauge");
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, values: &[(&str, u64)]) {
        self.family(name, help, "counter");
        for (label, value) in values {
            self.sample(name, label, *value as f64);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            total += count;
            self.sample(&bucket, &format!("le=\"{bound:?}\""), total as f64);
        }
        total += histogram.counts[histogram.bounds.len()];
        self.sample(&bucket, "le=\"+Inf\"", total as f64);
        self.sample(&format!("{name}_count"), "", total as f64);
        self.sample(&format!("{name}_sum"), "", histogram.sum);
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a string can be written to");
    }

    fn sample(&mut self, name: &str, label: &str, value: f64) {
        let labels = &self.labels;
        let comma = if label.is_empty() { "" } else { "," };
        writeln!(self.text, "{name}{{{labels}{comma}{label}}} {value:?}")
            .expect("a string can be written to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulative() {
        let mut metrics = Metrics::default();
        for seconds in [0.001, 0.3, 9_999.0] {
            metrics.first_token.observe(Time::from_seconds(seconds));
        }
        let text = metrics.render("a\"b", Counts::default(), 0.5, 3);
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        let labels = r#"engine="0",model_name="a\"b""#;
        let name = "vllm:time_to_first_token_seconds";
        has(&format!("{name}_bucket{{{labels},le=\"0.001\"}} 1.0"));
        has(&format!("{name}_bucket{{{labels},le=\"0.5\"}} 2.0"));
        has(&format!("{name}_bucket{{{labels},le=\"+Inf\"}} 3.0"));
        has(&format!("{name}_count{{{labels}}} 3.0"));
        has(&format!("vllm:kv_cache_usage_perc{{{labels}}} 0.5"));
        has(&format!("# TYPE {name} histogram"));
    }
}
