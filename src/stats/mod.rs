//! Statistics. Pure; every function names its source and is held against `SciPy` or statsmodels.

pub mod batch_means;
pub mod bootstrap;
pub mod cholesky;
pub mod describe;
pub mod quantile;
pub mod student_t;
pub mod trend;
pub mod warmup;
pub mod welch;
