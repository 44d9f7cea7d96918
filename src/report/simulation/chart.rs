//! A line chart as SVG, and its points as CSV.

use std::fmt::Write as _;

use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::drawing::IntoDrawingArea;
use plotters::series::LineSeries;
use plotters::style::{Color, IntoFont, RGBColor, WHITE};

/// Size, pixels.
const SIZE: (u32, u32) = (800, 480);
/// Colour of titles and labels.
const INK: RGBColor = RGBColor(33, 37, 41);
/// Colour of the grid.
const GRID: RGBColor = RGBColor(222, 226, 230);
/// Colours of the lines.
const COLOURS: [RGBColor; 3] = [
    RGBColor(25, 113, 194),
    RGBColor(224, 49, 49),
    RGBColor(47, 158, 68),
];

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The name of its column in the CSV.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// File name without ending.
    pub name: &'static str,
    /// What stands above it.
    pub title: String,
    /// The name and the unit of the horizontal axis.
    pub x: &'static str,
    /// Those of the vertical one.
    pub y: &'static str,
    /// The lines; they share their horizontal places.
    pub lines: Vec<Line>,
}

impl Chart {
    /// The points: a column for the horizontal axis, one for each line.
    pub fn csv(&self) -> String {
        let mut text = String::from(self.x);
        for line in &self.lines {
            text.push(',');
            text.push_str(&line.name);
        }
        text.push('\n');
        let rows = self.lines.first().map_or(0, |line| line.points.len());
        for row in 0..rows {
            let _ = write!(text, "{}", self.lines[0].points[row].0);
            for line in &self.lines {
                let _ = write!(text, ",{}", line.points[row].1);
            }
            text.push('\n');
        }
        text
    }

    /// The drawing.
    ///
    /// # Errors
    /// A sentence, when drawing fails.
    pub fn svg(&self) -> Result<String, String> {
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|e| format!("the SVG of {} cannot be drawn: {e}", self.name))?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let low = points().map(|p| p.0).fold(f64::INFINITY, f64::min).min(0.0);
        let right = points().map(|p| p.0).fold(low, f64::max);
        let high = points().map(|p| p.1).fold(0.0, f64::max);
        // A range must have a length.
        let wide = |end: f64| if end > 0.0 { end } else { 1.0 };
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        let font = |size: i32| ("Helvetica, Arial, sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, font(20))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(low..wide(right), 0.0..wide(high * 1.05))
            .map_err(|e| e.to_string())?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font(13))
            .axis_desc_style(font(14))
            .draw()
            .map_err(|e| e.to_string())?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            chart.draw_series(series).map_err(|e| e.to_string())?;
        }
        area.present().map_err(|e| e.to_string())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_drawn_and_written() {
        let chart = Chart {
            name: "queue",
            title: "Waiting & running".to_owned(),
            x: "time_s",
            y: "requests",
            lines: vec![
                Line {
                    name: "waiting".to_owned(),
                    points: vec![(0.0, 1.0), (10.0, 3.0)],
                },
                Line {
                    name: "backlog".to_owned(),
                    points: vec![(0.0, 2.0), (10.0, 4.5)],
                },
            ],
        };
        assert_eq!(chart.csv(), "time_s,waiting,backlog\n0,1,2\n10,3,4.5\n");
        let svg = chart.svg().unwrap();
        for colour in ["#1971C2", "#E03131"] {
            assert!(svg.contains(colour), "a line in {colour}");
        }
        assert!(svg.contains("Waiting &amp; running") && svg.contains("time_s"));
        let empty = Chart {
            lines: Vec::new(),
            ..chart
        };
        assert!(empty.svg().is_ok(), "a run without requests has plots, too");
        assert_eq!(empty.csv(), "time_s\n");
    }
}
