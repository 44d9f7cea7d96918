//! `progress.jsonl`: what a running trial knows, one line a step, so that a decided trial can be stopped.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::criterion::Progress;
use crate::loadgen::ProgressReader;
use crate::trial::{Backlog, RawRow};

/// Name of the file in the trial's folder.
pub(super) const FILE_NAME: &str = "progress.jsonl";

/// A line: counts since the start at the end of step `k`, that is at `k * step_s` seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Number of the step.
    pub(super) k: u64,
    /// Seconds of a step.
    pub(super) step_s: f64,
    /// Requests whose time had come.
    pub(super) intended: u32,
    /// Requests that were finished with, well or badly.
    pub(super) finished: u32,
    /// Of these, the good ones.
    pub(super) good: u32,
    /// Requests that had left the queue, see [`Backlog`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) started: Option<u32>,
    /// What was offered, in requests of mean length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) work: Option<f64>,
    /// What was served of it, see [`Backlog`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<f64>,
    /// Median time to the first token of the requests that ended in this step, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttft_p50_ms: Option<f64>,
}

/// Seconds of a step: a thousandth of the trial, between a tenth and a quarter of a second, so that a trial that is
/// decided within half a minute has points enough.
pub(super) fn step_s(duration_s: f64) -> f64 {
    (duration_s / 1000.0).clamp(0.1, 0.25)
}

/// What has come so far, of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Came {
    /// Tokens.
    pub(super) tokens: u64,
    /// Requests of which a token has come.
    pub(super) started: u64,
}

/// Counts finished requests by step and writes a line when a step is past.
pub(super) struct ProgressWriter {
    file: fs_err::File,
    step_s: f64,
    /// Finished and good requests by step, and times to the first token of the steps that are not written yet.
    finished: Vec<(u32, u32)>,
    ttft_ms: Vec<Vec<f64>>,
    written: u64,
    total: (u32, u32),
    /// Mean length that was planned, in tokens.
    planned_output: Option<f64>,
    /// What had come when it was last looked, and when that was.
    seen: (f64, Came),
    /// What had come by the end of the steps that are not written yet.
    came: VecDeque<(f64, f64)>,
    /// What failed requests count for beyond their tokens, and how many ended without any, by step.
    mended: Vec<(f64, u32)>,
    mended_total: (f64, u32),
}

/// How long after the end of a step its rows may still come in.
const GRACE_S: f64 = 0.15;

impl ProgressWriter {
    /// Creates the file; the first line stands for the start.
    pub(super) fn create(dir: &Path, duration_s: f64, planned_output: Option<f64>) -> io::Result<Self> {
        let mut writer = Self {
            file: fs_err::File::create(dir.join(FILE_NAME))?,
            step_s: step_s(duration_s),
            finished: Vec::new(),
            ttft_ms: Vec::new(),
            written: 0,
            total: (0, 0),
            planned_output,
            seen: (0.0, Came::default()),
            came: VecDeque::new(),
            mended: Vec::new(),
            mended_total: (0.0, 0),
        };
        writer.line(0, (0, 0), (0.0, 0.0), None)?;
        Ok(writer)
    }

    /// Counts a request that ended `done_s` after the start.
    pub(super) fn finished(&mut self, done_s: f64, good: bool, row: &RawRow) {
        // A step that is already written takes no more; its latecomers count in the next.
        let step = ((done_s / self.step_s).ceil() as usize).max(self.written as usize + 1);
        if step >= self.finished.len() {
            self.finished.resize(step + 1, (0, 0));
            self.mended.resize(step + 1, (0.0, 0));
            self.ttft_ms.resize_with(step + 1, Vec::new);
        }
        self.finished[step].0 += 1;
        self.finished[step].1 += u32::from(good);
        self.ttft_ms[step].extend(row.record().ttft_ms());
        // A failed request counts as one, whatever came of it.
        let counted = row.first_us.map_or(0, |_| 1 + row.gaps_us.len());
        if let Some(mean) = self.planned_output {
            let tokens = if good {
                f64::from(row.output_tokens())
            } else {
                mean
            };
            self.mended[step].0 += (tokens - counted as f64) / mean;
        }
        self.mended[step].1 += u32::from(counted == 0);
    }

    /// Writes the steps that are past at `now_s`; `due` tells how many requests, and output tokens of them, were due at a
    /// time, and `came` what has come by now.
    pub(super) fn advance(
        &mut self,
        now_s: f64,
        came: Came,
        due: impl Fn(f64) -> (u32, u64),
    ) -> io::Result<()> {
        let (before_s, before) = self.seen;
        loop {
            let end_s = (self.written + 1 + self.came.len() as u64) as f64 * self.step_s;
            if end_s > now_s {
                break;
            }
            // Straight between two looks.
            let part = ((end_s - before_s) / (now_s - before_s).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
            let at = |a: u64, b: u64| a as f64 + part * (b as f64 - a as f64);
            self.came
                .push_back((at(before.tokens, came.tokens), at(before.started, came.started)));
        }
        self.seen = (now_s, came);
        while (self.written + 1) as f64 * self.step_s + GRACE_S <= now_s {
            let step = self.written as usize + 1;
            let (finished, good) = self.finished.get(step).copied().unwrap_or_default();
            self.total = (self.total.0 + finished, self.total.1 + good);
            let (progress, started) = self.mended.get(step).copied().unwrap_or_default();
            self.mended_total = (self.mended_total.0 + progress, self.mended_total.1 + started);
            let mut times = self.ttft_ms.get_mut(step).map(std::mem::take).unwrap_or_default();
            let middle = times.len() / 2;
            let median = (!times.is_empty()).then(|| *times.select_nth_unstable_by(middle, f64::total_cmp).1);
            let came = self.came.pop_front().unwrap_or((0.0, 0.0));
            self.line(step as u64, due(step as f64 * self.step_s), came, median)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        k: u64,
        (intended, tokens): (u32, u64),
        (came, started): (f64, f64),
        ttft_p50_ms: Option<f64>,
    ) -> io::Result<()> {
        let line = Line {
            k,
            step_s: self.step_s,
            intended,
            finished: self.total.0,
            good: self.total.1,
            started: Some(
                (started as u32 + self.mended_total.1).clamp(self.total.0, intended.max(self.total.0)),
            ),
            work: self.planned_output.map(|mean| tokens as f64 / mean),
            progress: self.planned_output.map(|mean| came / mean + self.mended_total.0),
            ttft_p50_ms,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.written = k;
        self.file.write_all(&text)
    }
}

/// Follows the file of a running trial.
pub(super) struct Follower {
    path: PathBuf,
    duration_s: f64,
    offset: u64,
    rest: Vec<u8>,
    backlog: Backlog,
    ttft_p50_ms: Option<f64>,
}

impl Follower {
    /// Follows the trial in `dir`.
    pub(super) fn new(dir: &Path, duration_s: f64) -> Self {
        Self {
            path: dir.join(FILE_NAME),
            duration_s,
            offset: 0,
            rest: Vec::new(),
            backlog: Backlog::default(),
            ttft_p50_ms: None,
        }
    }

    /// Takes what was added to the file.
    fn catch_up(&mut self) -> io::Result<()> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        self.offset += file.read_to_end(&mut self.rest)? as u64;
        let Some(end) = memchr::memrchr(b'\n', &self.rest) else {
            return Ok(());
        };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let line: Line = serde_json::from_slice(line)?;
            self.backlog.step_s = line.step_s;
            self.backlog.intended.push(line.intended);
            self.backlog.finished.push(line.finished);
            self.backlog.good.push(line.good);
            self.backlog.started.push(line.started.unwrap_or(line.finished));
            self.backlog
                .work
                .push(line.work.unwrap_or(f64::from(line.intended)));
            self.backlog
                .progress
                .push(line.progress.unwrap_or(f64::from(line.finished)));
            self.ttft_p50_ms = line.ttft_p50_ms.or(self.ttft_p50_ms);
        }
        Ok(())
    }
}

impl ProgressReader for Follower {
    fn read(&mut self) -> Option<Progress> {
        // A file that is not there yet, or cannot be read just now, tells nothing; the next look may.
        self.catch_up().ok()?;
        let steps = self.backlog.len().checked_sub(1)?;
        Some(Progress {
            elapsed_s: steps as f64 * self.backlog.step_s,
            duration_s: self.duration_s,
            backlog: self.backlog.clone(),
            ttft_p50_ms: self.ttft_p50_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut follower = Follower::new(dir.path(), 10.0);
        assert!(follower.read().is_none());
        let mut writer = ProgressWriter::create(dir.path(), 10.0, Some(20.0)).unwrap();
        assert_eq!(follower.read().unwrap().backlog.intended, [0]);
        let row = |first_us: Option<u64>, tokens: usize| RawRow {
            sent_ns: Some(0),
            first_us,
            gaps_us: vec![1; tokens.saturating_sub(1)],
            ..RawRow::default()
        };
        let due = |s: f64| ((s * 100.0).round() as u32, (s * 2000.0).round() as u64);
        let came = |tokens: u64, started: u64| Came { tokens, started };
        writer.finished(0.05, true, &row(Some(7_000), 10));
        writer.finished(0.15, false, &row(None, 0));
        writer.advance(0.2, came(40, 4), due).unwrap();
        writer.advance(0.3, came(60, 5), due).unwrap();
        // Too late for its own step.
        writer.finished(0.05, true, &row(Some(9_000), 10));
        writer.advance(0.5, came(80, 6), due).unwrap();
        let progress = follower.read().unwrap();
        assert_eq!(progress.backlog.intended, [0, 10, 20, 30]);
        assert_eq!(progress.backlog.finished, [0, 1, 3, 3]);
        assert_eq!(progress.backlog.good, [0, 1, 2, 2]);
        assert_eq!(progress.backlog.started, [0, 2, 5, 6]);
        assert_eq!(progress.backlog.work, [0.0, 10.0, 20.0, 30.0]);
        // Twenty tokens are one request; the failed one counts as one.
        assert_eq!(progress.backlog.progress, [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(progress.ttft_p50_ms, Some(9.0));
        assert!((progress.elapsed_s - 0.3).abs() < 1e-9);
    }
}
