//! From flags to what is profiled.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;

use crate::cli::exit::Failure;
use crate::cli::trial::{ApiName, api_key, unusable};
use crate::deployment::scenario::ScenarioFile;
use crate::deployment::{Deployment, Library, Places};
use crate::endpoint::embedded::{EmbeddedConfig, EmbeddedServer};
use crate::endpoint::{BaseUrl, calibrated, served};
use crate::loadgen::native::LoneAnswer;
use crate::loadgen::{Api, Endpoint, PromptEncoding};
use crate::profile::{LiveSubject, ProfileError, SimulatedSubject, Subject};
use crate::store::prefill::{IdleBy, ProfiledServer, ProfiledTarget};

/// How long the endpoint may take to say what it serves.
const DISCOVERY: Duration = Duration::from_secs(10);

/// Where requests go.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Target")]
pub(super) struct TargetArgs {
    /// The endpoint: host:port, http://host:port or https://host/v1
    #[arg(long, value_name = "URL", conflicts_with = "simulate")]
    url: Option<String>,
    /// The model's name [default: the first that /v1/models lists]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Which API
    #[arg(long, value_enum, default_value_t = ApiName::Completions)]
    api: ApiName,
    /// The environment variable that holds the API key [default: MST_API_KEY, if it is set]
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
    /// Count prompts with the model's tokenizer.json [default: token ids; the server's own counts for chat]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

/// A simulated deployment.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Simulation")]
pub(super) struct SimulationArgs {
    /// Profile a simulated deployment in virtual time: that of a file of mst simulate, else of --model on --device
    #[arg(long, value_name = "CONFIG.yml", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "the flag may stand alone")]
    simulate: Option<Option<PathBuf>>,
    /// The GPU, by its name in the catalog
    #[arg(long, value_name = "NAME", requires = "simulate")]
    device: Option<String>,
    /// GPUs that share each layer
    #[arg(long, value_name = "N", requires = "simulate")]
    tensor_parallel: Option<u32>,
    /// Pipeline stages
    #[arg(long, value_name = "N", requires = "simulate")]
    pipeline_parallel: Option<u32>,
    /// More models and GPUs: YAML files, or folders of them
    #[arg(long, value_name = "PATH", requires = "simulate")]
    catalog: Vec<PathBuf>,
    /// Folders of profiles in Vidur's layout
    #[arg(long, value_name = "DIR", env = "MST_PROFILES", value_delimiter = ':')]
    profiles: Vec<PathBuf>,
}

/// What is profiled, ready.
pub(super) struct Opened {
    pub(super) subject: Box<dyn Profiled>,
    pub(super) target: ProfiledTarget,
    pub(super) server: ProfiledServer,
    pub(super) notes: Vec<String>,
}

/// A subject, and which fields of a request it refuses.
pub(super) trait Profiled: Subject {
    fn dropped(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Profiled for SimulatedSubject {}

/// A live endpoint, and the embedded server where it is that one; it ends with this.
struct Live {
    subject: LiveSubject,
    _embedded: Option<EmbeddedServer>,
}

impl Profiled for Live {
    fn dropped(&self) -> Vec<&'static str> {
        self.subject.dropped()
    }
}

impl Subject for Live {
    fn ask(&mut self, tokens: u32, salt: u64) -> Result<LoneAnswer, ProfileError> {
        self.subject.ask(tokens, salt)
    }

    fn present(&mut self) -> Option<f64> {
        self.subject.present()
    }

    fn alive(&mut self) -> Result<(), String> {
        self.subject.alive()
    }

    fn idle_otherwise(&self) -> IdleBy {
        self.subject.idle_otherwise()
    }
}

/// Opens what the flags name; a request may take `limit`.
pub(super) fn open(
    target: &TargetArgs,
    simulation: &SimulationArgs,
    limit: Duration,
    seed: u64,
) -> Result<Opened, Failure> {
    match (&simulation.simulate, &target.url) {
        (Some(file), _) => simulated(target, simulation, file.as_deref(), seed),
        (None, Some(url)) => live(target, url, limit),
        (None, None) => embedded(target, limit),
    }
}

fn live(args: &TargetArgs, url: &str, limit: Duration) -> Result<Opened, Failure> {
    let key = api_key(args.api_key_env.as_deref())?;
    let url: BaseUrl = url.parse().map_err(Failure::input)?;
    let api = Api::from(args.api);
    let models = served(&url.to_string(), key.as_deref(), DISCOVERY).map_err(unusable)?;
    let mut notes = Vec::new();
    let known = match &args.model {
        Some(name) => models.iter().find(|m| m.id == *name),
        None => models.first(),
    };
    let (model, max_model_len) = match (known, &args.model) {
        (Some(known), _) => (known.id.clone(), known.max_model_len),
        (None, Some(name)) => {
            notes.push(format!("the endpoint does not list the model {name}"));
            (name.clone(), None)
        }
        (None, None) => (String::new(), None),
    };
    let endpoint = Endpoint {
        base_url: url.to_string(),
        api,
        model: model.clone(),
    };
    let encoding = match &args.tokenizer {
        Some(path) => PromptEncoding::Tokenizer { path: path.clone() },
        None if api == Api::Completions => PromptEncoding::ANY_IDS,
        None => {
            let (encoding, note) =
                calibrated::text(&endpoint, key.as_deref(), DISCOVERY).map_err(unusable)?;
            notes.push(note);
            encoding
        }
    };
    let subject = LiveSubject::new(&endpoint, &encoding, key, limit).map_err(super::prefill::exit)?;
    let mut server = subject.server();
    server.max_model_len = max_model_len;
    Ok(Opened {
        subject: Box::new(Live {
            subject,
            _embedded: None,
        }),
        target: ProfiledTarget::Endpoint {
            url: url.to_string(),
            model,
            api,
        },
        server,
        notes,
    })
}

fn embedded(args: &TargetArgs, limit: Duration) -> Result<Opened, Failure> {
    let server = EmbeddedServer::start(EmbeddedConfig::default())?;
    let api = Api::from(args.api);
    let endpoint = Endpoint {
        base_url: server.base_url(),
        api,
        model: server.model().to_owned(),
    };
    let encoding = match (&args.tokenizer, api) {
        (Some(path), _) => PromptEncoding::Tokenizer { path: path.clone() },
        (None, Api::Completions) => PromptEncoding::ANY_IDS,
        // The embedded server counts a word as a token.
        (None, Api::Chat) => PromptEncoding::Calibrated {
            overhead: 0.0,
            per_word: 1.0,
        },
    };
    let subject = LiveSubject::new(&endpoint, &encoding, None, limit).map_err(super::prefill::exit)?;
    Ok(Opened {
        target: ProfiledTarget::Embedded {
            label: server.label().to_owned(),
            api,
        },
        server: subject.server(),
        subject: Box::new(Live {
            subject,
            _embedded: Some(server),
        }),
        notes: Vec::new(),
    })
}

fn simulated(
    target: &TargetArgs,
    args: &SimulationArgs,
    file: Option<&std::path::Path>,
    seed: u64,
) -> Result<Opened, Failure> {
    let mut places = Places {
        catalog: args.catalog.clone(),
        profiles: args.profiles.clone(),
    };
    let file = file.map(ScenarioFile::read).transpose().map_err(Failure::input)?;
    let mut deployment = match (&file, &target.model, &args.device) {
        (Some(file), _, _) => {
            places = file.places(places);
            file.scenario.deployment.clone()
        }
        (None, Some(model), Some(device)) => Deployment::new(model, device),
        (None, _, _) => {
            return Err(Failure::input(anyhow!(
                "--simulate needs a deployment: name a file, or give --model and --device (mst simulate --list shows them)"
            )));
        }
    };
    // Flags beat the file.
    for (flag, key) in [
        (&target.model, &mut deployment.model),
        (&args.device, &mut deployment.device),
    ] {
        if let Some(flag) = flag {
            key.clone_from(flag);
        }
    }
    deployment.tensor_parallel = args.tensor_parallel.unwrap_or(deployment.tensor_parallel);
    deployment.pipeline_parallel = args.pipeline_parallel.unwrap_or(deployment.pipeline_parallel);
    let told = |error| match &file {
        Some(file) => Failure::input(file.at(error)),
        None => Failure::input(error),
    };
    let library = Library::open(places).map_err(told)?;
    let built = deployment.cluster(&library, seed).map_err(told)?;
    let notes = built.origin.notes.clone();
    let cost = built.origin.label.to_owned();
    let subject = SimulatedSubject::new(built);
    Ok(Opened {
        target: ProfiledTarget::Simulated {
            model: deployment.model,
            device: deployment.device,
            tensor_parallel: deployment.tensor_parallel,
            pipeline_parallel: deployment.pipeline_parallel,
            cost,
        },
        server: ProfiledServer {
            max_model_len: Some(subject.max_model_len()),
            ..ProfiledServer::default()
        },
        subject: Box::new(subject),
        notes,
    })
}
