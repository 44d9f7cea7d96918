//! A fit to trials, held against their quantiles with each operating point left out once.

use super::aggregate::{METRICS, Metrics};
use super::aggregates::to_quantiles;
use super::errors::{Columns, errors};
use super::factors::{Factors, Space};
use super::fit::Fitted;
use super::outcome::{Evidence, Fit};
use super::{CalibrationError, Server, Trial};
use crate::deployment::calibrated::{Calibration, Level};
use crate::pool;
use crate::sim::cost::calibrated::Domain;

/// Fits the parameters of a space to some trials.
pub(super) type ToTrials<'a> = &'a dyn Fn(&Space, &[&Trial]) -> Fitted;

/// Calibrates from trials by a fit to them.
///
/// # Errors
/// When there is no trial; `notes` then tell why.
pub(super) fn calibrated(
    server: &Server,
    all: &[&Trial],
    level: Level,
    fit: ToTrials<'_>,
    notes: Vec<String>,
) -> Result<Calibration, CalibrationError> {
    if all.is_empty() {
        return Err(CalibrationError::NoneUsable(notes));
    }
    let observed: Vec<Metrics> = all.iter().map(|t| t.observed).collect();
    let predicted = |factors: &Factors| -> Vec<Vec<f64>> {
        let all = pool::each(all.len(), |t| server.predict(factors, all[t]));
        errors(&all, &observed)
    };
    let space = server.space();
    let best = Fit::with_frozen(&space, |space| fit(space, all));
    // To what users see, whatever the factors are fitted to: no other factor on all times would predict that better.
    let ratio = |of: &[&Trial]| {
        let space = server.one_ratio();
        let fitted = to_quantiles(server, &space, of);
        Fit { space, fitted }
    };
    let one_ratio = ratio(all);
    let mut columns = Columns {
        uncalibrated: predicted(&space.at(&space.start())),
        train: predicted(&best.factors()),
        ..Columns::default()
    };
    let mut points: Vec<&str> = all.iter().map(|t| t.point.as_str()).collect();
    points.sort_unstable();
    points.dedup();
    if points.len() > 1 {
        for point in &points {
            let (left_out, rest): (Vec<&Trial>, Vec<&Trial>) = all.iter().partition(|t| t.point == *point);
            // From the prior, not from the fit to all: nothing of what is left out may be known.
            let fitted = Fit::with_frozen(&space, |space| fit(space, &rest));
            let one = ratio(&rest);
            for trial in left_out {
                let of = |fit: &Fit| errors(&[server.predict(&fit.factors(), trial)], &[trial.observed]);
                columns.hold_out.extend(of(&fitted));
                columns.one_ratio.extend(of(&one));
            }
        }
    } else {
        columns.one_ratio = predicted(&one_ratio.factors());
    }
    let evidence = Evidence {
        level,
        best,
        ratio: one_ratio,
        metrics: &METRICS,
        columns,
        operating_points: points.len(),
        domain: domain(all, server),
        sources: all.iter().map(|t| t.source.clone()).collect(),
        notes,
    };
    Ok(evidence.calibration(server))
}

/// The largest that some trials saw; of a batch its share on one replica.
fn domain(trials: &[&Trial], server: &Server) -> Domain {
    let most = |of: fn(&Domain) -> u32| trials.iter().map(|t| of(&t.domain)).max().unwrap_or(0);
    let cap = server.deployment.batch_size_cap;
    Domain {
        batch: most(|d| d.batch)
            .div_ceil(server.deployment.replicas)
            .clamp(1, cap),
        context: most(|d| d.context),
        prompt: most(|d| d.prompt),
    }
}
