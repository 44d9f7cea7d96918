//! What a described service lets expect: `PRIOR` of a run, `prior` of a system, before the first trial.

use std::path::{Path, PathBuf};

use super::times::Origin;
use crate::deployment::calibrated::Calibration;
use crate::deployment::described::Described;
use crate::deployment::{BuiltCluster, CostSource, DeploymentError, Library, Places, Workload};
use crate::search::Prior;
use crate::sim::source::RequestLengths;
use crate::sim::{Observer, Record, Time, cluster::simulate};
use crate::units::{Rate, TokenPair, TokenRange};
use crate::workload::TokenDistribution;

/// Requests of the simulation.
const REQUESTS: u64 = 3_000;
/// All of them are there after as many seconds: the service is saturated from the start.
const WITHIN_S: f64 = 1.0;
/// Between these shares of the answers the saturated service is neither filling up nor running empty.
const STEADY: (f64, f64) = (0.3, 0.7);

/// A deployment that stands for the service.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// The file that describes it.
    pub file: PathBuf,
    /// Of everything that decides what it lets expect.
    pub digest: String,
    /// What is simulated.
    pub cluster: BuiltCluster,
    longest: u32,
    /// Standard deviation of the logarithm of a capacity that it lets expect.
    pub doubt: f64,
}

/// Times of the last tokens.
#[derive(Debug, Default)]
struct Answers(Vec<Time>);

impl Observer for Answers {
    fn request(&mut self, record: &Record) {
        self.0.push(record.completed);
    }
}

impl Foreseen {
    /// Reads the description.
    ///
    /// # Errors
    /// When it is no such file, or the deployment cannot be.
    pub fn read(file: &Path) -> Result<Self, DeploymentError> {
        let Described {
            deployment, catalog, ..
        } = Described::read(file)?;
        let library = Library::open(Places {
            catalog,
            profiles: Vec::new(),
        })?;
        let cluster = deployment.cluster(&library, 0)?;
        let mut doubt = Origin::of_label(cluster.origin.label).doubt();
        if let CostSource::Calibrated(path) = &deployment.cost {
            // What it was off by where it was measured is the least that it is off by elsewhere.
            doubt = doubt.max(Calibration::read(path)?.s_disc);
        }
        Ok(Self {
            file: file.to_owned(),
            digest: format!(
                "{} {doubt} {:?} {}",
                cluster.fingerprint(),
                cluster.config.engine,
                cluster.config.replicas
            ),
            longest: deployment.max_model_len,
            cluster,
            doubt,
        })
    }

    /// What it lets expect of a pair: what it answers a second when it is saturated. Nothing where it answers none.
    ///
    /// # Errors
    /// When the pair cannot be simulated.
    pub fn of(&self, pair: TokenPair) -> Result<Option<Prior>, DeploymentError> {
        let lengths = |range: TokenRange| TokenDistribution::Uniform {
            min: range.lowest(),
            max: range.max,
        };
        self.of_lengths(RequestLengths::Separate {
            input: lengths(pair.input),
            output: lengths(pair.output),
        })
    }

    /// The same of requests with such lengths.
    ///
    /// # Errors
    /// When they cannot be simulated.
    pub fn of_lengths(&self, lengths: RequestLengths) -> Result<Option<Prior>, DeploymentError> {
        let workload = Workload {
            lengths: Some(lengths),
            qps: Some(REQUESTS as f64 / WITHIN_S),
            num_requests: Some(REQUESTS),
            ..Workload::default()
        };
        let open = workload.open(Path::new(""), self.longest, 0)?;
        let mut source = open.source()?;
        let mut answers = Answers::default();
        simulate(
            &self.cluster.config,
            &mut source,
            open.prefixes(),
            Time::MAX,
            &mut answers,
        );
        let mut times = answers.0;
        times.sort_unstable();
        let at = |share: f64| (share * times.len() as f64) as usize;
        let (from, to) = (at(STEADY.0), at(STEADY.1));
        let (Some(first), Some(last)) = (times.get(from), times.get(to)) else {
            return Ok(None);
        };
        let seconds = last.as_seconds() - first.as_seconds();
        Ok((seconds > 0.0).then(|| self.around(Rate::per_second((to - from) as f64 / seconds))))
    }

    /// A capacity that was simulated, with its doubt.
    pub fn around(&self, capacity: Rate) -> Prior {
        let half = (1.96 * self.doubt).exp();
        Prior {
            capacity,
            low: Rate::per_minute(capacity.as_per_minute() / half),
            high: Rate::per_minute(capacity.as_per_minute() * half),
        }
    }
}
