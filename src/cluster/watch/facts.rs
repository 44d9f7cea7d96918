//! What the folder of a run tells.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::runs::{Ended, Journal, Line, Mode, Note, Plan, Progress, RunDir, RunError};
use crate::store::{Holder, holder};

/// A driver gives a sign of life every two seconds; shared file systems show it late.
const SILENCE: TimeDelta = TimeDelta::seconds(60);

/// The last sign of life of a driver that did not give its lease back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// When it was given.
    pub at: DateTime<Utc>,
    /// Whether its process lives, where it is one of this host.
    pub lives: Option<bool>,
}

impl Sign {
    /// Whether the driver is taken to live.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.lives.unwrap_or(now - self.at < SILENCE)
    }
}

/// What the seat of a driver tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatFacts {
    /// The task of an array.
    pub task: Option<u32>,
    /// How its driver ended for good.
    pub ended: Option<Ended>,
    /// Its last sign of life.
    pub sign: Option<Sign>,
}

/// What the folder of a run tells.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The run's name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// What was asked for.
    pub plan: Plan,
    /// What happened to its jobs.
    pub journal: Vec<Line>,
    /// Its drivers: one, or one a pair.
    pub seats: Vec<SeatFacts>,
    /// What its searches know, by pair.
    pub progress: BTreeMap<String, Progress>,
    /// Whether it was asked to stop.
    pub is_asked_to_stop: bool,
    run: RunDir,
}

impl Facts {
    /// Reads the folder.
    ///
    /// # Errors
    /// When something in it cannot be read.
    pub fn gather(run: &RunDir) -> Result<Self, RunError> {
        let plan = run.plan()?;
        let tasks: Vec<Option<u32>> = match plan.mode {
            Mode::Array => (0..plan.pairs.len() as u32).map(Some).collect(),
            Mode::Job | Mode::Client | Mode::Chain | Mode::Login => vec![None],
        };
        let mut seats = Vec::with_capacity(tasks.len());
        for task in tasks {
            let seat = run.seat(task);
            seats.push(SeatFacts {
                task,
                ended: seat.ended()?,
                sign: holder(seat.path()).as_ref().map(sign),
            });
        }
        let progress = run.progress()?.into_iter().map(|p| (p.pair.clone(), p)).collect();
        Ok(Self {
            name: run.name(),
            path: std::path::absolute(run.path())?,
            journal: Journal::read_all(run.path())?,
            seats,
            progress,
            is_asked_to_stop: run.is_asked_to_stop(),
            plan,
            run: run.clone(),
        })
    }

    /// Looks again how drivers ended.
    pub(super) fn read_ends(&mut self) {
        for seat in self.seats.iter_mut().filter(|s| s.ended.is_none()) {
            // One that cannot be read now could be read a moment ago.
            seat.ended = self.run.seat(seat.task).ended().unwrap_or(None);
        }
    }

    /// Whether every driver wrote its end.
    pub fn has_ended(&self) -> bool {
        self.seats.iter().all(|seat| seat.ended.is_some())
    }

    /// The exit code of the driver that ended worst.
    pub(super) fn exit(&self) -> Option<u8> {
        self.seats
            .iter()
            .filter_map(|s| Some(s.ended.as_ref()?.exit))
            .max()
    }

    /// When somebody last did something: wrote the journal, or for a seat gave a sign of life or got on with its pair.
    pub(super) fn last_seen(&self, seat: &SeatFacts) -> DateTime<Utc> {
        let pair = seat.task.and_then(|task| self.plan.pairs.get(task as usize));
        let progress = self
            .progress
            .values()
            .filter(|p| pair.is_none_or(|pair| *pair == p.pair))
            .map(|p| p.at);
        progress
            .chain(self.journal.last().map(|line| line.at))
            .chain(seat.sign.map(|sign| sign.at))
            .fold(self.plan.created, DateTime::max)
    }

    /// Whether a driver ever started at this seat.
    pub(super) fn has_started(&self, seat: &SeatFacts) -> bool {
        let pair = seat.task.and_then(|task| self.plan.pairs.get(task as usize));
        seat.sign.is_some()
            || match pair {
                Some(pair) => self.progress.contains_key(pair),
                None => {
                    !self.progress.is_empty()
                        || self
                            .journal
                            .iter()
                            .any(|line| matches!(line.note, Note::Started { .. }))
                }
            }
    }
}

fn sign(holder: &Holder) -> Sign {
    Sign {
        at: holder.beat.into(),
        lives: holder.lives,
    }
}
