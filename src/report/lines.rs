//! Plain lines on stderr, for log files: one an event, and at most one every half minute within a trial.

use std::time::{Duration, Instant};

use super::{Event, Observer, answer_line, judged_line};
use crate::units::Plain;

/// How often a running trial is mentioned.
const EVERY: Duration = Duration::from_secs(30);

/// Plain lines.
#[derive(Debug, Default)]
pub struct Lines {
    last_progress: Option<Instant>,
}

impl Observer for Lines {
    fn see(&mut self, event: &Event) {
        if let Event::TrialProgress {
            elapsed_s,
            duration_s,
            open,
            finished_per_minute,
            ..
        } = event
        {
            if self.last_progress.is_some_and(|at| at.elapsed() >= EVERY) {
                self.last_progress = Some(Instant::now());
                tell(&format!(
                    "  {} of {} s, {} answered/min, {open} in flight",
                    Plain(elapsed_s.round()),
                    Plain(*duration_s),
                    Plain(finished_per_minute.round())
                ));
            }
            return;
        }
        if matches!(event, Event::TrialStarted { .. }) {
            self.last_progress = Some(Instant::now());
        }
        if let Some(line) = line_of(event) {
            tell(&line);
        }
    }
}

/// The line that an event is told in; `None` for those that are not told.
pub(super) fn line_of(event: &Event) -> Option<String> {
    Some(match event {
        Event::PairStarted {
            pair,
            index,
            count,
            stored,
        } => {
            let known = match stored {
                0 => String::new(),
                1 => ", 1 trial stored".to_owned(),
                n => format!(", {n} trials stored"),
            };
            format!("{pair} ({index} of {count}{known})")
        }
        Event::TrialStarted { .. } | Event::TrialProgress { .. } => return None,
        Event::TrialRetried { why, left } => format!("  trial repeated ({left} left): {why}"),
        Event::TrialJudged {
            probe,
            verdict,
            reused,
            stopped_early,
            ..
        } => {
            format!("  {}", judged_line(probe, verdict, *reused, *stopped_early))
        }
        Event::CoolDown { seconds } => format!("  cooling down for {} s", Plain(*seconds)),
        Event::PairDone {
            pair,
            answer,
            words,
            trials,
            reused,
        } => {
            let line = words.as_ref().map_or_else(
                || answer_line(pair, answer),
                |words| format!("{pair}: {words}; {}", answer.reason),
            );
            format!("{line} ({trials} trials, {reused} of them stored before)")
        }
        Event::Note { text } => format!("note: {text}"),
    })
}

fn tell(line: &str) {
    let now = chrono::Utc::now().format("%H:%M:%S");
    eprintln!("{now} {line}");
}
