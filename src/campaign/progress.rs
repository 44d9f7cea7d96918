//! What the searches of a run know, written into the run's folder for `mst status`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::report::{Event, Observer};
use crate::search::{Bracket, Left};
use crate::store::runs::{Progress, RunDir};
use crate::units::Rate;

/// Writes `progress/<pair>.json` whenever a search learns something.
pub struct ProgressFile {
    run: RunDir,
    /// Seconds that a trial takes at most, with its drain and cool-down: the guess until one was measured.
    longest_s: f64,
    /// When the running trial began.
    began: Option<Instant>,
    /// The trials of this process that were really run, and how long they and the pauses after them took. Pairs share
    /// it: trials of all of them last about as long.
    measured: (u32, Duration),
    brackets: HashMap<String, (Bracket, u32)>,
    /// The pair that a pause belongs to, and what its search needs.
    current: Option<(String, Left)>,
}

impl ProgressFile {
    /// Writes into this run's folder. `longest_s`: seconds that a trial takes at most, with its drain and cool-down.
    pub fn new(run: RunDir, longest_s: f64) -> Self {
        Self {
            run,
            longest_s,
            began: None,
            measured: (0, Duration::ZERO),
            brackets: HashMap::new(),
            current: None,
        }
    }

    /// Seconds that trials took.
    fn trial_s(&self) -> Option<f64> {
        let (count, total) = self.measured;
        (count > 0).then(|| total.as_secs_f64() / f64::from(count))
    }

    fn write(&self, pair: &str, now: Option<Rate>, left: Option<Left>, done: bool) {
        let (bracket, trials) = self.brackets.get(pair).copied().unwrap_or_default();
        let measured = self.trial_s();
        let each = measured.unwrap_or(self.longest_s);
        // A file that cannot be written costs the display, not the run.
        let _ = self.run.write_progress(&Progress {
            pair: pair.to_owned(),
            low: bracket.largest_true,
            high: bracket.smallest_false,
            trials,
            now,
            left_s: left.map(|left| f64::from(left.likely) * each),
            done,
            trial_s: measured,
            at: chrono::Utc::now(),
        });
    }
}

impl Observer for ProgressFile {
    fn see(&mut self, event: &Event) {
        match event {
            Event::PairStarted { pair, .. } => {
                self.brackets.insert(pair.clone(), (Bracket::default(), 0));
                self.write(pair, None, None, false);
            }
            Event::TrialStarted {
                pair, probe, left, ..
            } => {
                self.began = Some(Instant::now());
                self.write(pair, Some(probe.rate), Some(*left), false);
            }
            Event::TrialJudged {
                pair,
                bracket,
                left,
                reused,
                ..
            } => {
                if let Some(began) = self.began.take().filter(|_| !reused) {
                    self.measured.0 += 1;
                    self.measured.1 += began.elapsed();
                }
                let known = self.brackets.entry(pair.clone()).or_default();
                *known = (*bracket, known.1 + 1);
                self.current = Some((pair.clone(), *left));
                self.write(pair, None, Some(*left), false);
            }
            Event::CoolDown { seconds } => {
                self.measured.1 += Duration::from_secs_f64(*seconds);
                if let Some((pair, left)) = self.current.take() {
                    self.write(&pair, None, Some(left), false);
                }
            }
            Event::PairDone {
                pair, answer, trials, ..
            } => {
                let known = Bracket {
                    largest_true: answer.rate,
                    smallest_false: answer.high,
                    ..Bracket::default()
                };
                self.brackets.insert(pair.clone(), (known, *trials));
                self.write(pair, None, Some(Left::default()), true);
            }
            Event::TrialProgress { .. } | Event::TrialRetried { .. } | Event::Note { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criterion::{Ruling, Verdict};
    use crate::search::{Answer, Goal, Probe, Status};

    fn probe(rate: f64) -> Probe {
        Probe {
            rate: Rate::per_minute(rate),
            stage: 1,
            attempt: 0,
            pooled: false,
            goal: Goal::default(),
            duration_s: None,
        }
    }

    fn started(rate: f64, likely: u32) -> Event {
        Event::TrialStarted {
            pair: "8_8".to_owned(),
            probe: probe(rate),
            number: 1,
            duration_s: 60.0,
            left: Left { likely, most: 60 },
        }
    }

    fn judged(rate: f64, likely: u32, reused: bool) -> Event {
        Event::TrialJudged {
            pair: "8_8".to_owned(),
            probe: probe(rate),
            offered: Rate::per_minute(rate),
            verdict: Box::new(Verdict {
                criterion: "oracle".to_owned(),
                ruling: Ruling::Sustainable,
                margin: None,
                bound: None,
                capacity_hint: None,
                reasons: Vec::new(),
                statistics: serde_json::Value::Null,
            }),
            bracket: Bracket {
                largest_true: Some(Rate::per_minute(rate)),
                ..Bracket::default()
            },
            left: Left { likely, most: 60 },
            reused,
            stopped_early: false,
            folder: None,
        }
    }

    #[test]
    fn the_file_tells_what_the_search_knows() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let mut observer = ProgressFile::new(run.clone(), 100.0);
        let mut after = |event: &Event| {
            observer.see(event);
            run.progress().unwrap().remove(0)
        };
        let pair = "8_8".to_owned();
        let first = after(&Event::PairStarted {
            pair: pair.clone(),
            index: 1,
            count: 1,
            stored: 1,
        });
        assert_eq!(
            (first.trials, first.low, first.left_s, first.done),
            (0, None, None, false)
        );

        let now = after(&started(64.0, 9));
        assert_eq!((now.now, now.left_s), (Some(Rate::per_minute(64.0)), Some(900.0)));
        // A stored trial says nothing about how long one takes.
        let now = after(&judged(64.0, 8, true));
        assert_eq!(
            (now.trials, now.low, now.trial_s),
            (1, Some(Rate::per_minute(64.0)), None)
        );
        assert_eq!((now.now, now.left_s), (None, Some(800.0)));

        after(&started(128.0, 8));
        let now = after(&judged(128.0, 7, false));
        assert!(
            now.trial_s.unwrap() < 50.0 && now.left_s.unwrap() < 350.0,
            "{now:?}"
        );
        let paused = after(&Event::CoolDown { seconds: 40.0 });
        assert!(
            paused.trial_s.unwrap() >= 40.0 && paused.left_s.unwrap() >= 280.0,
            "{paused:?}"
        );

        let answer = Answer {
            rate: Some(Rate::per_minute(128.0)),
            low: Some(Rate::per_minute(128.0)),
            high: Some(Rate::per_minute(130.0)),
            status: Status::Bracketed,
            reason: String::new(),
            termination_code: String::new(),
            confirmed_s: None,
        };
        let end = after(&Event::PairDone {
            pair,
            answer,
            words: None,
            trials: 9,
            reused: 1,
        });
        assert_eq!((end.done, end.trials, end.left_s), (true, 9, Some(0.0)));
        assert_eq!(end.high, Some(Rate::per_minute(130.0)));
    }
}
