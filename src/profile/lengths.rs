//! Which prompt lengths are measured.

/// Longest prompt that is measured where nobody says how long it may be, tokens.
pub const MOST_UNASKED: u32 = 32_768;
/// Shortest length of those that nobody asked for, tokens.
const LEAST_UNASKED: u32 = 128;
/// Tokens of the longest request that are left to the response, to start tokens and to a chat template.
const RESERVE: u32 = 64;

/// Powers of two from 128 up to what a request of `max_model_len` tokens leaves to its prompt, and that itself where it is
/// more than a quarter beyond the last; up to [`MOST_UNASKED`] where the server does not tell.
pub fn powers_of_two(max_model_len: Option<u32>) -> Vec<u32> {
    let most = max_model_len.map_or(MOST_UNASKED, |most| most.saturating_sub(RESERVE));
    let mut lengths: Vec<u32> = std::iter::successors(Some(LEAST_UNASKED), |length| length.checked_mul(2))
        .take_while(|length| *length <= most)
        .collect();
    let last = lengths.last().copied().unwrap_or(0);
    if most > last + last / 4 {
        lengths.push(most.max(1));
    }
    lengths
}

/// `points` lengths from `min` to `max`, each longer than the one before by the same factor.
pub fn spaced(min: u32, max: u32, points: u32) -> Vec<u32> {
    let steps = f64::from(points.saturating_sub(1).max(1));
    let factor = (f64::from(max) / f64::from(min)).powf(1.0 / steps);
    let mut lengths: Vec<u32> = (0..points)
        .map(|step| (f64::from(min) * factor.powi(step as i32)).round() as u32)
        .map(|length| length.clamp(min, max))
        .collect();
    lengths.dedup();
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ends_where_the_context_does() {
        assert_eq!(powers_of_two(Some(1000)), [128, 256, 512, 936]);
        assert_eq!(powers_of_two(Some(4096)), [128, 256, 512, 1024, 2048, 4032]);
        assert_eq!(powers_of_two(Some(2200)), [128, 256, 512, 1024, 2048]);
        assert_eq!(powers_of_two(Some(100)), [36]);
        assert_eq!(powers_of_two(Some(10)), [] as [u32; 0]);
        assert_eq!(powers_of_two(None).last(), Some(&MOST_UNASKED));
    }

    #[test]
    fn spaced_lengths_grow_by_a_factor() {
        assert_eq!(spaced(100, 1600, 5), [100, 200, 400, 800, 1600]);
        assert_eq!(spaced(7, 7, 3), [7]);
        assert_eq!(spaced(10, 5000, 1), [10]);
        assert_eq!(spaced(1, 3, 5), [1, 2, 3]);
    }
}
