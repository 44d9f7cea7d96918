//! Searches on GPUs: largest first, and smaller ones wherever there is room.

use super::outcome::Outcome;

/// How long the searches take on a number of GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packed {
    /// GPU-hours of load.
    pub gpu_hours: f64,
    /// Hours from the first to the last.
    pub hours: f64,
}

/// Packs the load of searches on GPUs, those of one system and workload one after the other, because they share trials.
///
/// # Errors
/// When a system takes more GPUs than there are.
pub fn pack(outcomes: &[Outcome], slots: u32) -> Result<Packed, String> {
    let mut jobs: Vec<(u32, f64)> = Vec::new();
    let mut last = None;
    for outcome in outcomes {
        let of = (&outcome.combination.system, &outcome.combination.workload);
        let hours = outcome.load_seconds / 3600.0;
        match jobs.last_mut().filter(|_| last == Some(of)) {
            Some(job) => job.1 += hours,
            None => jobs.push((outcome.combination.gpus, hours)),
        }
        last = Some(of);
    }
    schedule(&jobs, slots)
}

/// Which earlier jobs must have ended before each may begin, so that never more than `slots` GPUs are in use, however long
/// each takes. Every job is given GPUs of its own in turn: those whose queue is shortest. Jobs without a GPU wait for nobody.
///
/// # Errors
/// When a job takes more GPUs than there are.
pub fn chains(gpus: &[u32], slots: u32) -> Result<Vec<Vec<usize>>, String> {
    // Of each GPU the jobs in its queue, and the last of them.
    let mut queues: Vec<(usize, Option<usize>)> = vec![(0, None); slots as usize];
    let mut all = Vec::with_capacity(gpus.len());
    for (job, taken) in gpus.iter().enumerate() {
        if *taken > slots {
            return Err(too_many(*taken, slots));
        }
        queues.sort_unstable();
        let mine = &mut queues[..*taken as usize];
        let mut before: Vec<usize> = mine.iter().filter_map(|(_, last)| *last).collect();
        before.sort_unstable();
        before.dedup();
        let length = mine.iter().map(|(length, _)| length + 1).max().unwrap_or(0);
        mine.fill((length, Some(job)));
        all.push(before);
    }
    Ok(all)
}

fn too_many(gpus: u32, slots: u32) -> String {
    format!("a system takes {gpus} GPUs, and there are {slots}: its searches do not fit")
}

/// Jobs of so many GPUs and hours.
fn schedule(jobs: &[(u32, f64)], slots: u32) -> Result<Packed, String> {
    if let Some((gpus, _)) = jobs.iter().find(|(gpus, _)| *gpus > slots) {
        return Err(too_many(*gpus, slots));
    }
    let mut waiting: Vec<(u32, f64)> = jobs.to_vec();
    // Largest first, of equal ones the longest.
    waiting.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let mut running: Vec<(f64, u32)> = Vec::new();
    let (mut now, mut free, mut end) = (0.0_f64, slots, 0.0_f64);
    while !waiting.is_empty() {
        let mut place = 0;
        while place < waiting.len() {
            if waiting[place].0 <= free {
                let (gpus, hours) = waiting.remove(place);
                free -= gpus;
                running.push((now + hours, gpus));
                end = end.max(now + hours);
            } else {
                place += 1;
            }
        }
        running.sort_by(|a, b| b.0.total_cmp(&a.0));
        if let Some((at, gpus)) = running.pop() {
            now = at;
            free += gpus;
        }
    }
    Ok(Packed {
        gpu_hours: jobs.iter().map(|(gpus, hours)| f64::from(*gpus) * hours).sum(),
        hours: end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_jobs_fill_the_gaps() {
        // One on all four, one on three with a single GPU beside it, which two small ones share one after the other.
        let packed = schedule(&[(1, 1.0), (4, 1.0), (3, 2.0), (1, 1.0)], 4).unwrap();
        assert_eq!(packed.hours, 3.0);
        assert_eq!(packed.gpu_hours, 12.0);
        assert!(schedule(&[(8, 1.0)], 4).unwrap_err().contains('8'));
    }
    /// Most GPUs in use at once when every job begins as soon as those before it have ended.
    fn most_in_use(gpus: &[u32], before: &[Vec<usize>], hours: &[f64]) -> u32 {
        let mut ends: Vec<f64> = Vec::new();
        let mut spans = Vec::new();
        for (job, before) in before.iter().enumerate() {
            let begins = before.iter().map(|j| ends[*j]).fold(0.0, f64::max);
            ends.push(begins + hours[job]);
            spans.push((begins, begins + hours[job]));
        }
        let in_use = |at: f64| {
            let running = spans
                .iter()
                .zip(gpus)
                .filter(|((from, to), _)| *from <= at && at < *to);
            running.map(|(_, gpus)| gpus).sum()
        };
        spans.iter().map(|(from, _)| in_use(*from)).max().unwrap_or(0)
    }

    #[test]
    fn chained_jobs_never_take_more_gpus_than_there_are() {
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut full = 0;
        for _ in 0..300 {
            let slots = 1 + draw(8) as u32;
            let mut gpus: Vec<u32> = (0..=draw(12))
                .map(|_| draw(u64::from(slots) + 1) as u32)
                .collect();
            gpus.sort_unstable_by(|a, b| b.cmp(a));
            let before = chains(&gpus, slots).unwrap();
            for _ in 0..5 {
                let hours: Vec<f64> = gpus.iter().map(|_| 1.0 + draw(9) as f64).collect();
                let most = most_in_use(&gpus, &before, &hours);
                assert!(most <= slots, "{gpus:?} on {slots}: {before:?}");
                full += u32::from(most == slots);
            }
        }
        // They are used, too.
        assert!(full > 500, "{full}");
    }

    #[test]
    fn a_job_waits_only_where_there_is_no_room() {
        assert_eq!(chains(&[2, 1, 1, 0], 4).unwrap(), vec![Vec::<usize>::new(); 4]);
        assert_eq!(
            chains(&[2, 2, 1, 1, 0], 2).unwrap(),
            [vec![], vec![0], vec![1], vec![1], vec![]]
        );
        assert!(chains(&[1, 3], 2).unwrap_err().contains('3'));
    }
}
