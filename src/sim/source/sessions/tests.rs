use super::*;

fn config() -> SessionsConfig {
    serde_saphyr::from_str(
        "
sessions: 40
turns: {distribution: uniform, min: 1, max: 6}
system_prompt: 40
input: {distribution: uniform, min: 5, max: 60}
output: {distribution: uniform, min: 1, max: 90}
think: {mean_s: 3.0}
",
    )
    .unwrap()
}

fn sessions(config: &SessionsConfig, rate: f64) -> (Arc<SessionPlan>, Sessions) {
    let plan = Arc::new(SessionPlan::new(config, 5).unwrap());
    let sessions = Sessions::new(Arc::clone(&plan), &Gaps::Poisson, rate, 5).unwrap();
    (plan, sessions)
}

/// Serves everything in a fixed time each; gives each request with its end.
fn serve(mut source: Sessions, service: Time) -> Vec<(Request, Time)> {
    let mut done = Vec::new();
    let mut running: BinaryHeap<Reverse<(Time, u64)>> = BinaryHeap::new();
    loop {
        let end = running.peek().map(|r| r.0);
        match (source.peek(), end) {
            (None, None) => return done,
            (Some(at), end) if end.is_none_or(|(end, _)| at <= end) => {
                let request = source.next().unwrap();
                assert_eq!((request.arrival, request.id), (at, done.len() as u64));
                running.push(Reverse((at + service, request.id)));
                done.push((request, at + service));
            }
            (_, Some((end, id))) => {
                running.pop();
                source.completed(id, end);
            }
            (Some(_), None) => unreachable!("an arrival without anything running is taken"),
        }
    }
}

#[test]
fn each_turn_is_what_was_said_and_new_words() {
    let (plan, source) = sessions(&config(), 0.5);
    assert!(source.closed_loop());
    let served = serve(source, Time::from_seconds(2.0));
    assert_eq!(served.len(), plan.requests());
    assert!(served.is_sorted_by_key(|(r, _)| r.arrival));
    let mut before: HashMap<u32, (Request, Time)> = HashMap::new();
    let mut later = 0;
    for (request, end) in served {
        let hashes = plan.prefixes().of(request.prefix);
        assert_eq!(
            hashes.len() as u32,
            (request.input_tokens + request.output_tokens) / 16
        );
        assert_eq!(hashes[..2], [0, 1]);
        let session = request.session.unwrap();
        if let Some((last, last_end)) = before.insert(session, (request, end)) {
            later += 1;
            let new = request.input_tokens - last.input_tokens - last.output_tokens;
            assert!((5..=60).contains(&new));
            assert!(request.arrival > last_end);
            let said = plan.prefixes().of(last.prefix);
            assert_eq!(&hashes[..said.len()], said);
        } else {
            assert!((45..=100).contains(&request.input_tokens));
        }
    }
    assert_eq!(before.len(), 40);
    assert_eq!(later, plan.requests() - 40);
    assert!(later > 40, "{later}");
}

#[test]
fn conversations_share_the_system_prompt_only() {
    let (plan, source) = sessions(&config(), 0.5);
    let served = serve(source, Time::from_seconds(2.0));
    let mut owner = HashMap::new();
    for (request, _) in served {
        for hash in &plan.prefixes().of(request.prefix)[2..] {
            let session = request.session.unwrap();
            assert_eq!(*owner.entry(*hash).or_insert(session), session);
            assert!(*hash < plan.prefixes().distinct);
        }
    }
}

#[test]
fn slower_answers_mean_later_turns_of_the_same_lengths() {
    let lengths = |service| {
        let (_, source) = sessions(&config(), 0.5);
        let served = serve(source, Time::from_seconds(service));
        let last = served.last().unwrap().1;
        let mut lengths: Vec<_> = served
            .iter()
            .map(|(r, _)| (r.session, r.input_tokens, r.output_tokens))
            .collect();
        lengths.sort_unstable();
        (lengths, last)
    };
    let (quick, early) = lengths(0.1);
    let (slow, late) = lengths(50.0);
    assert_eq!(quick, slow);
    assert!(late > early);
}

#[test]
fn think_times_are_as_asked() {
    let think = |mean_s, cv| {
        let config = SessionsConfig {
            sessions: 20_000,
            turns: TokenDistribution::Fixed { tokens: 2 },
            think: ThinkTime { mean_s, cv },
            ..config()
        };
        let plan = SessionPlan::new(&config, 1).unwrap();
        let pauses: Vec<f64> = plan.turns.iter().map(|t| t.think.as_seconds()).collect();
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        let variance = pauses.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / pauses.len() as f64;
        (mean, variance.sqrt())
    };
    assert_eq!(think(0.0, 1.0), (0.0, 0.0));
    assert_eq!(think(3.0, 0.0), (3.0, 0.0));
    let (mean, std) = think(4.0, 0.5);
    assert!(
        (mean - 4.0).abs() < 0.05 && (std - 2.0).abs() < 0.05,
        "{mean} {std}"
    );
}

#[test]
fn a_conversation_ends_before_it_is_too_long() {
    let long = SessionsConfig {
        turns: TokenDistribution::Fixed { tokens: 100 },
        max_tokens: Some(600),
        ..config()
    };
    let plan = SessionPlan::new(&long, 5).unwrap();
    assert!(plan.turns.iter().all(|t| t.input + t.output <= 600));
    assert!(plan.requests() > 40 && plan.requests() < 4_000);
    let short = SessionsConfig {
        max_tokens: Some(1),
        ..long
    };
    let plan = SessionPlan::new(&short, 5).unwrap();
    assert_eq!(plan.requests(), 40);
}

#[test]
fn settings_without_sense_are_named() {
    let base = config();
    for (config, words) in [
        (
            SessionsConfig {
                sessions: 0,
                ..base.clone()
            },
            "`sessions` is 0",
        ),
        (
            SessionsConfig {
                block_tokens: 0,
                ..base.clone()
            },
            "`block_tokens` is 0",
        ),
        (
            SessionsConfig {
                system_prompt: u32::MAX,
                ..base.clone()
            },
            "`system_prompt` is 4294967295",
        ),
        (
            SessionsConfig {
                turns: TokenDistribution::Fixed { tokens: 0 },
                ..base.clone()
            },
            "`turns`: `tokens` of the fixed lengths is 0",
        ),
        (
            SessionsConfig {
                think: ThinkTime {
                    mean_s: f64::NAN,
                    cv: 1.0,
                },
                ..base.clone()
            },
            "`mean_s` is NaN",
        ),
    ] {
        let error = SessionPlan::new(&config, 1).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
