//! Shares of a mix from measured throughputs, by the linear model: a request of profile p costs 1 / MST(p) of the
//! service's minute, whatever else runs beside it.

use crate::units::{Rate, TokenPair};
use crate::workload::LengthClass;

use super::mixes::canonical;

/// A mix that spends given shares of the service's capacity on each profile.
#[derive(Clone, Debug, PartialEq)]
pub struct MixPlan {
    /// Request shares: alpha(p) proportional to `capacity share(p) * MST(p)`.
    pub classes: Vec<LengthClass>,
    /// Cost of one request in units of the cheapest one, sigma(p) = max MST / MST(p), in the order of `classes`.
    pub costs: Vec<f64>,
    /// Capacity shares, normalised, in the order of `classes`.
    pub capacity_shares: Vec<f64>,
    /// Predicted throughput of the mix: 1 / sum of alpha(p) / MST(p).
    pub rate: Rate,
}

/// Plans a mix from `(profile, MST, capacity share)`.
///
/// # Errors
/// No profile, a profile twice, or a share that is not above zero.
pub fn plan_mix(profiles: &[(TokenPair, Rate, f64)]) -> Result<MixPlan, String> {
    if profiles.is_empty() {
        return Err("there is no profile with a throughput above zero".to_owned());
    }
    for (index, (pair, rate, share)) in profiles.iter().enumerate() {
        if profiles[..index].iter().any(|(known, ..)| known == pair) {
            return Err(format!("{pair} is given twice"));
        }
        if !(share.is_finite() && *share > 0.0 && rate.as_per_minute() > 0.0) {
            return Err(format!("{pair}: share and throughput must be above zero"));
        }
    }
    let mut sorted = profiles.to_vec();
    sorted.sort_by_key(|(pair, ..)| *pair);
    let weights: Vec<(TokenPair, f64)> = sorted
        .iter()
        .map(|(pair, rate, share)| (*pair, share * rate.as_per_minute()))
        .collect();
    let classes = canonical(&weights);
    let fastest = sorted
        .iter()
        .map(|(_, rate, _)| rate.as_per_minute())
        .fold(0.0, f64::max);
    let total_share: f64 = sorted.iter().map(|(.., share)| share).sum();
    let minutes_a_request: f64 = classes
        .iter()
        .zip(&sorted)
        .map(|(class, (_, rate, _))| class.share / rate.as_per_minute())
        .sum();
    Ok(MixPlan {
        costs: sorted
            .iter()
            .map(|(_, rate, _)| fastest / rate.as_per_minute())
            .collect(),
        capacity_shares: sorted.iter().map(|(.., share)| share / total_share).collect(),
        rate: Rate::per_minute(1.0 / minutes_a_request),
        classes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::TokenRange;

    fn pair(n: u32) -> TokenPair {
        TokenPair {
            input: TokenRange::exactly(n),
            output: TokenRange::exactly(n),
        }
    }

    #[test]
    fn equal_capacity_shares_ask_more_of_the_cheaper_profile() {
        let plan = plan_mix(&[
            (pair(2), Rate::per_minute(300.0), 1.0),
            (pair(1), Rate::per_minute(1200.0), 1.0),
        ])
        .unwrap();
        let shares: Vec<f64> = plan.classes.iter().map(|c| c.share).collect();
        assert_eq!(shares, [0.8, 0.2]);
        assert_eq!(plan.costs, [1.0, 4.0]);
        // Half a minute at 1200 and half a minute at 300.
        assert!((plan.rate.as_per_minute() - 750.0).abs() < 1e-9);
    }

    #[test]
    fn nonsense_is_refused() {
        let rate = Rate::per_minute(1.0);
        assert!(plan_mix(&[]).is_err());
        assert!(plan_mix(&[(pair(1), rate, 1.0), (pair(1), rate, 1.0)]).is_err());
        assert!(plan_mix(&[(pair(1), rate, 0.0)]).is_err());
        assert!(plan_mix(&[(pair(1), Rate::per_minute(0.0), 1.0)]).is_err());
    }
}
