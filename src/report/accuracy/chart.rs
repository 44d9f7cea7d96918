//! The result as SVG: a box for each server and combination.

use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, WHITE};

use super::summary::{Line, Summary};

/// Height of a box with its gap, pixels.
const ROW: u32 = 26;
/// Width of the drawing and of the names in it, pixels.
const WIDTH: (u32, u32) = (1000, 260);
/// Above and below the boxes, pixels.
const AROUND: u32 = 130;
/// Errors beyond are drawn here, percent.
const WIDEST: f64 = 10.0;
/// Colour of titles and labels.
const INK: RGBColor = RGBColor(33, 37, 41);
/// Colour of the grid.
const GRID: RGBColor = RGBColor(222, 226, 230);
/// Colours of the combinations.
const COLOURS: [RGBColor; 4] = [
    RGBColor(25, 113, 194),
    RGBColor(224, 49, 49),
    RGBColor(47, 158, 68),
    RGBColor(240, 140, 0),
];

/// One box: the whiskers, the box and the mark in it.
struct Boxed {
    name: String,
    combination: usize,
    ends: (f64, f64),
    body: (f64, f64),
    mark: f64,
}

/// Errors of the answers: 1 to 99 % as a line, 5 to 95 % as a box, the median as a mark.
///
/// # Errors
/// A sentence, when drawing fails.
pub fn errors(summary: &Summary) -> Result<String, String> {
    let boxes = boxes(summary, |line| {
        let e = &line.error_percent;
        let at = |v: f64| v.clamp(-WIDEST, WIDEST);
        ((at(e.p1), at(e.p99)), (at(e.p5), at(e.p95)), at(e.p50))
    });
    let title = "Error of the answer, percent of the true capacity (p1, p5, p50, p95, p99)";
    draw(title, &boxes, &legend(summary), (-WIDEST, WIDEST))
}

/// Hours of load: the median as a box from zero, the 95 % quantile as a line.
///
/// # Errors
/// A sentence, when drawing fails.
pub fn hours(summary: &Summary) -> Result<String, String> {
    let boxes = boxes(summary, |line| {
        let h = &line.hours;
        ((0.0, h.p95), (0.0, h.p50), h.p50)
    });
    let most = boxes.iter().map(|b| b.ends.1).fold(0.1, f64::max);
    draw(
        "Hours of load of a search (p50, p95)",
        &boxes,
        &legend(summary),
        (0.0, 1.05 * most),
    )
}

type Places = ((f64, f64), (f64, f64), f64);

fn boxes(summary: &Summary, places: impl Fn(&Line) -> Places) -> Vec<Boxed> {
    let mut boxes = Vec::new();
    let mut add = |name: &str, combination: usize, line: &Line| {
        let (ends, body, mark) = places(line);
        boxes.push(Boxed {
            name: name.to_owned(),
            combination,
            ends,
            body,
            mark,
        });
    };
    for server in &summary.servers {
        for line in &server.results {
            let place = summary
                .overall
                .iter()
                .position(|o| o.line.combination == line.combination);
            add(&server.facts.name, place.unwrap_or(0), line);
        }
    }
    for (place, overall) in summary.overall.iter().enumerate() {
        add("all servers", place, &overall.line);
    }
    boxes
}

fn legend(summary: &Summary) -> Vec<String> {
    summary
        .overall
        .iter()
        .map(|o| {
            let c = &o.line.combination;
            format!(
                "{}, {}, {}, {} s",
                c.search, c.evaluation, c.arrival, c.duration_s
            )
        })
        .collect()
}

fn draw(title: &str, boxes: &[Boxed], legend: &[String], range: (f64, f64)) -> Result<String, String> {
    let mut text = String::new();
    paint(&mut text, title, boxes, legend, range).map_err(|e| format!("the SVG cannot be drawn: {e}"))?;
    Ok(text)
}

fn paint<'a>(
    text: &'a mut String,
    title: &str,
    boxes: &[Boxed],
    legend: &[String],
    range: (f64, f64),
) -> Result<(), Box<dyn std::error::Error + 'a>> {
    let height = AROUND + ROW * (boxes.len() + legend.len()) as u32;
    let area = SVGBackend::with_string(text, (WIDTH.0, height)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| e.to_string())?;
    let font = |size: i32| ("Helvetica, Arial, sans-serif", size).into_font().color(&INK);
    let rows = boxes.len() as f64;
    let (upper, lower) = area.split_vertically((height - ROW * legend.len() as u32 - 10) as i32);
    let mut chart = ChartBuilder::on(&upper)
        .caption(title, font(18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(WIDTH.1)
        .build_cartesian_2d(range.0..range.1, rows..0.0)
        .map_err(|e| e.to_string())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(font(13))
        .draw()
        .map_err(|e| e.to_string())?;
    let name_style = font(13).pos(Pos::new(HPos::Right, VPos::Center));
    let mut earlier = "";
    for (row, one) in boxes.iter().enumerate() {
        let colour = COLOURS[one.combination % COLOURS.len()];
        let (top, middle, bottom) = (row as f64 + 0.2, row as f64 + 0.5, row as f64 + 0.8);
        chart
            .draw_series([PathElement::new(
                vec![(one.ends.0, middle), (one.ends.1, middle)],
                colour.stroke_width(2),
            )])
            .map_err(|e| e.to_string())?;
        chart
            .draw_series([Rectangle::new(
                [(one.body.0, top), (one.body.1, bottom)],
                colour.mix(0.5).filled(),
            )])
            .map_err(|e| e.to_string())?;
        chart
            .draw_series([PathElement::new(
                vec![(one.mark, top), (one.mark, bottom)],
                INK.stroke_width(2),
            )])
            .map_err(|e| e.to_string())?;
        if one.name != earlier {
            let at = chart.backend_coord(&(range.0, middle));
            area.draw(&Text::new(one.name.clone(), (at.0 - 8, at.1), name_style.clone()))
                .map_err(|e| e.to_string())?;
        }
        earlier = &one.name;
    }
    for (place, name) in legend.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let y = ROW as i32 * place as i32 + 6;
        let left = WIDTH.1 as i32 + 12;
        lower
            .draw(&Rectangle::new(
                [(left, y), (left + 16, y + 12)],
                colour.mix(0.5).filled(),
            ))
            .map_err(|e| e.to_string())?;
        lower
            .draw(&Text::new(name.clone(), (left + 24, y), font(13)))
            .map_err(|e| e.to_string())?;
    }
    area.present().map_err(|e| e.to_string())?;
    Ok(())
}
