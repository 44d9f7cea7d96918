//! Grids of token pairs, searched pair by pair: alone, or with what is known of their neighbours.

use rand::RngExt;

use super::bench::{Entry, Known, Plan, Watcher, find, searched};
use super::choice::{Choice, SearchName};
use super::{Server, true_capacity};
use crate::capacity::{Capacity, Evidence};
use crate::pool;
use crate::report::accuracy::Searched;
use crate::runner::TrialError;
use crate::search::grid::{Expected, is_corner};
use crate::search::{Adaptive, Observed, neighbours};
use crate::units::{Rate, TokenPair};
use crate::workload::seeds;

/// How the pairs of a grid are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Each as if it were the only one.
    Independent,
    /// In an order in which they inform each other, and each answer is confirmed.
    Always,
    /// As that; only corners are confirmed, and what contradicts its neighbours.
    Edges,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Independent, Self::Always, Self::Edges];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Always => "CONFIRM=always",
            Self::Edges => "CONFIRM=edges",
        }
    }
}

/// Campaigns of the grids of a panel, `plan.searches` for each grid, combination and manner. Only the adaptive search
/// learns from neighbours, so only its combinations are run.
///
/// # Errors
/// [`TrialError::Interrupted`].
pub fn campaigns(panel: &[Entry], plan: &Plan, watcher: &dyn Watcher) -> Result<Vec<Searched>, TrialError> {
    let cells = cells(panel);
    let adaptive: Vec<&Choice> = plan
        .choices
        .iter()
        .filter(|c| c.search == SearchName::Adaptive)
        .collect();
    let mut durations: Vec<f64> = adaptive.iter().map(|c| c.duration_s).collect();
    durations.dedup();
    let flat: Vec<(usize, &Entry)> = cells
        .iter()
        .enumerate()
        .flat_map(|(grid, cells)| cells.iter().map(move |cell| (grid, cell)))
        .collect();
    watcher.stage("true capacities", flat.len());
    let mut known: Vec<Vec<Known<'_>>> = cells.iter().map(|_| Vec::new()).collect();
    for (grid, found) in pool::run(plan.jobs, &flat, |&(grid, entry)| {
        let truths = durations.iter().map(|d| (*d, true_capacity(&entry.server, *d)));
        let known = Known {
            entry,
            truths: truths.collect(),
        };
        watcher.piece(entry.server.name());
        (grid, known)
    }) {
        known[grid].push(found);
    }
    let mut tasks: Vec<(usize, usize, Manner, u32)> = Vec::new();
    for number in 0..plan.searches {
        for grid in 0..known.len() {
            for choice in 0..adaptive.len() {
                tasks.extend(Manner::ALL.map(|manner| (grid, choice, manner, number)));
            }
        }
    }
    watcher.stage("campaigns", tasks.len());
    let found = pool::run(plan.jobs, &tasks, |&(grid, choice, manner, number)| {
        let one = campaign(&known[grid], adaptive[choice], manner, number, plan, watcher);
        watcher.piece(manner.name());
        one.map(|searches| ((grid, choice, manner as u8, number), searches))
    });
    let mut found = found.into_iter().collect::<Result<Vec<_>, TrialError>>()?;
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().flat_map(|(_, searches)| searches).collect())
}

/// The servers of every grid, a server a pair.
fn cells(panel: &[Entry]) -> Vec<Vec<Entry>> {
    panel
        .iter()
        .filter(|entry| !entry.server.pairs().is_empty())
        .map(|entry| {
            let cell = |pair: &TokenPair| Entry {
                server: entry.server.at(*pair),
                file: entry.file.clone(),
            };
            entry.server.pairs().iter().map(cell).collect()
        })
        .collect()
}

/// One campaign over the cells of a grid, which are in the order of its pairs.
fn campaign(
    cells: &[Known<'_>],
    choice: &Choice,
    manner: Manner,
    number: u32,
    plan: &Plan,
    watcher: &dyn Watcher,
) -> Result<Vec<Searched>, TrialError> {
    let Some(first) = cells.first() else {
        return Ok(Vec::new());
    };
    let pairs = first.entry.server.pairs();
    let mut known: Vec<neighbours::Known> = Vec::new();
    let mut all = Vec::new();
    for place in neighbours::order(pairs) {
        let (cell, pair) = (&cells[place], pairs[place]);
        let server = &cell.entry.server;
        let seed = seeds::derive(plan.seed, &[server.name(), &number.to_string()]);
        let draw = seeds::stream(seed, "start").random::<f64>();
        let (from, to) = plan.start;
        let truth = cell.truth(choice.duration_s).capacity.as_per_minute();
        let start = Rate::per_minute(truth * from * (to / from).powf(draw));
        let expected = match manner {
            Manner::Independent => Expected::default(),
            Manner::Always | Manner::Edges => Expected::of(&known, pair),
        };
        let one = One {
            server,
            choice,
            plan,
            seed,
            start,
            expected,
        };
        let confirm = manner != Manner::Edges || is_corner(pair, pairs);
        let found = one.find(confirm, watcher)?;
        known.extend(neighbours::Known::of(pair, &found.answer));
        all.push(Searched {
            start: start.as_per_minute(),
            campaign: Some(manner.name().to_owned()),
            ..searched(cell, choice, number, seed, &found)
        });
    }
    Ok(all)
}

/// The search of one pair.
struct One<'a> {
    server: &'a Server,
    choice: &'a Choice,
    plan: &'a Plan,
    seed: u64,
    start: Rate,
    expected: Expected,
}

impl One<'_> {
    /// Finds the capacity. What was not to be confirmed is, where it contradicts what is known.
    fn find(&self, confirm: bool, watcher: &dyn Watcher) -> Result<Capacity, TrialError> {
        let mut search = self.search(confirm);
        let found = self.go_on(&mut search, watcher)?;
        if confirm || !self.expected.is_contradicted_by(&found.answer) {
            return Ok(found);
        }
        let mut search = self.search(true);
        for seen in &found.evidence {
            search.recall(&observed(seen));
        }
        let more = self.go_on(&mut search, watcher)?;
        Ok(Capacity {
            evidence: found.evidence.into_iter().chain(more.evidence).collect(),
            ..more
        })
    }

    fn search(&self, confirm: bool) -> Adaptive {
        Adaptive::new(
            self.choice
                .adaptive(&self.plan.rules, self.start, self.expected.prior, confirm),
        )
    }

    fn go_on(&self, search: &mut Adaptive, watcher: &dyn Watcher) -> Result<Capacity, TrialError> {
        find(self.server, self.choice, self.plan, self.seed, search, watcher)
    }
}

/// A trial as a search learns of it.
fn observed(seen: &Evidence) -> Observed<'_> {
    Observed {
        probe: &seen.probe,
        verdict: &seen.verdict,
        offered: seen.offered,
        load_s: seen.load_s,
    }
}
