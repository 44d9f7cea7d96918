//! The heat map as SVG: rows are input ranges, the smallest at the bottom; columns are output ranges.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};

use super::grid::{Grid, Scale, colour, wants_black};
use crate::units::Plain;

/// Size of a cell, pixels.
const CELL: (i32, i32) = (92, 56);
/// Gap between cells, pixels.
const GAP: i32 = 2;
/// Above the map: title and subtitle.
const TOP: i32 = 84;
/// Below the map: labels, the name of the axis, the note.
const BOTTOM: i32 = 70;
/// A line of the notes below, pixels.
const LINE: i32 = 22;
/// Between map and colour scale, the scale itself, and its labels.
const SCALE: (i32, i32, i32) = (34, 18, 92);
/// Steps of the colour scale.
const STEPS: i32 = 96;
/// Width of a letter of 15 pixels: an estimate, on the safe side.
const LETTER: i32 = 9;
/// Colour of titles and labels.
const INK: RGBColor = RGBColor(33, 37, 41);
/// Colour of what is said beside.
const QUIET: RGBColor = RGBColor(108, 117, 125);
/// Colour of cells without an answer.
const MISSING: RGBColor = RGBColor(241, 243, 245);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> =
    Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as plotters::backend::DrawingBackend>::ErrorType>>;

/// The map as an SVG document.
///
/// # Errors
/// A sentence, when drawing fails.
pub fn render(grid: &Grid, title: &str, subtitle: &str) -> Result<String, String> {
    let layout = Layout::of(grid, title, subtitle);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (layout.width as u32, layout.height as u32))
            .into_drawing_area();
        draw(&area, grid, &layout, title, subtitle).map_err(|e| format!("the SVG cannot be drawn: {e}"))?;
        area.present()
            .map_err(|e| format!("the SVG cannot be drawn: {e}"))?;
    }
    Ok(text)
}

/// Where everything is, pixels.
struct Layout {
    left: i32,
    columns: i32,
    rows: i32,
    width: i32,
    height: i32,
}

impl Layout {
    fn of(grid: &Grid, title: &str, subtitle: &str) -> Self {
        let letters = |text: &str| text.chars().count() as i32;
        let head = grid.inputs.iter().map(|i| letters(&i.to_string())).max();
        let left = 56 + LETTER * head.unwrap_or(0);
        let (columns, rows) = (grid.outputs.len() as i32, grid.inputs.len() as i32);
        let map = left + columns * CELL.0 + SCALE.0 + SCALE.1 + SCALE.2;
        // Titles are 22 and 15 pixels high.
        let heads = 48 + (13 * letters(title)).max((LETTER - 1) * letters(subtitle));
        let notes = notes(grid);
        let foot = left + 24 + notes.iter().map(|n| (LETTER - 1) * letters(n)).max().unwrap_or(0);
        let rows_for_scale = rows.max(3);
        Self {
            left,
            columns,
            rows,
            width: map.max(heads).max(foot),
            height: TOP + rows_for_scale * CELL.1 + BOTTOM + LINE * notes.len() as i32,
        }
    }

    fn bottom(&self) -> i32 {
        TOP + self.rows * CELL.1
    }

    fn right(&self) -> i32 {
        self.left + self.columns * CELL.0
    }
}

fn draw<'a>(area: &Area<'a>, grid: &Grid, layout: &Layout, title: &str, subtitle: &str) -> Drawn<'a> {
    area.fill(&WHITE)?;
    say(area, title, (24, 34), &style(24, &INK, HPos::Left, true))?;
    say(area, subtitle, (24, 60), &style(16, &QUIET, HPos::Left, false))?;
    cells(area, grid, layout)?;
    axes(area, grid, layout)?;
    legend(area, &grid.scale(), layout)
}

fn cells<'a>(area: &Area<'a>, grid: &Grid, layout: &Layout) -> Drawn<'a> {
    let scale = grid.scale();
    for (row, input) in grid.inputs.iter().rev().enumerate() {
        for (column, output) in grid.outputs.iter().enumerate() {
            let (x, y) = (layout.left + column as i32 * CELL.0, TOP + row as i32 * CELL.1);
            let found = grid.cell(*input, *output);
            let back = found.map_or(MISSING, |c| rgb(colour(scale.place(c.value))));
            let corners = [(x, y), (x + CELL.0 - GAP, y + CELL.1 - GAP)];
            area.draw(&Rectangle::new(corners, filled(back)))?;
            if let Some(cell) = found {
                let front = if wants_black((back.0, back.1, back.2)) {
                    INK
                } else {
                    WHITE
                };
                let middle = (x + (CELL.0 - GAP) / 2, y + (CELL.1 - GAP) / 2);
                say(
                    area,
                    &cell.label(),
                    middle,
                    &style(20, &front, HPos::Center, true),
                )?;
            }
        }
    }
    Ok(())
}

fn axes<'a>(area: &Area<'a>, grid: &Grid, layout: &Layout) -> Drawn<'a> {
    for (row, input) in grid.inputs.iter().rev().enumerate() {
        let at = (layout.left - 10, TOP + row as i32 * CELL.1 + CELL.1 / 2);
        say(area, &input.to_string(), at, &style(17, &INK, HPos::Right, false))?;
    }
    for (column, output) in grid.outputs.iter().enumerate() {
        let at = (
            layout.left + column as i32 * CELL.0 + CELL.0 / 2,
            layout.bottom() + 16,
        );
        say(
            area,
            &output.to_string(),
            at,
            &style(17, &INK, HPos::Center, false),
        )?;
    }
    let middle = (i32::midpoint(layout.left, layout.right()), layout.bottom() + 44);
    say(
        area,
        "output tokens",
        middle,
        &style(17, &QUIET, HPos::Center, false),
    )?;
    let turned = style(17, &QUIET, HPos::Center, false).transform(FontTransform::Rotate270);
    let side = (24, i32::midpoint(TOP, layout.bottom()));
    say(area, "input tokens", side, &turned)?;
    let foot = TOP + layout.rows.max(3) * CELL.1 + BOTTOM;
    for (line, note) in notes(grid).iter().enumerate() {
        let at = (layout.left, foot + line as i32 * LINE);
        say(area, note, at, &style(15, &QUIET, HPos::Left, false))?;
    }
    Ok(())
}

/// What is said below the map: the mark, and what has no place in the map.
fn notes(grid: &Grid) -> Vec<String> {
    let mark = grid
        .has_marks()
        .then(|| "* not bracketed, or undecided".to_owned());
    mark.into_iter().chain(grid.lines_beside()).collect()
}

/// The colour scale, the largest value at the top, with three values in between.
fn legend<'a>(area: &Area<'a>, scale: &Scale, layout: &Layout) -> Drawn<'a> {
    let x = layout.right() + SCALE.0;
    let height = layout.rows.max(3) * CELL.1 - GAP;
    let edge = |step: i32| TOP + height * step / STEPS;
    for step in 0..STEPS {
        let place = 1.0 - f64::from(step) / f64::from(STEPS - 1);
        let corners = [(x, edge(step)), (x + SCALE.1, edge(step + 1))];
        area.draw(&Rectangle::new(corners, filled(rgb(colour(place)))))?;
    }
    let places: &[f64] = if scale.high > scale.low {
        &[0.0, 0.25, 0.5, 0.75, 1.0]
    } else {
        &[0.5]
    };
    for &place in places {
        let y = TOP + (f64::from(height) * (1.0 - place)).round() as i32;
        let label = Plain(short(scale.value(place))).to_string();
        say(
            area,
            &label,
            (x + SCALE.1 + 8, y),
            &style(15, &INK, HPos::Left, false),
        )?;
    }
    let law = if scale.logarithmic {
        "req/min, log"
    } else {
        "req/min"
    };
    let at = (x, TOP + height + 18);
    say(area, law, at, &style(15, &QUIET, HPos::Left, false))
}

/// Three significant digits, whole from 100.
fn short(value: f64) -> f64 {
    if value >= 100.0 {
        value.round()
    } else if value >= 10.0 {
        (10.0 * value).round() / 10.0
    } else {
        (100.0 * value).round() / 100.0
    }
}

fn say<'a>(area: &Area<'a>, text: &str, at: (i32, i32), style: &TextStyle<'_>) -> Drawn<'a> {
    area.draw(&Text::new(text.to_owned(), at, style.clone()))
}

fn style(size: i32, ink: &RGBColor, across: HPos, bold: bool) -> TextStyle<'_> {
    let font = ("Helvetica, Arial, sans-serif", size).into_font();
    let font = if bold {
        font.style(plotters::style::FontStyle::Bold)
    } else {
        font
    };
    TextStyle::from(font)
        .color(ink)
        .pos(Pos::new(across, VPos::Center))
}

fn filled(colour: RGBColor) -> ShapeStyle {
    colour.filled()
}

fn rgb((r, g, b): (u8, u8, u8)) -> RGBColor {
    RGBColor(r, g, b)
}

#[cfg(test)]
mod tests {
    use super::super::grid::Cell;
    use super::*;
    use crate::units::{TokenPair, TokenRange};
    use std::collections::BTreeMap;

    #[test]
    fn the_drawing_has_its_labels_and_the_right_orientation() {
        let (small, large) = (TokenRange::exactly(16), TokenRange { min: 100, max: 300 });
        let cell = |input, output, value| {
            (
                TokenPair { input, output },
                Cell {
                    value,
                    firm: value > 200.0,
                },
            )
        };
        let grid = Grid {
            inputs: vec![small, large],
            outputs: vec![small, large],
            cells: BTreeMap::from([cell(small, small, 2048.4), cell(large, large, 120.0)]),
            beside: vec![],
        };
        let svg = render(&grid, "A & B", "requests/min").unwrap();
        let height_of = |label: &str| {
            let at = svg
                .find(&format!("\n{label}\n"))
                .unwrap_or_else(|| panic!("{label} in {svg}"));
            let tag = &svg[svg[..at].rfind("<text").unwrap()..at];
            let y = tag.split("y=\"").nth(1).unwrap();
            y[..y.find('"').unwrap()].parse::<i32>().unwrap()
        };
        assert!(
            height_of("2048") > height_of("120*"),
            "small inputs are at the bottom"
        );
        assert!(svg.contains("A &amp; B") && svg.contains("not bracketed"));
        assert!(svg.contains(&format!("#{:02X}{:02X}{:02X}", MISSING.0, MISSING.1, MISSING.2)));
    }
}
