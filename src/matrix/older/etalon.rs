//! Files of etalon's capacity search.

mod keys;

use serde_saphyr::Spanned;

use self::keys::{Generator, Model, Older, Requests, Server};
use super::lengths::{POISSON, plain, traced};
use super::{Draft, OlderFlags, Parallel, Source, allows, search, unknown_model};
use crate::deployment::Deployment;
use crate::matrix::file::{EndpointEntry, File, FileError, Rule, System, Workload};
use crate::sim::batching::Batching;
use crate::sim::source::RequestLengths;
use crate::workload::{Arrival, TokenDistribution};

/// Requests that a vLLM of that time ran at once.
const BATCH: u32 = 256;
/// The GPU that is simulated: the tool's files name none, and ask for up to eight of a node.
const DEVICE: &str = "a100";
/// Tokens of an iteration with which the tool starts the chunking engine.
const CHUNK: u32 = 512;

/// The parts of a job.
struct Job<'a> {
    model: &'a Spanned<Model>,
    parallel: &'a Parallel,
    generator: &'a Spanned<Generator>,
    requests: &'a Spanned<Requests>,
    server: &'a Spanned<Server>,
}

impl Job<'_> {
    /// The tool's filters, the hard-coded ones too. Those of a model's traces are held against the file of arrivals.
    fn is_kept(&self) -> bool {
        let generator = &self.generator.value;
        let arrivals = generator.trace_request_interval_generator_trace_file.as_deref();
        let lengths = generator.trace_file_name.as_deref().unwrap_or("");
        let self_hosted = ["vllm", "lightllm", "fastertransformers", "sarathi-serve"];
        let engine = self.server.value.openai_server_engine.as_deref().unwrap_or("");
        let cut = (lengths, self.requests.value.request_generator_max_tokens);
        allows(self.model.value.parallel_specs.as_ref(), &self.parallel.name)
            && allows(self.model.value.traces.as_ref(), arrivals.unwrap_or(""))
            && !(self.model.value.name == "gpt-3.5-turbo" && self_hosted.contains(&engine))
            && !matches!(cut, ("sharegpt", Some(16384)) | ("arxiv", Some(8192)))
    }

    fn max_tokens(&self) -> u32 {
        self.requests.value.request_generator_max_tokens.unwrap_or(4096)
    }
}

/// The file that comes of it.
pub(super) fn file(source: Source<'_>, flags: &OlderFlags) -> Result<File, FileError> {
    let older: Older = source.parse()?;
    let slo = flags.etalon_slo().map_err(|why| source.error(None, why))?;
    let mut kept = Vec::new();
    for model in &older.models {
        for parallel in &older.parallel_specs {
            for generator in &older.request_generator_configs {
                for requests in &older.request_configs {
                    for server in &older.servers {
                        let parallel = &parallel.value;
                        kept.push(Job {
                            model,
                            parallel,
                            generator,
                            requests,
                            server,
                        });
                    }
                }
            }
        }
    }
    kept.retain(Job::is_kept);
    let naming = Naming::of(&kept);
    let mut draft = Draft::default();
    for job in &kept {
        if flags.url.is_none()
            && let Some(why) = unknown_model(&job.model.value.identifier, flags)
        {
            draft.note(why);
        } else if let Some(system) = system(job, &naming, flags, source, &mut draft)? {
            let mut workload = workload(job, &naming, source, &mut draft)?;
            workload.max_duration = flags.max_duration(job.requests.value.timeout);
            draft.pair(system, workload, job.model.referenced);
        }
    }
    let seed = same(source, &older.request_generator_configs, "seed", |g| g.seed)?;
    let mut file = draft.file(source, slo, search(Rule::Etalon, flags))?;
    file.seed = seed.unwrap_or(42);
    Ok(file)
}

/// What all entries of a list say; the file here has it once.
fn same<T, V: PartialEq>(
    source: Source<'_>,
    list: &[Spanned<T>],
    key: &str,
    of: impl Fn(&T) -> V,
) -> Result<Option<V>, FileError> {
    let Some(first) = list.first().map(|entry| of(&entry.value)) else {
        return Ok(None);
    };
    match list.iter().find(|entry| of(&entry.value) != first) {
        Some(other) => Err(source.at(
            other,
            format!("{key}: it differs from the entry before; write a file for each"),
        )),
        None => Ok(Some(first)),
    }
}

/// What is loaded; `None` where it is left out.
fn system(
    job: &Job<'_>,
    naming: &Naming,
    flags: &OlderFlags,
    source: Source<'_>,
    draft: &mut Draft,
) -> Result<Option<System>, FileError> {
    let engine = job
        .server
        .value
        .openai_server_engine
        .as_deref()
        .unwrap_or("default");
    let (tp, pp) = (job.parallel.tp_dimension, job.parallel.pp_dimension);
    let mut system = System {
        name: naming.system(job, engine),
        deployment: None,
        endpoint: None,
        gpus: Some(tp * pp),
        prefill_profile: flags.profile_dir.clone(),
        prior: None,
    };
    if let Some(url) = &flags.url {
        let key = job.server.value.openai_api_key.clone();
        let settings = [
            ("MODEL", Some(job.model.value.identifier.clone())),
            ("API", Some("chat".to_owned())),
            ("API_KEY", key),
        ];
        system.endpoint = Some(EndpointEntry {
            url: Some(url.clone()),
            settings: settings
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
        });
        return Ok(Some(system));
    }
    let length = if engine == "vllm" {
        job.max_tokens()
    } else {
        naming.longest
    };
    let batching = match engine {
        "vllm" => Batching::Vllm {
            max_tokens_in_batch: length,
        },
        "sarathi" | "sarathi-serve" => Batching::Sarathi { chunk_size: CHUNK },
        "default" => {
            draft.note("server default is left out: it is an endpoint that runs already; name its URL");
            return Ok(None);
        }
        "tgi" | "lightllm" | "fastertransformers" => {
            draft.note(format!(
                "server {engine} is left out: it is not simulated; name its URL"
            ));
            return Ok(None);
        }
        other => {
            return Err(source.at(
                job.server,
                format!("openai_server_engine: `{other}` is not known; write vllm, sarathi, tgi or default"),
            ));
        }
    };
    let device = flags.device.as_deref().unwrap_or(DEVICE);
    let mut deployment = Deployment::new(&job.model.value.identifier, device);
    deployment.tensor_parallel = tp;
    deployment.pipeline_parallel = pp;
    deployment.batching = batching;
    deployment.batch_size_cap = BATCH;
    deployment.max_model_len = length;
    draft.note(format!(
        "{} is simulated on {}",
        job.model.value.name, deployment.device
    ));
    system.deployment = Some(deployment);
    system.gpus = None;
    Ok(Some(system))
}

/// What is sent.
fn workload(
    job: &Job<'_>,
    naming: &Naming,
    source: Source<'_>,
    draft: &mut Draft,
) -> Result<Workload, FileError> {
    let (generator, requests) = (&job.generator.value, &job.requests.value);
    let name = naming.workload(job);
    let mut workload = if generator.request_length_generator_provider == "trace" {
        let scales = [
            (
                "trace_request_length_generator_prefill_scale_factor",
                generator.trace_request_length_generator_prefill_scale_factor,
            ),
            (
                "trace_request_length_generator_decode_scale_factor",
                generator.trace_request_length_generator_decode_scale_factor,
            ),
        ];
        if let Some((key, _)) = scales
            .iter()
            .find(|(_, scale)| scale.is_some_and(|s| (s - 1.0).abs() > f64::EPSILON))
        {
            return Err(source.at(
                job.generator,
                format!("{key}: lengths of a trace are taken as they are; write 1, or scale the trace"),
            ));
        }
        let trace = generator
            .trace_request_length_generator_trace_file
            .as_deref()
            .ok_or_else(|| {
                source.at(
                    job.generator,
                    "trace_request_length_generator_trace_file is missing; name the trace",
                )
            })?;
        let (workload, note) = traced(source.path, &name, trace, job.max_tokens())
            .map_err(|why| source.at(job.generator, why))?;
        if let Some(note) = note {
            draft.note(note);
        }
        workload
    } else {
        let mut workload = plain(&name);
        workload.max_tokens = Some(job.max_tokens());
        workload.lengths = Some(lengths(job).map_err(|why| source.at(job.generator, why))?);
        workload
    };
    workload.arrivals = arrivals(generator).map_err(|why| source.at(job.generator, why))?;
    if workload.arrivals == Arrival::Poisson {
        draft.note(POISSON);
    }
    workload.start_qps = Some(generator.start_qps);
    workload.requests = requests.max_num_completed_requests.unwrap_or(workload.requests);
    if requests.llm_api.as_deref().is_some_and(|api| api != "openai") {
        return Err(source.at(job.requests, "llm_api: only openai is spoken here; write openai"));
    }
    if requests
        .additional_sampling_params
        .as_ref()
        .is_some_and(|p| !p.is_empty())
    {
        return Err(source.at(
            job.requests,
            "additional_sampling_params: they are not sent; write {}",
        ));
    }
    if let (Some(clients), Some(each)) = (
        requests.num_ray_clients,
        requests.num_concurrent_requests_per_client,
    ) {
        draft.note(format!(
            "no request is left out when {} are open, as the tool does with {clients} clients of {each}",
            clients.saturating_mul(each)
        ));
    }
    Ok(workload)
}

fn arrivals(generator: &Generator) -> Result<Arrival, String> {
    match generator.request_interval_generator_provider.as_str() {
        "poisson" => Ok(Arrival::Poisson),
        "gamma" => {
            let cv = generator
                .gamma_request_interval_generator_cv
                .ok_or("gamma_request_interval_generator_cv is missing; write it, as 0.5")?;
            format!("gamma:{cv}")
                .parse()
                .map_err(|error| format!("gamma_request_interval_generator_cv: {error}"))
        }
        other @ ("static" | "trace") => Err(format!(
            "request_interval_generator_provider: {other} has no rate that could be searched; write poisson or gamma"
        )),
        other => Err(format!(
            "request_interval_generator_provider: `{other}` is not known; write poisson or gamma"
        )),
    }
}

fn lengths(job: &Job<'_>) -> Result<RequestLengths, String> {
    let generator = &job.generator.value;
    let missing = |key: &str| format!("{key} is missing; write it");
    let fixed = |value: Option<u32>, key: &str| {
        let tokens = value.ok_or_else(|| missing(key))?;
        Ok::<_, String>(TokenDistribution::Fixed { tokens })
    };
    let (min, max) = (
        generator
            .synthetic_request_generator_min_tokens
            .unwrap_or(2)
            .max(2),
        job.max_tokens(),
    );
    let total = |tokens| {
        let prefill_to_decode_ratio = generator
            .synthetic_request_generator_prefill_to_decode_ratio
            .ok_or_else(|| missing("synthetic_request_generator_prefill_to_decode_ratio"))?;
        Ok(RequestLengths::Total {
            tokens,
            prefill_to_decode_ratio,
        })
    };
    match generator.request_length_generator_provider.as_str() {
        "fixed" => Ok(RequestLengths::Separate {
            input: fixed(
                generator.fixed_request_generator_prefill_tokens,
                "fixed_request_generator_prefill_tokens",
            )?,
            output: fixed(
                generator.fixed_request_generator_decode_tokens,
                "fixed_request_generator_decode_tokens",
            )?,
        }),
        "uniform" | "synthetic" => total(TokenDistribution::Uniform { min, max }),
        "zipf" if generator.zipf_request_length_generator_scramble == Some(true) => Err(
            "zipf_request_length_generator_scramble: lengths are not scrambled here; write false".to_owned(),
        ),
        "zipf" => total(TokenDistribution::Zipf {
            theta: generator
                .zipf_request_length_generator_theta
                .ok_or_else(|| missing("zipf_request_length_generator_theta"))?,
            min,
            max,
        }),
        other => Err(format!(
            "request_length_generator_provider: `{other}` is not known; write trace, fixed, uniform or zipf"
        )),
    }
}

/// How systems and workloads are called: by what there is more than one of.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether one thing is named"
)]
struct Naming {
    models: bool,
    parallels: bool,
    /// The vLLM of the tool has a batch as long as the longest request.
    lengths: bool,
    longest: u32,
    generators: bool,
}

impl Naming {
    fn of(jobs: &[Job<'_>]) -> Self {
        let differ = |of: &dyn Fn(&Job<'_>) -> String| {
            let mut all: Vec<String> = jobs.iter().map(of).collect();
            all.sort();
            all.dedup();
            all.len() > 1
        };
        let model = |job: &Job<'_>| job.model.value.name.clone();
        // Whether one model lies on GPUs in more than one way.
        let parallels = jobs.iter().any(|a| {
            jobs.iter()
                .any(|b| model(a) == model(b) && a.parallel.name != b.parallel.name)
        });
        // Whether two generators would have one name, or one generator has requests of two lengths.
        let generators = jobs.iter().any(|a| {
            jobs.iter().any(|b| {
                let same = std::ptr::eq(a.generator, b.generator) && std::ptr::eq(a.requests, b.requests);
                Self::base(a) == Self::base(b) && !same
            })
        });
        Self {
            models: differ(&model),
            parallels,
            lengths: differ(&|job| job.max_tokens().to_string()),
            longest: jobs.iter().map(Job::max_tokens).max().unwrap_or(1),
            generators,
        }
    }

    fn base(job: &Job<'_>) -> String {
        let generator = &job.generator.value;
        let own = generator.trace_file_name.clone();
        own.unwrap_or_else(|| generator.request_length_generator_provider.clone())
    }

    fn system(&self, job: &Job<'_>, engine: &str) -> String {
        let mut name = engine.to_owned();
        if self.models {
            name = format!("{}, {name}", job.model.value.name);
        }
        if self.parallels {
            name = format!("{name}, {}", job.parallel.name);
        }
        if self.lengths && engine == "vllm" {
            name = format!("{name}, {}", job.max_tokens());
        }
        name
    }

    fn workload(&self, job: &Job<'_>) -> String {
        let base = Self::base(job);
        if self.generators {
            let place = job.generator.referenced.line();
            return format!("{base}, {}, line {place}", job.max_tokens());
        }
        base
    }
}
