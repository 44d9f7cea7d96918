//! Runs a load generator against a live endpoint, in a staging folder, and stores what it measured.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::server_metrics::{Look, ServerMetrics};
use super::standstill::Standstill;
use super::{Judged, Service, Trial, TrialError, TrialRunner, Watch};
use crate::criterion::Flow;
use crate::executor::{Executor, Exit, Running};
use crate::loadgen::{LoadGenerator, TrialJob};
use crate::report::queue;
use crate::search::Probe;
use crate::store::tables::{ServerLook, write_server_metrics};
use crate::store::{FOLDER_VARIABLE, Lease, Manifest, Store, StoreError, layout, write_json};
use crate::trial::{Measurement, Outcome, TrialSpec};

/// How often a running trial is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long an answer about the time that is left is good for.
const SOON: Duration = Duration::from_secs(10);
/// Share of requests that may fail to connect before we ask whether the endpoint is still there.
const LOST_SHARE: f64 = 0.05;
/// Longest pause before a repetition.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 20;

/// Writes the users' files of a judged trial into its staging folder.
pub type Files<'a> = &'a dyn Fn(&Path, &Manifest, &Trial, &Judged<'_>) -> Result<(), TrialError>;

/// What the live runner is told once per pair.
pub struct Setup<'a> {
    /// Where results go.
    pub store: &'a Store,
    /// The lease of the pair.
    pub lease: &'a Lease,
    /// Which load generator.
    pub loadgen: &'a dyn LoadGenerator,
    /// Where it runs.
    pub executor: &'a dyn Executor,
    /// The job of a trial.
    pub job: &'a dyn Fn(&TrialSpec) -> TrialJob,
    /// The manifest of a measured trial.
    pub manifest: &'a dyn Fn(&TrialSpec, &Probe, &Measurement) -> Manifest,
    /// Writes the users' files into a staging folder.
    pub files: Files<'a>,
    /// The service under test.
    pub service: &'a dyn Service,
    /// Whether a trial that takes at most so many seconds still fits before the job's end; an error says why not.
    pub time_left: &'a dyn Fn(f64) -> Result<(), String>,
    /// Where the service tells how loaded it is.
    pub metrics: &'a ServerMetrics,
    /// Variables of the commands that are not written down anywhere.
    pub secrets: &'a [(String, String)],
    /// Repetitions of a trial after trouble.
    pub retries: u32,
    /// Whether the times of single tokens are wanted.
    pub token_times: bool,
}

/// What a command that can outlive its driver was started for: `attempt.json` in the staging folder.
#[derive(serde::Serialize, serde::Deserialize)]
struct Attempt {
    job: TrialJob,
    /// Which of the trial's commands, counted from 0.
    command: usize,
    commands: usize,
    program: String,
    log: PathBuf,
}

/// The live runner.
pub struct Live<'a> {
    setup: Setup<'a>,
    /// What the service told of its load during the present trial.
    looks: RefCell<Vec<Look>>,
}

impl<'a> Live<'a> {
    /// A runner for one pair.
    pub fn new(setup: Setup<'a>) -> Self {
        Self {
            setup,
            looks: RefCell::default(),
        }
    }

    /// The trial that an earlier driver started, if its job still runs or ended well.
    fn adopted(
        &self,
        spec: &TrialSpec,
        probe: &Probe,
        watch: &mut dyn Watch,
    ) -> Option<Result<Trial, TrialError>> {
        let Setup {
            store,
            lease,
            executor,
            service,
            ..
        } = &self.setup;
        if !executor.attaches() || !service.outlives_drivers() {
            return None;
        }
        let folder = store.staging(&lease.pair_name(), &spec.id());
        let attempt: Attempt = crate::store::read_json(&folder.join(layout::ATTEMPT)).ok()?;
        let job = (self.setup.job)(spec);
        // The last command leaves the result; after another one there would be more to do, in a folder half used. And
        // what loads another endpoint measures something else.
        if attempt.command + 1 != attempt.commands || attempt.job != job {
            return None;
        }
        let running = executor.attach(&folder)?;
        watch.note("an earlier driver started this trial: its job is taken over");
        let finish = || {
            lease.check()?;
            self.looks.borrow_mut().clear();
            self.attend(running, &attempt.program, &attempt.log, &job, &folder, watch)?;
            self.measured(spec, probe, &job, folder.clone())
        };
        Some(finish())
    }

    /// Ends what other trials of this pair, begun by a dead driver, or by this one, still run as jobs.
    fn clear(&self, watch: &dyn Watch) -> Result<(), TrialError> {
        for folder in self.setup.store.staged(&self.setup.lease.pair_name())? {
            if !folder.join(layout::SLURM).is_file() {
                continue;
            }
            self.setup.executor.abandon(&folder, &|| watch.is_interrupted())?;
            if watch.is_interrupted() {
                return Err(TrialError::Interrupted);
            }
            fs_err::remove_dir_all(&folder).map_err(StoreError::from)?;
        }
        Ok(())
    }

    /// Carries the trial out once.
    fn once(&self, spec: &TrialSpec, probe: &Probe, watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        let Setup {
            store,
            lease,
            loadgen,
            ..
        } = &self.setup;
        lease.check()?;
        let time_left = || (self.setup.time_left)(spec.duration_s).map_err(TrialError::NoTimeLeft);
        time_left()?;
        let asked = Instant::now();
        let ready = {
            let watch = RefCell::new(&mut *watch);
            self.setup
                .service
                .ready(&|| watch.borrow().is_interrupted(), &mut |text| {
                    watch.borrow_mut().note(text);
                })
        };
        ready?;
        self.clear(watch)?;
        // A server that was started again may have taken long.
        if asked.elapsed() > SOON {
            time_left()?;
        }
        let folder = store.begin(&lease.pair_name(), &spec.id())?;
        self.looks.borrow_mut().clear();
        let job = (self.setup.job)(spec);
        let commands = loadgen.prepare(&job, &folder)?;
        let count = commands.len();
        for (index, mut command) in commands.into_iter().enumerate() {
            command.env.extend_from_slice(self.setup.secrets);
            let place = folder.to_string_lossy().into_owned();
            command.env.push((FOLDER_VARIABLE.to_owned(), place));
            let program = command
                .argv
                .first()
                .map(|p| p.to_string_lossy().into_owned())
                .unwrap_or_default();
            if self.setup.executor.attaches() {
                let attempt = Attempt {
                    job: job.clone(),
                    command: index,
                    commands: count,
                    program: program.clone(),
                    log: command.log.clone(),
                };
                write_json(&folder.join(layout::ATTEMPT), &attempt)?;
            }
            let running = self.setup.executor.start(&command)?;
            self.setup.store.leave_trace(&folder, &running.pids())?;
            self.attend(running, &program, &command.log, &job, &folder, watch)?;
        }
        self.measured(spec, probe, &job, folder)
    }

    /// Reads what a load generator left, and notes that it is whole.
    fn measured(
        &self,
        spec: &TrialSpec,
        probe: &Probe,
        job: &TrialJob,
        folder: PathBuf,
    ) -> Result<Trial, TrialError> {
        let mut measurement = self.setup.loadgen.read(job, &folder)?;
        if self.setup.token_times {
            measurement.tokens = self.setup.loadgen.token_times(job, &folder)?;
        }
        self.setup.service.vouch().map_err(TrialError::Endpoint)?;
        self.check_endpoint(&measurement)?;
        if let Some(why) = &measurement.client.void {
            return Err(TrialError::ClientTooSlow(why.clone()));
        }
        let manifest = (self.setup.manifest)(spec, probe, &measurement);
        // Somebody who has taken over measures it anew.
        self.setup.lease.check()?;
        self.write_metrics(&folder, &manifest)?;
        // From here on the trial counts as measured, whatever happens to us.
        write_json(&folder.join(layout::MANIFEST), &manifest)?;
        if self.setup.executor.attaches() {
            // Not worth failing for.
            let _ = fs_err::remove_file(folder.join(layout::ATTEMPT));
        }
        self.setup.executor.tidy(&folder);
        Ok(Trial {
            id: spec.id(),
            measurement,
            folder,
            reused: false,
        })
    }

    /// Writes what the service told of its load, where it told anything.
    fn write_metrics(&self, folder: &Path, manifest: &Manifest) -> Result<(), TrialError> {
        let looks: Vec<ServerLook> = self
            .looks
            .take()
            .into_iter()
            .map(|look| ServerLook::new((look.wall_ns - manifest.epoch_ns) as f64 / 1e9, look.gauges))
            .collect();
        if looks.is_empty() {
            return Ok(());
        }
        write_server_metrics(&folder.join(layout::SERVER_METRICS), &looks).map_err(StoreError::from)?;
        // A picture that cannot be drawn or written costs itself only.
        let title = format!("{} at {}", manifest.pair, manifest.spec.rate);
        if let Ok(svg) = queue::svg(&looks, &title) {
            let _ = fs_err::write(folder.join(layout::SERVER_METRICS_PLOT), svg);
        }
        Ok(())
    }

    /// Stays with a command until its end.
    fn attend(
        &self,
        mut running: Box<dyn Running>,
        program: &str,
        log: &Path,
        job: &TrialJob,
        folder: &Path,
        watch: &mut dyn Watch,
    ) -> Result<(), TrialError> {
        let mut follower = self.setup.loadgen.follow(job, folder);
        let mut stopping = false;
        let mut standstill = Standstill::watch();
        let looking = self.setup.metrics.watch(&job.endpoint.base_url);
        let exit = loop {
            if let Some(exit) = running.poll()? {
                break exit;
            }
            while let Some(text) = running.news() {
                watch.note(&text);
            }
            if let Some(text) = self.setup.metrics.news() {
                watch.note(&text);
            }
            if watch.is_interrupted() {
                running.kill();
                return Err(TrialError::Interrupted);
            }
            if let Err(why) = self.setup.service.watch() {
                running.kill();
                return Err(TrialError::Endpoint(why));
            }
            if let Some(progress) = follower.as_mut().and_then(|f| f.read())
                && watch.observe(&progress) == Flow::Stop
                && !stopping
            {
                stopping = true;
                fs_err::write(folder.join(layout::STOP), b"").map_err(crate::store::StoreError::from)?;
            }
            if let Some(seconds) = standstill.sleep(LOOK) {
                running.kill();
                return Err(TrialError::Suspended { seconds });
            }
        };
        if let Some(looking) = looking {
            self.looks.borrow_mut().extend(looking.looks());
        }
        let accepted = matches!(exit, Exit::Code(code) if code == 0 || self.setup.loadgen.may_end_with(code));
        let stood_still = standstill.at_the_end();
        if accepted && stood_still.is_none() {
            return Ok(());
        }
        if watch.is_interrupted() {
            return Err(TrialError::Interrupted);
        }
        if let Some(seconds) = stood_still {
            return Err(TrialError::Suspended { seconds });
        }
        let what = match exit {
            Exit::Code(code) => format!("the load generator `{program}` ended with status {code}"),
            Exit::Signal(signal) => format!("the load generator `{program}` was ended by signal {signal}"),
            Exit::TimedOut => format!("the load generator `{program}` did not end in time and was killed"),
        };
        // A full disk makes a load generator give up, too, and may keep it from saying so.
        room_for_results(folder)?;
        // So does an endpoint that is gone.
        if let Err(why) = self.setup.service.alive() {
            return Err(TrialError::Endpoint(format!(
                "{what}, and the endpoint is gone: {why}"
            )));
        }
        Err(TrialError::Exit {
            what,
            log: log.to_owned(),
            tail: tail_of(log),
        })
    }

    /// Tells an endpoint that is gone from one that is overloaded: only when it does not answer afterwards either.
    fn check_endpoint(&self, measurement: &Measurement) -> Result<(), TrialError> {
        let total = measurement.records.len();
        let lost = measurement
            .records
            .iter()
            .filter(|r| {
                matches!(
                    r.outcome,
                    Outcome::Refused | Outcome::Connect | Outcome::BrokenStream
                )
            })
            .count();
        let nothing_came = measurement.records.iter().all(|r| r.first_token_ns.is_none());
        if (lost as f64) <= LOST_SHARE * total as f64 && !nothing_came {
            return Ok(());
        }
        self.setup
            .service
            .alive()
            .map_err(|why| TrialError::Endpoint(format!("the endpoint went away during the trial: {why}")))
    }
}

impl TrialRunner for Live<'_> {
    fn run(&mut self, spec: &TrialSpec, probe: &Probe, watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        let mut left = self.setup.retries;
        let mut found = self.adopted(spec, probe, watch);
        loop {
            let result = found.take().unwrap_or_else(|| self.once(spec, probe, watch));
            let error = match result {
                Ok(trial) => return Ok(trial),
                Err(error) => error,
            };
            if left == 0 || !error.is_worth_a_retry() {
                return Err(error);
            }
            left -= 1;
            watch.retried(&error.to_string(), left);
            let tries = self.setup.retries - left;
            let end = Instant::now() + Duration::from_secs(1 << tries.min(8)).min(LONGEST_BACKOFF);
            while Instant::now() < end {
                if watch.is_interrupted() {
                    return Err(TrialError::Interrupted);
                }
                std::thread::sleep(LOOK);
            }
        }
    }

    fn settle(&mut self, trial: &Trial, judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        let staging = self.setup.store.root().join(layout::STAGING);
        if !trial.folder.starts_with(&staging) {
            return Ok(trial.folder.clone());
        }
        self.setup.lease.check()?;
        let manifest: Manifest = crate::store::read_json(&trial.folder.join(layout::MANIFEST))?;
        (self.setup.files)(&trial.folder, &manifest, trial, judged)?;
        Ok(self.setup.store.archive(&trial.folder, &manifest)?)
    }
}

/// Whether a folder still takes a file.
fn room_for_results(folder: &Path) -> Result<(), StoreError> {
    let probe = folder.join(".room");
    let written = fs_err::write(&probe, vec![0; 1 << 16]);
    // Not there when it could not be made.
    let _ = fs_err::remove_file(&probe);
    Ok(written?)
}

/// The last lines of a log.
fn tail_of(log: &Path) -> String {
    let bytes = fs_err::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..].join("\n")
}
