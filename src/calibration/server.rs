//! The server that is calibrated, and what the simulator says of a trial of it.

use std::sync::Arc;

use super::CalibrationError;
use super::aggregate::{Answered, METRICS, Metrics, metrics};
use super::factors::{Factors, Space};
use super::trials::{Sent, Trial};
use crate::deployment::{BuiltCluster, CostSource, Deployment, Library};
use crate::sim::cluster::simulate;
use crate::sim::cost::calibrated::Calibrated;
use crate::sim::{Observer, PrefixSpan, PrefixTable, Record, Request, Source, Time};

/// How the measured server is deployed.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) built: BuiltCluster,
    pub(super) deployment: Deployment,
    /// The engine and its version, as the user names it.
    pub engine: String,
}

impl Server {
    /// A deployment with the models and GPUs of a library. Where its iteration times came from until now does not matter.
    ///
    /// # Errors
    /// When the deployment cannot be.
    pub fn new(deployment: &Deployment, library: &Library, engine: &str) -> Result<Self, CalibrationError> {
        let deployment = Deployment {
            cost: CostSource::Roofline,
            noise: 0.0,
            ..deployment.clone()
        };
        Ok(Self {
            built: deployment.cluster(library, 0)?,
            deployment,
            engine: engine.to_owned(),
        })
    }

    /// All factors.
    pub(super) fn space(&self) -> Space {
        Space::all(self.built.gpu.efficiency, self.deployment.tensor_parallel > 1)
    }

    /// One factor on all times.
    pub(super) fn one_ratio(&self) -> Space {
        Space::one_ratio(self.built.gpu.efficiency)
    }

    /// The cost model with some factors.
    pub(super) fn cost(&self, factors: &Factors) -> Option<Calibrated> {
        let layout = (self.deployment.tensor_parallel, self.deployment.pipeline_parallel);
        let (model, gpu) = (&self.built.model, &self.built.gpu);
        // The layout was checked when the cluster was built.
        Calibrated::new(model, gpu, layout, factors.efficiency, factors.scale, None).ok()
    }

    /// What the simulator makes of the very requests of a trial.
    pub(super) fn predict(&self, factors: &Factors, trial: &Trial) -> Metrics {
        let Some(cost) = self.cost(factors) else {
            return [f64::NAN; METRICS.len()];
        };
        let mut config = self.built.config.clone();
        config.cost = Arc::new(cost);
        let mut rows = Rows::default();
        simulate(
            &config,
            &mut Replay(&trial.sent, 0),
            &Arc::new(PrefixTable::default()),
            trial.limit_s.map_or(Time::MAX, Time::from_seconds),
            &mut rows,
        );
        metrics(&rows.0)
    }
}

/// Requests as they were sent.
struct Replay<'a>(&'a [Sent], usize);

impl Source for Replay<'_> {
    fn peek(&mut self) -> Option<Time> {
        self.0.get(self.1).map(|sent| Time::from_ns(sent.at_ns))
    }

    fn next(&mut self) -> Option<Request> {
        let sent = self.0.get(self.1)?;
        self.1 += 1;
        Some(Request {
            id: self.1 as u64,
            arrival: Time::from_ns(sent.at_ns),
            input_tokens: sent.input_tokens,
            output_tokens: sent.output_tokens,
            session: None,
            deadline: Time::MAX,
            prefix: PrefixSpan::default(),
        })
    }
}

#[derive(Default)]
struct Rows(Vec<Answered>);

impl Observer for Rows {
    fn request(&mut self, record: &Record) {
        self.0.push(Answered {
            sent: record.arrival.as_seconds(),
            ttft: record.ttft(),
            e2e: record.e2e(),
            output_tokens: record.output_tokens,
        });
    }
}
