//! The one loop that joins search, runner and criterion.

pub mod gpus;
pub mod jobs;

use std::path::PathBuf;

use crate::criterion::{Criterion, Earlier, Flow, Progress, Ruling, Throughput, Verdict};
use crate::report::{Event, Observer};
use crate::runner::{Judged, Trial, TrialError, TrialRunner, Watch};
use crate::search::{Answer, Bracket, Goal, Observed, Probe, Search, Step};
use crate::trial::{Measurement, TrialId, TrialSpec};
use crate::units::Rate;

/// What the loop is told about an experiment beside its search, criterion and runner.
pub struct Experiment<'a> {
    /// Name of the pair or mix.
    pub pair: &'a str,
    /// The specification of the trial that a probe asks for.
    pub spec: &'a dyn Fn(&Probe) -> TrialSpec,
    /// The verdict on a probe that needs no trial, because other trials decide it.
    pub decided: &'a dyn Fn(&Probe) -> Option<Verdict>,
    /// Pause between two trials that were really run, in seconds.
    pub cooldown_s: f64,
    /// Whether everything is to stop now.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// One trial behind an answer.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Its identity.
    pub id: TrialId,
    /// What was asked for.
    pub probe: Probe,
    /// The rate that was offered.
    pub offered: Rate,
    /// Seconds of load.
    pub load_s: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Where it lies.
    pub folder: PathBuf,
    /// Whether it was found in the results folder.
    pub reused: bool,
}

/// The outcome of an experiment.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// The answer.
    pub answer: Answer,
    /// Every trial, in order.
    pub evidence: Vec<Evidence>,
    /// The last bracket.
    pub bracket: Bracket,
    /// Rates that were decided without a trial.
    pub decided: Vec<Rate>,
}

impl Capacity {
    /// Seconds of load behind the answer.
    pub fn load_seconds(&self) -> f64 {
        self.evidence.iter().map(|e| e.load_s).sum()
    }
}

/// Finds the highest sustainable rate.
///
/// # Errors
/// Trouble that is not the service's answer and outlasted the runner's retries; everything measured so far is stored.
#[expect(clippy::too_many_lines, reason = "one loop, from top to bottom")]
pub fn find(
    search: &mut dyn Search,
    criterion: &dyn Criterion,
    runner: &mut dyn TrialRunner,
    experiment: &Experiment<'_>,
    observer: &mut dyn Observer,
) -> Result<Capacity, TrialError> {
    let mut evidence: Vec<Evidence> = Vec::new();
    let mut history: Vec<Throughput> = Vec::new();
    let mut pooled: Vec<Measurement> = Vec::new();
    let mut decided = Vec::new();
    loop {
        let probe = match search.next() {
            Step::Probe(probe) => probe,
            Step::Done(answer) => {
                return Ok(Capacity {
                    answer,
                    evidence,
                    bracket: search.bracket(),
                    decided,
                });
            }
        };
        if (experiment.interrupted)() {
            return Err(TrialError::Interrupted);
        }
        if let Some(verdict) = (experiment.decided)(&probe) {
            search.observe(&Observed {
                probe: &probe,
                verdict: &verdict,
                offered: probe.rate,
                load_s: 0.0,
            });
            decided.push(probe.rate);
            continue;
        }
        let spec = (experiment.spec)(&probe);
        let number = evidence.len() as u32 + 1;
        observer.see(&Event::TrialStarted {
            pair: experiment.pair.to_owned(),
            probe,
            number,
            duration_s: spec.duration_s,
            left: search.left(),
        });
        let trial = {
            let mut watch = Watching {
                criterion,
                goal: probe.goal,
                observer,
                interrupted: experiment.interrupted,
            };
            runner.run(&spec, &probe, &mut watch)?
        };
        if !probe.pooled {
            pooled.clear();
        }
        let forgets = probe.stage > 1 && criterion.forgets_in_stage_two();
        let earlier = Earlier {
            pooled: &pooled,
            history: if forgets { &[] } else { &history },
        };
        let verdict = criterion.judge(&trial.measurement, &earlier);
        let (offered, load_s) = (trial.measurement.offered(), trial.measurement.offered_s);
        search.observe(&Observed {
            probe: &probe,
            verdict: &verdict,
            offered,
            load_s,
        });
        let bracket = search.bracket();
        let folder = runner.settle(
            &trial,
            &Judged {
                probe: &probe,
                verdict: &verdict,
                bracket: &bracket,
            },
        )?;
        observer.see(&Event::TrialJudged {
            pair: experiment.pair.to_owned(),
            probe,
            offered,
            verdict: Box::new(verdict.clone()),
            bracket,
            left: search.left(),
            reused: trial.reused,
            stopped_early: trial.measurement.stopped_early,
            folder: Some(folder.display().to_string()),
        });
        let Trial {
            id,
            measurement,
            reused,
            ..
        } = trial;
        history.push(criterion.throughput(&measurement));
        evidence.push(Evidence {
            id,
            probe,
            offered,
            load_s,
            verdict: verdict.clone(),
            folder,
            reused,
        });
        if verdict.ruling == Ruling::Unsure {
            pooled.push(measurement);
        }
        let more = matches!(search.next(), Step::Probe(_));
        if more && !reused && experiment.cooldown_s > 0.0 {
            observer.see(&Event::CoolDown {
                seconds: experiment.cooldown_s,
            });
            pause(experiment.cooldown_s, experiment.interrupted);
        }
    }
}

/// Waits, but not longer than until an interrupt.
pub(crate) fn pause(seconds: f64, interrupted: &dyn Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs_f64(seconds);
    while std::time::Instant::now() < end && !interrupted() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Joins the criterion's early stop, the display and the interrupt.
struct Watching<'a> {
    criterion: &'a dyn Criterion,
    goal: Goal,
    observer: &'a mut dyn Observer,
    interrupted: &'a dyn Fn() -> bool,
}

impl Watch for Watching<'_> {
    fn observe(&mut self, so_far: &Progress) -> Flow {
        let intended = so_far.backlog.intended.last().copied().unwrap_or(0);
        let finished = so_far.backlog.finished.last().copied().unwrap_or(0);
        self.observer.see(&Event::TrialProgress {
            elapsed_s: so_far.elapsed_s,
            duration_s: so_far.duration_s,
            intended,
            open: intended.saturating_sub(finished),
            finished_per_minute: 60.0 * f64::from(finished) / so_far.elapsed_s.max(1e-3),
            ttft_p50_ms: so_far.ttft_p50_ms,
        });
        self.criterion.watch(so_far, self.goal)
    }

    fn is_interrupted(&self) -> bool {
        (self.interrupted)()
    }

    fn note(&mut self, text: &str) {
        self.observer.see(&Event::Note {
            text: text.to_owned(),
        });
    }

    fn retried(&mut self, why: &str, left: u32) {
        self.observer.see(&Event::TrialRetried {
            why: why.to_owned(),
            left,
        });
    }
}
