//! `SEARCH=adaptive`: the defaults that follow from it, and what it cannot go with.

use std::time::Duration;

use mst::settings::{Confirm, Evaluation, SearchKind, load};
use mst::workload::Arrival;

use super::{loaded, sources};

#[test]
fn the_adaptive_search_brings_its_own_defaults_and_refuses_what_it_cannot_use() {
    for text in ["SEARCH=adaptive", "URL=h:1\nSEARCH=adaptive"] {
        let l = loaded(text, &[], &[]);
        assert_eq!(
            (l.settings.arrival, l.settings.evaluation),
            (Arrival::Stratified, Evaluation::Drift)
        );
        assert_eq!(
            (l.settings.search, l.settings.budget),
            (SearchKind::Adaptive, None)
        );
        assert_eq!(l.settings.confirm, Confirm::Always);
    }
    let l = loaded(
        "SEARCH=adaptive\nARRIVAL=poisson\nBUDGET=2h\nCONFIRM=edges",
        &[],
        &[],
    );
    assert_eq!(l.settings.arrival, Arrival::Poisson);
    assert_eq!(l.settings.budget, Some(Duration::from_hours(2)));
    assert_eq!(l.settings.confirm, Confirm::Edges);
    let flag = loaded("BUDGET=2h", &[], &[("SEARCH", "adaptive"), ("BUDGET", "90m")]);
    assert_eq!(flag.settings.budget, Some(Duration::from_mins(90)));
    for (text, told) in [
        ("SEARCH=adaptive\nEVALUATION=welch", "write EVALUATION=drift"),
        (
            "SEARCH=adaptive\nEXPERIMENT_TYPE=MIT",
            "write SEARCH=stages for that",
        ),
        ("SEARCH=stages\nBUDGET=2h", "add SEARCH=adaptive"),
        ("SEARCH=adaptive\nBUDGET=0", "longer than zero"),
        ("SEARCH=adaptive\nCONFIRM=corners", "not one of always, edges"),
        ("SEARCH=adaptve", "did you mean adaptive?"),
    ] {
        let (_folder, sources) = sources(text.as_bytes(), &[], &[]);
        let errors = load(&sources).expect_err(text).to_string();
        assert!(errors.contains(told), "{text}: {errors}");
    }
}
