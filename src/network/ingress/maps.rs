//! The maps in the kernel: read once, and from then on changed by what differs.
//!
//! In this order nothing is ever led to what is not there yet, or not there any more: first what stands behind a
//! frontend, then the frontend; and the other way round where something goes.

use std::{
    borrow::BorrowMut,
    collections::{BTreeMap, BTreeSet},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, lpm_trie::Key},
};

use super::{
    IngressError,
    image::{Image, Known},
    layout::{
        Address, Backend, Counts, Flow, FlowKey, Frontend, FrontendKey, IN, OPEN, OwnerKey, Pool,
        Range, Settings, State, Table, TableKey,
    },
    numbers::Numbers,
};
use crate::topology::SLOTS;

/// How many frontends, and pools, and backends there may be (`ebpf/layout.h`).
pub(super) const POOLS_MAX: usize = 65_536;
pub(super) const BACKENDS_MAX: usize = 65_536;

/// The maps that the daemon works with.
pub(super) struct Maps {
    settings: Array<MapData, Settings>,
    published: Array<MapData, u64>,
    frontends: HashMap<MapData, FrontendKey, Frontend>,
    ranges: LpmTrie<MapData, Range, u32>,
    tables: HashMap<MapData, TableKey, Table>,
    pools: Array<MapData, Pool>,
    backends: Array<MapData, Backend>,
    owners: HashMap<MapData, OwnerKey, u32>,
    states: Array<MapData, State>,
    outs: HashMap<MapData, u32, u32>,
    counts: Array<MapData, Counts>,
    flows: HashMap<MapData, FlowKey, Flow>,
    locals: HashMap<MapData, Address, u32>,
    peers: HashMap<MapData, u32, u32>,
    ends: HashMap<MapData, u32, u32>,
    drops: Array<MapData, u64>,
}

impl Maps {
    /// Takes them from the loaded programs.
    pub(super) fn take(loaded: &mut Ebpf) -> Result<Self, IngressError> {
        Ok(Self {
            settings: take(loaded, "settings")?,
            published: take(loaded, "published")?,
            frontends: take(loaded, "frontends")?,
            ranges: take(loaded, "ranges")?,
            tables: take(loaded, "tables")?,
            pools: take(loaded, "pools")?,
            backends: take(loaded, "backends")?,
            owners: take(loaded, "owners")?,
            states: take(loaded, "states")?,
            outs: take(loaded, "outs")?,
            counts: take(loaded, "counts")?,
            flows: take(loaded, "flows")?,
            locals: take(loaded, "locals")?,
            peers: take(loaded, "peers")?,
            ends: take(loaded, "ends")?,
            drops: take(loaded, "drops")?,
        })
    }

    /// What is in them, as a daemon before this one left it.
    pub(super) fn read(&self) -> Result<Image, IngressError> {
        let owners: BTreeMap<OwnerKey, u32> = all("owners", self.owners.iter())?;
        let mut backends = BTreeMap::new();
        for at in owners.values() {
            backends.insert(*at, self.backends.get(at, 0).map_err(in_map("backends"))?);
        }
        let tables: BTreeMap<TableKey, Table> = all("tables", self.tables.iter())?;
        let ranges: BTreeMap<(u32, Range), u32> = all(
            "ranges",
            self.ranges.iter().map(|it| it.map(|(key, one)| ((key.prefix_len(), key.data()), one))),
        )?;
        Ok(Image {
            settings: self.settings.get(&0, 0).map_err(in_map("settings"))?,
            locals: all("locals", self.locals.iter())?.into_keys().collect(),
            peers: all("peers", self.peers.iter())?.into_keys().collect(),
            ends: all("ends", self.ends.iter())?,
            frontends: all("frontends", self.frontends.iter())?,
            ranges: ranges.into_keys().collect(),
            tables: tables.into_iter().map(|(key, it)| (key, it.slots.to_vec())).collect(),
            backends,
            owners,
        })
    }

    /// Makes them hold `new` where they hold `old`.
    pub(super) fn write(&mut self, old: &Image, new: &Image) -> Result<(), IngressError> {
        if old.settings != new.settings {
            self.settings.set(0, new.settings, 0).map_err(in_map("settings"))?;
        }
        insert("locals", &mut self.locals, new.locals.difference(&old.locals).map(|it| (*it, 1)))?;
        insert("peers", &mut self.peers, new.peers.difference(&old.peers).map(|it| (*it, 1)))?;
        insert("ends", &mut self.ends, changed(&old.ends, &new.ends))?;
        self.add_backends(old, new)?;
        for (bits, range) in new.ranges.difference(&old.ranges) {
            let key = Key::new(*bits, *range);
            self.ranges.insert(&key, 1, 0).map_err(in_map("ranges"))?;
        }
        for (key, slots) in new.tables.iter().filter(|it| old.tables.get(it.0) != Some(it.1)) {
            let Ok(slots) = <[u16; SLOTS]>::try_from(slots.as_slice()) else { continue };
            self.tables.insert(key, Table { slots }, 0).map_err(in_map("tables"))?;
        }
        self.set_published(old, new, |old, new| old | new)?;
        insert("frontends", &mut self.frontends, changed(&old.frontends, &new.frontends))?;
        self.take_away(old, new)
    }

    /// What is new, and what is another than before: from the beginning it is taken for well.
    fn add_backends(&mut self, old: &Image, new: &Image) -> Result<(), IngressError> {
        for (at, backend) in changed(&old.backends, &new.backends) {
            self.backends.set(at, backend, 0).map_err(in_map("backends"))?;
            if !old.backends.contains_key(&at) {
                self.states.set(at, State::default(), 0).map_err(in_map("states"))?;
                self.counts.set(at, Counts::default(), 0).map_err(in_map("counts"))?;
            }
        }
        insert("owners", &mut self.owners, changed(&old.owners, &new.owners))?;
        let mut down: BTreeMap<u32, u32> = BTreeMap::new();
        for (at, backend) in &new.backends {
            let state = self.state(*at)?;
            *down.entry(backend.pool).or_default() += u32::from(state.standing != 0);
        }
        let before = old.sizes();
        for (number, backends) in new.sizes() {
            if before.get(&number) != Some(&backends) {
                let down = down.get(&number).copied().unwrap_or(0);
                self.pools.set(number, Pool { backends, down }, 0).map_err(in_map("pools"))?;
            }
        }
        Ok(())
    }

    fn set_published(
        &mut self,
        old: &Image,
        new: &Image,
        both: impl Fn(u64, u64) -> u64,
    ) -> Result<(), IngressError> {
        let (old, new) = (old.published(), new.published());
        let words: BTreeSet<u32> = old.keys().chain(new.keys()).copied().collect();
        for word in words {
            let of = |it: &BTreeMap<u32, u64>| it.get(&word).copied().unwrap_or(0);
            if of(&old) != of(&new) {
                let bits = both(of(&old), of(&new));
                self.published.set(word, bits, 0).map_err(in_map("published"))?;
            }
        }
        Ok(())
    }

    fn take_away(&mut self, old: &Image, new: &Image) -> Result<(), IngressError> {
        remove("frontends", &mut self.frontends, gone(&old.frontends, &new.frontends))?;
        self.set_published(old, new, |_, new| new)?;
        remove("tables", &mut self.tables, gone(&old.tables, &new.tables))?;
        for (bits, range) in old.ranges.difference(&new.ranges) {
            let key = Key::new(*bits, *range);
            absent_is_fine("ranges", self.ranges.remove(&key))?;
        }
        remove("owners", &mut self.owners, gone(&old.owners, &new.owners))?;
        let backends: BTreeSet<u32> = gone(&old.backends, &new.backends).collect();
        // Its number may be another's next.
        self.forget_flows(&backends)?;
        remove("outs", &mut self.outs, backends.into_iter())?;
        remove("locals", &mut self.locals, old.locals.difference(&new.locals).copied())?;
        remove("peers", &mut self.peers, old.peers.difference(&new.peers).copied())?;
        remove("ends", &mut self.ends, gone(&old.ends, &new.ends))
    }

    fn forget_flows(&mut self, of: &BTreeSet<u32>) -> Result<(), IngressError> {
        if of.is_empty() {
            return Ok(());
        }
        let theirs: Vec<FlowKey> = self
            .flows
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, flow)| of.contains(&flow.backend))
            .map(|(key, _)| key)
            .collect();
        remove("flows", &mut self.flows, theirs.into_iter())
    }

    /// Those that the programs have taken out, and why.
    pub(super) fn outs(&self) -> Result<BTreeMap<u32, u32>, IngressError> {
        all("outs", self.outs.iter())
    }

    /// Whether, and why, the programs have taken a backend out.
    pub(super) fn state(&self, at: u32) -> Result<State, IngressError> {
        self.states.get(&at, 0).map_err(in_map("states"))
    }

    /// What was counted of a backend.
    pub(super) fn counts(&self, at: u32) -> Result<Counts, IngressError> {
        self.counts.get(&at, 0).map_err(in_map("counts"))
    }

    /// How many connections each backend has.
    pub(super) fn open_connections(&self) -> BTreeMap<u32, u64> {
        let mut open: BTreeMap<u32, u64> = BTreeMap::new();
        // One that goes while it is read is not missed.
        for (_, flow) in self
            .flows
            .iter()
            .filter_map(Result::ok)
            .filter(|(key, flow)| key.way == IN && OPEN.contains(&flow.state))
        {
            *open.entry(flow.backend).or_default() += 1;
        }
        open
    }

    /// How many packets went no further, in the order of the reasons.
    pub(super) fn drops(&self) -> Result<Vec<u64>, IngressError> {
        self.drops.iter().collect::<Result<_, _>>().map_err(in_map("drops"))
    }

    /// Has one that was taken out take connections again.
    pub(super) fn take_back(&mut self, at: u32, of: u32) -> Result<(), IngressError> {
        let mut pool = self.pools.get(&of, 0).map_err(in_map("pools"))?;
        pool.down = pool.down.saturating_sub(1);
        self.states.set(at, State::default(), 0).map_err(in_map("states"))?;
        absent_is_fine("outs", self.outs.remove(&at))?;
        self.pools.set(of, pool, 0).map_err(in_map("pools"))
    }
}

impl Known {
    /// The numbers that are given already.
    pub(super) fn of(image: &Image) -> Self {
        let pools = image.frontends.iter().map(|(key, it)| (*key, it.pool)).collect();
        Self {
            pools: Numbers::new("published ports", POOLS_MAX, pools),
            backends: Numbers::new("replicas behind ports", BACKENDS_MAX, image.owners.clone()),
        }
    }

    /// Takes back what is not there any more.
    pub(super) fn settle(&mut self, image: &Image) {
        self.pools.keep(|it| image.frontends.contains_key(it));
        self.backends.keep(|it| image.owners.contains_key(it));
    }
}

fn take<T: TryFrom<Map, Error = MapError>>(
    loaded: &mut Ebpf,
    map: &'static str,
) -> Result<T, IngressError> {
    let found = loaded.take_map(map).ok_or_else(|| MapError::InvalidName { name: map.to_owned() });
    found.and_then(T::try_from).map_err(in_map(map))
}

fn in_map(map: &'static str) -> impl Fn(MapError) -> IngressError {
    move |why| IngressError::Map { map, why }
}

fn all<K: Ord, V>(
    map: &'static str,
    entries: impl Iterator<Item = Result<(K, V), MapError>>,
) -> Result<BTreeMap<K, V>, IngressError> {
    entries.collect::<Result<_, _>>().map_err(in_map(map))
}

fn changed<'a, K: Ord + Copy, V: PartialEq + Copy>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (K, V)> + 'a {
    new.iter().filter(|(key, it)| old.get(*key) != Some(*it)).map(|(key, it)| (*key, *it))
}

fn gone<'a, K: Ord + Copy, V>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = K> + 'a {
    old.keys().filter(|it| !new.contains_key(*it)).copied()
}

fn insert<K: Pod, V: Pod>(
    name: &'static str,
    map: &mut HashMap<impl BorrowMut<MapData>, K, V>,
    entries: impl Iterator<Item = (K, V)>,
) -> Result<(), IngressError> {
    for (key, value) in entries {
        map.insert(key, value, 0).map_err(in_map(name))?;
    }
    Ok(())
}

fn remove<K: Pod, V: Pod>(
    name: &'static str,
    map: &mut HashMap<impl BorrowMut<MapData>, K, V>,
    keys: impl Iterator<Item = K>,
) -> Result<(), IngressError> {
    for key in keys {
        absent_is_fine(name, map.remove(&key))?;
    }
    Ok(())
}

fn absent_is_fine(map: &'static str, outcome: Result<(), MapError>) -> Result<(), IngressError> {
    match outcome {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(why)) if why.io_error.kind() == std::io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other.map_err(in_map(map)),
    }
}
