//! Quantities over virtual time in a fixed number of bins: when time runs out of them, two become one.

use crate::sim::Time;

/// Most bins.
const BINS: usize = 1_024;
/// Width of a bin at the start: a millisecond, in picoseconds.
const FIRST_WIDTH: u64 = 1_000_000_000;

/// Sums over virtual time.
#[derive(Clone, Debug)]
pub struct Timeline {
    width: u64,
    bins: Vec<f64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width: FIRST_WIDTH,
            bins: Vec::new(),
        }
    }
}

impl Timeline {
    /// Counts something that happened at one moment.
    pub fn count(&mut self, at: Time) {
        let bin = self.bin(at.as_ps());
        self.bins[bin] += 1.0;
    }

    /// Adds a value that held from `start` to `end`: its time integral, in seconds.
    pub fn hold(&mut self, start: Time, end: Time, value: f64) {
        if end <= start {
            return;
        }
        let last = self.bin(end.as_ps() - 1);
        let first = self.bin(start.as_ps());
        if first == last {
            self.bins[first] += value * (end - start).as_seconds();
            return;
        }
        for bin in first..=last {
            let from = (bin as u64 * self.width).max(start.as_ps());
            let to = ((bin as u64 + 1) * self.width).min(end.as_ps());
            self.bins[bin] += value * Time::from_ps(to - from).as_seconds();
        }
    }

    /// Seconds of a bin.
    pub fn step_s(&self) -> f64 {
        Time::from_ps(self.width).as_seconds()
    }

    /// The sums, in order.
    pub fn sums(&self) -> &[f64] {
        &self.bins
    }

    /// The mean of a held value in each bin, as pairs of the middle of the bin in seconds and the value. The last bin
    /// ends at `end`.
    pub fn means(&self, end: Time) -> Vec<(f64, f64)> {
        let step = self.step_s();
        self.bins
            .iter()
            .enumerate()
            .map(|(i, sum)| {
                let from = i as f64 * step;
                let length = (end.as_seconds() - from).clamp(f64::MIN_POSITIVE, step);
                (from + length / 2.0, sum / length)
            })
            .collect()
    }

    /// Widens the bins of both until they agree.
    pub fn align(&mut self, other: &mut Self) {
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
    }

    /// The bin of a moment, which exists afterwards.
    fn bin(&mut self, ps: u64) -> usize {
        while ps / self.width >= BINS as u64 {
            self.widen();
        }
        let bin = (ps / self.width) as usize;
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, 0.0);
        }
        bin
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        self.bins = self.bins.chunks(2).map(|pair| pair.iter().sum()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_keeps_its_integral_however_far_time_runs() {
        let mut line = Timeline::default();
        line.hold(Time::from_seconds(0.0005), Time::from_seconds(0.0035), 2.0);
        let near = |x: f64, y: f64| (x - y).abs() < 1e-12;
        assert!(near(line.sums()[0], 0.001) && near(line.sums()[1], 0.002) && near(line.sums()[3], 0.001));
        line.hold(Time::from_seconds(90.0), Time::from_seconds(100.0), 3.0);
        assert!(line.sums().len() <= BINS);
        assert!((line.sums().iter().sum::<f64>() - 30.006).abs() < 1e-9);
        let middle = line.means(Time::from_seconds(100.0));
        assert!((middle.last().unwrap().1 - 3.0).abs() < 1e-6);
    }

    #[test]
    fn two_lines_can_be_compared() {
        let (mut a, mut b) = (Timeline::default(), Timeline::default());
        a.count(Time::from_seconds(50.0));
        b.count(Time::from_seconds(0.0));
        b.count(Time::from_seconds(0.0015));
        a.align(&mut b);
        assert!((a.step_s() - b.step_s()).abs() < 1e-15);
        assert_eq!(b.sums(), [2.0]);
    }
}
