//! From searches to the lines of a table.

use serde::Serialize;

use super::share::{Quantiles, Spread, ascending, share};
use super::{Combination, RulingLine, Searched, ServerFacts};
use crate::criterion::Ruling;

/// Requests in one DURATION at capacity from which 3 % are asked for.
const ENOUGH: f64 = 10_000.0;
/// Fractions of the capacity between which no ruling is wrong.
const NEAR: (f64, f64) = (0.97, 1.03);

/// Quantiles and shares of many searches with one combination.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What was searched with.
    #[serde(flatten)]
    pub combination: Combination,
    /// How many searches.
    pub searches: usize,
    /// Of these, without an answer.
    pub unanswered: usize,
    /// Share of answers within 2 % of the truth.
    pub within_2pct: f64,
    /// Within 3 %.
    pub within_3pct: f64,
    /// Within 5 %.
    pub within_5pct: f64,
    /// Within 3 %, or `3 / sqrt(n)` where a DURATION holds `n` < 10,000 requests at capacity.
    pub within_floor: f64,
    /// Error of the answer in percent of the truth; no answer is -100.
    pub error_percent: Quantiles,
    /// Share of intervals that hold the truth; an open end holds everything.
    pub coverage: f64,
    /// Width of the interval in percent of the truth; `null` where it is open.
    pub interval_width_percent: Spread,
    /// Hours of load.
    pub hours: Spread,
    /// Trials.
    pub trials: Spread,
    /// Rulings beside the searches at or below 0.97, or at or above 1.03 of the capacity.
    pub rulings: usize,
    /// Of these, the share on the wrong side: unsustainable below, sustainable above.
    pub wrong_ruling_share: Option<f64>,
    /// Of these, the share that is unsure.
    pub unsure_share: Option<f64>,
    /// The rulings at each fraction.
    pub by_fraction: Vec<ByFraction>,
}

/// Rulings at one fraction of the true capacity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ByFraction {
    /// The fraction.
    pub fraction: f64,
    /// How many.
    pub rulings: usize,
    /// Share sustainable.
    pub sustainable: f64,
    /// Share unsustainable.
    pub unsustainable: f64,
    /// Share unsure.
    pub unsure: f64,
    /// Mean seconds of load.
    pub load_s: f64,
}

/// All servers together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overall {
    /// All of them.
    #[serde(flatten)]
    pub line: Line,
    /// The same over parts of the panel.
    pub parts: Vec<Part>,
}

/// Some of the servers together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub part: String,
    /// How many servers.
    pub servers: usize,
    /// Their searches.
    #[serde(flatten)]
    pub line: Line,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerLines {
    /// What it is.
    #[serde(flatten)]
    pub facts: ServerFacts,
    /// A line for each combination.
    pub results: Vec<Line>,
}

/// The whole result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// A line for each combination.
    pub overall: Vec<Overall>,
    /// Each server.
    pub servers: Vec<ServerLines>,
}

/// The error that is asked for, percent: 3, or the count noise `3 / sqrt(n)` of fewer than 10,000 requests.
pub fn floor_percent(requests: f64) -> f64 {
    if requests >= ENOUGH {
        3.0
    } else {
        300.0 / requests.max(1.0).sqrt()
    }
}

impl Line {
    /// The line of searches with one combination; `None` of none.
    pub fn of(searches: &[&Searched]) -> Option<Self> {
        let combination = searches.first()?.combination.clone();
        let errors = ascending(searches.iter().map(|s| s.error_percent()));
        let within = |percent: f64| share(&errors, |e| e.abs() <= percent).unwrap_or(0.0);
        let rulings: Vec<&RulingLine> = searches.iter().flat_map(|s| &s.rulings).collect();
        let clear: Vec<&RulingLine> = rulings
            .iter()
            .copied()
            .filter(|r| r.fraction <= NEAR.0 || r.fraction >= NEAR.1)
            .collect();
        let wrong = |r: &RulingLine| {
            let other = if r.fraction < 1.0 {
                Ruling::Unsustainable
            } else {
                Ruling::Sustainable
            };
            r.ruling == other
        };
        Some(Self {
            combination,
            searches: searches.len(),
            unanswered: searches.iter().filter(|s| s.answer.is_none()).count(),
            within_2pct: within(2.0),
            within_3pct: within(3.0),
            within_5pct: within(5.0),
            within_floor: share(searches, |s| {
                s.error_percent().abs() <= floor_percent(s.requests_per_duration())
            })
            .unwrap_or(0.0),
            error_percent: Quantiles::of(&errors),
            coverage: share(searches, |s| s.is_covered()).unwrap_or(0.0),
            interval_width_percent: Spread::of(searches.iter().map(|s| s.width_percent())),
            hours: Spread::of(searches.iter().map(|s| s.hours)),
            trials: Spread::of(searches.iter().map(|s| s.trials.len() as f64)),
            rulings: clear.len(),
            wrong_ruling_share: share(&clear, |r| wrong(r)),
            unsure_share: share(&clear, |r| r.ruling == Ruling::Unsure),
            by_fraction: by_fraction(&rulings),
        })
    }
}

fn by_fraction(rulings: &[&RulingLine]) -> Vec<ByFraction> {
    let mut sorted = rulings.to_vec();
    sorted.sort_by(|a, b| a.fraction.total_cmp(&b.fraction));
    sorted
        .chunk_by(|a, b| a.fraction.total_cmp(&b.fraction).is_eq())
        .map(|some| {
            let are = |ruling| share(some, |r| r.ruling == ruling).unwrap_or(0.0);
            ByFraction {
                fraction: some[0].fraction,
                rulings: some.len(),
                sustainable: are(Ruling::Sustainable),
                unsustainable: are(Ruling::Unsustainable),
                unsure: are(Ruling::Unsure),
                load_s: some.iter().map(|r| r.load_s).sum::<f64>() / some.len() as f64,
            }
        })
        .collect()
}

impl Summary {
    /// The result of `searched` against `servers`, combinations in the order given.
    pub fn of(servers: Vec<ServerFacts>, combinations: &[Combination], searched: &[Searched]) -> Self {
        let with = |combination: &Combination, is: &dyn Fn(&Searched) -> bool| -> Vec<&Searched> {
            searched
                .iter()
                .filter(|s| s.combination == *combination && is(s))
                .collect()
        };
        let overall = combinations
            .iter()
            .filter_map(|combination| {
                let all = with(combination, &|_| true);
                Some(Overall {
                    line: Line::of(&all)?,
                    parts: parts(&all),
                })
            })
            .collect();
        let servers = servers
            .into_iter()
            .map(|facts| ServerLines {
                results: combinations
                    .iter()
                    .filter_map(|c| Line::of(&with(c, &|s| s.server == facts.name && s.file == facts.file)))
                    .collect(),
                facts,
            })
            .collect();
        Self { overall, servers }
    }
}

/// The servers that 3 % are asked of and the others; then the files, where there are several.
fn parts(all: &[&Searched]) -> Vec<Part> {
    let part = |name: &str, is: &dyn Fn(&Searched) -> bool| {
        let some: Vec<&Searched> = all.iter().copied().filter(|s| is(s)).collect();
        let mut names: Vec<_> = some.iter().map(|s| (&s.file, &s.server)).collect();
        names.sort_unstable();
        names.dedup();
        Some(Part {
            part: name.to_owned(),
            servers: names.len(),
            line: Line::of(&some)?,
        })
    };
    let is_plain = |s: &Searched| s.stationary && s.requests_per_duration() >= ENOUGH;
    let mut parts: Vec<Part> = [
        part("stationary, 10,000 requests or more", &is_plain),
        part("stationary, fewer requests", &|s| s.stationary && !is_plain(s)),
        part("not stationary", &|s| !s.stationary),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut files: Vec<&str> = all.iter().map(|s| s.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    if files.len() > 1 {
        parts.extend(files.iter().filter_map(|file| part(file, &|s| s.file == *file)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Status;

    fn searched(server: &str, answer: Option<f64>, interval: (Option<f64>, Option<f64>)) -> Searched {
        Searched {
            server: server.to_owned(),
            file: "panel.yml".to_owned(),
            stationary: true,
            combination: Combination {
                search: "stages".to_owned(),
                evaluation: "drift".to_owned(),
                arrival: "stratified".to_owned(),
                duration_s: 1800.0,
            },
            campaign: None,
            number: 0,
            seed: 1,
            start: 40.0,
            truth: 1000.0,
            answer,
            low: interval.0,
            high: interval.1,
            status: Status::Bracketed,
            reason: String::new(),
            hours: 1.0,
            trials: Vec::new(),
            rulings: Vec::new(),
        }
    }

    fn ruled(fraction: f64, ruling: Ruling) -> RulingLine {
        RulingLine {
            fraction,
            load_s: 600.0,
            ruling,
            margin: None,
            hint: None,
        }
    }

    #[test]
    fn errors_coverage_and_widths() {
        let all = [
            searched("a", Some(985.0), (Some(980.0), Some(1010.0))),
            searched("a", Some(1025.0), (Some(1005.0), Some(1040.0))),
            searched("a", None, (None, Some(100.0))),
            searched("a", Some(960.0), (Some(950.0), None)),
        ];
        let line = Line::of(&all.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(
            (line.within_2pct, line.within_3pct, line.within_5pct),
            (0.25, 0.5, 0.75)
        );
        assert_eq!((line.coverage, line.unanswered), (0.5, 1));
        assert!(line.error_percent.p1 < -90.0 && (line.error_percent.p99 - 2.5).abs() < 0.2);
        assert!((all[0].width_percent() - 3.0).abs() < 1e-12);
        let json = serde_json::to_value(&line).unwrap();
        assert!(json["interval_width_percent"]["p95"].is_null(), "open is null");
        assert_eq!(
            (&json["search"], &json["duration_s"]),
            (&"stages".into(), &1800.0.into())
        );
    }

    #[test]
    fn a_ruling_is_wrong_on_the_other_side_only() {
        let mut one = searched("a", Some(1000.0), (None, None));
        one.rulings = vec![
            ruled(0.9, Ruling::Unsustainable),
            ruled(0.97, Ruling::Sustainable),
            ruled(1.03, Ruling::Sustainable),
            ruled(1.1, Ruling::Unsure),
            ruled(1.0, Ruling::Unsure),
        ];
        let line = Line::of(&[&one]).unwrap();
        assert_eq!(line.rulings, 4, "within 3 % no ruling is wrong");
        assert_eq!(
            (line.wrong_ruling_share, line.unsure_share),
            (Some(0.5), Some(0.25))
        );
        assert_eq!(line.by_fraction.len(), 5);
    }

    #[test]
    fn count_noise_sets_the_floor() {
        assert_eq!(floor_percent(10_000.0), 3.0);
        assert_eq!(floor_percent(2_500.0), 6.0);
        let mut slow = searched("slow", Some(955.0), (None, None));
        slow.truth = 1000.0;
        slow.combination.duration_s = 240.0;
        let line = Line::of(&[&slow]).unwrap();
        assert_eq!((line.within_3pct, line.within_floor), (0.0, 1.0));
    }
}
