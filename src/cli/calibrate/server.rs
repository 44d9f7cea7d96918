//! From flags to the server as it is deployed.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;

use crate::calibration::Server;
use crate::cli::exit::Failure;
use crate::deployment::described::Described;
use crate::deployment::{Deployment, Library, Places};
use crate::sim::batching::Batching;

/// How the measured server is deployed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The measured server")]
pub(super) struct ServerArgs {
    /// A file with `deployment:`, as in the files of mst simulate; flags beat it
    #[arg(long, value_name = "FILE.yml")]
    deployment: Option<PathBuf>,
    /// The model, by its name in the catalog
    #[arg(long, value_name = "NAME", required_unless_present = "deployment")]
    model: Option<String>,
    /// The GPU, by its name in the catalog
    #[arg(long, value_name = "GPU", required_unless_present = "deployment")]
    device: Option<String>,
    /// GPUs that share each layer [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tensor_parallel: Option<u32>,
    /// The batch policy [default: vllm_v1]
    #[arg(long, value_enum)]
    scheduler: Option<Scheduler>,
    /// Most tokens of an iteration that prefills may fill [default: 512]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    chunk_size: Option<u32>,
    /// Most requests at once [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// The engine and its version, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    engine: String,
    /// More models and GPUs: YAML files, or folders of them
    #[arg(long, value_name = "PATH")]
    catalog: Vec<PathBuf>,
}

/// Batch policies of which two numbers are all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Scheduler {
    /// vLLM from version 1.
    VllmV1,
    /// vLLM before.
    Vllm,
    /// Sarathi-Serve.
    Sarathi,
}

impl ServerArgs {
    /// The server.
    pub(super) fn open(&self) -> Result<Server, Failure> {
        let mut catalog = self.catalog.clone();
        let mut deployment = match (&self.deployment, &self.model, &self.device) {
            (Some(path), _, _) => {
                let file = Described::read(path).map_err(Failure::input)?;
                catalog.extend(file.catalog);
                file.deployment
            }
            (None, Some(model), Some(device)) => Deployment::new(model, device),
            (None, _, _) => {
                return Err(Failure::input(anyhow!(
                    "give --model and --device, or a file with --deployment"
                )));
            }
        };
        for (flag, key) in [
            (&self.model, &mut deployment.model),
            (&self.device, &mut deployment.device),
        ] {
            if let Some(flag) = flag {
                key.clone_from(flag);
            }
        }
        deployment.tensor_parallel = self.tensor_parallel.unwrap_or(deployment.tensor_parallel);
        deployment.batch_size_cap = self.batch_size.unwrap_or(deployment.batch_size_cap);
        deployment.batching = self.batching(deployment.batching)?;
        let library = Library::open(Places {
            catalog,
            profiles: Vec::new(),
        })
        .map_err(Failure::input)?;
        Server::new(&deployment, &library, &self.engine).map_err(Failure::input)
    }

    fn batching(&self, before: Batching) -> Result<Batching, Failure> {
        let had = match before {
            Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => Some(chunk_size),
            Batching::Vllm { max_tokens_in_batch }
            | Batching::Lightllm {
                max_tokens_in_batch, ..
            } => Some(max_tokens_in_batch),
            Batching::Orca {} | Batching::FasterTransformer {} => None,
        };
        let chunk_size = self.chunk_size.or(had).unwrap_or(512);
        Ok(match (self.scheduler, before) {
            (Some(Scheduler::VllmV1), _) | (None, Batching::VllmV1 { .. }) => Batching::VllmV1 { chunk_size },
            (Some(Scheduler::Sarathi), _) | (None, Batching::Sarathi { .. }) => {
                Batching::Sarathi { chunk_size }
            }
            (Some(Scheduler::Vllm), _) | (None, Batching::Vllm { .. }) => Batching::Vllm {
                max_tokens_in_batch: chunk_size,
            },
            (None, other) if self.chunk_size.is_none() => other,
            (None, _) => {
                return Err(Failure::input(anyhow!(
                    "--chunk-size needs --scheduler: the batch policy of the file has none"
                )));
            }
        })
    }
}
