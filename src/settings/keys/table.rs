//! The settings themselves, in the order of `env.example`.

use super::{Group, Key};

/// A key of type text without a default, the rest is said with `..`.
const PLAIN: Key = Key {
    name: "",
    group: Group::Older,
    demo: "",
    live: "",
    form: "",
    help: "",
    secret: false,
    aliases: &[],
    generic: false,
};

/// A key whose default is the same in both profiles.
const fn key(
    group: Group,
    name: &'static str,
    default: &'static str,
    form: &'static str,
    help: &'static str,
) -> Key {
    by_profile(group, name, (default, default), form, help)
}

/// A key with a default for `demo` and one for `live`.
const fn by_profile(
    group: Group,
    name: &'static str,
    (demo, live): (&'static str, &'static str),
    form: &'static str,
    help: &'static str,
) -> Key {
    Key {
        name,
        group,
        demo,
        live,
        form,
        help,
        ..PLAIN
    }
}

impl Key {
    const fn generic(self) -> Self {
        Self {
            generic: true,
            ..self
        }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn formerly(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }
}

/// Every setting. A table reads better a key a paragraph than an argument a line.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key(Group::Endpoint, "URL", "", "[http[s]://]HOST[:PORT][/PATH]",
        "Base URL of the service. Empty: the embedded server and the profile demo.").generic(),
    key(Group::Endpoint, "API_KEY", "", "text",
        "Key sent as a bearer token. Never stored; API_KEY_VARIABLE keeps it out of this file.").secret().generic(),
    key(Group::Endpoint, "API_KEY_VARIABLE", "", "name",
        "Name of the environment variable that holds the key, in place of API_KEY."),
    key(Group::Endpoint, "API", "completions", "completions | chat",
        "/v1/completions or /v1/chat/completions.").generic(),
    key(Group::Endpoint, "MODEL", "", "text",
        "Model that requests name. Empty: the first that /v1/models lists.").generic(),
    key(Group::Endpoint, "TARGET_LABEL", "", "text",
        "Names the target in the identity of a trial, so that a service that moved to another URL\n\
         keeps its measurements. Empty: the URL."),
    key(Group::Endpoint, "MODEL_DISCOVERY_TIMEOUT", "10s", "duration",
        "How long /v1/models may take to answer."),
    key(Group::Endpoint, "SERVER_METRICS", "auto", "auto | off",
        "auto: where the service offers vLLM's or llama.cpp's metrics, its queue and KV cache are recorded each second of a trial."),
    key(Group::Endpoint, "SERVER_METRICS_URL", "", "[http[s]://]HOST[:PORT][/PATH]",
        "Where these metrics are, /metrics where there is no path; API_KEY is not sent there. Empty: /metrics below URL."),
    by_profile(Group::Workload, "TOKENS_LIST", ("32:16,64:32", "128:128"), "IN:OUT, each N or MIN-MAX, separated by commas",
        "Input and output tokens of each search, for example 128:128,100-300:1-100."),
    key(Group::Workload, "WORKLOAD_MIXES", "", "[(IN:OUT,SHARE),...],[...]",
        "Mixes of token pairs, one search a bracket, in place of TOKENS_LIST: for example\n\
         [(1-100:1-100,0.5),(300-600:100-300,0.5)]. Shares are normalised; mst mix derives them."),
    by_profile(Group::Workload, "REQ_MIN_START", ("3000,1500", "256"), "requests per minute, separated by commas",
        "Where each search begins, one value a pair or mix; the last one serves for the rest."),
    key(Group::Workload, "ARRIVAL", "", "poisson | stratified | constant | gamma:CV | fmperf | clipped-poisson",
        "Arrival process. stratified: Poisson within blocks of a hundred requests that all weigh the same; gamma:2 is burstier\n\
         than Poisson; fmperf imitates that program; clipped-poisson is what etalon, sarathi-serve and Vidur call Poisson, 5 %\n\
         above the rate. Empty: stratified with SEARCH=adaptive, else poisson; constant in the demo, whose trials are too short\n\
         to tell rates apart under Poisson arrivals.").generic(),
    key(Group::Workload, "PROMPTS_FILE", "", "path",
        "JSONL file with a prompt a line ({\"text\": ...}). Empty: the text that ships with the program."),
    key(Group::Workload, "TOKENIZER", "", "path",
        "The model's tokenizer.json, for exact token counts.").generic(),
    key(Group::Workload, "UNIQUE_PROMPTS", "true", "true | false",
        "Whether prompts differ in their first tokens, so that a prefix cache does not flatter the service."),
    key(Group::Workload, "SEED", "42", "whole number",
        "Seeds arrivals, lengths and prompts.").generic(),
    key(Group::Search, "EXPERIMENT_TYPE", "MST", "MST | MIT",
        "Maximum sustainable throughput, or the throughput beyond which it no longer grows."),
    key(Group::Search, "SEARCH", "adaptive", "adaptive | stages | stages-legacy",
        "How rates are chosen: by all that is known of the capacity so far (which makes stratified arrivals the default), by ramp\n\
         and bisection, or as the older program did (which makes welch the default).").generic(),
    key(Group::Search, "CONFIRM", "always", "always | edges",
        "adaptive: which answers are held for a full DURATION. edges: in a grid of token pairs its corners, and answers\n\
         that contradict other pairs."),
    key(Group::Search, "PRIOR", "", "path",
        "adaptive: a file with `deployment:`, as mst calibrate and mst simulate have it; what the simulator says of a token pair is\n\
         expected before its first trial. A wrong one costs trials, never the answer."),
    key(Group::Search, "BUDGET", "", "duration",
        "adaptive: most load of one search, for example 2h; the answer is the best one within it. Empty: no limit."),
    key(Group::Search, "REQ_MIN_INCREASE_MULTIPLIER", "2", "number above 1",
        "Factor between the rates of stage 1."),
    key(Group::Search, "STOP_THRESHOLD", "0.05", "number above 0",
        "When the bracket (adaptive: the 95 % interval) is narrow enough: 1 or more is requests per minute,\n\
         less is a fraction of its upper end."),
    key(Group::Search, "ITERATION_HARD_LIMIT", "", "whole number",
        "Most trials of one search. Empty: 15, or 40 with SEARCH=adaptive, most of whose trials are short."),
    by_profile(Group::Trial, "DURATION", ("10s", "1800s"), "duration",
        "How long a trial sends requests.").generic(),
    by_profile(Group::Trial, "ITERATION_COOLDOWN_SECONDS", ("0", "180"), "duration",
        "Pause after a trial, so that the next one meets an idle service.").formerly(&["COOLDOWN"]),
    key(Group::Trial, "REQUEST_TIMEOUT", "300", "duration",
        "Longest a whole request may take."),
    key(Group::Trial, "TTFT_TIMEOUT", "60", "duration",
        "Longest wait for the first token."),
    key(Group::Trial, "TPOT_TIMEOUT", "30", "duration",
        "Longest wait between two tokens."),
    by_profile(Group::Trial, "DRAIN", ("5s", "60s"), "duration",
        "How long open requests are waited for after the last one was sent.").generic(),
    key(Group::Trial, "RETRIES", "2", "whole number",
        "How often a trial is repeated after trouble that is not the service's answer.").generic(),
    key(Group::Judgement, "EVALUATION", "", "drift | welch",
        "Which rule judges. Empty: drift, or welch with SEARCH=stages-legacy.").generic(),
    by_profile(Group::Judgement, "FILTER_BUFFER", ("1", "300"), "whole seconds",
        "What welch cuts off at both ends of a trial; DURATION must be longer than twice this.").formerly(&["FILTER_BUFFER_MINUTES"]),
    key(Group::Judgement, "SUCCESS_RATE_THRESHOLD", "95", "percent",
        "Least share of good requests.").formerly(&["SUCCESS_RATE"]),
    key(Group::Judgement, "MIT_PLATEAU_REL_TOL", "0.01", "number from 0",
        "MIT: growth below this fraction of the previous growth is a plateau."),
    key(Group::Judgement, "MIT_PLATEAU_ABS_TOL", "0.5", "number from 0",
        "MIT: growth below this many requests per minute is a plateau."),
    key(Group::LoadGenerator, "LOADGEN", "native", "native | fmperf | guidellm | aiperf | inference-perf | command",
        "Which program sends the requests."),
    key(Group::LoadGenerator, "FRESH_CONNECTIONS", "false", "true | false",
        "native: a new connection for every request."),
    key(Group::LoadGenerator, "GUIDELLM_COMMAND", "guidellm", "words, or a JSON array",
        "guidellm: the program, and arguments before ours."),
    key(Group::LoadGenerator, "AIPERF_COMMAND", "aiperf", "words, or a JSON array",
        "aiperf: the program, and arguments before ours."),
    key(Group::LoadGenerator, "INFERENCE_PERF_COMMAND", "inference-perf", "words, or a JSON array",
        "inference-perf: the program, and arguments before ours."),
    key(Group::LoadGenerator, "LOADGEN_TOKENIZER", "", "path",
        "guidellm, aiperf, inference-perf: the model's tokenizer.json, or the folder that holds it. Empty: TOKENIZER."),
    key(Group::LoadGenerator, "LOADGEN_COMMAND", "", "words, or a JSON array",
        "command: what is run, with {base_url}, {rate_per_minute}, {duration_s}, {dir} and the like, without a shell."),
    key(Group::LoadGenerator, "LOADGEN_OUTPUT", "", "file name",
        "command: the file it writes, below {dir}."),
    key(Group::LoadGenerator, "LOADGEN_COLUMNS", "", "OURS=THEIRS, separated by commas",
        "command: which of its columns is what, with the unit of times: sent=start:s,done=end:s."),
    key(Group::Fmperf, "FMPERF_PYTHON", "python3", "program",
        "The Python interpreter that has fmperf."),
    key(Group::Fmperf, "FMPERF_DIR", ".", "path",
        "The folder that fmperf is run from."),
    key(Group::Fmperf, "PROMPT_SOURCE", "native", "native | fmperf | file:PATH",
        "Who makes the workload file: this program, generate-input, or it is there already.\n\
         file alone means REQUESTS_DIR/REQUESTS_FILENAME in FMPERF_DIR."),
    key(Group::Fmperf, "REQUESTS_FILENAME", "", "file name",
        "The workload file of PROMPT_SOURCE=file."),
    key(Group::Fmperf, "TARGET", "vllm", "vllm",
        "Which protocol fmperf speaks; tgis is refused.").generic(),
    key(Group::Fmperf, "SAMPLE_SIZE", "1", "whole number",
        "How many cases generate-input makes."),
    key(Group::Fmperf, "FRAC_GREEDY", "1.0", "number from 0 to 1",
        "Share of cases with temperature 0."),
    key(Group::Fmperf, "CODE", "false", "true | false",
        "Whether prompts are source code.").generic(),
    key(Group::Fmperf, "OVERWRITE", "false", "true | false",
        "Whether generate-input replaces an existing file.").generic(),
    key(Group::Fmperf, "MAX_GENERATE_ATTEMPTS", "3", "whole number",
        "Attempts of generate-input for a case."),
    key(Group::Fmperf, "RETRY_BACKOFF_SECONDS", "1.0", "seconds",
        "Pause between these attempts."),
    key(Group::Fmperf, "BACKOFF", "1s", "duration",
        "Pause after a failed request.").generic(),
    key(Group::Fmperf, "GRACE_PERIOD", "5s", "duration",
        "Marks late requests as excluded; nothing waits."),
    key(Group::Fmperf, "WORKER_RPM_CAPACITY", "15", "number above 0",
        "Requests per minute of one worker."),
    key(Group::Fmperf, "MAX_WORKERS", "64", "whole number",
        "Most workers."),
    key(Group::Server, "SERVER_COMMAND", "", "words, or a JSON array",
        "Starts the model server, without a shell; {port}, {host} and {folder} are filled in. It stays up for all pairs.\n\
         Empty: the server runs already, at URL."),
    key(Group::Server, "SERVER_PLACE", "child", "child | step | node | group | job",
        "Where it runs: beside this program, as a job step on the same node, on the second node, on the second\n\
         component of a heterogeneous job, or as a job of its own."),
    key(Group::Server, "SERVER_PORT", "0", "whole number",
        "Its port. 0: a free one."),
    key(Group::Server, "SERVER_HEALTH", "/health", "/path",
        "Answers with status 200 once the server can work."),
    key(Group::Server, "SERVER_START_LIMIT", "1h", "duration",
        "How long it may take to become healthy while its process lives."),
    key(Group::Server, "SERVER_SILENCE_LIMIT", "15m", "duration",
        "How long a server that is not healthy yet may write nothing to its log."),
    key(Group::Server, "SERVER_RESET", "", "/path, or words, or a JSON array",
        "Done before each trial: a POST to that path (/reset_prefix_cache), or a command with {url} filled in."),
    key(Group::Server, "SERVER_RESTARTS", "2", "whole number",
        "How often it is started again after it died or hung."),
    key(Group::Cluster, "EXECUTOR", "local", "local | srun | sbatch",
        "Where load generators run: beside this program, each as an srun step, each as a job of its own."),
    key(Group::Cluster, "CLUSTER_PROFILE", "", "path",
        "What this cluster is like: partition, account, modules, resources. Empty: slurm/cluster.yml, where there is one."),
    key(Group::Cluster, "WALLTIME", "", "duration, or as in 1-12:00:00",
        "Time limit of submitted jobs, in place of the cluster profile's."),
    key(Group::Cluster, "WALLTIME_MARGIN", "90s", "duration",
        "No trial begins that would end within this time of the job's end."),
    key(Group::Cluster, "NODE_LIST", "", "host list",
        "Nodes that jobs are to run on, as in n[1-3]."),
    key(Group::Cluster, "POLL_INTERVAL", "30s", "duration",
        "Pause between two questions to Slurm."),
    key(Group::Results, "RESULTS_DIR", "requests", "path",
        "Root of the results.").formerly(&["REQUESTS_DIR"]),
    key(Group::Results, "RESULTS_LAYOUT", "mst", "mst | latest | new | doc",
        "Names of folders and columns: ours, or those of an older program's form."),
    key(Group::Results, "RESULTS_JSON", "auto", "auto | on | gz | off",
        "Whether results.json is written. auto: plain below a million events, else compressed."),
    key(Group::Results, "GPUS", "", "text",
        "GPUs that serve the model, for results.csv. Empty: not known.").generic().formerly(&["GPU_COUNT"]),
    key(Group::Older, "THRESHOLD_TYPE", "", "relative | absolute",
        "How STOP_THRESHOLD is read. Empty: by its size."),
    key(Group::Older, "ADDITIVE", "false", "true | false",
        "Reads TOKENS_LIST as one mix; WORKLOAD_MIXES says the same better.").generic(),
    key(Group::Older, "TOKENS_LIST_PROPORTION", "", "numbers, separated by commas",
        "Shares of that mix; empty: equal ones."),
];
