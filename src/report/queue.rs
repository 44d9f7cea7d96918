//! What a server told of its load during a trial as SVG: requests that run and wait, and the use of its KV cache.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::drawing::IntoDrawingArea;
use plotters::element::PathElement;
use plotters::series::LineSeries;
use plotters::style::{Color, IntoFont, RGBColor, WHITE};

use crate::store::tables::ServerLook;
use crate::units::Plain;

/// Size, pixels.
const SIZE: (u32, u32) = (800, 420);
/// Colour of titles and labels.
const INK: RGBColor = RGBColor(33, 37, 41);
/// Colour of the grid.
const GRID: RGBColor = RGBColor(222, 226, 230);
/// Room above the curves, for their names.
const ROOM: f64 = 1.35;
/// Colours of the curves.
const WAITING: RGBColor = RGBColor(224, 49, 49);
const RUNNING: RGBColor = RGBColor(25, 113, 194);
const CACHE: RGBColor = RGBColor(134, 142, 150);

/// A curve: time and value, in pieces that gaps part.
type Pieces = Vec<Vec<(f64, f64)>>;

/// The drawing. What the server does not offer is left out; where it did not answer, the curves have gaps.
///
/// # Errors
/// A sentence, when drawing fails.
pub fn svg(looks: &[ServerLook], title: &str) -> Result<String, String> {
    let mut text = String::new();
    draw(looks, title, &mut text).map_err(|e| format!("the queue cannot be drawn: {e}"))?;
    Ok(text)
}

/// The pieces of a quantity.
fn pieces(looks: &[ServerLook], of: impl Fn(&ServerLook) -> Option<f64>) -> Pieces {
    looks
        .chunk_by(|a, b| of(a).is_some() && of(b).is_some())
        .map(|piece| {
            piece
                .iter()
                .filter_map(|look| Some((look.elapsed_s, of(look)?)))
                .collect()
        })
        .filter(|piece: &Vec<_>| !piece.is_empty())
        .collect()
}

fn draw(looks: &[ServerLook], title: &str, text: &mut String) -> Result<(), String> {
    fn told(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let times = || looks.iter().map(|look| look.elapsed_s);
    let (from, to) = (times().fold(0.0, f64::min), times().fold(1.0, f64::max));
    let counts = [
        ("waiting", WAITING, pieces(looks, |look| look.waiting)),
        ("running", RUNNING, pieces(looks, |look| look.running)),
    ];
    let all = counts.iter().flat_map(|(_, _, pieces)| pieces).flatten();
    let most = all.map(|point| point.1).fold(1.0, f64::max);
    let cache = pieces(looks, |look| look.kv_cache_usage);
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(told)?;
    let font = |size: i32| ("Helvetica, Arial, sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, font(15))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .right_y_label_area_size(64)
        .build_cartesian_2d(from..to, 0.0..ROOM * most)
        .map_err(told)?
        .set_secondary_coord(from..to, 0.0..ROOM);
    chart
        .configure_mesh()
        .x_desc("seconds since the trial's start")
        .y_desc("requests in the server")
        .x_label_formatter(&|s| Plain(*s).to_string())
        .y_label_formatter(&|n| Plain(*n).to_string())
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()
        .map_err(told)?;
    if !cache.is_empty() {
        chart
            .configure_secondary_axes()
            .y_desc("KV cache in use")
            .y_label_formatter(&|share| {
                // Nothing is fuller than full.
                if *share > 1.001 {
                    String::new()
                } else {
                    format!("{:.0} %", share * 100.0)
                }
            })
            .axis_style(INK)
            .label_style(font(13))
            .axis_desc_style(font(14))
            .draw()
            .map_err(told)?;
    }
    let legend = |ink: RGBColor| {
        move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 16, y)], ink.stroke_width(2))
    };
    for (number, piece) in cache.into_iter().enumerate() {
        let drawn = chart
            .draw_secondary_series(LineSeries::new(piece, CACHE.stroke_width(1)))
            .map_err(told)?;
        if number == 0 {
            drawn.label("KV cache").legend(legend(CACHE));
        }
    }
    for (name, ink, pieces) in counts {
        for (number, piece) in pieces.into_iter().enumerate() {
            let drawn = chart
                .draw_series(LineSeries::new(piece, ink.stroke_width(2)))
                .map_err(told)?;
            if number == 0 {
                drawn.label(name).legend(legend(ink));
            }
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(GRID)
        .label_font(font(13))
        .draw()
        .map_err(told)?;
    drop(chart);
    area.present().map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(elapsed_s: f64, waiting: Option<f64>) -> ServerLook {
        ServerLook {
            elapsed_s,
            waiting,
            ..ServerLook::default()
        }
    }

    fn curves(svg: &str, colour: &str) -> usize {
        let is_curve = |tag: &&str| tag.contains(colour) && tag.matches(',').count() > 1;
        svg.split("<polyline ").skip(1).filter(is_curve).count()
    }

    #[test]
    fn gaps_part_the_curves_and_what_is_not_offered_is_left_out() {
        let looks = [
            look(0.0, Some(0.0)),
            look(1.0, Some(40.0)),
            look(2.0, None),
            look(3.0, Some(90.0)),
            look(4.0, Some(120.0)),
        ];
        assert_eq!(pieces(&looks, |l| l.waiting).len(), 2);
        let drawn = svg(&looks, "8_8 & more").unwrap();
        assert!(drawn.contains("8_8 &amp; more") && drawn.contains("waiting"));
        assert!(!drawn.contains("running") && !drawn.contains("KV cache"));
        // Two pieces, and the line of the legend.
        assert_eq!(curves(&drawn, "#E03131"), 3, "{drawn}");
        let full = looks.map(|l| ServerLook {
            running: Some(16.0),
            kv_cache_usage: Some(0.5),
            ..l
        });
        let drawn = svg(&full, "t").unwrap();
        assert!(drawn.contains("running") && drawn.contains("KV cache in use"));
        assert!(drawn.contains("100 %") && !drawn.contains("120 %"), "{drawn}");
        assert!(svg(&[], "nothing").is_ok());
    }
}
