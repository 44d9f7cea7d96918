//! Whether a trial met an objective.

use serde_json::json;

use super::drift::Drift;
use super::{Criterion, Earlier, Flow, Goal, Progress, Ruling, Verdict};
use crate::slo::objective::{Judged, Objective, Policy, Quantity, Seen};
use crate::slo::prefill::PrefillCurve;
use crate::slo::timings::{Fate, Timings};
use crate::trial::{Estimate, Measurement};

/// An objective as a criterion. The margin is the logarithm of bound over observed value; it is met above zero.
#[derive(Clone, Debug)]
pub struct SloMet {
    /// The objective.
    pub objective: Objective,
    /// Whether failed and unfinished requests violate it.
    pub failures: bool,
    /// What prompts take on an idle server, where deadlines are predicted.
    pub curve: Option<PrefillCurve>,
    /// Seconds after which a trial sends no more.
    pub limit_s: Option<f64>,
    /// Whether a trial whose backlog grows beyond doubt fails, whatever the latencies of its requests: a service that falls
    /// behind keeps, for example, the times between tokens at any load.
    pub sustained: bool,
}

impl SloMet {
    /// The name that settings and reports use.
    pub const NAME: &'static str = "slo";
    /// A name by which verdicts carry the wait for the first iteration, seconds at the quantile that is judged.
    pub const DELAY: &'static str = "scheduling_delay_s";

    /// The share of the load that was not served, where that is beyond doubt, and what it says about the capacity.
    fn overloaded(&self, measurement: &Measurement) -> Option<(Seen, Estimate)> {
        if !self.sustained {
            return None;
        }
        // Failures are the objective's own business.
        let verdict = Drift::new(0.0).judge(measurement, &Earlier::default());
        let unserved = verdict
            .margin
            .filter(|_| verdict.ruling == Ruling::Unsustainable)?;
        let bound = verdict.bound?;
        let seen = Seen {
            metric: "unserved_load".to_owned(),
            // Not a share of requests: less is better.
            statistic: "mean".to_owned(),
            class: None,
            bound,
            observed: Some(unserved.value),
            interval: [Some(unserved.low), Some(unserved.high)],
            at_least: false,
            margin: Some(bound - unserved.value),
            met: Some(false),
        };
        // What is served is the capacity: the logarithm of capacity over rate.
        let log = |share: f64| (1.0 - share).max(0.3).ln();
        let margin = Estimate {
            value: log(unserved.value),
            low: log(unserved.high),
            high: log(unserved.low),
        };
        Some((seen, margin))
    }

    /// What was seen of a trial.
    pub fn see(&self, timings: &Timings) -> Judged {
        let policy = Policy {
            failures: self.failures,
            curve: self.curve.as_ref(),
        };
        self.objective.judge(timings, &policy)
    }
}

impl Criterion for SloMet {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    /// A trial that was ended before all its requests were sent meets nothing; that it does not meet the objective is only
    /// said where the requests that are missing, each without any delay, could not mend it, or where the whole interval of
    /// what was seen is beyond the bound.
    fn judge(&self, measurement: &Measurement, _earlier: &Earlier<'_>) -> Verdict {
        let timings = Timings::of(measurement);
        let mut judged = self.see(&timings);
        let missing = missing(measurement);
        let mut reasons = Vec::new();
        if missing > 0 {
            let mended = self.see(&timings.with_ideal(missing));
            for (seen, mended) in judged.seen.iter_mut().zip(&mended.seen) {
                let stays = mended.met == Some(false) || seen.is_beyond_doubt();
                seen.met = seen.met.filter(|met| !met && stays);
            }
            let total = missing + measurement.records.len();
            reasons.push(format!(
                "the trial was ended when {missing} of its {total} requests had not been sent"
            ));
            let beyond_doubt = judged.met == Some(false) && judged.log_margin.high < 0.0;
            if mended.met != Some(false) && !beyond_doubt {
                judged.met = None;
            }
            if let Some(binding) = judged.seen.get_mut(judged.binding).filter(|_| beyond_doubt) {
                binding.met = Some(false);
            }
        }
        if let Some((seen, margin)) = self.overloaded(measurement) {
            judged.met = Some(false);
            if margin.value < judged.log_margin.value {
                (judged.binding, judged.log_margin) = (judged.seen.len(), margin);
            }
            judged.seen.push(seen);
        }
        let ruling = match judged.met {
            Some(true) => Ruling::Sustainable,
            Some(false) => Ruling::Unsustainable,
            None => Ruling::Unsure,
        };
        let count = |fate: Fate| timings.requests().iter().filter(|r| r.fate == fate).count();
        let (failed, open) = (count(Fate::Failed), count(Fate::Open));
        if let Some(seen) = judged.seen.get(judged.binding) {
            reasons.insert(0, told(seen));
        }
        if failed + open > 0 {
            let total = timings.requests().len();
            reasons.push(format!(
                "{failed} of {total} requests failed, {open} were not finished"
            ));
        }
        let delay = judged
            .seen
            .iter()
            .find(|seen| seen.metric == Quantity::SchedulingDelay.name())
            .and_then(|seen| seen.observed);
        Verdict {
            criterion: Self::NAME.to_owned(),
            ruling,
            margin: Some(judged.log_margin),
            bound: Some(0.0),
            capacity_hint: None,
            reasons,
            statistics: json!({
                "slos": judged.seen, "binding": judged.binding, Self::DELAY: delay,
                "requests": timings.requests().len(), "failed": failed, "open": open,
            }),
        }
    }

    fn watch(&self, so_far: &Progress, _goal: Goal) -> Flow {
        if self.limit_s.is_some_and(|limit| so_far.elapsed_s >= limit) {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

/// Requests that the trial should have had and has not.
fn missing(measurement: &Measurement) -> usize {
    if !measurement.stopped_early || measurement.offered_s <= 0.0 {
        return 0;
    }
    let had = measurement.records.len() as f64;
    let whole = had * measurement.duration_s / measurement.offered_s;
    let by_rate = measurement.asked.as_per_second() * measurement.duration_s;
    // At least one: something was missing.
    (whole.max(by_rate) - had).ceil().max(1.0) as usize
}

/// A bound in words.
fn told(seen: &Seen) -> String {
    let Seen {
        metric,
        statistic,
        bound,
        ..
    } = seen;
    let class = seen
        .class
        .map_or(String::new(), |class| format!(" of class {class}"));
    let word = match seen.met {
        Some(true) => "met",
        Some(false) => "not met",
        None => "not told",
    };
    match seen.observed {
        Some(value) if statistic == "share" => {
            format!(
                "{metric} for {:.2} % of the requests{class}, {:.2} % asked: {word}",
                100.0 * value,
                100.0 * bound
            )
        }
        Some(value) => format!("{metric} {statistic}{class} {value:.4} of {bound}: {word}"),
        None => format!("{metric} {statistic}{class}, bound {bound}: {word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::objective::Entry;
    use crate::trial::{ClientHealth, Outcome, RequestRecord, TokenTimes};
    use crate::units::Rate;

    fn record(i: i64, ttft_ms: i64, outcome: Outcome) -> RequestRecord {
        let intended_ns = i * 100_000_000;
        RequestRecord {
            intended_ns,
            sent_ns: Some(intended_ns),
            first_token_ns: outcome.is_ok().then_some(intended_ns + ttft_ms * 1_000_000),
            done_ns: outcome
                .is_finished()
                .then_some(intended_ns + (ttft_ms + 10) * 1_000_000),
            class: 0,
            input_tokens: 10,
            output_tokens: if outcome.is_ok() { 2 } else { 0 },
            outcome,
        }
    }

    fn measured(records: Vec<RequestRecord>) -> Measurement {
        let mut tokens = TokenTimes::with_capacity(records.len());
        for record in &records {
            tokens.push(if record.outcome.is_ok() { &[10_000] } else { &[] });
        }
        let seconds = records.len() as f64 / 10.0;
        Measurement {
            asked: Rate::per_second(10.0),
            duration_s: seconds,
            offered_s: seconds,
            observed_s: seconds + 1.0,
            epoch_ns: 0,
            records,
            client: ClientHealth::default(),
            planned_output: Some(2.0),
            stopped_early: false,
            tokens: Some(tokens),
        }
    }

    fn criterion(yaml: &str, failures: bool) -> SloMet {
        let entry: Entry = serde_saphyr::from_str(yaml).unwrap();
        SloMet {
            objective: entry.objective().unwrap(),
            failures,
            curve: None,
            limit_s: None,
            sustained: false,
        }
    }

    fn ruling(slo: &SloMet, measurement: &Measurement) -> Ruling {
        slo.judge(measurement, &Earlier::default()).ruling
    }

    const TTFT: &str = "{metric: ttft, quantile: 0.9, max: 0.06}";

    #[test]
    fn failures_violate_unless_they_are_not_to_count() {
        let mut records: Vec<RequestRecord> = (0..100).map(|i| record(i, 50, Outcome::Ok)).collect();
        assert_eq!(
            ruling(&criterion(TTFT, true), &measured(records.clone())),
            Ruling::Sustainable
        );
        for record in &mut records[0..15] {
            record.outcome = Outcome::Http(503);
            record.first_token_ns = None;
        }
        let shed = measured(records);
        assert_eq!(ruling(&criterion(TTFT, true), &shed), Ruling::Unsustainable);
        assert_eq!(ruling(&criterion(TTFT, false), &shed), Ruling::Sustainable);
        let rate = criterion("{metric: error_rate, max: 0.1}", false);
        assert_eq!(ruling(&rate, &shed), Ruling::Unsustainable);
        let gaps = criterion("{metric: tbt, quantile: 0.8, max: 0.02}", true);
        assert_eq!(ruling(&gaps, &shed), Ruling::Sustainable);
        let gaps = criterion("{metric: tbt, quantile: 0.9, max: 0.02}", true);
        assert_eq!(ruling(&gaps, &shed), Ruling::Unsustainable);
    }

    #[test]
    fn what_was_not_finished_is_at_least_as_long_as_had_passed() {
        // The last fifteen never got a token: of the first of these 2.5 s had passed, of the last 1.1 s.
        let records: Vec<RequestRecord> = (0..100)
            .map(|i| record(i, 50, if i < 85 { Outcome::Ok } else { Outcome::Unfinished }))
            .collect();
        let cut = measured(records);
        let counted = criterion(TTFT, true).judge(&cut, &Earlier::default());
        assert_eq!(counted.ruling, Ruling::Unsustainable);
        assert_eq!(counted.statistics["open"], 15);
        // Longer than the bound in any case, so that they decide even where failures do not count.
        assert_eq!(ruling(&criterion(TTFT, false), &cut), Ruling::Unsustainable);
        let loose = "{metric: ttft, quantile: 0.9, max: 30}";
        assert_eq!(ruling(&criterion(loose, false), &cut), Ruling::Unsure);
        assert_eq!(ruling(&criterion(loose, true), &cut), Ruling::Unsustainable);
    }

    #[test]
    fn a_part_of_a_trial_meets_nothing() {
        let mut part = measured((0..50).map(|i| record(i, 50, Outcome::Ok)).collect());
        part.stopped_early = true;
        part.duration_s = 10.0;
        assert_eq!(ruling(&criterion(TTFT, true), &part), Ruling::Unsure);
        // Five late ones of a hundred at most can still be a twentieth, forty cannot.
        let late = |count: i64| {
            let mut part = measured(
                (0..50)
                    .map(|i| record(i, if i < count { 500 } else { 50 }, Outcome::Ok))
                    .collect(),
            );
            (part.stopped_early, part.duration_s) = (true, 10.0);
            part
        };
        assert_eq!(ruling(&criterion(TTFT, true), &late(8)), Ruling::Unsure);
        assert_eq!(ruling(&criterion(TTFT, true), &late(40)), Ruling::Unsustainable);
    }

    #[test]
    fn without_token_times_nothing_is_said_of_gaps() {
        let mut blind = measured((0..50).map(|i| record(i, 50, Outcome::Ok)).collect());
        blind.tokens = None;
        let delay = criterion("{metric: scheduling_delay, quantile: 0.5, max: 2}", true);
        assert_eq!(ruling(&delay, &blind), Ruling::Unsure);
        let gaps = criterion("{metric: tbt, quantile: 0.5, max: 2}", true);
        assert_eq!(ruling(&gaps, &blind), Ruling::Unsure);
        // The mean needs the ends only.
        let mean = criterion("{metric: tpot, quantile: 0.5, max: 0.02}", true);
        assert_eq!(ruling(&mean, &blind), Ruling::Sustainable);
    }
}
