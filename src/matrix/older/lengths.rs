//! Traces by the names of the older files: the file itself where it is there, else its statistics.

use std::path::{Path, PathBuf};

use crate::matrix::file::Workload;
use crate::sim::source::{Order, PublishedLengths, RequestLengths, TooLong};
use crate::workload::Arrival;

/// Where a trace is: as it is named from the file's folder or one above it, for the tools run from the root of their
/// repository; or beside the file by its name alone.
fn beside(file: &Path, trace: &str) -> Option<PathBuf> {
    let folder = file.parent()?;
    let named = folder.ancestors().map(|above| above.join(trace));
    let name = Path::new(trace).file_name().map(|name| folder.join(name));
    named.chain(name).find(|place| place.is_file())
}

/// The statistics that stand in for a trace, and what is to be said of it.
fn published(trace: &str) -> Option<(PublishedLengths, String)> {
    let name = Path::new(trace).file_name()?.to_str()?;
    let own = |known: PublishedLengths| {
        let note = format!(
            "lengths drawn from the published statistics of {}, the trace is not here: {name}",
            known.name()
        );
        (known, note)
    };
    let other = |known: PublishedLengths| {
        let note = format!(
            "lengths drawn from the published statistics of {}, another trace: of {name} neither trace nor statistics are \
             here",
            known.name()
        );
        (known, note)
    };
    if name.starts_with("sharegpt_8k") {
        Some(own(PublishedLengths::ShareGpt8k))
    } else if name.starts_with("bwb") {
        Some(own(PublishedLengths::BwbV2))
    } else if name.starts_with("arxiv_summarization_stats_llama2_tokenizer_filtered_v2") {
        Some(own(PublishedLengths::ArxivSummarizationV2))
    } else if name.starts_with("arxiv") || name.starts_with("lmsys") {
        Some(other(PublishedLengths::ArxivSummarizationV2))
    } else {
        None
    }
}

/// A workload with the lengths of a trace, longer requests shortened in proportion, as the tools do it; and what to know
/// about it.
///
/// # Errors
/// What to do where neither the trace nor its statistics are here.
pub(super) fn traced(
    file: &Path,
    name: &str,
    trace: &str,
    max_tokens: u32,
) -> Result<(Workload, Option<String>), String> {
    let mut workload = plain(name);
    workload.max_tokens = Some(max_tokens);
    workload.too_long = TooLong::Trim;
    if let Some(place) = beside(file, trace) {
        workload.trace = Some(place);
        workload.order = Order::Shuffled;
        return Ok((workload, None));
    }
    let (known, note) = published(trace).ok_or_else(|| {
        format!("the trace {trace} is not here, and its statistics are not known; lay it beside this file")
    })?;
    workload.lengths = Some(RequestLengths::Published(known));
    Ok((workload, Some(note)))
}

/// A workload that has no lengths yet.
pub(super) fn plain(name: &str) -> Workload {
    Workload {
        name: name.to_owned(),
        tokens: None,
        mix: None,
        trace: None,
        format: None,
        lengths: None,
        max_tokens: None,
        too_long: TooLong::Trim,
        order: Order::default(),
        requests: 1000,
        max_duration: None,
        arrivals: Arrival::Poisson,
        start_qps: None,
    }
}

/// What the tools' arrivals are.
pub(super) const POISSON: &str = "arrivals are Poisson, at the rate that is named; the tool cuts gaps at three mean gaps, and so \
                                  offers 1.0524 times the rate that it names (here: arrivals: clipped-poisson)";
