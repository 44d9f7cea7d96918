//! What a mix really became.

use crate::workload::PlannedRequest;

/// The share of each of `classes` classes among the requests; all zero when there is no request.
pub fn achieved_shares(requests: &[PlannedRequest], classes: usize) -> Vec<f64> {
    let mut counts = vec![0u32; classes];
    for request in requests {
        if let Some(count) = counts.get_mut(usize::from(request.class)) {
            *count += 1;
        }
    }
    let total = requests.len().max(1) as f64;
    counts.into_iter().map(|n| f64::from(n) / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted() {
        let request = |class| PlannedRequest {
            intended_ns: 0,
            class,
            input_tokens: 1,
            output_tokens: 1,
            salt: 0,
        };
        let requests = [0, 0, 0, 2].map(request);
        assert_eq!(achieved_shares(&requests, 3), [0.75, 0.0, 0.25]);
        assert_eq!(achieved_shares(&[], 2), [0.0, 0.0]);
    }
}
