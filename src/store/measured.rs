//! `measured.bin`: what a trial measured, packed for judging: a thousand trials can be held against a new objective in
//! seconds. Made from the raw rows where there are some, and the only record of a simulated trial.
//!
//! A line that names the format; the rest is one zstd stream: a line of JSON with what is one number a trial, then the
//! requests column by column in LEB128 numbers; and, behind the stream, the BLAKE3 digest of everything before it. A file that
//! was cut off, or changed, is refused.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Manifest, StoreError};
use crate::trial::{ClientHealth, Measurement, Outcome, RequestRecord, TokenTimes};
use crate::units::Rate;

/// Name of the file in a trial's folder.
pub const FILE_NAME: &str = "measured.bin";
/// The first line.
const MAGIC: &[u8] = b"mst measured 1\n";
/// Bytes of the digest.
const DIGEST: usize = 16;
/// Costs little: what is read a thousand times is written once.
const LEVEL: i32 = 3;

#[derive(Serialize, Deserialize)]
struct Head {
    asked: Rate,
    duration_s: f64,
    offered_s: f64,
    observed_s: f64,
    epoch_ns: i64,
    client: ClientHealth,
    planned_output: Option<f64>,
    stopped_early: bool,
    requests: usize,
    outcomes: Vec<Outcome>,
    gaps: bool,
    delays: bool,
}

/// Writes a measurement, by way of a temporary file and a rename.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, measurement: &Measurement) -> Result<(), StoreError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(zstd::encode_all(packed(measurement)?.as_slice(), LEVEL)?);
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(&digest.as_bytes()[..DIGEST]);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Reads a measurement.
///
/// # Errors
/// When the file is not there, cut off, or not what it should be.
pub fn read(path: &Path) -> Result<Measurement, StoreError> {
    let bytes = fs_err::read(path)?;
    let damaged = |why: &str| StoreError::Malformed {
        path: path.to_owned(),
        why: format!("{why}; remove the trial's folder and it is measured again"),
    };
    let body = bytes
        .len()
        .checked_sub(DIGEST)
        .filter(|_| bytes.starts_with(MAGIC))
        .ok_or_else(|| damaged("it is not a file of this kind, or was cut off"))?;
    let (content, digest) = bytes.split_at(body);
    if blake3::hash(content).as_bytes()[..DIGEST] != *digest {
        return Err(damaged("it was cut off or changed"));
    }
    let plain = zstd::decode_all(&content[MAGIC.len()..]).map_err(|_| damaged("it cannot be unpacked"))?;
    unpacked(&plain).ok_or_else(|| damaged("its numbers are not what they should be"))
}

/// Whether a measurement is that of a trial, by what both tell.
///
/// # Errors
/// When it is another one's, or `trial.json` was changed.
pub fn is_of(path: &Path, measurement: &Measurement, manifest: &Manifest) -> Result<(), StoreError> {
    let theirs = [
        measurement.offered_s,
        measurement.observed_s,
        measurement.asked.as_per_minute(),
    ];
    let its = [
        manifest.offered_s,
        manifest.observed_s,
        manifest.spec.rate.as_per_minute(),
    ];
    let same = theirs.map(f64::to_bits) == its.map(f64::to_bits)
        && measurement.epoch_ns == manifest.epoch_ns
        && measurement.stopped_early == manifest.stopped_early;
    same.then_some(()).ok_or_else(|| StoreError::Malformed {
        path: path.to_owned(),
        why: "it is not of the trial that trial.json beside it tells of; remove the trial's folder and it is measured again"
            .to_owned(),
    })
}

fn packed(measurement: &Measurement) -> Result<Vec<u8>, StoreError> {
    let records = &measurement.records;
    let tokens = measurement.tokens.as_ref().filter(|t| t.len() == records.len());
    let mut outcomes: Vec<Outcome> = Vec::new();
    for record in records {
        if !outcomes.contains(&record.outcome) {
            outcomes.push(record.outcome);
        }
    }
    let head = Head {
        asked: measurement.asked,
        duration_s: measurement.duration_s,
        offered_s: measurement.offered_s,
        observed_s: measurement.observed_s,
        epoch_ns: measurement.epoch_ns,
        client: measurement.client.clone(),
        planned_output: measurement.planned_output,
        stopped_early: measurement.stopped_early,
        requests: records.len(),
        outcomes,
        gaps: tokens.is_some(),
        delays: tokens.is_some_and(TokenTimes::has_delays),
    };
    let mut out = serde_json::to_vec(&head).map_err(std::io::Error::from)?;
    out.push(b'\n');
    let mut before = 0;
    for record in records {
        signed(&mut out, record.intended_ns - before);
        before = record.intended_ns;
    }
    let times: [fn(&RequestRecord) -> Option<i64>; 3] = [|r| r.sent_ns, |r| r.first_token_ns, |r| r.done_ns];
    for time in times {
        for record in records {
            // Zero is "never"; times before the intended one cannot be, but are kept.
            match time(record) {
                None => number(&mut out, 0),
                Some(at) => number(&mut out, 1 + zigzag(at - record.intended_ns)),
            }
        }
    }
    let counts: [fn(&RequestRecord) -> u64; 3] = [
        |r| u64::from(r.class),
        |r| u64::from(r.input_tokens),
        |r| u64::from(r.output_tokens),
    ];
    for count in counts {
        for record in records {
            number(&mut out, count(record));
        }
    }
    for record in records {
        let place = head.outcomes.iter().position(|o| *o == record.outcome);
        number(&mut out, place.unwrap_or_default() as u64);
    }
    if let Some(tokens) = tokens {
        for i in 0..tokens.len() {
            number(&mut out, tokens.gaps_us(i).len() as u64);
        }
        for gap in tokens.all_gaps_us() {
            number(&mut out, u64::from(*gap));
        }
        for i in 0..tokens.len() {
            if let Some(delay) = tokens.delay_us(i).filter(|_| head.delays) {
                number(&mut out, delay.wrapping_add(1));
            }
        }
    }
    Ok(out)
}

fn unpacked(plain: &[u8]) -> Option<Measurement> {
    let end = memchr::memchr(b'\n', plain)?;
    let head: Head = serde_json::from_slice(&plain[..end]).ok()?;
    let n = head.requests;
    let mut from = Numbers(&plain[end + 1..]);
    let mut intended = Vec::with_capacity(n.min(from.0.len()));
    let mut at = 0;
    for _ in 0..n {
        at += unzigzag(from.next()?);
        intended.push(at);
    }
    let mut time = || -> Option<Vec<Option<i64>>> {
        let value = |intended: &i64| match from.next()? {
            0 => Some(None),
            code => Some(Some(intended + unzigzag(code - 1))),
        };
        intended.iter().map(value).collect()
    };
    let (sent, first, done) = (time()?, time()?, time()?);
    let mut count = || -> Option<Vec<u64>> { (0..n).map(|_| from.next()).collect() };
    let (classes, inputs, outputs, outcomes) = (count()?, count()?, count()?, count()?);
    let mut records = Vec::with_capacity(n);
    for i in 0..n {
        records.push(RequestRecord {
            intended_ns: intended[i],
            sent_ns: sent[i],
            first_token_ns: first[i],
            done_ns: done[i],
            class: classes[i].try_into().ok()?,
            input_tokens: inputs[i].try_into().ok()?,
            output_tokens: outputs[i].try_into().ok()?,
            outcome: *head.outcomes.get(outcomes[i] as usize)?,
        });
    }
    let tokens = if head.gaps {
        let counts = count()?;
        let mut all = TokenTimes::with_capacity(n);
        let mut gaps = Vec::new();
        for count in counts {
            gaps.clear();
            for _ in 0..count {
                gaps.push(from.next()?.try_into().ok()?);
            }
            all.push(&gaps);
        }
        if head.delays {
            for _ in 0..n {
                all.push_delay(from.next()?.wrapping_sub(1));
            }
        }
        Some(all)
    } else {
        None
    };
    Some(Measurement {
        asked: head.asked,
        duration_s: head.duration_s,
        offered_s: head.offered_s,
        observed_s: head.observed_s,
        epoch_ns: head.epoch_ns,
        records,
        client: head.client,
        planned_output: head.planned_output,
        stopped_early: head.stopped_early,
        tokens,
    })
}

/// LEB128.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(out: &mut Vec<u8>, value: i64) {
    number(out, zigzag(value));
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}

/// Reads LEB128 numbers.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let mut value = 0;
        for (i, byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measurement(rows: &[(i64, Option<i64>, u16, Vec<u32>)], delays: bool) -> Measurement {
        let mut tokens = TokenTimes::default();
        let mut records = Vec::new();
        for (i, (step, first, class, gaps)) in rows.iter().enumerate() {
            if delays {
                tokens.push_delayed(gaps, if first.is_some() { i as u64 } else { u64::MAX });
            } else {
                tokens.push(gaps);
            }
            let intended_ns = i as i64 * 1_000 + step;
            records.push(RequestRecord {
                intended_ns,
                sent_ns: Some(intended_ns + 5),
                first_token_ns: first.map(|f| intended_ns + f),
                done_ns: first.map(|f| intended_ns + f + 7),
                class: *class,
                input_tokens: 3,
                output_tokens: gaps.len() as u32,
                outcome: if first.is_some() {
                    Outcome::Ok
                } else {
                    Outcome::Http(429)
                },
            });
        }
        Measurement {
            asked: Rate::per_second(2.0),
            duration_s: 10.0,
            offered_s: 9.5,
            observed_s: 11.0,
            epoch_ns: 1_790_000_000_000_000_000,
            records,
            client: ClientHealth::default(),
            planned_output: Some(4.5),
            stopped_early: true,
            tokens: Some(tokens),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in proptest::collection::vec(
                (0i64..1_000_000, proptest::option::of(0i64..1_000_000_000_000), 0u16..4, proptest::collection::vec(any::<u32>(), 0..9)),
                0..40,
            ),
            delays in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(FILE_NAME);
            let before = measurement(&rows, delays);
            write(&path, &before).unwrap();
            let after = read(&path).unwrap();
            prop_assert_eq!(&before.records, &after.records);
            prop_assert_eq!(&before.tokens, &after.tokens);
            prop_assert_eq!(before.asked, after.asked);
            prop_assert_eq!((before.offered_s, before.stopped_early), (after.offered_s, after.stopped_early));
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        write(
            &path,
            &measurement(&[(0, Some(9), 0, vec![1, 2, 3]), (4, None, 1, vec![])], true),
        )
        .unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert!(read(&path).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(read(&path).is_err(), "changed at {at}");
        }
    }
}
