//! What else is to be had beside the recommendation.

use super::Report;
use crate::plan::answer::Candidate;
use crate::plan::frontier::Place;
use crate::plan::vary::MORE;

impl Report<'_> {
    /// What nothing beats, the cheapest first.
    pub fn front(&self) -> Vec<(usize, &Candidate)> {
        let on = |c: &&Candidate| c.place != Place::Beaten && c.capacity.qps > 0.0;
        let mut front: Vec<(usize, &Candidate)> = self
            .answer
            .candidates
            .iter()
            .enumerate()
            .filter(|(i, c)| on(c) || Some(*i) == self.answer.best)
            .collect();
        front.sort_by(|(_, a), (_, b)| {
            let price = a.price().total_cmp(&b.price());
            price.then(a.capacity.qps.total_cmp(&b.capacity.qps))
        });
        front
    }

    /// What costs no more and bears no less, and is better in one of these, by the numbers that are told.
    pub(super) fn better_than(&self, this: &Candidate) -> Option<&Candidate> {
        let [price, qps] = [this.price(), this.capacity.qps];
        self.answer.candidates.iter().find(|other| {
            let [other_price, other_qps] = [other.price(), other.capacity.qps];
            other_price <= price && other_qps >= qps && (other_price < price || other_qps > qps)
        })
    }

    /// The front without what is beaten by the numbers that are told, though perhaps not by the true ones.
    fn offered(&self) -> impl DoubleEndedIterator<Item = &Candidate> {
        let front = self.front().into_iter().map(|(_, c)| c);
        front.filter(|c| self.better_than(c).is_none())
    }

    /// The cheapest that keeps every bound, where it is cheaper than the best.
    pub fn budget(&self) -> Option<&Candidate> {
        let best = self.best()?;
        self.offered().find(|c| c.price() < best.price())
    }

    /// The dearest of the front that bears more than the best.
    pub fn premium(&self) -> Option<&Candidate> {
        let best = self.best()?;
        self.offered()
            .rfind(|c| c.price() > best.price() && c.capacity.qps > best.capacity.qps)
    }

    /// Up to which demand, headroom included, the cheaper option does, where that is less than is asked for.
    pub fn budget_serves_below(&self) -> Option<f64> {
        let demand = self.request().demand()?.qps;
        let serves = self.budget()?.capacity.simulated[0] / (1.0 + self.request().headroom);
        (serves > 0.0 && serves < demand).then_some(serves)
    }

    /// What bears most for up to a tenth more money, where that is dearer than the best and bears more.
    pub fn richer(&self) -> Option<&Candidate> {
        let best = self.best()?;
        let within = self
            .answer
            .candidates
            .iter()
            .filter(|c| c.price() > best.price() && c.price() <= MORE * best.price());
        let most = within.max_by(|a, b| a.capacity.qps.total_cmp(&b.capacity.qps))?;
        (most.capacity.qps > best.capacity.qps).then_some(most)
    }
}
