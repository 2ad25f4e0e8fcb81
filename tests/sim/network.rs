//! What becomes of a datagram on its way: it is late, lost, doubled, changed, or cut off.

use std::collections::BTreeSet;

use fizz::model::Random;

use crate::{
    queue::{MILLI, Micros},
    tally::Tally,
};

/// How bad the network is. Chances are of a thousand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    pub(crate) loss: usize,
    pub(crate) doubled: usize,
    pub(crate) corrupted: usize,
    pub(crate) late: usize,
    /// Streams that break off.
    pub(crate) broken: usize,
    /// Who does not reach whom.
    pub(crate) cut: BTreeSet<(usize, usize)>,
}

/// One copy that arrives: when, and whether it is as it was sent.
pub(crate) struct Copy {
    pub(crate) after: Micros,
    pub(crate) datagram: Vec<u8>,
    pub(crate) damaged: bool,
}

impl Network {
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Whether streams work: both ways are needed.
    pub(crate) fn connects(&self, one: usize, other: usize) -> bool {
        self.reaches(one, other) && self.reaches(other, one)
    }

    /// What arrives of a datagram.
    pub(crate) fn carry(
        &self,
        from: usize,
        to: usize,
        datagram: Vec<u8>,
        random: &mut Random,
        tally: &mut Tally,
    ) -> Vec<Copy> {
        if !self.reaches(from, to) {
            tally.count("datagrams lost to a partition");
            return vec![];
        }
        if random.below(1000) < self.loss {
            tally.count("datagrams lost");
            return vec![];
        }
        let mut copies = vec![];
        if random.below(1000) < self.doubled {
            tally.count("datagrams doubled");
            copies.push(self.copy(datagram.clone(), random, tally));
        }
        copies.push(self.copy(datagram, random, tally));
        copies
    }

    fn copy(&self, mut datagram: Vec<u8>, random: &mut Random, tally: &mut Tally) -> Copy {
        let mut after = 200 + random.below(800) as Micros;
        if random.below(1000) < self.late {
            tally.count("datagrams late");
            after += random.below(2_000) as Micros * MILLI;
        }
        let damaged = random.below(1000) < self.corrupted;
        if damaged {
            tally.count("datagrams corrupted");
            damage(&mut datagram, random);
        }
        Copy { after, datagram, damaged }
    }
}

/// Changes a datagram, somehow.
pub(crate) fn damage(datagram: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(datagram.len());
    match random.below(4) {
        0 => datagram.truncate(at),
        1 => datagram.push(random.bits() as u8),
        _ => datagram[at] ^= 1 << random.below(8),
    }
}
