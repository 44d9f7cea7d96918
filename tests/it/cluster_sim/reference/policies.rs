//! The batch policies of the plain cluster: each returns its members, and those that began together.

use mst::sim::batching::Batching;

use super::Replica;

impl Replica<'_> {
    fn admitted(&self) -> u32 {
        self.jobs.iter().filter(|j| j.admitted).count() as u32
    }

    pub(super) fn plan(&mut self) -> (Vec<(usize, u32)>, Vec<usize>) {
        match self.config.batching {
            Batching::Vllm { max_tokens_in_batch } => (self.vllm(max_tokens_in_batch), Vec::new()),
            Batching::Sarathi { chunk_size } => (self.sarathi(chunk_size), Vec::new()),
            Batching::VllmV1 { chunk_size } => (self.vllm_v1(chunk_size), Vec::new()),
            Batching::Orca {} => {
                let cap = self.config.batch_size_cap as usize;
                let taken = self.running.len().min(cap);
                let mut members: Vec<_> = self.running.drain(..taken).map(|i| (i, 1)).collect();
                self.admit_reserved(cap, &mut members);
                (members, Vec::new())
            }
            Batching::FasterTransformer {} => {
                if let Some(cohort) = self.cohorts.pop_front() {
                    let open = |i: &&usize| !self.jobs[**i].done();
                    return (cohort.iter().filter(open).map(|&i| (i, 1)).collect(), cohort);
                }
                let mut members = Vec::new();
                self.admit_reserved(self.config.batch_size_cap as usize, &mut members);
                let cohort = members.iter().map(|m| m.0).collect();
                (members, cohort)
            }
            Batching::Lightllm {
                max_tokens_in_batch,
                max_waiting_iterations,
            } => (
                self.lightllm(max_tokens_in_batch, max_waiting_iterations),
                Vec::new(),
            ),
        }
    }

    fn admit_reserved(&mut self, cap: usize, members: &mut Vec<(usize, u32)>) {
        let need = self.need(self.config.max_model_len);
        while members.len() < cap && !self.waiting.is_empty() && self.free.len() >= need {
            let index = self.admit(need);
            members.push((index, self.jobs[index].prefill));
        }
    }

    fn decodes(&mut self, room: usize, members: &mut Vec<(usize, u32)>) -> Vec<usize> {
        let mut prefills = Vec::new();
        while !self.running.is_empty() && members.len() < room {
            let index = self.running.remove(0);
            if !self.jobs[index].prefilled {
                prefills.push(index);
                continue;
            }
            while self.free.is_empty() {
                let Some(victim) = self.running.pop() else {
                    self.preempt(index);
                    return prefills;
                };
                self.preempt(victim);
            }
            let job = &self.jobs[index];
            if job.processed > job.blocks.len() as u32 * self.config.block_tokens {
                self.take(index, 1);
            }
            members.push((index, 1));
        }
        prefills
    }

    fn sort_running(&mut self) {
        let jobs = &self.jobs;
        self.running.sort_by_key(|&i| jobs[i].request.arrival);
    }

    fn watermark(&self) -> usize {
        (self.config.watermark * f64::from(self.config.blocks)) as usize
    }

    fn micro(&self) -> usize {
        (self.config.batch_size_cap / self.config.pipeline_stages) as usize
    }

    fn vllm(&mut self, max_tokens: u32) -> Vec<(usize, u32)> {
        let mut members: Vec<(usize, u32)> = Vec::new();
        while let Some(&index) = self.waiting.first() {
            let prompt = self.jobs[index].prefill;
            let longest = members.iter().map(|m| m.1).max().unwrap_or(0).max(prompt);
            let need = self.need(prompt);
            if self.free.len() < need + self.watermark()
                || longest * (members.len() as u32 + 1) > max_tokens
                || self.admitted() == self.config.batch_size_cap
                || members.len() == self.micro()
            {
                break;
            }
            let index = self.admit(need);
            members.push((index, prompt));
        }
        if members.is_empty() {
            self.sort_running();
            self.decodes(self.micro(), &mut members);
        }
        members
    }

    fn sarathi(&mut self, chunk: u32) -> Vec<(usize, u32)> {
        let mut members = Vec::new();
        let prefills = self.decodes(self.micro(), &mut members);
        let mut skipped = Vec::new();
        let left = |members: &[(usize, u32)]| chunk.saturating_sub(members.iter().map(|m| m.1).sum());
        for index in prefills {
            let job = &self.jobs[index];
            let tokens = (job.prefill - job.processed).min(left(&members));
            if tokens == 0 {
                skipped.push(index);
            } else {
                members.push((index, tokens));
            }
        }
        skipped.append(&mut self.running);
        self.running = skipped;
        self.sort_running();
        while let Some(&index) = self.waiting.first() {
            let prefill = self.jobs[index].prefill;
            let need = self.need(prefill);
            let tokens = prefill.min(left(&members));
            if self.admitted() == self.config.batch_size_cap
                || members.len() == self.micro()
                || self.free.len() < need + self.watermark()
                || tokens == 0
            {
                break;
            }
            let index = self.admit(need);
            members.push((index, tokens));
        }
        members
    }

    fn vllm_v1(&mut self, budget: u32) -> Vec<(usize, u32)> {
        let mut members: Vec<(usize, u32)> = Vec::new();
        let mut left = budget;
        let mut preempted = false;
        let spare = self.need(self.config.preallocate_tokens);
        let mut at = 0;
        'running: while at < self.running.len() && left > 0 {
            let index = self.running[at];
            let job = &self.jobs[index];
            let tokens = if job.prefilled {
                1
            } else {
                job.prefill - job.processed
            }
            .min(left);
            let reaches = job.processed + tokens;
            loop {
                let need = self.need(reaches).saturating_sub(self.jobs[index].blocks.len());
                if need <= self.free.len() {
                    if need > 0 {
                        self.take(index, (need + spare).min(self.free.len()));
                    }
                    self.publish(index, reaches);
                    break;
                }
                let victim = self.running.pop().unwrap();
                self.preempt(victim);
                preempted = true;
                if victim == index {
                    break 'running;
                }
            }
            members.push((index, tokens));
            left -= tokens;
            at += 1;
        }
        if preempted {
            return members;
        }
        while left > 0 && self.running.len() < self.micro() {
            let Some(&index) = self.waiting.first() else { break };
            let prefill = self.jobs[index].prefill;
            let mut hits = Vec::new();
            if self.caching() {
                let full = (prefill / self.config.block_tokens) as usize;
                let hashes = self.prefixes.of(self.jobs[index].request.prefix);
                hits = self.lookup(&hashes[..full.min(hashes.len())]);
                if hits.len() as u32 * self.config.block_tokens == prefill {
                    hits.pop();
                }
            }
            let cached = hits.len() as u32 * self.config.block_tokens;
            let tokens = (prefill - cached).min(left);
            let need = self.need(cached + tokens) - hits.len();
            let idle = hits.iter().filter(|&&b| self.blocks[b].holders == 0).count();
            if need + idle > self.free.len() {
                break;
            }
            self.waiting.remove(0);
            for &block in &hits {
                self.free.retain(|&f| f != block);
                self.blocks[block].holders += 1;
            }
            self.job(index).published = hits.len();
            self.job(index).blocks = hits;
            self.job(index).admitted = true;
            self.job(index).processed = cached;
            self.job(index).cached = cached;
            if need > 0 {
                self.take(index, (need + spare).min(self.free.len()));
            }
            self.publish(index, cached + tokens);
            self.running.push(index);
            members.push((index, tokens));
            left -= tokens;
        }
        members
    }

    fn lightllm(&mut self, max_tokens: u32, patience: u32) -> Vec<(usize, u32)> {
        if self.running.is_empty() {
            self.since_look = 0;
            return self.lightllm_prefills(max_tokens);
        }
        if self.since_look >= patience {
            self.since_look = 0;
            let members = self.lightllm_prefills(max_tokens);
            if !members.is_empty() {
                return members;
            }
        }
        self.since_look += 1;
        let mut members = Vec::new();
        self.decodes(self.micro(), &mut members);
        members
    }

    fn lightllm_prefills(&mut self, max_tokens: u32) -> Vec<(usize, u32)> {
        let mut members: Vec<(usize, u32)> = Vec::new();
        while let Some(&index) = self.waiting.first() {
            let prompt = self.jobs[index].prefill;
            let mut all: Vec<(u32, u32)> = self
                .running
                .iter()
                .map(|&i| {
                    (
                        self.jobs[i].processed,
                        self.jobs[i].total().saturating_sub(self.jobs[i].processed + 1),
                    )
                })
                .chain(members.iter().map(|m| m.0).chain([index]).map(|i| {
                    let prompt = self.jobs[i].prefill;
                    (prompt + 1, self.jobs[i].total().saturating_sub(prompt + 2))
                }))
                .collect();
            all.sort_by_key(|a| std::cmp::Reverse(a.1));
            let peak = (1..=all.len())
                .map(|n| all[n - 1].1 * n as u32 + all[..n].iter().map(|a| a.0).sum::<u32>())
                .max()
                .unwrap();
            if members.iter().map(|m| m.1).sum::<u32>() + prompt > max_tokens
                || self.admitted() == self.config.batch_size_cap
                || members.len() == self.micro()
                || peak >= self.config.blocks * self.config.block_tokens
                || self.need(prompt) > self.free.len()
            {
                break;
            }
            let index = self.admit(self.need(prompt));
            members.push((index, prompt));
        }
        members
    }
}
