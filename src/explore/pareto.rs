//! Requests per second and GPU against latency: every probe of seed 0 that was simulated to its end.

use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::coord::combinators::IntoLogRange;
use plotters::drawing::IntoDrawingArea;
use plotters::element::Circle;
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor, WHITE};
use serde::Serialize;

use super::explorer::{Exploration, per_gpu};
use super::grid::Grid;

/// Size of a panel, pixels.
const PANEL: (u32, u32) = (760, 420);
/// One colour a device; more devices begin again.
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// A probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spot {
    /// Model.
    pub model: String,
    /// Trace.
    pub trace: String,
    /// The cell's hash.
    pub cell: String,
    /// GPU.
    pub device: String,
    /// Replicas.
    pub replicas: u32,
    /// Requests per second.
    pub qps: f64,
    /// Requests per second and GPU.
    pub qps_per_gpu: f64,
    /// Time to first token, 99th percentile, seconds.
    pub ttft_p99: f64,
    /// Time per output token, 99th percentile, seconds.
    pub tpot_p99: f64,
    /// From arrival to the last token, 99th percentile, seconds.
    pub e2e_p99: f64,
    /// Whether no other probe of this model and trace has both more requests per second and GPU and a shorter
    /// `ttft_p99`.
    pub on_front: bool,
}

/// All probes by model and trace, with rising latency.
pub fn spots(grid: &Grid, exploration: &Exploration) -> Vec<Spot> {
    let mut panels: Vec<(String, Vec<Spot>)> = Vec::new();
    for (cell, outcome) in grid.cells.iter().zip(&exploration.cells) {
        for (point, probed) in outcome.probes.iter().filter(|(point, _)| point.seed == 0) {
            let latency = |name: &str| probed.latency.get(name).copied();
            let (Some(ttft_p99), Some(tpot_p99), Some(e2e_p99)) =
                (latency("ttft_p99"), latency("tpot_p99"), latency("e2e_p99"))
            else {
                continue;
            };
            if probed.completed < probed.requests {
                continue;
            }
            let spot = Spot {
                model: cell.model.clone(),
                trace: cell.trace.clone(),
                cell: cell.hash.clone(),
                device: cell.deployment.device.clone(),
                replicas: point.replicas,
                qps: point.qps,
                qps_per_gpu: per_gpu(cell, *point),
                ttft_p99,
                tpot_p99,
                e2e_p99,
                on_front: false,
            };
            let name = title(&spot);
            match panels.iter_mut().find(|(known, _)| *known == name) {
                Some((_, spots)) => spots.push(spot),
                None => panels.push((name, vec![spot])),
            }
        }
    }
    let mut all = Vec::new();
    for (_, mut spots) in panels {
        spots.sort_by(|a, b| {
            a.ttft_p99
                .total_cmp(&b.ttft_p99)
                .then(b.qps_per_gpu.total_cmp(&a.qps_per_gpu))
        });
        let mut most = 0.0;
        for spot in &mut spots {
            spot.on_front = spot.qps_per_gpu > most;
            most = spot.qps_per_gpu.max(most);
        }
        all.extend(spots);
    }
    all
}

/// The probes as CSV.
///
/// # Errors
/// When a row cannot be written.
pub fn csv(spots: &[Spot]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for spot in spots {
        writer.serialize(spot)?;
    }
    writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))
}

fn title(spot: &Spot) -> String {
    format!("{}, {}", spot.model, spot.trace)
}

/// A panel for each model and trace, the front as a line.
///
/// # Errors
/// A sentence, when drawing fails.
pub fn svg(spots: &[Spot]) -> Result<String, String> {
    let panels: Vec<&[Spot]> = spots.chunk_by(|a, b| title(a) == title(b)).collect();
    let mut devices: Vec<&str> = spots.iter().map(|spot| spot.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    let mut text = String::new();
    {
        let size = (PANEL.0, PANEL.1 * panels.len().max(1) as u32);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let failed = |e: &dyn std::fmt::Display| format!("the SVG cannot be drawn: {e}");
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        for (part, spots) in area.split_evenly((panels.len().max(1), 1)).iter().zip(&panels) {
            panel(part, spots, &devices).map_err(|e| failed(&e))?;
        }
        area.present().map_err(|e| failed(&e))?;
    }
    Ok(text)
}

type Area<'a> = plotters::drawing::DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, spots: &[Spot], devices: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0f64), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let (low, high) = ends(&mut spots.iter().map(|s| s.ttft_p99.max(1e-6)));
    let (_, top) = ends(&mut spots.iter().map(|s| s.qps_per_gpu));
    let legend: Vec<String> = devices
        .iter()
        .zip(NAMES.iter().cycle())
        .map(|(d, c)| format!("{d} {c}"))
        .collect();
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("{} ({})", title(&spots[0]), legend.join(", ")),
            ("Helvetica, Arial, sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d((low / 1.2..high * 1.2).log_scale(), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("TTFT P99 (s)")
        .y_desc("QPS per GPU")
        .light_line_style(WHITE)
        .draw()?;
    chart.draw_series(spots.iter().map(|spot| {
        let colour = COLOURS[devices.iter().position(|d| *d == spot.device).unwrap_or(0) % COLOURS.len()];
        Circle::new((spot.ttft_p99.max(1e-6), spot.qps_per_gpu), 3, colour.filled())
    }))?;
    let front = spots
        .iter()
        .filter(|spot| spot.on_front)
        .map(|spot| (spot.ttft_p99.max(1e-6), spot.qps_per_gpu));
    chart.draw_series(LineSeries::new(front, RGBColor(33, 37, 41).stroke_width(2)))?;
    Ok(())
}

/// The names of [`COLOURS`].
const NAMES: [&str; 6] = ["blue", "red", "green", "pink", "orange", "light blue"];
