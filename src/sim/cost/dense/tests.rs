use super::*;

fn close(a: Value, b: f64, beyond: bool) {
    assert!((a.ms - b).abs() < 1e-12 && a.beyond == beyond, "{a:?} for {b}");
}

#[test]
fn a_curve_goes_on_in_proportion() {
    let curve = Curve(vec![1.0, 1.0, 2.0]);
    close(curve.at(2), 2.0, false);
    close(curve.at(3), 3.0, true);
    close(Curve(vec![5.0]).at(1), 5.0, true);
    close(Curve::default().at(1), 0.0, true);
}

#[test]
fn a_decode_table_goes_on_by_the_tokens_read() {
    let grid = DecodeGrid::new(2, 0, 64, vec![1.0, 2.0, 3.0, 4.0], vec![1, 0]);
    close(grid.at(1, 1), 2.0, false);
    close(grid.at(2, 0), 3.0, false);
    close(grid.at(1, 3), 6.0, true);
    // The second row is measured without KV only: a token stands for none.
    close(grid.at(2, 1), 3.0 * 64.0, true);
    let grid = DecodeGrid::new(1, 16, 32, vec![1.0, 3.0], vec![0, 0]);
    close(grid.at(4, 0), 6.0, true);
    close(grid.at(4, 1), 18.0, true);
}

#[test]
fn a_prefill_table_goes_on_by_the_pairs() {
    let grid = PrefillGrid::new(64, 32, 2, vec![1.0, 2.0, 3.0, 4.0], 80);
    close(grid.at(1, 1), 4.0, false);
    close(grid.between(32.0, 16.0), 2.5, false);
    close(grid.between(64.0, 16.0), 3.5, false);
    close(grid.between(64.0, 32.0), 4.0, true);
    let pairs = |kv: f64, chunk: f64| kv * chunk + chunk * chunk / 2.0;
    close(grid.at(2, 1), 4.0 * pairs(128.0, 32.0) / pairs(64.0, 32.0), true);
    close(
        grid.between(100.0, 64.0),
        4.0 * pairs(100.0, 64.0) / pairs(64.0, 32.0),
        true,
    );
}

/// One by one, the mean growing by one.
#[test]
fn steps_last_as_long_as_counting_says() {
    for mean in 0..300_u64 {
        let up = (mean..mean + 99)
            .take_while(|m| m.next_multiple_of(64) == mean.next_multiple_of(64))
            .count();
        assert_eq!(until_up(mean, 64), up as u32, "{mean}");
        let down = (mean..mean + 99).take_while(|m| m / 32 == mean / 32).count();
        assert_eq!(until_down(mean, 32), down as u32, "{mean}");
    }
}
