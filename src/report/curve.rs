//! The response curve of a pair as SVG: what was offered against what was served, every trial with its interval.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::prelude::Cartesian2d;
use plotters::style::{Color, IntoFont, RGBColor, WHITE};

use crate::criterion::Ruling;
use crate::trial::Estimate;
use crate::units::{Plain, Rate};

/// Size, pixels.
const SIZE: (u32, u32) = (800, 520);
/// Colour of titles and labels.
const INK: RGBColor = RGBColor(33, 37, 41);
/// Colour of the grid.
const GRID: RGBColor = RGBColor(222, 226, 230);
/// Colour of what is served if everything is.
const ALL: RGBColor = RGBColor(134, 142, 150);
/// Colour of the answer and its interval.
const ANSWER: RGBColor = RGBColor(25, 113, 194);

/// A trial on the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The rate that was offered.
    pub offered: Rate,
    /// Share of the load that was not served, with its interval; `None` where the criterion does not tell.
    pub drift: Option<Estimate>,
    /// How it was ruled.
    pub ruling: Ruling,
}

/// The curve of a pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What stands above it.
    pub title: String,
    /// The trials, in any order.
    pub points: Vec<Point>,
    /// The answer.
    pub rate: Option<Rate>,
    /// Lower end of the interval.
    pub low: Option<Rate>,
    /// Upper end of it.
    pub high: Option<Rate>,
}

type Area<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Curve {
    /// The drawing; rates far beyond the answer are left out, as they say little about it.
    ///
    /// # Errors
    /// A sentence, when drawing fails.
    pub fn svg(&self) -> Result<String, String> {
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|e| format!("the response curve cannot be drawn: {e}"))?;
        Ok(text)
    }

    /// The largest rate that is drawn.
    fn right(&self) -> f64 {
        let offered = || self.points.iter().map(|p| p.offered.as_per_minute());
        let most = offered().fold(0.0, f64::max);
        let about = self.high.or(self.rate).map_or(most, Rate::as_per_minute);
        let near = offered().filter(|r| *r <= 2.0 * about).fold(about, f64::max);
        1.05 * if near > 0.0 { near } else { 1.0 }
    }

    fn draw(&self, text: &mut String) -> Result<(), String> {
        let right = self.right();
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        let told = |e: &dyn std::fmt::Display| e.to_string();
        area.fill(&WHITE).map_err(|e| told(&e))?;
        let font = |size: i32| ("Helvetica, Arial, sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, font(15))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..right, 0.0..right)
            .map_err(|e| told(&e))?;
        chart
            .configure_mesh()
            .x_desc("offered, requests per minute")
            .y_desc("served, requests per minute")
            .x_label_formatter(&|rate| Plain(*rate).to_string())
            .y_label_formatter(&|rate| Plain(*rate).to_string())
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font(13))
            .axis_desc_style(font(14))
            .draw()
            .map_err(|e| told(&e))?;
        self.marks(&mut chart, right)?;
        self.trials(&mut chart, right)?;
        drop(chart);
        area.present().map_err(|e| told(&e))
    }

    /// The diagonal, the interval, the answer.
    fn marks(&self, chart: &mut Area<'_, '_>, right: f64) -> Result<(), String> {
        if let (Some(low), Some(high)) = (self.low, self.high) {
            let corners = [
                (low.as_per_minute(), 0.0),
                (high.as_per_minute().min(right), right),
            ];
            let band = Rectangle::new(corners, ANSWER.mix(0.15).filled());
            chart.draw_series([band]).map_err(|e| e.to_string())?;
        }
        let diagonal = PathElement::new([(0.0, 0.0), (right, right)], ALL.stroke_width(1));
        chart.draw_series([diagonal]).map_err(|e| e.to_string())?;
        if let Some(rate) = self.rate.map(Rate::as_per_minute) {
            let answer = PathElement::new([(rate, 0.0), (rate, right)], ANSWER.stroke_width(2));
            chart.draw_series([answer]).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn trials(&self, chart: &mut Area<'_, '_>, right: f64) -> Result<(), String> {
        for point in &self.points {
            let offered = point.offered.as_per_minute();
            if offered > right {
                continue;
            }
            let ink = colour(point.ruling);
            let served = |drift: f64| (offered * (1.0 - drift)).clamp(0.0, right);
            // Without a measure of its own a trial stands where it would if everything was served, and hollow.
            let at = (offered, served(point.drift.map_or(0.0, |d| d.value)));
            if let Some(drift) = point.drift {
                let ends = [(offered, served(drift.high)), (offered, served(drift.low))];
                let whisker = PathElement::new(ends, ink.stroke_width(2));
                chart.draw_series([whisker]).map_err(|e| e.to_string())?;
            }
            let style = if point.drift.is_some() {
                ink.filled()
            } else {
                ink.stroke_width(1)
            };
            let dot = Circle::new(at, 4, style);
            chart.draw_series([dot]).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

fn colour(ruling: Ruling) -> RGBColor {
    match ruling {
        Ruling::Sustainable => RGBColor(47, 158, 68),
        Ruling::Unsustainable => RGBColor(224, 49, 49),
        Ruling::Unsure => RGBColor(240, 140, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(offered: f64, drift: Option<f64>, ruling: Ruling) -> Point {
        Point {
            offered: Rate::per_minute(offered),
            drift: drift.map(|value| Estimate {
                value,
                low: value - 0.01,
                high: value + 0.01,
            }),
            ruling,
        }
    }

    #[test]
    fn trials_answer_and_interval_are_drawn() {
        let curve = Curve {
            title: "8_8 & more".to_owned(),
            points: vec![
                point(1000.0, Some(0.0), Ruling::Sustainable),
                point(1200.0, Some(0.16), Ruling::Unsustainable),
                point(1020.0, None, Ruling::Unsure),
                point(90_000.0, Some(0.99), Ruling::Unsustainable),
            ],
            rate: Some(Rate::per_minute(1000.0)),
            low: Some(Rate::per_minute(990.0)),
            high: Some(Rate::per_minute(1015.0)),
        };
        let svg = curve.svg().unwrap();
        assert!(svg.contains("8_8 &amp; more"));
        assert_eq!(svg.matches("<circle").count(), 3, "the one far away is left out");
        for colour in ["#2F9E44", "#E03131", "#F08C00", "#1971C2"] {
            assert!(svg.contains(colour), "{colour} in {svg}");
        }
        // The served rate of an overloaded trial lies below the diagonal.
        let middles: Vec<(i32, i32)> = svg
            .split("<circle ")
            .skip(1)
            .map(|tag| {
                let number = |name: &str| {
                    let rest = tag.split(&format!("{name}=\"")).nth(1).unwrap();
                    rest[..rest.find('"').unwrap()].parse().unwrap()
                };
                (number("cx"), number("cy"))
            })
            .collect();
        assert!(
            middles[1].0 > middles[0].0 && (middles[1].1 - middles[0].1).abs() < 10,
            "{middles:?}"
        );
    }

    #[test]
    fn a_pair_without_an_answer_has_a_curve() {
        let empty = Curve {
            title: String::new(),
            points: Vec::new(),
            rate: None,
            low: None,
            high: None,
        };
        assert!(empty.svg().is_ok());
    }
}
