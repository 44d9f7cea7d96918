//! What the other pairs of a results folder say about one, and in which order the pairs of a grid are searched.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Campaign;
use crate::search::neighbours::{self, Known};
use crate::search::{Answer, Prior, Status};
use crate::settings::{Confirm, Experiment, SearchKind, Settings};
use crate::store::capacity::SEARCH_SCHEMA;
use crate::store::generations::FolderName;
use crate::store::{CapacityFile, Conditions, SearchFile, StoreError, layout, read_json, write_json};
use crate::units::{Rate, TokenPair};

/// So many pairs are a grid, not a list that somebody put in order.
const GRID: usize = 4;

/// In which order experiments are searched: places in the list. The adaptive search takes a grid of pairs in the order in
/// which they inform each other; everything else stays as it was given.
pub fn order(settings: &Settings, experiments: &[Experiment]) -> Vec<usize> {
    let pairs: Option<Vec<TokenPair>> = experiments.iter().map(Experiment::pair).collect();
    match pairs {
        Some(pairs) if settings.search == SearchKind::Adaptive && pairs.len() >= GRID => {
            neighbours::order(&pairs)
        }
        _ => (0..experiments.len()).collect(),
    }
}

/// Whether the answer of an experiment is held for a full DURATION whatever it is: all of them, or with `CONFIRM=edges`
/// the corners of a grid, and what is no pair.
fn is_confirmed(settings: &Settings, experiment: &Experiment) -> bool {
    let pairs: Vec<TokenPair> = settings.experiments.iter().filter_map(Experiment::pair).collect();
    let Some(pair) = experiment.pair() else {
        return true;
    };
    let at_the_edge = |length: fn(&TokenPair) -> f64| {
        let (mine, all) = (length(&pair), || pairs.iter().map(length));
        all().all(|other| mine <= other) || all().all(|other| mine >= other)
    };
    settings.confirm == Confirm::Always
        || pairs.len() < GRID
        || (at_the_edge(|p| p.input.mean()) && at_the_edge(|p| p.output.mean()))
}

/// Whether `a` asks for at most as much as `b`, of both kinds of tokens.
fn is_within(a: TokenPair, b: TokenPair) -> bool {
    a.input.mean() <= b.input.mean() && a.output.mean() <= b.output.mean()
}

/// The larger, or the smaller, of two rates that may be missing.
fn pick(rates: impl Iterator<Item = Rate>, wanted: Ordering) -> Option<Rate> {
    rates.reduce(|a, b| {
        if b.as_per_minute().total_cmp(&a.as_per_minute()) == wanted {
            b
        } else {
            a
        }
    })
}

impl SearchFile {
    /// What `known` answers let expect of `pair`.
    fn expecting(mut self, known: &BTreeMap<String, Known>, pair: TokenPair) -> Self {
        let all: Vec<Known> = known.values().copied().collect();
        self.prior = neighbours::predict(&all, pair);
        self.neighbours = known.keys().cloned().collect();
        // Capacity does not rise with the number of tokens.
        let larger = all.iter().filter(|k| is_within(pair, k.pair));
        let smaller = all.iter().filter(|k| is_within(k.pair, pair));
        self.at_least = pick(larger.map(|k| k.low), Ordering::Greater);
        self.at_most = pick(smaller.map(|k| k.high), Ordering::Less);
        self
    }

    /// Whether an answer is not what the other pairs let expect, or there was nothing to expect.
    pub(super) fn is_contradicted_by(&self, answer: &Answer) -> bool {
        let (Some(low), Some(high), Some(prior)) = (answer.low, answer.high, &self.prior) else {
            return true;
        };
        low > prior.high
            || high < prior.low
            || self.at_least.is_some_and(|least| high < least)
            || self.at_most.is_some_and(|most| low > most)
    }
}

impl Campaign<'_> {
    /// With what the search of an experiment begins: with the same as before where it was begun under these settings,
    /// else with what the other pairs say by now. Written down, so that a resumed search takes the same path.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(super) fn begin(
        &self,
        experiment: &Experiment,
        folder: &std::path::Path,
        conditions: Conditions,
    ) -> Result<SearchFile, StoreError> {
        let path = folder.join(layout::SEARCH);
        let mut begun = SearchFile {
            schema: SEARCH_SCHEMA,
            settings: self.search_settings(experiment),
            conditions,
            neighbours: Vec::new(),
            prior: None,
            at_least: None,
            at_most: None,
            confirm: is_confirmed(self.settings, experiment),
        };
        if !self.fresh
            && path.is_file()
            // One that cannot be read is written anew: it is a help, not a measurement.
            && let Ok(before) = read_json::<SearchFile>(&path)
            && before.schema == begun.schema
            && before.settings == begun.settings
            && before.conditions == begun.conditions
            && before.confirm == begun.confirm
        {
            return Ok(before);
        }
        if let Some(pair) = experiment.pair() {
            let known = self.known(&experiment.name, &begun.conditions)?;
            begun = begun.expecting(&known, pair);
        }
        write_json(&path, &begun)?;
        Ok(begun)
    }

    /// The settings that the path of a search depends on.
    fn search_settings(&self, experiment: &Experiment) -> BTreeMap<String, String> {
        let s = self.settings;
        [
            ("start", experiment.start.to_string()),
            ("stop", s.stop.in_words()),
            ("duration_s", s.duration.as_secs_f64().to_string()),
            ("limit", s.iteration_limit.to_string()),
            (
                "budget_s",
                s.budget.map_or(String::new(), |b| b.as_secs_f64().to_string()),
            ),
            ("success_rate_percent", s.success_rate_percent.to_string()),
            ("seed", s.seed.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// The answers of the other pairs of this results folder that were measured under the same conditions, by name.
    fn known(&self, but: &str, conditions: &Conditions) -> Result<BTreeMap<String, Known>, StoreError> {
        let mut known = BTreeMap::new();
        for entry in fs_err::read_dir(self.store.root())? {
            let path = entry?.path().join(layout::CAPACITY);
            // What cannot be read says nothing.
            let Some(file) = path
                .is_file()
                .then(|| read_json::<CapacityFile>(&path).ok())
                .flatten()
            else {
                continue;
            };
            let counts = file.pair != but
                && file.conditions.as_ref() == Some(conditions)
                && file.experiment_type == super::rules::experiment_type(self.settings)
                && file.evaluation == super::rules::criterion_name(self.settings)
                && (!self.fresh || self.answered.borrow().contains(&file.pair));
            if let Some(found) = known_of(&file).filter(|_| counts) {
                known.insert(file.pair, found);
            }
        }
        Ok(known)
    }
}

/// The answer of a pair, where it is known on both sides.
fn known_of(file: &CapacityFile) -> Option<Known> {
    let Some(FolderName::Pair(pair)) = FolderName::parse(&file.pair) else {
        return None;
    };
    if !matches!(file.answer.status, Status::Bracketed | Status::Estimated) {
        return None;
    }
    let (low, high) = (file.answer.low?, file.answer.high?);
    let (from, to) = (low.as_per_minute(), high.as_per_minute());
    (from > 0.0 && to >= from).then(|| Known {
        pair,
        capacity: Rate::per_minute((from * to).sqrt()),
        low,
        high,
    })
}

/// What is believed of a pair, in words.
pub(super) fn in_words(begun: &SearchFile, prior: &Prior) -> String {
    let plain = |rate: Rate| crate::units::Plain(rate.rounded().as_per_minute());
    format!(
        "{} other {} let expect {} ({} to {})",
        begun.neighbours.len(),
        if begun.neighbours.len() == 1 {
            "pair"
        } else {
            "pairs"
        },
        prior.capacity.rounded(),
        plain(prior.low),
        plain(prior.high)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;
    use crate::trial::{LoadGenSpec, TargetSpec};
    use crate::workload::{Arrival, PromptSource, PromptSpec};

    fn settings(tokens: &str, search: &str, confirm: &str) -> Settings {
        let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let flags = vec![
            flag("TOKENS_LIST", tokens),
            flag("SEARCH", search),
            flag("CONFIRM", confirm),
        ];
        let sources = Sources {
            env_file: None,
            environment: Vec::new(),
            flags,
        };
        crate::settings::load(&sources).unwrap().settings
    }

    fn confirmed(tokens: &str, confirm: &str) -> Vec<String> {
        let settings = settings(tokens, "adaptive", confirm);
        let is_confirmed = |e: &&Experiment| is_confirmed(&settings, e);
        let all = settings.experiments.iter().filter(is_confirmed);
        all.map(|e| e.name.clone()).collect()
    }

    const GRID_OF_NINE: &str = "8:8,8:64,8:512,64:8,64:64,64:512,512:8,512:64,512:512";

    #[test]
    fn the_corners_of_a_grid_are_confirmed() {
        assert_eq!(
            confirmed(GRID_OF_NINE, "edges"),
            ["8_8", "8_512", "512_8", "512_512"]
        );
        assert_eq!(confirmed(GRID_OF_NINE, "always").len(), 9);
        assert_eq!(confirmed("8:8,8:16,8:32", "edges").len(), 3, "three are no grid");
    }

    #[test]
    fn only_a_grid_that_is_searched_adaptively_is_put_in_order() {
        let order_of = |tokens, search| {
            let settings = settings(tokens, search, "");
            order(&settings, &settings.experiments)
        };
        assert_eq!(order_of(GRID_OF_NINE, "stages"), (0..9).collect::<Vec<_>>());
        assert_eq!(order_of("64:64,8:8,512:512", "adaptive"), [0, 1, 2]);
        let mut places = order_of(GRID_OF_NINE, "adaptive");
        assert_ne!(places, (0..9).collect::<Vec<_>>());
        places.sort_unstable();
        assert_eq!(places, (0..9).collect::<Vec<_>>());
    }

    fn begun() -> SearchFile {
        SearchFile {
            schema: SEARCH_SCHEMA,
            settings: BTreeMap::new(),
            conditions: Conditions {
                target: TargetSpec {
                    label: String::new(),
                    model: String::new(),
                    api: String::new(),
                },
                arrival: Arrival::Poisson,
                prompts: PromptSpec {
                    source: PromptSource::Builtin,
                    unique_prefix: true,
                },
                loadgen: LoadGenSpec {
                    name: String::new(),
                    version: String::new(),
                    options: Vec::new(),
                },
            },
            neighbours: Vec::new(),
            prior: None,
            at_least: None,
            at_most: None,
            confirm: false,
        }
    }

    fn pair(input: u32, output: u32) -> TokenPair {
        TokenPair {
            input: crate::units::TokenRange::exactly(input),
            output: crate::units::TokenRange::exactly(output),
        }
    }

    #[test]
    fn what_is_not_as_expected_is_a_contradiction() {
        let known = |input, output, capacity: f64| {
            let at = |factor: f64| Rate::per_minute(capacity * factor);
            let known = Known {
                pair: pair(input, output),
                capacity: at(1.0),
                low: at(0.98),
                high: at(1.02),
            };
            (format!("{input}_{output}"), known)
        };
        let all = BTreeMap::from([
            known(8, 8, 1000.0),
            known(8, 512, 100.0),
            known(512, 8, 800.0),
            known(512, 512, 80.0),
        ]);
        let begun = begun().expecting(&all, pair(64, 64));
        assert_eq!(begun.neighbours.len(), 4);
        assert_eq!(begun.at_most, Some(Rate::per_minute(1020.0)));
        assert_eq!(begun.at_least, Some(Rate::per_minute(80.0 * 0.98)));
        let prior = begun.prior.unwrap();
        let answer = |low: f64, high: f64| Answer {
            rate: Some(Rate::per_minute(low)),
            low: Some(Rate::per_minute(low)),
            high: Some(Rate::per_minute(high)),
            status: Status::Estimated,
            reason: String::new(),
            termination_code: String::new(),
            confirmed_s: None,
        };
        let middle = prior.capacity.as_per_minute();
        assert!(!begun.is_contradicted_by(&answer(0.98 * middle, 1.02 * middle)));
        assert!(
            begun.is_contradicted_by(&answer(1100.0, 1150.0)),
            "above a smaller pair"
        );
        assert!(
            begun.is_contradicted_by(&answer(60.0, 70.0)),
            "below a larger pair"
        );
        assert!(
            super::tests::begun().is_contradicted_by(&answer(middle, middle)),
            "nothing was expected"
        );
    }

    #[test]
    fn only_answers_with_both_ends_tell_of_other_pairs() {
        let mut file = CapacityFile {
            schema: 2,
            pair: "8_64".to_owned(),
            experiment_type: "MST".to_owned(),
            evaluation: "drift".to_owned(),
            search: "adaptive".to_owned(),
            answer: Answer {
                rate: Some(Rate::per_minute(90.0)),
                low: Some(Rate::per_minute(81.0)),
                high: Some(Rate::per_minute(100.0)),
                status: Status::Bracketed,
                reason: String::new(),
                termination_code: String::new(),
                confirmed_s: None,
            },
            load_seconds: 1.0,
            true_capacity: None,
            conditions: None,
            prior: None,
            evidence: Vec::new(),
        };
        let known = known_of(&file).unwrap();
        assert_eq!(
            (known.pair, known.capacity),
            (pair(8, 64), Rate::per_minute(90.0))
        );
        file.answer.status = Status::Undecided;
        assert_eq!(known_of(&file), None);
        file.answer.status = Status::Estimated;
        file.answer.high = None;
        assert_eq!(known_of(&file), None);
        file.answer.high = Some(Rate::per_minute(100.0));
        file.pair = "mix_8_8@0.5+9_9@0.5".to_owned();
        assert_eq!(known_of(&file), None);
    }
}
