//! What the other pairs of a results folder say about one, and in which order the pairs of a grid are searched.

use std::collections::BTreeMap;

use super::{Campaign, rules};
use crate::plan::foreseen::Foreseen;
use crate::search::Prior;
use crate::search::grid::{Expected, GRID, is_corner};
use crate::search::neighbours::{self, Known};
use crate::settings::{Confirm, Experiment, SearchKind, Settings};
use crate::store::capacity::SEARCH_SCHEMA;
use crate::store::generations::FolderName;
use crate::store::{CapacityFile, Conditions, SearchFile, StoreError, layout, read_json, write_json};
use crate::units::{Rate, TokenPair};

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
pub(super) fn is_confirmed(settings: &Settings, experiment: &Experiment) -> bool {
    let pairs: Vec<TokenPair> = settings.experiments.iter().filter_map(Experiment::pair).collect();
    settings.confirm == Confirm::Always || experiment.pair().is_none_or(|pair| is_corner(pair, &pairs))
}

impl SearchFile {
    /// What `known` answers let expect of `pair`.
    fn expecting(mut self, known: &BTreeMap<String, Known>, pair: TokenPair) -> Self {
        let all: Vec<Known> = known.values().copied().collect();
        let expected = Expected::of(&all, pair);
        self.prior = expected.prior;
        self.at_least = expected.at_least;
        self.at_most = expected.at_most;
        self.neighbours = known.keys().cloned().collect();
        self
    }

    /// What a simulated deployment lets expect, where the other pairs let expect nothing, or less exactly. What cannot be
    /// simulated lets expect nothing.
    fn foresee(&mut self, foreseen: Option<&Foreseen>, pair: TokenPair) {
        let width = |prior: &Prior| prior.high.as_per_minute() / prior.low.as_per_minute();
        let Some(foreseen) = foreseen else { return };
        let found = foreseen.of(pair).ok().flatten();
        if let Some(found) = found.filter(|f| self.prior.is_none_or(|known| width(f) < width(&known))) {
            self.prior = Some(found);
            self.simulated = Some(foreseen.file.clone());
        }
    }

    /// What the other pairs let expect.
    pub(super) fn expected(&self) -> Expected {
        Expected {
            prior: self.prior,
            at_least: self.at_least,
            at_most: self.at_most,
        }
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
            simulated: None,
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
            begun.foresee(self.foreseen, pair);
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
        .into_iter()
        // Under another description the search begins anew.
        .chain(
            self.foreseen
                .map(|foreseen| ("prior".to_owned(), foreseen.digest.clone())),
        )
        .collect()
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
                && means_the_same(&file, self.settings, conditions)
                && (!self.fresh || self.answered.borrow().contains(&file.pair));
            if let Some(found) = known_of(&file).filter(|_| counts) {
                known.insert(file.pair, found);
            }
        }
        Ok(known)
    }
}

/// Whether an answer was measured under these conditions, and is what these settings ask for: as many good requests, for
/// as long, by the same rule.
fn means_the_same(file: &CapacityFile, settings: &Settings, conditions: &Conditions) -> bool {
    file.conditions.as_ref() == Some(conditions)
        && file.experiment_type == rules::experiment_type(settings)
        && file.evaluation == rules::criterion_name(settings)
        && file.duration_s == Some(settings.duration.as_secs_f64())
        && file.success_rate_percent == Some(settings.success_rate_percent)
}

/// The answer of a pair, where it is known on both sides.
fn known_of(file: &CapacityFile) -> Option<Known> {
    match FolderName::parse(&file.pair) {
        Some(FolderName::Pair(pair)) => Known::of(pair, &file.answer),
        _ => None,
    }
}

/// What is believed of a pair, in words.
pub(super) fn in_words(begun: &SearchFile, prior: &Prior) -> String {
    let plain = |rate: Rate| crate::units::Plain(rate.rounded().as_per_minute());
    let from = match (&begun.simulated, begun.neighbours.len()) {
        (Some(file), _) => format!("the deployment of {} lets", file.display()),
        (None, 1) => "1 other pair let".to_owned(),
        (None, count) => format!("{count} other pairs let"),
    };
    format!(
        "{from} expect {} ({} to {})",
        prior.capacity.rounded(),
        plain(prior.low),
        plain(prior.high)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Answer, Status};
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

    fn conditions() -> Conditions {
        Conditions {
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
        }
    }

    fn answered(settings: &Settings) -> CapacityFile {
        CapacityFile {
            schema: 2,
            pair: "8_64".to_owned(),
            experiment_type: "MST".to_owned(),
            evaluation: "drift".to_owned(),
            duration_s: Some(settings.duration.as_secs_f64()),
            success_rate_percent: Some(settings.success_rate_percent),
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
            conditions: Some(conditions()),
            prior: None,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn only_answers_to_the_same_question_are_taken() {
        let settings = settings("8:8", "adaptive", "");
        let same = |file: &CapacityFile| means_the_same(file, &settings, &conditions());
        let file = answered(&settings);
        assert!(same(&file));
        let changed: [fn(&mut CapacityFile); 7] = [
            |f| f.success_rate_percent = Some(99.0),
            |f| f.duration_s = f.duration_s.map(|s| s / 2.0),
            |f| f.duration_s = None,
            |f| f.evaluation = "welch".to_owned(),
            |f| f.experiment_type = "MIT".to_owned(),
            |f| f.conditions = None,
            |f| f.conditions.as_mut().unwrap().arrival = Arrival::Stratified,
        ];
        for (place, change) in changed.iter().enumerate() {
            let mut other = file.clone();
            change(&mut other);
            assert!(!same(&other), "change {place}");
        }
    }

    #[test]
    fn only_pairs_tell_of_other_pairs() {
        let mut file = answered(&settings("8:8", "adaptive", ""));
        let known = known_of(&file).unwrap();
        assert_eq!((known.pair.input.max, known.pair.output.max), (8, 64));
        assert_eq!(known.capacity, Rate::per_minute(90.0));
        file.pair = "mix_8_8@0.5+9_9@0.5".to_owned();
        assert_eq!(known_of(&file), None);
    }
}
