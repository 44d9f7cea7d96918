//! The two clocks of a measurement: the monotonic one that everything is timed with, and the wall clock that the
//! kernel stamps received segments with.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds on `CLOCK_MONOTONIC`, since an arbitrary origin.
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970 (UTC).
pub fn wall_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

/// Wall clock minus monotonic clock in nanoseconds. Both are slewed alike, so it changes only when somebody steps the
/// wall clock. The wall clock is read between two readings of the other; of a few tries the tightest counts.
pub fn wall_offset_ns() -> i64 {
    (0..5)
        .map(|_| {
            let before = monotonic_ns();
            let wall = wall_ns();
            let after = monotonic_ns();
            (after - before, wall as i64 - u64::midpoint(before, after) as i64)
        })
        .min_by_key(|&(width, _)| width)
        .map(|(_, offset)| offset)
        .expect("the range is not empty")
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("both clocks exist on every Linux");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_joins_the_clocks() {
        let wall = monotonic_ns() as i64 + wall_offset_ns();
        assert!((wall - wall_ns() as i64).abs() < 1_000_000_000);
    }
}
