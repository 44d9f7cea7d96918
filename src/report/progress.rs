//! Progress on a terminal: the bracket of the search, and the running trial.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::line_of;
use super::{Event, Observer};
use crate::search::Bracket;
use crate::units::Plain;

/// Two bars at the bottom, lines scrolling above.
pub struct Bars {
    all: MultiProgress,
    search: ProgressBar,
    trial: ProgressBar,
}

impl Default for Bars {
    fn default() -> Self {
        let all = MultiProgress::new();
        let search = all.add(ProgressBar::new_spinner());
        let trial = all.add(ProgressBar::new(1000));
        let style = |template| ProgressStyle::with_template(template).expect("the template is well-formed");
        search.set_style(style("{spinner} {msg}"));
        trial.set_style(style("  {bar:30} {msg}"));
        search.enable_steady_tick(Duration::from_millis(200));
        Self { all, search, trial }
    }
}

impl Observer for Bars {
    fn see(&mut self, event: &Event) {
        match event {
            Event::PairStarted { pair, .. } => self.search.set_message(format!("{pair}: bracketing")),
            Event::TrialStarted {
                probe,
                number,
                duration_s,
                ..
            } => {
                self.trial.set_position(0);
                self.trial.set_message(format!(
                    "trial {number}: {}, {} s",
                    probe.rate,
                    Plain(*duration_s)
                ));
            }
            Event::TrialProgress {
                elapsed_s,
                duration_s,
                open,
                finished_per_minute,
                ttft_p50_ms,
                ..
            } => {
                self.trial
                    .set_position((1000.0 * elapsed_s / duration_s).min(1000.0) as u64);
                let ttft = ttft_p50_ms
                    .map(|ms| format!(", TTFT {ms:.0} ms"))
                    .unwrap_or_default();
                self.trial.set_message(format!(
                    "{:.0} s left, {finished_per_minute:.0} answered/min, {open} in flight{ttft}",
                    (duration_s - elapsed_s).max(0.0)
                ));
            }
            Event::TrialJudged { pair, bracket, .. } => {
                self.search.set_message(format!("{pair}: {}", span(bracket)));
            }
            _ => {}
        }
        if let Some(line) = line_of(event) {
            // A terminal that went away takes the line with it.
            let _ = self.all.println(line);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.trial.finish_and_clear();
        self.search.finish_and_clear();
    }
}

fn span(bracket: &Bracket) -> String {
    let number = |rate: Option<crate::units::Rate>| {
        rate.map_or("?".to_owned(), |r| Plain(r.as_per_minute()).to_string())
    };
    format!(
        "stage {}, between {} and {} req/min",
        bracket.stage,
        number(bracket.largest_true),
        number(bracket.smallest_false)
    )
}
