//! Tails of Student's t against 60-digit arithmetic; `scripts/golden-stats.py` writes the file.

use mst::stats::student_t::{two_sided, upper_tail};

use crate::support::golden;

#[test]
fn tails_hold_to_nine_digits_however_small() {
    let mut reader = csv::Reader::from_path(golden("most-stats/student_t.csv")).unwrap();
    let (mut rows, mut smallest) = (0, 1.0_f64);
    for record in reader.records() {
        let record = record.unwrap();
        let number = |column: usize| -> f64 { record[column].parse().unwrap() };
        let (t, df, expected) = (number(0), number(1), number(2));
        for (actual, expected) in [
            (two_sided(t, df), expected),
            (two_sided(-t, df), expected),
            (upper_tail(t, df), expected / 2.0),
            (upper_tail(-t, df), 1.0 - expected / 2.0),
        ] {
            assert!(
                ((actual - expected) / expected).abs() < 1e-9,
                "t {t} df {df}: {actual:e}, expected {expected:e}"
            );
        }
        rows += 1;
        smallest = smallest.min(expected);
    }
    assert!(rows > 90 && smallest < 1e-219, "{rows} {smallest:e}");
}
