//! Whether the client kept its schedule. A trial whose client did not says nothing about the service, and is void.
//!
//! What matters is lateness against the time that the service takes: a constant few milliseconds move neither the
//! offered load nor the backlog, while lateness that grows means that the load was not offered at all.

use super::quantiles::Histogram;

/// What is known about the client.
#[derive(Default)]
pub(super) struct Signals {
    /// Send lateness without the time to open a connection, nanoseconds.
    pub(super) lateness: Histogram,
    /// The same, of the requests in the last tenth of the offered time.
    pub(super) late_lateness: Histogram,
    /// Largest delay from the kernel's stamp to our read, one value a request, nanoseconds.
    pub(super) lag: Histogram,
    /// Requests whose time had come and that were not sent.
    pub(super) not_sent: u64,
    /// By how much the wall clock was stepped during the trial, nanoseconds.
    pub(super) wall_step_ns: i64,
    /// Whether kernel stamps were used.
    pub(super) kernel_timestamps: bool,
}

/// What lateness is held against, nanoseconds.
#[expect(clippy::struct_field_names, reason = "the unit belongs in the name")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Service {
    /// Median time to the first token.
    pub(super) ttft_ns: f64,
    /// Median time to the end.
    pub(super) e2e_ns: f64,
    /// How long requests were offered.
    pub(super) offered_ns: f64,
}

const MS: f64 = 1e6;
/// A typical send may be this late, or this share of the time to the first token.
const MEDIAN_LATENESS: (f64, f64) = (5.0 * MS, 0.05);
/// One send in a hundred may be later than this, or than this share of the whole time.
const P99_LATENESS: (f64, f64) = (25.0 * MS, 0.1);
/// At the end sends may on average be this late, or this share of the offered time: more, and part of the load was not
/// offered. A fifth of the margin of the drift criterion.
const FINAL_LATENESS: (f64, f64) = (50.0 * MS, 0.002);
/// With kernel stamps a late read does not move a time, but tokens that are read together share one.
const P99_LAG: (f64, f64) = (100.0 * MS, 0.1);
/// A smaller step of the wall clock is lost in the noise of reading it.
const WALL_STEP_NS: i64 = 500_000;

impl Signals {
    /// Why the trial is void, if it is.
    pub(super) fn void(&self, service: Service) -> Option<String> {
        if self.not_sent > 0 {
            return Some(format!(
                "{} requests were due and could not be sent: the client is too slow or out of file descriptors",
                self.not_sent
            ));
        }
        let tests = [
            (
                self.lateness.quantile(0.5),
                MEDIAN_LATENESS,
                service.ttft_ns,
                "median send lateness",
            ),
            (
                self.upper_lateness(),
                P99_LATENESS,
                service.e2e_ns,
                "p99 send lateness",
            ),
            (
                self.late_lateness.quantile(0.5),
                FINAL_LATENESS,
                service.offered_ns,
                "send lateness at the end",
            ),
            (
                self.lag.quantile(0.99),
                P99_LAG,
                service.e2e_ns,
                "p99 delay in reading answers",
            ),
        ];
        for (value, (floor, share), scale, name) in tests {
            let bound = (share * scale).max(floor);
            if let Some(value) = value.filter(|v| *v > bound) {
                return Some(format!(
                    "{name} is {:.1} ms, more than {:.1} ms: the client's machine is too busy; give it a core of its own",
                    value / MS,
                    bound / MS
                ));
            }
        }
        (self.kernel_timestamps && self.wall_step_ns.abs() > WALL_STEP_NS).then(|| {
            format!(
                "the wall clock was stepped by {:.1} ms during the trial, which moves the kernel's receive stamps",
                self.wall_step_ns as f64 / MS
            )
        })
    }

    /// The 99th percentile; in a short trial a lower one, so that two hiccups do not decide.
    fn upper_lateness(&self) -> Option<f64> {
        let share = 2.5 / self.lateness.len().max(3) as f64;
        self.lateness.quantile((1.0 - share).min(0.99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Service = Service {
        ttft_ns: 50.0 * MS,
        e2e_ns: 400.0 * MS,
        offered_ns: 10_000.0 * MS,
    };

    fn signals(lateness_ms: impl Iterator<Item = f64>) -> Signals {
        let mut signals = Signals::default();
        for value in lateness_ms {
            signals.lateness.add(value * MS);
        }
        signals
    }

    #[test]
    fn a_normal_client_passes() {
        let hiccup = |i: u32| if i.is_multiple_of(200) { 60.0 } else { 0.1 };
        assert_eq!(signals((0..1_000).map(hiccup)).void(SERVICE), None);
        let two_in_twenty = |i: u32| if i < 2 { 80.0 } else { 0.1 };
        assert_eq!(signals((0..20).map(two_in_twenty)).void(SERVICE), None);
        assert_eq!(Signals::default().void(SERVICE), None);
    }

    #[test]
    fn a_client_that_falls_behind_is_void() {
        for (name, bad) in [
            ("median", signals((0..100).map(|_| 8.0))),
            (
                "p99",
                signals((0..1_000).map(|i| if i % 20 == 0 { 60.0 } else { 0.1 })),
            ),
            (
                "not sent",
                Signals {
                    not_sent: 1,
                    ..Signals::default()
                },
            ),
            (
                "stepped",
                Signals {
                    wall_step_ns: -2_000_000,
                    kernel_timestamps: true,
                    ..Signals::default()
                },
            ),
        ] {
            assert!(bad.void(SERVICE).is_some(), "{name}");
        }
        // Behind a slow service the same lateness weighs less, but not when it grows.
        let slow = Service {
            ttft_ns: 5e9,
            e2e_ns: 60e9,
            offered_ns: 10e9,
        };
        let mut growing = signals((0..1_000).map(|i| f64::from(i) * 0.3));
        assert_eq!(growing.void(slow), None);
        for _ in 0..100 {
            growing.late_lateness.add(290.0 * MS);
        }
        assert!(growing.void(slow).unwrap().contains("at the end"));
    }
}
