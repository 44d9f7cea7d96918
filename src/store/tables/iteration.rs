//! The facts of an iteration, and the row of `results.csv` that they make.

use crate::criterion::Ruling;
use crate::search::Bracket;
use crate::trial::Estimate;
use crate::units::{Rate, TokenRange};
use crate::workload::LengthClass;

use super::Layout;
use super::columns::{self, FROM_EVENTS, latest_name};
use super::prompts::one_line;
use super::pyfloat::{PyBool, PyFloat, Short};
use super::requests::RequestTable;
use super::results_row::ResultsRow;
use super::token_stats::{TokenStats, driver_median, response_counts, total_counts};
use crate::workload::prompts::PromptUse;

/// What is known of an iteration beside its requests. `None` and empty mean unknown, never zero.
#[derive(Clone, Debug, Default)]
pub struct Iteration {
    /// `MST` or `MIT`.
    pub experiment_type: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// One class for a pair, several for a mix.
    pub classes: Vec<LengthClass>,
    /// The rate asked for.
    pub rate: Option<Rate>,
    /// Sustainable or not; `None` where unsure or not judged.
    pub evaluation: Option<bool>,
    /// The duration as the user wrote it: `1800s`.
    pub duration: Option<String>,
    /// The endpoint.
    pub url: Option<String>,
    /// GPUs that serve the model.
    pub gpu_count: Option<String>,
    /// The Slurm job.
    pub job_id: Option<String>,
    /// Stage of the search after this iteration.
    pub stage: Option<u8>,
    /// What the search knows after this iteration.
    pub bracket: Bracket,
    /// Why the search ended, as a code; empty while it goes on.
    pub termination_reason: Option<String>,
    /// Whether this row carries the answer.
    pub finished: Option<bool>,
    /// What our criteria and load generator say; for [`Layout::Mst`] alone.
    pub ours: OurFacts,
}

/// The columns that only our layout has.
#[derive(Clone, Debug, Default)]
pub struct OurFacts {
    /// The decision with its third value.
    pub ruling: Option<Ruling>,
    /// Share of the load that was not served.
    pub drift: Option<Estimate>,
    /// The legacy test's p-value.
    pub welch_p: Option<f64>,
    /// The rate that was really offered.
    pub realised: Option<Rate>,
    /// Why the trial is void.
    pub void: Option<String>,
    /// Whether it was ended early because it was decided.
    pub stopped_early: Option<bool>,
    /// Version of the program that measured.
    pub mst_version: Option<String>,
    /// Identity of the trial.
    pub trial_id: Option<String>,
}

/// Names and cells of the row of `results.csv`.
///
/// What `existing` says stays, but for what the requests tell anew; columns of it that have no place in the layout are
/// appended, so that nothing is lost that cannot be computed again.
pub(super) fn row(
    layout: Layout,
    iteration: &Iteration,
    table: &RequestTable,
    prompts: &[PromptUse],
    existing: Option<&ResultsRow>,
) -> Vec<(String, String)> {
    let facts = Facts {
        layout,
        iteration,
        table,
        input: input_stats(table, prompts),
        output: TokenStats::of(response_counts(table, layout)),
        prompts,
    };
    let mut cells: Vec<(String, String)> = Vec::new();
    for column in columns::of(layout) {
        let computed = facts.cell(latest_name(column)).unwrap_or_default();
        let kept = existing
            .and_then(|row| row.text(column))
            .map(|text| facts.spell(column, text));
        let anew = FROM_EVENTS.contains(&latest_name(column)) && !computed.is_empty();
        let cell = if anew { computed } else { kept.unwrap_or(computed) };
        cells.push((column.to_owned(), cell));
    }
    let columns = columns::of(layout);
    for (name, cell) in existing.into_iter().flat_map(ResultsRow::cells) {
        let known = columns.iter().any(|c| latest_name(c) == latest_name(name));
        if !known && !cell.is_empty() && !facts.follows(name) {
            cells.push((name.to_owned(), cell.to_owned()));
        }
    }
    cells
}

/// The most prompts whose lengths are counted one by one.
const MOST_PROMPTS: u64 = 10_000_000;

/// Prompt lengths: as they were sent where that is known, else of the prompts file.
fn input_stats(table: &RequestTable, prompts: &[PromptUse]) -> Option<TokenStats> {
    let sent = table.lines.iter().filter_map(|l| l.input_tokens);
    // A file may claim any count; what no trial can have sent is not expanded.
    let total = prompts
        .iter()
        .fold(0u64, |sum, p| sum.saturating_add(p.occurrences));
    let usable = if total <= MOST_PROMPTS { prompts } else { &[] };
    let filed = usable
        .iter()
        .flat_map(|p| std::iter::repeat_n(p.tokens, p.occurrences as usize));
    TokenStats::of(sent).or_else(|| TokenStats::of(filed))
}

struct Facts<'a> {
    layout: Layout,
    iteration: &'a Iteration,
    table: &'a RequestTable,
    input: Option<TokenStats>,
    output: Option<TokenStats>,
    prompts: &'a [PromptUse],
}

impl Facts<'_> {
    /// The cell of a column by its latest name; `None` where unknown.
    fn cell(&self, column: &str) -> Option<String> {
        let it = self.iteration;
        let ours = &it.ours;
        let (input, output) = (self.input.as_ref(), self.output.as_ref());
        let rate = |r: Option<Rate>| r.map(|r| whole_or_repr(r.as_per_minute()));
        let repr = |v: Option<f64>| v.map(|v| PyFloat(v).to_string());
        let requests = self.table.lines.len();
        match column {
            "EXPERIMENT_TYPE" => it.experiment_type.clone(),
            "MODEL_USED" => it.model.clone(),
            "MIN_INPUT_TOKENS" => self.side(|c| c.pair.input, |r| r.min.to_string()),
            "MAX_INPUT_TOKENS" => self.side(|c| c.pair.input, |r| r.max.to_string()),
            "MIN_OUTPUT_TOKENS" => self.side(|c| c.pair.output, |r| r.min.to_string()),
            "MAX_OUTPUT_TOKENS" => self.side(|c| c.pair.output, |r| r.max.to_string()),
            "INPUT_TOKENS" => self.side(|c| c.pair.input, |r| r.to_string()),
            "OUTPUT_TOKENS" => self.side(|c| c.pair.output, |r| r.to_string()),
            "REQ_MIN" => rate(it.rate),
            "EVALUATION" => it.evaluation.map(|e| self.truth(e)),
            "DURATION" => it.duration.clone(),
            "URL" => it.url.clone(),
            "GPU_COUNT" => it.gpu_count.clone(),
            "TOTAL_REQUESTS" => (requests > 0).then(|| requests.to_string()),
            "SUCCESS_RATE" => repr(self.table.success_rate_percent()),
            "MEDIAN_PROMPT_TOKENS" => input.map(|s| median_prompt(s.median)),
            "PROMPT_TEXT" => self.prompts.first().map(one_line),
            "MEDIAN_RESPONSE_TOKENS" => match self.layout {
                Layout::New | Layout::Doc => Some(format!("{:.3}", driver_median(self.table))),
                Layout::Latest | Layout::Mst => output.map(|s| format!("{:.3}", s.median)),
            },
            "JOB_ID" => it.job_id.clone(),
            "STAGE" => it.stage.map(|s| s.to_string()),
            "RESPONSES_WITHIN_EXPECTED_INTERVAL" => self.within().map(|(within, _)| within.to_string()),
            "RESPONSES_OUTSIDE_EXPECTED_INTERVAL" => self.within().map(|(_, outside)| outside.to_string()),
            "AVG_TOKENS_PER_REQUEST" => input.map(|s| Short(s.mean).to_string()),
            "AVG_TOKENS_PER_RESPONSE" => output.map(|s| Short(s.mean).to_string()),
            "INPUT_TOKEN_VARIANCE" => input.map(|s| Short(s.variance).to_string()),
            "OUTPUT_TOKEN_VARIANCE" => output.map(|s| Short(s.variance).to_string()),
            "INPUT_TOKEN_PERCENTILES" => input.map(TokenStats::percentiles_json),
            "OUTPUT_TOKEN_PERCENTILES" => output.map(TokenStats::percentiles_json),
            "REQUEST_TOTAL_TOKEN_PERCENTILES" => {
                TokenStats::of(total_counts(self.table)).map(|s| s.percentiles_json())
            }
            "ADDITIVE_EXPECTED_PROPORTIONS" => self.proportions(|_, class| class.share),
            "ADDITIVE_TRUE_PROPORTIONS" if requests > 0 => self.proportions(|index, _| {
                let of = self.table.lines.iter().filter(|l| usize::from(l.class) == index);
                of.count() as f64 / requests as f64
            }),
            "TERMINATION_REASON" => it.termination_reason.clone(),
            "BINARY_SEARCH_DISTANCE" => it.bracket.distance.map(whole_or_repr),
            "BINARY_SEARCH_RELATIVE_DISTANCE" => repr(it.bracket.relative_distance),
            "LARGEST_TRUE" => rate(it.bracket.largest_true),
            "SMALLEST_FALSE" => rate(it.bracket.smallest_false),
            "FINISHED" => it.finished.map(upper),
            "WORKLOAD_MIX" => self.mix(),
            "ADDITIVE" => (!it.classes.is_empty()).then(|| upper(it.classes.len() > 1)),
            "RULING" => ours.ruling.map(|r| {
                let name = serde_json::to_value(r).expect("a ruling is a word");
                name.as_str().unwrap_or_default().to_owned()
            }),
            "DRIFT" => repr(ours.drift.map(|d| d.value)),
            "DRIFT_LOW" => repr(ours.drift.map(|d| d.low)),
            "DRIFT_HIGH" => repr(ours.drift.map(|d| d.high)),
            "WELCH_P" => repr(ours.welch_p),
            "REALISED_REQ_MIN" => repr(ours.realised.map(Rate::as_per_minute)),
            "VOID" => ours.void.clone(),
            "STOPPED_EARLY" => ours.stopped_early.map(|s| PyBool(s).to_string()),
            "MST_VERSION" => ours.mst_version.clone(),
            "TRIAL_ID" => ours.trial_id.clone(),
            _ => None,
        }
    }

    /// One side of the pair; in mixes unknown.
    fn side(
        &self,
        side: impl Fn(&LengthClass) -> TokenRange,
        text: impl Fn(TokenRange) -> String,
    ) -> Option<String> {
        match self.iteration.classes.as_slice() {
            [only] => Some(text(side(only))),
            _ => None,
        }
    }

    /// Responses inside and outside the length that their class asked for. The older forms look at every request, ours and
    /// the latest only at those that produced tokens.
    fn within(&self) -> Option<(usize, usize)> {
        let older = matches!(self.layout, Layout::New | Layout::Doc);
        let classes = &self.iteration.classes;
        if classes.is_empty() || self.table.lines.is_empty() || (older && classes.len() > 1) {
            return None;
        }
        let judged = self.table.lines.iter().filter(|l| older || l.tokens > 0);
        let (mut within, mut outside) = (0, 0);
        for line in judged {
            let class = classes.get(usize::from(line.class))?;
            let count = if older { line.indexed } else { line.tokens };
            if class.pair.output.contains(count) {
                within += 1;
            } else {
                outside += 1;
            }
        }
        Some((within, outside))
    }

    /// Shares by class as a JSON object; mixes alone have them.
    fn proportions(&self, share: impl Fn(usize, &LengthClass) -> f64) -> Option<String> {
        let classes = &self.iteration.classes;
        let entry = |(index, class): (usize, &LengthClass)| {
            format!("\"{}\":{}", profile_name(class), Short(share(index, class)))
        };
        let entries: Vec<String> = classes.iter().enumerate().map(entry).collect();
        (classes.len() > 1).then(|| format!("{{{}}}", entries.join(",")))
    }

    /// The mix as `WORKLOAD_MIXES` spells it.
    fn mix(&self) -> Option<String> {
        let classes = &self.iteration.classes;
        let entry = |class: &LengthClass| format!("({},{})", profile_name(class), Short(class.share));
        let entries: Vec<String> = classes.iter().map(entry).collect();
        (classes.len() > 1).then(|| format!("[{}]", entries.join(",")))
    }

    fn truth(&self, value: bool) -> String {
        match self.layout {
            Layout::Mst => PyBool(value).to_string(),
            Layout::Latest | Layout::New | Layout::Doc => upper(value),
        }
    }

    /// An existing cell as this layout spells it.
    fn spell(&self, column: &str, text: &str) -> String {
        match super::output_read::truth(text) {
            Some(value) if column == "EVALUATION" => self.truth(value),
            _ => text.to_owned(),
        }
    }

    /// Whether a column that the layout lacks follows from what it has.
    fn follows(&self, name: &str) -> bool {
        let lengths = [
            "INPUT_TOKENS",
            "OUTPUT_TOKENS",
            "MIN_INPUT_TOKENS",
            "MAX_INPUT_TOKENS",
            "MIN_OUTPUT_TOKENS",
            "MAX_OUTPUT_TOKENS",
        ];
        FROM_EVENTS.contains(&latest_name(name))
            || (lengths.contains(&name) && self.iteration.classes.len() == 1)
    }
}

/// `inMin-inMax:outMin-outMax`, both ends always.
pub fn profile_name(class: &LengthClass) -> String {
    let (i, o) = (class.pair.input, class.pair.output);
    format!("{}-{}:{}-{}", i.min, i.max, o.min, o.max)
}

/// `2048` where whole, else as Python's `repr`.
fn whole_or_repr(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        PyFloat(value).to_string()
    }
}

/// `16` where whole, else three decimals.
fn median_prompt(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

pub(super) fn upper(value: bool) -> String {
    if value { "TRUE" } else { "FALSE" }.to_owned()
}
