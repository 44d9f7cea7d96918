//! From the requests of a trial to a judgement with its margin, and how sure that is.

use serde::{Deserialize, Serialize};

use super::rows::{Choice, Rows};
use super::{Goodput, Limit, Objective, Quantity, Statistic, Term};
use crate::slo::Joint;
use crate::slo::prefill::PrefillCurve;
use crate::slo::timings::Timings;
use crate::trial::Estimate;

/// Half a 95 % interval in standard deviations.
const HALF: f64 = 1.96;
/// Stretches of requests whose spread tells how much successive requests resemble one another.
const BATCHES: usize = 25;
/// Beyond this a margin, a logarithm, says no more than its sign.
pub(super) const WIDE: f64 = 1.0;

/// What counts.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Whether failed, refused and unfinished requests violate an objective. Else failed ones are left out, as the published
    /// tools do it, and of unfinished ones only what had passed is known.
    pub failures: bool,
    /// What prompts take on an idle server.
    pub curve: Option<&'a PrefillCurve>,
}

/// One bound as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The metric, or the bounds of a goodput.
    pub metric: String,
    /// The statistic: `p99`, `mean`, `max`, `share`.
    pub statistic: String,
    /// The workload class that it is of, where it is not of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u16>,
    /// What it is held against.
    pub bound: f64,
    /// The statistic; nothing where it is infinite, because too much failed, or there is nothing to take it of.
    pub observed: Option<f64>,
    /// 95 % interval of `observed`: order statistics whose ranks allow for successive requests being alike. An end that
    /// the trial was too short to see is missing.
    pub interval: [Option<f64>; 2],
    /// Whether `observed` is a lower bound only, because requests were not finished.
    pub at_least: bool,
    /// Room left: the share of the bound; for a share of requests the share beyond the bound. Negative when it is not met;
    /// nothing where it is not met for what was not finished, though what is known of it is within the bound.
    pub margin: Option<f64>,
    /// Whether it is met; nothing where that cannot be told.
    pub met: Option<bool>,
}

impl Seen {
    /// Metric and statistic, and the class where it is of one.
    pub fn title(&self) -> String {
        let class = self
            .class
            .map_or(String::new(), |class| format!(" of class {class}"));
        format!("{} {}{class}", self.metric, self.statistic)
    }

    /// Whether all of the 95 % interval is beyond the bound.
    pub fn is_beyond_doubt(&self) -> bool {
        match self.interval {
            [_, high] if self.statistic == "share" => high.is_some_and(|high| high < self.bound),
            [low, _] => low.is_some_and(|low| low > self.bound),
        }
    }
}

/// An objective as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Whether it is met; nothing where that cannot be told.
    pub met: Option<bool>,
    /// Its bounds, in order.
    pub seen: Vec<Seen>,
    /// The one that decides: with `all` the nearest to its bound or furthest beyond it, with `any` the one with most room.
    pub binding: usize,
    /// The logarithm of bound over observed value of that one, however far it is.
    room: f64,
    /// The logarithm of bound over observed value of that one, within one up or down, with its 95 % interval: comparable
    /// between rates. For a share of requests the logarithm of violations that are allowed over those that were seen.
    pub log_margin: Estimate,
}

impl Objective {
    /// Judges a trial.
    pub fn judge(&self, timings: &Timings, policy: &Policy<'_>) -> Judged {
        match self {
            Self::Term(term) => single(term_seen(term, timings, policy), term.class),
            Self::Goodput(goodput) => single(goodput_seen(goodput, timings, policy), goodput.class),
            Self::All(parts) => joined(parts.iter().map(|p| p.judge(timings, policy)), Joint::And),
            Self::Any(parts) => joined(parts.iter().map(|p| p.judge(timings, policy)), Joint::Or),
        }
    }
}

fn single((seen, log_margin): (Seen, Estimate), class: Option<u16>) -> Judged {
    let seen = Seen { class, ..seen };
    Judged {
        met: seen.met,
        binding: 0,
        room: room(&seen),
        log_margin,
        seen: vec![seen],
    }
}

/// The logarithm of bound over observed value; of a share that of violations allowed over seen. Nothing limits it, so that of two
/// bounds that are far from being met the further one is known.
fn room(seen: &Seen) -> f64 {
    match (seen.observed, seen.met) {
        (None, Some(false)) => f64::NEG_INFINITY,
        (None, _) => 0.0,
        // Within the bound, but for what was not finished.
        (Some(_), Some(false)) if seen.margin.is_none() => f64::NEG_INFINITY,
        (Some(observed), _) if seen.statistic == "share" => {
            let least = 1e-9;
            ((1.0 - seen.bound).max(least) / (1.0 - observed).max(least)).ln()
        }
        // A bound of zero that is met leaves no room.
        (Some(observed), _) if observed <= seen.bound && seen.bound <= 0.0 => 0.0,
        (Some(observed), _) => (seen.bound / observed).ln(),
    }
}

fn joined(parts: impl Iterator<Item = Judged>, joint: Joint) -> Judged {
    // What settles it at once: with `and` a bound that is not met, with `or` one that is.
    let settling = joint == Joint::Or;
    let mut all: Option<Judged> = None;
    for part in parts {
        let Some(before) = &mut all else {
            all = Some(part);
            continue;
        };
        before.met = match (before.met, part.met) {
            (a, b) if a == Some(settling) || b == Some(settling) => Some(settling),
            (Some(_), Some(_)) => Some(!settling),
            _ => None,
        };
        let decides = |old: f64, new: f64| match joint {
            Joint::And => new < old,
            Joint::Or => new > old,
        };
        if decides(before.room, part.room) {
            before.binding = before.seen.len() + part.binding;
            before.room = part.room;
        }
        if decides(before.log_margin.value, part.log_margin.value) {
            before.log_margin = part.log_margin;
        }
        before.seen.extend(part.seen);
    }
    all.unwrap_or_else(|| single(nothing(String::new(), String::new(), 0.0), None))
}

/// Of nothing there is no statistic.
fn nothing(metric: String, statistic: String, bound: f64) -> (Seen, Estimate) {
    let seen = Seen {
        metric,
        statistic,
        class: None,
        bound,
        observed: None,
        interval: [None, None],
        at_least: false,
        margin: None,
        met: None,
    };
    let unknown = Estimate {
        value: 0.0,
        low: -WIDE,
        high: WIDE,
    };
    (seen, unknown)
}

fn term_seen(term: &Term, timings: &Timings, policy: &Policy<'_>) -> (Seen, Estimate) {
    let limit = &term.limit;
    let choice = Choice {
        timings,
        curve: policy.curve,
        class: term.class,
        failures: policy.failures || limit.quantity == Quantity::ErrorRate,
    };
    let metric = limit.quantity.name().to_owned();
    if let Statistic::Share(share) = term.statistic {
        let rows = choice.rows(limit);
        return share_seen(format!("{metric} <= {}", limit.most), share, &rows.kept);
    }
    let statistic = term.statistic.name();
    let mut rows = choice.rows(limit);
    if rows.known.is_empty() && rows.open.is_empty() {
        return nothing(metric, statistic, limit.most);
    }
    if rows.known.iter().any(|v| v.is_nan()) {
        // Not known at all, for example the wait for the first iteration of a live server.
        return nothing(metric, statistic, limit.most);
    }
    let (least, most, interval) = match term.statistic {
        Statistic::Quantile(p) => quantiles(&mut rows, p),
        Statistic::Mean => means(&rows),
        Statistic::Max | Statistic::Share(_) => {
            let all = rows.known.iter().chain(&rows.open);
            let least = all.copied().fold(0.0, f64::max);
            let most = if rows.open.is_empty() {
                least
            } else {
                f64::INFINITY
            };
            (least, most, [Some(least), Some(least)])
        }
    };
    let bound = limit.most;
    let met = if most <= bound {
        Some(true)
    } else if least > bound || policy.failures {
        Some(false)
    } else {
        None
    };
    let finite = |value: f64| Some(value).filter(|v| v.is_finite());
    let seen = Seen {
        metric,
        statistic,
        class: None,
        bound,
        observed: finite(least),
        interval: interval.map(|end| end.and_then(finite)),
        at_least: most > least,
        margin: finite(1.0 - least / bound).filter(|_| met != Some(false) || least > bound),
        met,
    };
    let log = |value: f64| {
        // Zero of zero is at the bound.
        let room = if value <= bound && bound <= 0.0 {
            0.0
        } else {
            (bound / value).ln()
        };
        room.clamp(-WIDE, WIDE)
    };
    // A higher value is a smaller margin. Where an end was not seen, it is as far away as the other.
    let value = if met == Some(false) && least <= bound {
        // Within the bound, but for what was not finished.
        -WIDE
    } else {
        log(least)
    };
    let low = interval[1].map(log);
    let high = interval[0].map(log);
    let reach = |end: Option<f64>| end.map(|e| (e - value).abs());
    let (down, up) = (reach(low), reach(high));
    let estimate = Estimate {
        value,
        low: value - down.or(up).unwrap_or(WIDE),
        high: value + up.or(down).unwrap_or(WIDE),
    };
    (seen, estimate)
}

/// A share of the requests that each keep several bounds.
fn goodput_seen(goodput: &Goodput, timings: &Timings, policy: &Policy<'_>) -> (Seen, Estimate) {
    let choice = Choice {
        timings,
        curve: policy.curve,
        class: goodput.class,
        failures: policy.failures,
    };
    let mut buffer = Vec::new();
    let kept: Vec<(u32, u32)> = choice
        .requests()
        .map(|(i, request)| {
            let mut each = goodput
                .limits
                .iter()
                .map(|limit| choice.keeps(limit, i, request, &mut buffer));
            let good = match goodput.joint {
                Joint::And => each.all(|kept| kept),
                Joint::Or => each.any(|kept| kept),
            };
            (u32::from(good), 1)
        })
        .collect();
    let word = match goodput.joint {
        Joint::And => " and ",
        Joint::Or => " or ",
    };
    let name = |limit: &Limit| format!("{} <= {}", limit.quantity.name(), limit.most);
    let names: Vec<String> = goodput.limits.iter().map(name).collect();
    share_seen(names.join(word), goodput.share, &kept)
}

fn share_seen(metric: String, share: f64, kept: &[(u32, u32)]) -> (Seen, Estimate) {
    let (good, total) = sums(kept);
    if total == 0.0 {
        return nothing(metric, "share".to_owned(), share);
    }
    let observed = good / total;
    let error = share_error(kept, observed.clamp(0.5 / total, 1.0 - 0.5 / total));
    let end = |sign: f64| Some((observed + sign * HALF * error).clamp(0.0, 1.0));
    let seen = Seen {
        metric,
        statistic: "share".to_owned(),
        class: None,
        bound: share,
        observed: Some(observed),
        interval: [end(-1.0), end(1.0)],
        at_least: false,
        margin: Some(observed - share),
        met: Some(observed >= share),
    };
    let allowed = (1.0 - share).max(0.5 / total);
    let log = |violations: f64| (allowed / violations.max(0.5 / total)).ln().clamp(-WIDE, WIDE);
    let violations = 1.0 - observed;
    let estimate = Estimate {
        value: log(violations),
        low: log(violations + HALF * error),
        high: log(violations - HALF * error),
    };
    (seen, estimate)
}

/// Bounds of a quantile, equal where everything is finished, and its 95 % interval.
fn quantiles(rows: &mut Rows, p: f64) -> (f64, f64, [Option<f64>; 2]) {
    let error = share_error(&rows.kept, p);
    // What is not known may be anything.
    let most = (rows.owed > 0).then(|| {
        let mut all = rows.known.clone();
        all.extend(std::iter::repeat_n(f64::INFINITY, rows.owed));
        quantile(&mut all, p)
    });
    rows.known.append(&mut rows.open.clone());
    // Of what is owed beyond the open values nothing is known.
    let surplus = rows.owed.saturating_sub(rows.open.len());
    rows.known.extend(std::iter::repeat_n(0.0, surplus));
    let least = quantile(&mut rows.known, p);
    let ends = [p - HALF * error, p + HALF * error]
        .map(|at| (0.0..=1.0).contains(&at).then(|| quantile(&mut rows.known, at)));
    (least, most.unwrap_or(least), ends)
}

/// Type 7, as [`crate::stats::quantile`], without sorting everything.
fn quantile(values: &mut [f64], p: f64) -> f64 {
    let at = (values.len() - 1) as f64 * p;
    let below = at.floor();
    let (_, low, above) = values.select_nth_unstable_by(below as usize, f64::total_cmp);
    let low = *low;
    if at <= below || above.is_empty() {
        return low;
    }
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    crate::stats::quantile::between(low, high, at - below)
}

/// Bounds of a mean, equal where everything is finished, and its 95 % interval from the means of stretches.
fn means(rows: &Rows) -> (f64, f64, [Option<f64>; 2]) {
    let count = (rows.known.len() + rows.owed) as f64;
    let least = (rows.known.iter().sum::<f64>() + rows.open.iter().sum::<f64>()) / count;
    let most = if rows.owed == 0 { least } else { f64::INFINITY };
    let batches = BATCHES.min(rows.known.len() / 4);
    let interval = crate::stats::batch_means::batch_means(&rows.known, batches).map(|mean| {
        let half = mean.half_width(0.05);
        [Some((least - half).max(0.0)), Some(least + half)]
    });
    (least, most, interval.unwrap_or([None, None]))
}

fn sums(kept: &[(u32, u32)]) -> (f64, f64) {
    let (good, total) = kept.iter().fold((0_u64, 0_u64), |(good, total), (g, n)| {
        (good + u64::from(*g), total + u64::from(*n))
    });
    (good as f64, total as f64)
}

/// Standard error of a share `p` of values that come request by request, those of successive requests alike: what
/// independent values would have, times how much more stretches of requests differ than independent ones would.
fn share_error(kept: &[(u32, u32)], p: f64) -> f64 {
    let (good, total) = sums(kept);
    if total == 0.0 {
        return 1.0;
    }
    let share = good / total;
    let independent = share * (1.0 - share) / total;
    let size = (kept.len() / BATCHES).max(1);
    let batches = kept.len().div_ceil(size);
    let spread: f64 = kept
        .chunks(size)
        .map(|batch| {
            let (good, count) = sums(batch);
            (good - share * count).powi(2)
        })
        .sum();
    let clustered = spread / (total * total) * batches as f64 / (batches as f64 - 1.0).max(1.0);
    let inflation = if independent > 0.0 && batches >= 5 {
        (clustered / independent).max(1.0)
    } else {
        // Nothing tells them apart: a request counts as one value, however many it has.
        total / kept.len().max(1) as f64
    };
    (p * (1.0 - p) / total * inflation).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slo::etalon::{Answered, EtalonSlo};
    use crate::slo::objective::Entry;

    fn objective(yaml: &str) -> Objective {
        let entry: Entry = serde_saphyr::from_str(yaml).unwrap();
        entry.objective().unwrap()
    }

    fn answered(ttft: f64, tbt: &[f64]) -> Answered {
        Answered {
            ttft,
            tbt: tbt.to_vec(),
            predicted_prefill_s: 0.0,
        }
    }

    const STRICT: Policy<'_> = Policy {
        failures: true,
        curve: None,
    };

    proptest! {
        /// The general form decides as etalon's types do, and sees the same values.
        #[test]
        fn it_is_etalons_rule(
            requests in proptest::collection::vec((0.01f64..1.0, proptest::collection::vec(0.001f64..0.2, 0..8)), 1..60),
            bound in 0.01f64..0.3, p in 0.5f64..1.0,
        ) {
            let requests: Vec<Answered> = requests.iter().map(|(t, g)| answered(*t, g)).collect();
            let timings = Timings::answered(&requests);
            for kind in ["tbt_ttft", "ttft_tpot"] {
                let word = if kind == "tbt_ttft" { "tbt" } else { "tpot" };
                let yaml = format!(
                    "{{type: {kind}, {word}_slo: {bound}, {word}_percentile: {p}, ttft_slo: 0.8, ttft_percentile: {p}}}"
                );
                let judged = objective(&yaml).judge(&timings, &STRICT);
                let theirs = serde_json::json!({
                    "slo_type": kind, format!("{word}_slo"): bound, format!("{word}_percentile"): p,
                    "ttft_slo": 0.8, "ttft_percentile": p,
                });
                let theirs: EtalonSlo = serde_json::from_value(theirs).unwrap();
                let seen = theirs.see(&requests);
                match theirs.holds(&seen) {
                    // etalon ends with an error where one of both has nothing to look at; the other may fail all the same.
                    None => prop_assert_ne!(judged.met, Some(true)),
                    told => prop_assert_eq!(judged.met, told),
                }
                let by = |name: &str| judged.seen.iter().find(|s| s.metric == name).unwrap().observed;
                prop_assert_eq!(by("ttft"), seen.ttft);
                let other = if kind == "tbt_ttft" { seen.tbt } else { seen.tpot };
                prop_assert_eq!(by(word), other);
            }
        }
    }

    #[test]
    fn groups_and_goodput() {
        let requests: Vec<Answered> = (1..=100)
            .map(|i| answered(f64::from(i) / 100.0, &[0.02]))
            .collect();
        let timings = Timings::answered(&requests);
        let judged = objective(
            "{all: [{metric: ttft, quantile: 0.5, max: 0.6}, {metric: tbt, statistic: max, max: 0.01}]}",
        )
        .judge(&timings, &STRICT);
        assert_eq!((judged.met, judged.binding), (Some(false), 1));
        let judged = objective(
            "{any: [{metric: ttft, statistic: p50, max: 0.6}, {metric: tbt, statistic: mean, max: 0.01}]}",
        )
        .judge(&timings, &STRICT);
        assert_eq!((judged.met, judged.binding), (Some(true), 0));
        let judged =
            objective("{goodput: 0.9, all: [{metric: ttft, max: 0.905}, {metric: tpot, max: 0.03}]}")
                .judge(&timings, &STRICT);
        let seen = &judged.seen[0];
        assert_eq!((seen.observed, seen.met), (Some(0.9), Some(true)));
        assert_eq!(seen.metric, "ttft <= 0.905 and tpot <= 0.03");
        let judged = objective("{metric: ttft, share: 0.95, max: 0.905}").judge(&timings, &STRICT);
        assert_eq!((judged.seen[0].observed, judged.met), (Some(0.9), Some(false)));
        assert!(judged.log_margin.value < 0.0);
    }
}
