//! The drawings of the page: what costs what, and how the recommendation answers to load.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext, SeriesLabelPosition};
use plotters::coord::CoordTranslate;
use plotters::coord::combinators::IntoLogRange;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::{Color, IntoFont, RGBColor, WHITE};

use super::Report;
use crate::explore::pareto::COLOURS;
use crate::plan::answer::Candidate;
use crate::plan::bench::{Probed, observed};
use crate::plan::frontier::Place;

/// Size, pixels.
const SIZE: (u32, u32) = (860, 460);
/// Colour of titles and labels.
const INK: RGBColor = RGBColor(33, 37, 41);
/// Colour of what is beaten.
const QUIET: RGBColor = RGBColor(206, 212, 218);
const FONT: &str = "Helvetica, Arial, sans-serif";

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn svg(draw: impl Fn(&mut String) -> Drawn) -> Result<String, String> {
    let mut text = String::new();
    draw(&mut text).map_err(|e| format!("the page cannot be drawn: {e}"))?;
    Ok(text)
}

fn legend<'a, 'b: 'a, C: CoordTranslate>(chart: &mut ChartContext<'a, SVGBackend<'b>, C>) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 14).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// All candidates by cost and capacity, those of the front in the colour of their GPU, the best with a ring.
///
/// # Errors
/// A sentence, when drawing fails.
pub(super) fn frontier(report: &Report<'_>) -> Result<String, String> {
    let some: Vec<(usize, &Candidate)> = report
        .answer
        .candidates
        .iter()
        .enumerate()
        .filter(|(_, c)| c.capacity.qps > 0.0)
        .collect();
    let mut gpus: Vec<&str> = some.iter().map(|(_, c)| c.config.gpu_type.as_str()).collect();
    gpus.sort_unstable();
    gpus.dedup();
    let ends = |values: &dyn Fn(&Candidate) -> f64| {
        let all = some.iter().map(|(_, c)| values(c));
        all.fold((f64::INFINITY, 0.0f64), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let (cheap, dear) = ends(&Candidate::price);
    let (low, high) = ends(&|c| c.capacity.qps);
    let x = report
        .facts
        .prices
        .as_ref()
        .map_or("GPUs".to_owned(), |prices| format!("{} an hour", prices.currency));
    svg(|text| {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        if some.is_empty() {
            area.present()?;
            return Ok(());
        }
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(
                (cheap / 1.3..dear * 1.3).log_scale(),
                (low / 1.3..high * 1.3).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(&x)
            .y_desc("requests a second")
            .light_line_style(WHITE)
            .label_style((FONT, 13).into_font().color(&INK))
            .draw()?;
        let at = |c: &Candidate| (c.price(), c.capacity.qps);
        let beaten = some.iter().filter(|(_, c)| c.place == Place::Beaten);
        chart.draw_series(beaten.map(|(_, c)| Circle::new(at(c), 2, QUIET.filled())))?;
        for (gpu, colour) in gpus.iter().zip(COLOURS.iter().cycle()) {
            let on = some
                .iter()
                .filter(|(_, c)| c.config.gpu_type == *gpu && c.place != Place::Beaten);
            chart
                .draw_series(on.map(|(_, c)| Circle::new(at(c), 5, colour.filled())))?
                .label(*gpu)
                .legend(|(x, y)| Circle::new((x + 10, y), 5, colour.filled()));
        }
        if let Some(best) = report.best() {
            chart
                .draw_series([Circle::new(at(best), 9, INK.stroke_width(2))])?
                .label("recommended")
                .legend(|(x, y)| Circle::new((x + 10, y), 6, INK.stroke_width(2)));
        }
        legend(&mut chart)?;
        drop(chart);
        area.present()?;
        Ok(())
    })
}

/// What of each bound is used up, by load; above 1 it is broken.
///
/// # Errors
/// A sentence, when drawing fails.
pub(super) fn response(report: &Report<'_>) -> Result<String, String> {
    let curve = &report.answer.curve;
    let bounds = report.bench.bounds();
    let right = curve.iter().map(|p| p.qps).fold(0.0, f64::max) * 1.03;
    let used = |probed: &Probed, bound: usize| {
        let bound = &bounds[bound];
        observed(bound, &probed.summary).map_or(TOP, |seen| (seen / bound.limit_s).min(TOP))
    };
    let capacity = report.best().map_or(0.0, |best| best.capacity.qps);
    svg(|text| {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right.max(1e-9), 0.0..TOP)?;
        chart
            .configure_mesh()
            .x_desc("requests a second")
            .y_desc("share of the bound")
            .light_line_style(WHITE)
            .label_style((FONT, 13).into_font().color(&INK))
            .draw()?;
        let line = |from, to| PathElement::new([from, to], INK.stroke_width(1));
        chart.draw_series([
            line((0.0, 1.0), (right, 1.0)),
            line((capacity, 0.0), (capacity, TOP)),
        ])?;
        for (i, (bound, colour)) in bounds.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let points = curve.iter().map(|probed| (probed.qps, used(probed, i)));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(bound.key)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        legend(&mut chart)?;
        drop(chart);
        area.present()?;
        Ok(())
    })
}

/// Upper end of the axis.
const TOP: f64 = 2.0;
