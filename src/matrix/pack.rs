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

/// Jobs of so many GPUs and hours.
fn schedule(jobs: &[(u32, f64)], slots: u32) -> Result<Packed, String> {
    if let Some((gpus, _)) = jobs.iter().find(|(gpus, _)| *gpus > slots) {
        return Err(format!(
            "a system takes {gpus} GPUs, and there are {slots}: its searches do not fit"
        ));
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
}
