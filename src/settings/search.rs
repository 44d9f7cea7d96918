//! Which search, and the settings that follow from it.

use std::path::PathBuf;

use super::build::Reader;
use super::values::{self, one_of};
use super::{Confirm, Evaluation, ExperimentType, LoadGenChoice, Profile, SearchKind, Settings};
use crate::workload::Arrival;

/// `SEARCH`, whose default gives way to what it cannot go with.
pub(super) fn kind(r: &mut Reader<'_>) -> SearchKind {
    let is = |r: &Reader<'_>, name: &str, word: &str| r.text(name).eq_ignore_ascii_case(word);
    if !r.is_set("SEARCH") && is(r, "SEARCH", "adaptive") {
        for (name, word) in [("EVALUATION", "welch"), ("EXPERIMENT_TYPE", "mit")] {
            if is(r, name, word) {
                r.settle("SEARCH", "stages", &format!("because {name}={word}"));
            }
        }
    }
    let kinds = [
        ("stages", SearchKind::Stages),
        ("stages-legacy", SearchKind::StagesLegacy),
        ("adaptive", SearchKind::Adaptive),
    ];
    r.parse("SEARCH", |text| one_of(&kinds, text))
}

/// `EVALUATION`, whose default follows from `SEARCH`.
pub(super) fn evaluation(r: &mut Reader<'_>, search: SearchKind) -> Evaluation {
    let words = [("drift", Evaluation::Drift), ("welch", Evaluation::Welch)];
    if let Some(set) = r.optional("EVALUATION", |text| one_of(&words, text)) {
        return set;
    }
    match search {
        SearchKind::Adaptive | SearchKind::Stages => {
            r.settle("EVALUATION", "drift", "");
            Evaluation::Drift
        }
        SearchKind::StagesLegacy => {
            r.settle("EVALUATION", "welch", "because SEARCH=stages-legacy");
            Evaluation::Welch
        }
    }
}

/// `ARRIVAL`, whose default follows from `SEARCH` and the profile: a load that is even lets short trials tell rates apart.
pub(super) fn arrival(r: &mut Reader<'_>, search: SearchKind) -> Arrival {
    let parse = |text: &str| text.parse::<Arrival>().map_err(|error| error.to_string());
    if let Some(set) = r.optional("ARRIVAL", parse) {
        return set;
    }
    if let Some(tool) = super::external::draws_its_own(r) {
        let why = format!("because LOADGEN={} draws its own arrivals", tool.name());
        r.settle("ARRIVAL", &Arrival::Poisson.to_string(), &why);
        return Arrival::Poisson;
    }
    let (arrival, why) = match (search, r.profile) {
        (SearchKind::Adaptive, _) => (Arrival::Stratified, "because SEARCH=adaptive"),
        (SearchKind::Stages | SearchKind::StagesLegacy, Profile::Demo) => (Arrival::Constant, ""),
        (SearchKind::Stages | SearchKind::StagesLegacy, Profile::Live) => (Arrival::Poisson, ""),
    };
    r.settle("ARRIVAL", &arrival.to_string(), why);
    arrival
}

/// `ITERATION_HARD_LIMIT`, whose default follows from `SEARCH`.
pub(super) fn iteration_limit(r: &mut Reader<'_>, search: SearchKind) -> u32 {
    if let Some(set) = r.optional("ITERATION_HARD_LIMIT", |text| values::whole(text, 1)) {
        return set;
    }
    let (limit, why) = match search {
        SearchKind::Adaptive => (40, "because SEARCH=adaptive"),
        SearchKind::Stages | SearchKind::StagesLegacy => (15, ""),
    };
    r.settle("ITERATION_HARD_LIMIT", &limit.to_string(), why);
    limit
}

/// `PRIOR`.
pub(super) fn prior(r: &mut Reader<'_>, search: SearchKind) -> Option<PathBuf> {
    let file = r.existing_file("PRIOR");
    if search != SearchKind::Adaptive && file.is_some() {
        let note = "it has no effect: only SEARCH=adaptive begins with what is expected";
        r.note_on("PRIOR", vec![note.to_owned()]);
    }
    file
}

/// `CONFIRM`.
pub(super) fn confirm(r: &mut Reader<'_>, search: SearchKind) -> Confirm {
    if search != SearchKind::Adaptive && r.text("CONFIRM").eq_ignore_ascii_case("edges") {
        let note = "it has no effect: only SEARCH=adaptive confirms its answers by a trial of their own";
        r.note_on("CONFIRM", vec![note.to_owned()]);
    }
    r.parse("CONFIRM", |text| {
        one_of(&[("always", Confirm::Always), ("edges", Confirm::Edges)], text)
    })
}

/// What no value shows alone.
pub(super) fn check(r: &mut Reader<'_>, s: &Settings) {
    if s.search != SearchKind::Adaptive {
        if s.budget.is_some() {
            r.refuse(
                "BUDGET",
                "only SEARCH=adaptive keeps to a budget; add SEARCH=adaptive, or limit the trials with \
                 ITERATION_HARD_LIMIT",
            );
        }
        return;
    }
    if s.evaluation == Evaluation::Welch {
        r.refuse(
            "SEARCH",
            "SEARCH=adaptive needs a margin with its interval from each trial, which EVALUATION=welch does not give; \
             write EVALUATION=drift, or SEARCH=stages",
        );
    }
    if s.experiment_type == ExperimentType::Mit {
        r.refuse(
            "SEARCH",
            "SEARCH=adaptive looks for the sustainable rate, not for the plateau of EXPERIMENT_TYPE=MIT; write \
             SEARCH=stages for that",
        );
    }
    if let Some(budget) = s.budget.filter(|budget| *budget < s.duration) {
        let text = format!(
            "{} s of load do not hold one trial of DURATION={} s, so the answer will not be confirmed at full length",
            budget.as_secs_f64(),
            s.duration.as_secs_f64()
        );
        r.note_on("BUDGET", vec![text]);
    }
    if !matches!(s.loadgen, LoadGenChoice::Native { .. }) && r.text("ARRIVAL") == "stratified" {
        let text = "other load generators than native send as they do: their trials may be noisier than stratified \
                    ones, and the search takes longer";
        r.note_on("ARRIVAL", vec![text.to_owned()]);
    }
}

/// `BUDGET`.
pub(super) fn budget(r: &mut Reader<'_>) -> Option<std::time::Duration> {
    r.optional("BUDGET", values::positive_duration)
}
