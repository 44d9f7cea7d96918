//! Bodies are built ahead of their send time by a thread of its own, far enough that a send never waits for one and not
//! so far that memory grows with the trial.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;

use super::body::BodyForm;
use crate::workload::PlannedRequest;
use crate::workload::prompts::PromptFactory;

/// A request that only waits for its time.
pub(super) struct Prepared {
    /// Index in the schedule.
    pub(super) index: u32,
    /// The plan.
    pub(super) planned: PlannedRequest,
    /// What is sent.
    pub(super) body: Bytes,
}

/// Where a shard gets its requests from, in order of their time.
pub(super) type Batches = Receiver<Vec<Prepared>>;

/// Batches that wait for a shard.
const BATCHES_AHEAD: usize = 4;
/// Bytes of bodies that may wait for a shard, roughly.
const BYTES_AHEAD: u64 = 4 << 20;
/// Most requests in a batch.
const BATCH: u64 = 256;

/// Starts to build; shard `s` of `shards` gets every request whose index is `s` modulo `shards`.
pub(super) fn start(
    plan: Vec<PlannedRequest>,
    form: BodyForm,
    prompts: PromptFactory,
    shards: usize,
) -> std::io::Result<Vec<Batches>> {
    let (senders, receivers): (Vec<SyncSender<_>>, Vec<_>) =
        (0..shards).map(|_| sync_channel(BATCHES_AHEAD)).unzip();
    let longest = plan.iter().map(|p| p.input_tokens).max().unwrap_or(1);
    // A token takes some six bytes, as digits or as letters.
    let batch =
        (BYTES_AHEAD / (u64::from(longest) * 6 + 300) / (BATCHES_AHEAD as u64 + 2)).clamp(1, BATCH) as usize;
    let build = move || {
        for (number, window) in plan.chunks(batch * shards).enumerate() {
            let mut batches: Vec<Vec<Prepared>> = (0..shards).map(|_| Vec::with_capacity(batch)).collect();
            for (offset, planned) in window.iter().enumerate() {
                let index = number * batch * shards + offset;
                let prompt = prompts.prompt(planned);
                // A prompt from a file has the length that the file gives it, anywhere in the class's range.
                let input_tokens = prompt.tokens().unwrap_or(planned.input_tokens);
                batches[index % shards].push(Prepared {
                    index: index as u32,
                    planned: PlannedRequest {
                        input_tokens,
                        ..*planned
                    },
                    body: form.body(&prompt, planned.output_tokens, planned.salt),
                });
            }
            for (sender, ready) in senders.iter().zip(batches) {
                // A shard that is gone has been stopped; nothing is left to do for any.
                if sender.send(ready).is_err() {
                    return;
                }
            }
        }
    };
    // It ends by itself, when everything is built or nobody takes it any more.
    std::thread::Builder::new()
        .name("mst-bodies".to_owned())
        .spawn(build)?;
    Ok(receivers)
}
