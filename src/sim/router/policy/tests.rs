//! The policies against plain statements of themselves.

use proptest::prelude::*;

use super::*;
use crate::sim::{PrefixSpan, Time};

fn request(id: u64, input_tokens: u32, session: Option<u32>) -> Request {
    Request {
        id,
        arrival: Time::ZERO,
        input_tokens,
        output_tokens: 1,
        session,
        deadline: Time::MAX,
        prefix: PrefixSpan::default(),
    }
}

/// The spread by its definition: place the request, then look at all.
fn naive_spreads(loads: &[Load], uncached: &[u32]) -> Vec<u64> {
    (0..loads.len())
        .map(|place| {
            let mut pending: Vec<u64> = loads.iter().map(|l| l.pending_uncached_tokens).collect();
            pending[place] += u64::from(uncached[place]);
            pending.iter().max().unwrap() - pending.iter().min().unwrap()
        })
        .collect()
}

/// The quantity that a policy without a cache makes small.
fn weight(policy: RouterConfig, load: &Load) -> Option<i64> {
    match policy {
        RouterConfig::Lor | RouterConfig::StickyLor => Some(i64::from(load.outstanding)),
        RouterConfig::LorWaiting => Some(i64::from(load.waiting)),
        RouterConfig::Lop | RouterConfig::StickyLop => Some(load.pending_prefill_tokens as i64),
        RouterConfig::LopBinary => Some(i64::from(load.pending_prefills)),
        RouterConfig::LopBatchEnd => Some(load.uncomputed_prefill_tokens),
        _ => None,
    }
}

fn load() -> impl Strategy<Value = Load> {
    (0..5_u32, 0..5_u32, 0..5_u32, 0..40_u64, -20..40_i64, 0..40_u64).prop_map(|(o, w, p, t, c, u)| Load {
        outstanding: o,
        waiting: w,
        pending_prefills: p,
        pending_prefill_tokens: t,
        uncomputed_prefill_tokens: c,
        pending_uncached_tokens: u,
    })
}

proptest! {
    #[test]
    fn spreads_are_those_of_placing_and_looking(
        replicas in prop::collection::vec((load(), 0..60_u32), 1..12)
    ) {
        let (loads, uncached): (Vec<_>, Vec<_>) = replicas.into_iter().unzip();
        let mut fast = Vec::new();
        spreads(&loads, &uncached, &mut fast);
        prop_assert_eq!(fast, naive_spreads(&loads, &uncached));
    }

    /// A run of requests: each choice is one that the policy's definition allows, given where the conversations were.
    #[test]
    fn choices_are_allowed(
        which in 0..RouterConfig::one_of_each().len(),
        replicas in 1..7_usize,
        steps in prop::collection::vec(
            (prop::option::of(0..6_u32), 1..50_u32, prop::collection::vec((load(), 0..50_u32), 7)),
            1..40,
        ),
        seed in 0..1000_u64,
    ) {
        let policy = RouterConfig::one_of_each()[which];
        let mut router = Router::new(&policy, replicas as u32, seed);
        let mut homes = HashMap::new();
        let mut fresh = 0;
        for (id, (session, tokens, state)) in steps.into_iter().enumerate() {
            let (loads, cached): (Vec<_>, Vec<_>) = state.into_iter().take(replicas).unzip();
            let cached: Vec<u32> = cached.into_iter().map(|c| c.min(tokens)).collect();
            let mut asked = vec![0; replicas];
            let choice = router.route(&request(id as u64, tokens, session), &loads, &mut |r| {
                asked[r as usize] += 1;
                cached[r as usize]
            });
            let chosen = choice.replica as usize;
            prop_assert!(chosen < replicas);
            prop_assert!(asked.iter().all(|a| *a == u32::from(policy.reads_caches())));
            let home = session.and_then(|s| homes.get(&s)).copied();
            if policy.reads_caches() {
                let uncached: Vec<u32> = cached.iter().map(|c| tokens - c).collect();
                prop_assert_eq!(choice.uncached_tokens, uncached[chosen]);
                let spreads = naive_spreads(&loads, &uncached);
                let best = *spreads.iter().min().unwrap();
                let stays = home.map(|home: usize| match policy {
                    RouterConfig::RankedStickyLopUncached { top_k } => {
                        let better = spreads.iter().filter(|s| **s < spreads[home]).count();
                        let no_worse = spreads.iter().filter(|s| **s <= spreads[home]).count();
                        // Certainly, certainly not, or by a draw among equals.
                        if no_worse <= top_k as usize { Some(true) }
                        else if better >= top_k as usize { Some(false) }
                        else { None }
                    }
                    RouterConfig::TolerantStickyLopUncached { tolerance_factor } =>
                        Some(spreads[home] as f64 <= tolerance_factor * best as f64),
                    _ => Some(false),
                });
                match stays {
                    Some(Some(true)) => prop_assert_eq!(chosen, home.unwrap()),
                    Some(None) => prop_assert!(Some(chosen) == home || spreads[chosen] == best),
                    Some(Some(false)) | None => prop_assert_eq!(spreads[chosen], best),
                }
            } else {
                prop_assert_eq!(choice.uncached_tokens, tokens);
                if let Some(home) = home.filter(|_| policy.is_sticky()) {
                    prop_assert_eq!(chosen, home);
                } else {
                    if let Some(own) = weight(policy, &loads[chosen]) {
                        prop_assert!(loads.iter().all(|l| weight(policy, l).unwrap() >= own));
                    } else if policy != RouterConfig::Random {
                        prop_assert_eq!(chosen, fresh % replicas);
                    }
                    fresh += 1;
                }
            }
            if let Some(session) = session {
                homes.insert(session, chosen);
            }
        }
    }
}

/// Where `count` requests go when all replicas are alike and idle.
fn spread_of(policy: RouterConfig, replicas: u32, count: u64, session: impl Fn(u64) -> u32) -> Vec<u64> {
    let mut router = Router::new(&policy, replicas, 11);
    let loads = vec![Load::default(); replicas as usize];
    let mut counts = vec![0; replicas as usize];
    for id in 0..count {
        let to = router.route(&request(id, 10, Some(session(id))), &loads, &mut |_| 0);
        counts[to.replica as usize] += 1;
    }
    counts
}

#[test]
fn ties_are_drawn_evenly_but_for_those_that_count() {
    for policy in RouterConfig::one_of_each() {
        let counts = spread_of(policy, 4, 8_000, |id| id as u32);
        match policy {
            RouterConfig::LorWaiting => assert_eq!(counts, [8_000, 0, 0, 0]),
            RouterConfig::RoundRobin | RouterConfig::StickyRoundRobin => {
                assert_eq!(counts, [2_000; 4]);
            }
            _ => assert!(
                counts.iter().all(|c| c.abs_diff(2_000) < 200),
                "{policy}: {counts:?}"
            ),
        }
    }
}

#[test]
fn a_home_among_equals_is_kept_as_often_as_there_are_places() {
    // Four equal replicas, two places: a conversation at home stays with probability 1/2, else goes anywhere.
    let policy = RouterConfig::RankedStickyLopUncached { top_k: 2 };
    let mut router = Router::new(&policy, 4, 3);
    let loads = [Load::default(); 4];
    let mut home = None;
    let mut stayed = 0;
    for id in 0..8_000 {
        let to = router
            .route(&request(id, 10, Some(0)), &loads, &mut |_| 0)
            .replica;
        stayed += u32::from(home == Some(to));
        home = Some(to);
    }
    // 1/2 + 1/2 * 1/4.
    assert!(stayed.abs_diff(5_000) < 180, "{stayed}");
}

#[test]
fn one_seed_one_routing() {
    for policy in RouterConfig::one_of_each() {
        let route = |seed| {
            let mut router = Router::new(&policy, 5, seed);
            let loads = [Load::default(); 5];
            (0..64)
                .map(|id| router.route(&request(id, 10, None), &loads, &mut |_| 0).replica)
                .collect::<Vec<_>>()
        };
        assert_eq!(route(1), route(1));
        let draws = policy != RouterConfig::LorWaiting
            && policy != RouterConfig::RoundRobin
            && policy != RouterConfig::StickyRoundRobin;
        assert_eq!(route(1) != route(2), draws, "{policy}");
    }
}

#[test]
fn the_oblivious_need_no_loads() {
    for policy in RouterConfig::one_of_each()
        .into_iter()
        .filter(|p| !p.reads_loads())
    {
        let mut router = Router::new(&policy, 3, 1);
        let to = router.route(&request(0, 10, Some(1)), &[], &mut |_| 0).replica;
        assert!(to < 3);
    }
}

#[test]
fn the_cache_decides_where_loads_are_equal() {
    let mut router = Router::new(&RouterConfig::LopUncached, 4, 1);
    let loads = [Load::default(); 4];
    let choice = router.route(&request(0, 100, None), &loads, &mut |r| {
        if r == 2 { 96 } else { 0 }
    });
    assert_eq!(
        choice,
        Choice {
            replica: 2,
            uncached_tokens: 4
        }
    );
}
