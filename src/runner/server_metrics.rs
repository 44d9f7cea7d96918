//! Looks at the server's metrics while a trial runs, from a thread of its own: a server that answers slowly, or not at
//! all, delays nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::endpoint::scrape::{Gauges, Scraper};
use crate::endpoint::{BaseUrl, clock};

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a look may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How soon the thread notices that a trial is over.
const NOTICE: Duration = Duration::from_millis(50);

/// Whether the server has metrics; asked by the first trial of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Known {
    #[default]
    Unasked,
    Has,
    /// And why, until it is told.
    HasNone(Option<String>),
}

/// Where the metrics of a run's server are, and whether it has any.
pub struct ServerMetrics {
    wanted: bool,
    /// In place of `/metrics` below the endpoint's URL.
    elsewhere: Option<String>,
    key: Option<String>,
    known: Arc<Mutex<Known>>,
}

impl ServerMetrics {
    /// Below the endpoint's URL, with its key; or elsewhere, without.
    pub fn new(elsewhere: Option<String>, key: Option<String>) -> Self {
        Self {
            wanted: true,
            elsewhere,
            key,
            known: Arc::default(),
        }
    }

    /// None are looked at.
    pub fn off() -> Self {
        Self {
            wanted: false,
            ..Self::new(None, None)
        }
    }

    /// Why there is nothing to be seen; told once.
    pub(super) fn news(&self) -> Option<String> {
        match &mut *lock(&self.known) {
            Known::HasNone(why) => why.take(),
            Known::Unasked | Known::Has => None,
        }
    }

    /// Begins to look; `None` where there is nothing to be seen.
    pub(super) fn watch(&self, base_url: &str) -> Option<Looking> {
        if !self.wanted || matches!(*lock(&self.known), Known::HasNone(_)) {
            return None;
        }
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            shared: Arc::clone(&shared),
            known: Arc::clone(&self.known),
            base_url: base_url.to_owned(),
            elsewhere: self.elsewhere.clone(),
            key: self.key.clone(),
        };
        // Without a thread there are no metrics, and the trial is as good.
        std::thread::Builder::new()
            .name("mst-metrics".to_owned())
            .spawn(move || thread.run())
            .ok()?;
        Some(Looking(shared))
    }
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    /// When it was answered, nanoseconds since 1970.
    pub(super) wall_ns: i64,
    /// What was seen; `None` where nothing was answered in time.
    pub(super) gauges: Option<Gauges>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    looks: Mutex<Vec<Look>>,
}

/// A thread that looks; it ends by itself soon after this is dropped, and is not waited for.
pub(super) struct Looking(Arc<Shared>);

impl Looking {
    /// What was seen so far.
    pub(super) fn looks(&self) -> Vec<Look> {
        lock(&self.0.looks).clone()
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

struct Thread {
    shared: Arc<Shared>,
    known: Arc<Mutex<Known>>,
    base_url: String,
    elsewhere: Option<String>,
    key: Option<String>,
}

impl Thread {
    fn run(self) {
        let scraper = match self.open() {
            Ok(scraper) => scraper,
            Err(why) => return self.give_up(&why),
        };
        while !self.is_over() {
            let next = Instant::now() + INTERVAL;
            let seen = scraper.ask();
            let wall_ns = clock::wall_ns() as i64;
            if *lock(&self.known) != Known::Has {
                match &seen {
                    Ok(Some(_)) => *lock(&self.known) = Known::Has,
                    Ok(None) => {
                        return self.give_up("the page has none of vLLM's or llama.cpp's queue metrics");
                    }
                    Err(error) => return self.give_up(&error.to_string()),
                }
            }
            lock(&self.shared.looks).push(Look {
                wall_ns,
                gauges: seen.ok().flatten(),
            });
            while Instant::now() < next && !self.is_over() {
                std::thread::sleep(NOTICE);
            }
        }
    }

    fn open(&self) -> Result<Scraper, String> {
        let url = self.elsewhere.as_ref().unwrap_or(&self.base_url);
        let url: BaseUrl = url
            .parse()
            .map_err(|e: crate::endpoint::UrlError| e.to_string())?;
        let scraper = if self.elsewhere.is_some() {
            Scraper::elsewhere(&url, TIMEOUT)
        } else {
            Scraper::new(&url, self.key.clone(), TIMEOUT)
        };
        scraper.map_err(|e| e.to_string())
    }

    /// There is nothing to be seen, in this trial nor in those after it.
    fn give_up(&self, why: &str) {
        let mut known = lock(&self.known);
        // A trial before this one may have ended before its first look did, or have seen some.
        if *known == Known::Unasked {
            let text = format!(
                "no metrics of the server are recorded: {why} (SERVER_METRICS_URL names another place)"
            );
            *known = Known::HasNone(Some(text));
        }
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
