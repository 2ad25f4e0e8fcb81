//! Scores of weighted rendezvous hashing, in whole numbers.
//!
//! Each pair of a thing and a node has a hash `h` in (0, 1), and the node with the highest
//! `-weight / log(h)` has the thing (Thaler, Ravishankar: "Using name-based mappings to increase hit
//! rates", 1998; the weighted form: Schindelhauer, Schomaker: "Weighted distributed hash tables", 2005).
//! A node then gets its weight's share, and what it gains or loses with its weight is all that moves.
//!
//! Everything here is frozen: members of different versions must agree. So logarithms are a table that
//! whole numbers alone have made, and scores are compared as fractions, without rounding.

use std::cmp::Ordering;

use crate::model::{NodeId, ServiceKey, Slot, mix};

/// Bits after the point of a logarithm.
const FRACTION_BITS: u32 = 32;
/// Between two entries of the table the logarithm is a line.
const TABLE_BITS: u32 = 8;
const ENTRIES: usize = (1 << TABLE_BITS) + 1;
/// `log2(1 + i / 256)`.
const LOGARITHMS: [u64; ENTRIES] = logarithms();

/// The greatest weight: with it, two products of a weight and a logarithm still fit in 64 bits.
pub(super) const WEIGHT_MAX: u64 = (1 << 25) - 1;

/// A node's claim to a thing: the higher has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    weight: u64,
    /// `-log2(h)`, never zero.
    distance: u64,
}

impl Score {
    /// Of a thing and a node, both as their seeds.
    pub(super) fn of(thing: u64, node: u64, weight: u64) -> Self {
        Self { weight, distance: distance(mix(thing ^ node)) }
    }

    /// How much better a claim this is than another.
    pub(super) fn over(self, other: Self) -> Gain {
        Gain { up: self.weight * other.distance, down: other.weight * self.distance }
    }
}

/// How much better one claim is than another: a fraction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gain {
    up: u64,
    down: u64,
}

impl Ord for Gain {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.up, other.down).cmp(&product(other.up, self.down))
    }
}

impl PartialOrd for Gain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Gain {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Gain {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.weight * other.distance).cmp(&(other.weight * self.distance))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

/// What a service's slots begin with: FNV-1a (Fowler, Noll, Vo) of its name.
pub(super) fn service_seed(key: &ServiceKey) -> u64 {
    let bytes = [key.project.as_str(), "/", key.service.as_str()];
    bytes.iter().flat_map(|it| it.bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A slot of a service. Slot 0 is no replica's: it stands for the service as a whole.
pub(super) fn slot_seed(service: u64, slot: Slot) -> u64 {
    mix(service.wrapping_add(u64::from(slot.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// A node.
pub(super) fn node_seed(node: NodeId) -> u64 {
    mix(mix((node.0 >> 64) as u64) ^ node.0 as u64)
}

/// `-log2(h)` of a hash as a fraction of 2^64.
fn distance(hash: u64) -> u64 {
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    let mantissa = hash << zeros << 1;
    let entry = (mantissa >> (64 - TABLE_BITS)) as usize;
    let rest = mantissa << TABLE_BITS >> 32;
    let (low, high) = (LOGARITHMS[entry], LOGARITHMS[entry + 1]);
    let fraction = low + (((high - low) * rest) >> 32);
    (u64::from(zeros + 1) << FRACTION_BITS) - fraction
}

const fn logarithms() -> [u64; ENTRIES] {
    let mut table = [0; ENTRIES];
    let mut entry = 0;
    while entry < ENTRIES {
        table[entry] = logarithm(entry as u128);
        entry += 1;
    }
    table
}

/// `log2(1 + entry / 256)`, a bit at a time: the square of a number has twice its logarithm.
const fn logarithm(entry: u128) -> u64 {
    const ONE: u128 = 1 << 62;
    if entry == ENTRIES as u128 - 1 {
        return 1 << FRACTION_BITS;
    }
    let mut number = ONE + (entry << (62 - TABLE_BITS));
    let (mut result, mut bit) = (0, 0);
    while bit < FRACTION_BITS {
        number = (number * number) >> 62;
        result <<= 1;
        if number >= 2 * ONE {
            number >>= 1;
            result |= 1;
        }
        bit += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_logarithms_are_what_they_were() {
        let key = ServiceKey { project: "shop".parse().unwrap(), service: "web".parse().unwrap() };
        let seed = service_seed(&key);
        assert_eq!(seed, 0x1b2c_e43c_8d2a_78c4);
        assert_eq!(slot_seed(seed, Slot(1)), 0xc966_d974_01a8_c9b5);
        assert_eq!(node_seed(NodeId(1 << 100 | 7)), 0x5519_f4eb_36ab_3d28);
        let some = [0, 1, 128, 255, 256].map(|it| LOGARITHMS[it]);
        assert_eq!(some, [0, 24_157_254, 2_512_394_809, 4_282_853_258, 1 << 32]);
        assert_eq!(LOGARITHMS.iter().sum::<u64>(), 614_909_757_760);
        let distances = [0, 1 << 62, 1 << 63, 3 << 62, u64::MAX].map(distance);
        assert_eq!(distances, [64 << 32, 2 << 32, 1 << 32, 1_782_572_487, 1]);
    }

    #[test]
    fn a_logarithm_is_right_to_a_hundred_thousandth() {
        for step in 1..1000_u64 {
            let hash = step * (u64::MAX / 1000);
            let right = -(hash as f64 / 2_f64.powi(64)).log2();
            let ours = distance(hash) as f64 / 2_f64.powi(32);
            assert!((right - ours).abs() < 1e-5, "{step}: {right} {ours}");
        }
    }

    #[test]
    fn a_node_gets_its_weights_share() {
        let nodes = [(1, 1000), (2, 2000), (3, 4000), (4, 1000)];
        let mut counts = [0; 5];
        for thing in 0..80_000 {
            let score = |(id, weight): &(u128, u64)| {
                Score::of(slot_seed(thing, Slot(1)), node_seed(NodeId(*id)), *weight)
            };
            let best = nodes.iter().max_by_key(|it| score(it)).unwrap();
            counts[best.0 as usize] += 1;
        }
        for (id, weight) in nodes {
            let right = i64::try_from(weight * 10).unwrap();
            let count: i64 = counts[id as usize];
            assert!((count - right).abs() * 100 < right * 4, "{counts:?}");
        }
    }
}
