//! Symmetric positive definite systems by Cholesky's factorisation (Golub and Van Loan, Matrix Computations, 4.2).

/// A square matrix, row by row.
pub type Matrix = Vec<Vec<f64>>;

/// The lower factor `L` of `a = L L'`; `None` where `a` is not positive definite.
pub fn factor(a: &[Vec<f64>]) -> Option<Matrix> {
    let n = a.len();
    let mut lower = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let rest = a[i][j] - dot;
            if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                lower[i][i] = rest.sqrt();
            } else {
                lower[i][j] = rest / lower[j][j];
            }
        }
    }
    Some(lower)
}

/// Solves `L L' x = b`.
pub fn solve(lower: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let n = lower.len();
    let mut x = b.to_vec();
    for i in 0..n {
        let dot: f64 = (0..i).map(|k| lower[i][k] * x[k]).sum();
        x[i] = (x[i] - dot) / lower[i][i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| lower[k][i] * x[k]).sum();
        x[i] = (x[i] - dot) / lower[i][i];
    }
    x
}

/// The inverse of `L L'`.
pub fn inverse(lower: &[Vec<f64>]) -> Matrix {
    let n = lower.len();
    let unit = |at: usize| (0..n).map(|k| f64::from(u8::from(k == at))).collect::<Vec<_>>();
    (0..n).map(|column| solve(lower, &unit(column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_solves_and_inverts() {
        let a = vec![vec![4.0, 2.0, 1.0], vec![2.0, 5.0, 3.0], vec![1.0, 3.0, 6.0]];
        let lower = factor(&a).unwrap();
        let x = solve(&lower, &[1.0, 2.0, 3.0]);
        for (row, wanted) in a.iter().zip([1.0, 2.0, 3.0]) {
            let sum: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
            assert!((sum - wanted).abs() < 1e-12);
        }
        let inverse = inverse(&lower);
        for (i, row) in a.iter().enumerate() {
            for j in 0..3 {
                let sum: f64 = row.iter().zip(&inverse).map(|(a, column)| a * column[j]).sum();
                assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        assert!(factor(&[vec![1.0, 2.0], vec![2.0, 1.0]]).is_none());
    }
}
