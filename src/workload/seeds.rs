//! Named random streams: adding a draw to one stream does not shift another.

use rand_pcg::Pcg64;

/// The stream `name` of `seed`. Stable across versions and platforms.
pub fn stream(seed: u64, name: &str) -> Pcg64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(name.as_bytes());
    let mut bytes = [0u8; 32];
    hasher.finalize_xof().fill(&mut bytes);
    let (state, sequence) = bytes.split_at(16);
    let number = |half: &[u8]| u128::from_le_bytes(half.try_into().expect("a half has 16 bytes"));
    Pcg64::new(number(state), number(sequence))
}

/// A seed derived from another seed and a list of labels, for example pair, rate and attempt.
pub fn derive(seed: u64, labels: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    for label in labels {
        hasher.update(label.as_bytes());
        hasher.update(&[0]);
    }
    let mut bytes = [0u8; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn streams_are_stable_and_apart() {
        let first: u64 = stream(1, "arrivals").random();
        assert_eq!(first, stream(1, "arrivals").random::<u64>());
        assert_ne!(first, stream(1, "lengths").random::<u64>());
        assert_ne!(derive(1, &["a", "b"]), derive(1, &["ab"]));
    }
}
