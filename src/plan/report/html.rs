//! The plan as one page that needs nothing else.

use std::fmt::{Display, Write as _};

use super::{Report, plots, summary};
use crate::plan::answer::Candidate;

const STYLE: &str = "body{font:15px/1.5 Helvetica,Arial,sans-serif;color:#212529;max-width:920px;margin:2em auto;padding:0 1em}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #dee2e6}\
table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:right;padding:.25em .6em;border-bottom:1px solid #e9ecef}\
th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}pre{background:#f8f9fa;padding:1em;overflow-x:auto}\
.best td{font-weight:bold}.quiet{color:#6c757d}";

/// The page.
///
/// # Errors
/// A sentence, when a drawing fails.
pub fn page(report: &Report<'_>) -> Result<String, String> {
    let facts = report.facts;
    let title = escaped(&format!("Capacity plan of {}", facts.model_name));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p class=\"quiet\">{}, {}</p>\n<p id=\"recommendation\">{}.</p>\n",
        escaped(&facts.timestamp),
        escaped(&facts.input_profile),
        escaped(&report.recommendation()),
    );
    if report.best().is_some() {
        section(&mut page, "response", "Response to load");
        add(&mut page, plots::response(report)?);
        add(
            &mut page,
            "<p class=\"quiet\">Of each bound the share that is used up; the vertical line is the reported capacity. All values are \
             simulated on one seed.</p>",
        );
    }
    section(&mut page, "frontier", "What is to be had");
    add(&mut page, plots::frontier(report)?);
    add(
        &mut page,
        "<p class=\"quiet\">Every configuration that was simulated. In grey: another one costs no more, has no more GPUs and bears \
         as much.</p>",
    );
    table(&mut page, report);
    section(&mut page, "summary", "Summary");
    add(&mut page, format!("<pre>{}</pre>", escaped(&summary(report))));
    if !report.answer.dropped.is_empty() {
        section(&mut page, "dropped", "Not simulated");
        add(&mut page, "<table><tr><th>configuration</th><th>why</th></tr>");
        for dropped in &report.answer.dropped {
            let (config, why) = (escaped(&dropped.config), escaped(&dropped.reason));
            add(&mut page, format!("<tr><td>{config}</td><td>{why}</td></tr>"));
        }
        add(&mut page, "</table>");
    }
    add(&mut page, "</body>\n</html>");
    Ok(page)
}

fn table(page: &mut String, report: &Report<'_>) {
    let currency = report
        .facts
        .prices
        .as_ref()
        .map_or("GPUs", |prices| prices.currency.as_str());
    add(
        page,
        format!(
            "<table id=\"options\"><tr><th>configuration</th><th>requests/s</th><th>interval</th><th>{} an hour</th>\
             <th>binds</th><th>on the front</th></tr>",
            escaped(currency)
        ),
    );
    for (id, candidate) in report.front() {
        let class = if report.answer.best == Some(id) {
            " class=\"best\""
        } else {
            ""
        };
        add(page, row(report, candidate, class));
    }
    add(page, "</table>");
}

fn row(report: &Report<'_>, candidate: &Candidate, class: &str) -> String {
    let [low, high] = candidate.capacity.interval;
    let high = if high.is_finite() {
        format!("{high:.2}")
    } else {
        "no limit".to_owned()
    };
    format!(
        "<tr{class}><td>{}</td><td>{:.2}</td><td>{low:.2} to {high}</td><td>{:.2}</td><td>{}</td><td>{}</td></tr>",
        escaped(&candidate.config.name()),
        candidate.capacity.qps,
        candidate.price(),
        escaped(&report.binding(candidate)),
        candidate.place.name(),
    )
}

fn section(page: &mut String, id: &str, title: &str) {
    add(page, format!("<h2 id=\"{id}\">{title}</h2>"));
}

fn add(page: &mut String, text: impl Display) {
    // Writing into a string does not fail.
    let _ = writeln!(page, "{text}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
