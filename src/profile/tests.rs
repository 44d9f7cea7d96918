//! Plans against a scripted server.

use super::*;

/// Takes 10 ms and 1 ms a token; refuses and fails from some lengths on.
#[derive(Default)]
struct Scripted {
    refuses: Option<u32>,
    fails: Option<u32>,
    dies: bool,
    present: Option<f64>,
    cached: u32,
    asked: Vec<(u32, u64)>,
}

impl Subject for Scripted {
    fn ask(&mut self, tokens: u32, salt: u64) -> Result<LoneAnswer, ProfileError> {
        self.asked.push((tokens, salt));
        if self.refuses.is_some_and(|limit| tokens >= limit) {
            return Ok(LoneAnswer::Refused("too long".to_owned()));
        }
        if self.fails.is_some_and(|limit| tokens >= limit) {
            return Ok(LoneAnswer::Failed("broke off".to_owned()));
        }
        Ok(LoneAnswer::Token(LoneTime {
            seconds: 0.01 + 1e-3 * f64::from(tokens),
            prompt_tokens: Some(tokens + 1),
            cached_tokens: Some(self.cached),
        }))
    }

    fn present(&mut self) -> Option<f64> {
        self.present
    }

    fn alive(&mut self) -> Result<(), String> {
        if self.dies {
            Err("refused the connection".to_owned())
        } else {
            Ok(())
        }
    }
}

fn plan(lengths: &[u32]) -> Plan {
    Plan {
        lengths: lengths.to_vec(),
        repeats: 3,
        seed: 4,
        allow_busy: false,
    }
}

#[test]
fn every_prompt_is_another_and_lengths_are_shuffled() {
    let mut server = Scripted::default();
    let mut steps = Vec::new();
    let measured = plan(&[64, 16, 32])
        .measure(&mut server, &mut |done, of| steps.push((done, of)))
        .unwrap();
    assert_eq!(measured.measurements.len(), 9);
    assert_eq!((steps[0], steps[9]), ((0, 9), (9, 9)));
    // One more, before the others, and not counted.
    assert_eq!((server.asked.len(), server.asked[0].0), (10, 16));
    let salts: std::collections::BTreeSet<u64> = server.asked.iter().map(|a| a.1).collect();
    assert_eq!(salts.len(), 10);
    let order: Vec<u32> = measured.measurements.iter().map(|m| m.asked_tokens).collect();
    assert!(!order.is_sorted(), "{order:?}");
    assert_eq!(measured.measurements[0].tokens, order[0] + 1);
    let idle = Idle {
        by: IdleBy::Repeats,
        idle: true,
        busy_looks: 0,
    };
    assert_eq!(measured.idle, idle);
}

#[test]
fn it_stops_at_the_first_length_that_is_refused() {
    for server in [
        Scripted {
            refuses: Some(30),
            ..Scripted::default()
        },
        Scripted {
            fails: Some(30),
            ..Scripted::default()
        },
    ] {
        let mut server = server;
        let measured = plan(&[8, 16, 32, 64, 128])
            .measure(&mut server, &mut |_, _| {})
            .unwrap();
        assert_eq!(measured.refused, Some(32));
        let lengths: Vec<u32> = measured.measurements.iter().map(|m| m.asked_tokens).collect();
        assert_eq!(lengths.len(), 6);
        assert!(lengths.iter().all(|n| *n < 32), "{lengths:?}");
        assert!(
            measured.notes.iter().any(|n| n.contains("of 32 tokens and more")),
            "{:?}",
            measured.notes
        );
        // A length that is refused is not asked for again; one that fails is, once.
        let again = if server.fails.is_some() { 2 } else { 1 };
        for length in [32, 64, 128] {
            let times = server.asked.iter().filter(|a| a.0 == length).count();
            assert!(times == 0 || times == again, "{length}: {times}");
        }
    }
}

#[test]
fn what_cannot_be_profiled_says_why() {
    let mut server = Scripted {
        refuses: Some(1),
        ..Scripted::default()
    };
    let error = plan(&[8, 16]).measure(&mut server, &mut |_, _| {}).unwrap_err();
    assert!(
        error.to_string().contains("8 tokens, is not answered: too long"),
        "{error}"
    );
    let mut server = Scripted {
        fails: Some(12),
        dies: true,
        ..Scripted::default()
    };
    let error = plan(&[8, 16]).measure(&mut server, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, ProfileError::Gone { tokens: 16, .. }), "{error}");
}

#[test]
fn others_on_the_server_are_noticed() {
    let mut server = Scripted {
        present: Some(2.0),
        ..Scripted::default()
    };
    let mut busy = plan(&[8]);
    busy.allow_busy = true;
    busy.repeats = 1;
    let measured = busy.measure(&mut server, &mut |_, _| {}).unwrap();
    let idle = Idle {
        by: IdleBy::Metrics,
        idle: false,
        busy_looks: 3,
    };
    assert_eq!(measured.idle, idle);
    assert!(
        measured.notes[0].contains("other requests"),
        "{:?}",
        measured.notes
    );
    let mut server = Scripted {
        cached: 24,
        ..Scripted::default()
    };
    let measured = plan(&[30]).measure(&mut server, &mut |_, _| {}).unwrap();
    assert!(
        measured.notes[0].contains("up to 24 tokens of 3 prompts"),
        "{:?}",
        measured.notes
    );
    let mut scattered = plan(&[8])
        .measure(&mut Scripted::default(), &mut |_, _| {})
        .unwrap();
    scattered.judge_by_repeats(0.1);
    assert!(scattered.idle.idle);
    scattered.judge_by_repeats(0.4);
    assert!(!scattered.idle.idle && scattered.notes[0].contains("40 %"));
}
