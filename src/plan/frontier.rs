//! Which configurations nothing else beats, and how surely.
//!
//! One beats another when it costs no more, has no more GPUs and bears no less, and is better in one of these.

use rand::RngExt;
use serde::Serialize;

/// Draws for the probability of being on the front.
const DRAWS: usize = 200;
/// On the front in so many draws of all: probably.
const PROBABLY: f64 = 0.9;
/// In so many: possibly.
const POSSIBLY: f64 = 0.05;

/// Whether a configuration is on the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// With all prices and iteration times at its worst and the others' best.
    Surely,
    /// In nine of ten draws of prices, iteration times and arrivals.
    Probably,
    /// In some draws.
    Possibly,
    /// Something beats it.
    Beaten,
}

impl Place {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Surely => "surely",
            Self::Probably => "probably",
            Self::Possibly => "possibly",
            Self::Beaten => "no",
        }
    }
}

/// What is compared.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Numbers the GPU types: what is not known of a GPU is not known of all configurations with it alike.
    pub kind: usize,
    /// GPUs.
    pub gpus: f64,
    /// Price of a GPU-hour, lowest, usual, highest; one everywhere where there are no prices.
    pub price: [f64; 3],
    /// Requests a second.
    pub qps: f64,
    /// 95 % interval of these, over seeds.
    pub simulated: [f64; 2],
    /// Standard deviation of the logarithm of true over simulated capacity, of all on this GPU alike.
    pub doubt: f64,
}

fn beats(a: [f64; 3], b: [f64; 3]) -> bool {
    a.iter().zip(&b).all(|(a, b)| a <= b) && a.iter().zip(&b).any(|(a, b)| a < b)
}

/// The front of points of which less is better in each dimension. Of equal points each is on it.
fn front(points: &[[f64; 3]]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| {
        let key = |i: usize| points[i];
        key(*a).partial_cmp(&key(*b)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let (mut on, mut kept) = (vec![false; points.len()], Vec::<[f64; 3]>::new());
    for i in order {
        // Whatever beats it comes before it.
        on[i] = !kept.iter().any(|other| beats(*other, points[i]));
        if on[i] {
            kept.push(points[i]);
        }
    }
    on
}

/// Where each is.
pub fn places(spots: &[Spot], seed: u64) -> Vec<Place> {
    let kinds = spots.iter().map(|spot| spot.kind + 1).max().unwrap_or(0);
    let mut rng = crate::workload::seeds::stream(seed, "front");
    let mut normal = || {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    let mut times = vec![0usize; spots.len()];
    for _ in 0..DRAWS {
        let shared: Vec<[f64; 2]> = (0..kinds).map(|_| [normal(), normal()]).collect();
        let points: Vec<[f64; 3]> = spots
            .iter()
            .map(|spot| {
                let [price, faster] = shared[spot.kind];
                let [low, default, high] = spot.price;
                let spread = if price < 0.0 {
                    default / low
                } else {
                    high / default
                };
                let price = default * (price * spread.ln() / 1.96).exp();
                let own = (spot.simulated[1] / spot.simulated[0]).ln() / (2.0 * 1.96);
                let own = if own.is_finite() { own } else { 0.0 };
                let qps = spot.qps * (faster * spot.doubt + normal() * own).exp();
                [price * spot.gpus, spot.gpus, -qps]
            })
            .collect();
        for (times, on) in times.iter_mut().zip(front(&points)) {
            *times += usize::from(on);
        }
    }
    let nominal: Vec<[f64; 3]> = spots
        .iter()
        .map(|spot| [spot.price[1] * spot.gpus, spot.gpus, -spot.qps])
        .collect();
    let nominal = front(&nominal);
    (0..spots.len())
        .map(|i| {
            let share = times[i] as f64 / DRAWS as f64;
            if is_sure(spots, i) {
                Place::Surely
            } else if share > PROBABLY {
                Place::Probably
            } else if share > POSSIBLY || nominal[i] {
                Place::Possibly
            } else {
                Place::Beaten
            }
        })
        .collect()
}

/// Whether nothing can beat it: of another GPU with that at its best and this at its worst, of the same GPU by what seeds
/// leave open alone.
fn is_sure(spots: &[Spot], i: usize) -> bool {
    let mine = &spots[i];
    spots.iter().enumerate().all(|(j, other)| {
        let same = other.kind == mine.kind;
        let factor = |spot: &Spot| if same { 1.0 } else { (1.96 * spot.doubt).exp() };
        let cost = |price: f64, spot: &Spot| price * spot.gpus;
        let (their_price, my_price) = if same {
            (other.price[1], mine.price[1])
        } else {
            (other.price[0], mine.price[2])
        };
        let theirs = [
            cost(their_price, other),
            other.gpus,
            -other.simulated[1] * factor(other),
        ];
        let worst = [cost(my_price, mine), mine.gpus, -mine.simulated[0] / factor(mine)];
        i == j || !beats(theirs, worst)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spot(kind: usize, gpus: f64, price: f64, qps: f64, half: f64, doubt: f64) -> Spot {
        Spot {
            kind,
            gpus,
            price: [price * 0.9, price, price * 1.1],
            qps,
            simulated: [qps * (1.0 - half), qps * (1.0 + half)],
            doubt,
        }
    }

    #[test]
    fn doubt_blurs_the_front() {
        // Clearly better of the same kind; close; another kind within the doubt.
        let spots = [
            spot(0, 1.0, 2.0, 10.0, 0.02, 0.4),
            spot(0, 1.0, 2.0, 5.0, 0.02, 0.4),
            spot(0, 1.0, 2.0, 9.9, 0.02, 0.4),
            spot(1, 1.0, 2.0, 9.0, 0.02, 0.4),
        ];
        let places = places(&spots, 1);
        assert_eq!(places[1], Place::Beaten);
        assert!(
            places[0] != Place::Surely && places[0] != Place::Beaten,
            "{places:?}"
        );
        assert_eq!(places[2], Place::Possibly);
        assert_eq!(places[3], Place::Possibly);
        assert_eq!(super::places(&spots[..1], 1), [Place::Surely]);
    }

    proptest! {
        #[test]
        fn the_front_is_what_nothing_beats(points in prop::collection::vec([0u8..5, 0u8..5, 0u8..5], 1..40)) {
            let points: Vec<[f64; 3]> = points.iter().map(|p| p.map(f64::from)).collect();
            let on = front(&points);
            for (i, point) in points.iter().enumerate() {
                prop_assert_eq!(on[i], !points.iter().any(|other| beats(*other, *point)));
            }
            prop_assert!(on.contains(&true));
        }
    }
}
