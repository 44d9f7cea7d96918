//! The heat map on a terminal.

use std::fmt::Write;

use super::grid::{Grid, colour, wants_black};
use crate::units::Plain;

/// What the columns are.
const COLUMNS: &str = "output tokens";
/// What the rows are.
const ROWS: &str = "input tokens";
/// Cells of the colour bar.
const BAR: usize = 24;

/// The map as text: rows are input ranges, the smallest at the bottom; columns are output ranges. Missing cells are
/// empty. `coloured` paints the cells (256 colours).
pub fn render(grid: &Grid, title: &str, coloured: bool) -> String {
    let label = |at: usize, column: usize| {
        grid.cell(grid.inputs[at], grid.outputs[column])
            .map(|c| (c.label(), c.value))
    };
    let width = grid
        .outputs
        .iter()
        .map(|o| o.to_string().len())
        .chain(grid.cells.values().map(|c| c.label().len()))
        .max()
        .unwrap_or(1)
        + 2;
    let side = grid.inputs.iter().map(|i| i.to_string().len()).max().unwrap_or(0);
    let scale = grid.scale();
    let mut text = format!("{title}\n\n{ROWS}\n");
    for row in (0..grid.inputs.len()).rev() {
        let head = grid.inputs[row].to_string();
        let mut line = format!("{head:>side$} ");
        for column in 0..grid.outputs.len() {
            match label(row, column) {
                None => line.push_str(&" ".repeat(width)),
                Some((cell, value)) if coloured => {
                    let back = colour(scale.place(value));
                    let front = if wants_black(back) { 16 } else { 231 };
                    let _ = write!(
                        line,
                        "\u{1b}[48;5;{}m\u{1b}[38;5;{front}m{cell:^width$}\u{1b}[0m",
                        palette(back)
                    );
                }
                Some((cell, _)) => {
                    let _ = write!(line, "{cell:>width$}");
                }
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let mut foot = format!("{:side$} ", "");
    for output in &grid.outputs {
        let output = output.to_string();
        let _ = if coloured {
            write!(foot, "{output:^width$}")
        } else {
            write!(foot, "{output:>width$}")
        };
    }
    let _ = writeln!(text, "{}   {COLUMNS}", foot.trim_end());
    if coloured && scale.high > scale.low {
        let _ = writeln!(text, "\n{:side$} {}", "", bar(grid));
    }
    text
}

/// The colour scale with its ends.
fn bar(grid: &Grid) -> String {
    let scale = grid.scale();
    let mut text = format!("{} ", Plain(scale.low.round()));
    for at in 0..BAR {
        let colour = palette(colour(at as f64 / (BAR - 1) as f64));
        let _ = write!(text, "\u{1b}[48;5;{colour}m ");
    }
    let law = if scale.logarithmic { ", logarithmic" } else { "" };
    let _ = write!(text, "\u{1b}[0m {} req/min{law}", Plain(scale.high.round()));
    text
}

/// The nearest colour of the 6 x 6 x 6 cube that terminals with 256 colours have.
fn palette((r, g, b): (u8, u8, u8)) -> u16 {
    const STEPS: [i32; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |v: u8| {
        (0..6u16)
            .min_by_key(|i| (STEPS[usize::from(*i)] - i32::from(v)).abs())
            .unwrap_or(0)
    };
    16 + 36 * nearest(r) + 6 * nearest(g) + nearest(b)
}

#[cfg(test)]
mod tests {
    use super::super::grid::Cell;
    use super::*;
    use crate::units::{TokenPair, TokenRange};
    use std::collections::BTreeMap;

    fn grid() -> Grid {
        let (small, large) = (TokenRange::exactly(16), TokenRange { min: 100, max: 300 });
        let cell = |input, output, value, firm| (TokenPair { input, output }, Cell { value, firm });
        Grid {
            inputs: vec![small, large],
            outputs: vec![small, large],
            cells: BTreeMap::from([
                cell(small, small, 2048.4, true),
                cell(large, large, 120.0, false),
                cell(small, large, 512.0, true),
            ]),
            beside: vec![],
        }
    }

    #[test]
    fn small_inputs_are_at_the_bottom_and_gaps_are_empty() {
        let expected = "\
T

input tokens
100-300               120*
     16      2048      512
               16  100-300   output tokens
";
        assert_eq!(render(&grid(), "T", false), expected);
    }

    #[test]
    fn colours_are_escapes_around_the_same_text() {
        let text = render(&grid(), "T", true);
        assert!(text.contains("\u{1b}[48;5;"), "{text}");
        assert!(text.contains("2048") && text.contains("logarithmic"));
        assert_eq!(palette((0, 0, 0)), 16);
        assert_eq!(palette((255, 255, 255)), 231);
    }
}
