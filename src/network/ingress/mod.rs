//! Ingress in the kernel: what comes to a published port goes to a replica, by programs of ours (`ebpf/`) that go on
//! without the daemon.
//!
//! The daemon only says which ports there are and who stands behind each. It says so by what differs from what the maps
//! hold, so that one that starts anew adopts what it finds, and changes nothing that is as it should be.

mod error;
mod image;
mod layout;
mod maps;
mod numbers;
mod programs;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

pub use error::IngressError;
pub use image::Wanted;
use image::{Image, Known};
use maps::Maps;
use programs::Programs;
pub use programs::{Place, Role};

use crate::{model::spec::Protocol, topology::Published};

/// A replica's port whose connections failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// Where it is.
    pub at: SocketAddr,
    /// Why it is left out.
    pub standing: Standing,
    number: u32,
    pool: u32,
}

/// What the programs have found out about a replica's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether they lead new connections there.
    pub standing: Standing,
    /// Connections that are open by this node.
    pub open: u64,
    /// Connections that were led there.
    pub taken: u64,
    /// Of these, those that it refused.
    pub refused: u64,
    /// How often it left one unanswered for so long that it got no other.
    pub silent: u64,
    /// Open connections that it broke off.
    pub resets: u64,
}

/// How the programs find a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It takes connections.
    #[default]
    Well,
    /// It refused one.
    Refused,
    /// It left one unanswered.
    Silent,
}

impl Standing {
    fn of(number: u32) -> Self {
        match number {
            layout::WELL => Self::Well,
            layout::REFUSED => Self::Refused,
            _ => Self::Silent,
        }
    }
}

/// The programs and their maps, in the kernel.
pub struct Ingress {
    programs: Programs,
    maps: Maps,
    known: Known,
    held: Image,
}

impl Ingress {
    /// Has the kernel take the programs, and finds what the maps hold. Nothing is anywhere in a packet's way yet, but
    /// what was before.
    pub fn open(flows_max: u32) -> Result<Self, IngressError> {
        let mut programs = Programs::load(flows_max)?;
        let maps = Maps::take(programs.maps())?;
        let held = maps.read()?;
        Ok(Self { programs, maps, known: Known::of(&held), held })
    }

    /// Puts programs at the sockets of the host's own processes, which are in this control group.
    pub fn at_sockets(&mut self, group: &Path) -> Result<(), IngressError> {
        self.programs.at_sockets(group)
    }

    /// Has the links that are in a packet's way have their programs, and no others.
    pub fn place(&mut self, links: &BTreeSet<Place>) -> Result<(), IngressError> {
        self.programs.place(links)
    }

    /// What the program of such a link says of a packet, and what it makes of it: for who wants to know without sending
    /// one. The programs at the mesh's device take none, as theirs have no hardware addresses.
    pub fn run(
        &mut self,
        role: Role,
        link: u32,
        packet: &[u8],
    ) -> Result<(u32, Vec<u8>), IngressError> {
        self.programs.run(role, link, packet)
    }

    /// Makes it so.
    pub fn apply(&mut self, wanted: &Wanted) -> Result<(), IngressError> {
        let image = Image::of(wanted, &mut self.known)?;
        if image != self.held {
            self.maps.write(&self.held, &image)?;
            self.held = image;
            self.known.settle(&self.held);
        }
        Ok(())
    }

    /// Those that the programs have taken out, as their connections failed, and how long each may take to answer.
    pub fn down(&self) -> Result<Vec<(Down, Duration)>, IngressError> {
        let mut down = vec![];
        for (number, standing) in self.maps.outs()? {
            let Some(it) = self.held.backends.get(&number) else { continue };
            let at = SocketAddr::from((layout::from_v4(it.address), u16::from_be(it.port)));
            let found = Down { at, standing: Standing::of(standing), number, pool: it.pool };
            down.push((found, Duration::from_nanos(it.patience_ns)));
        }
        Ok(down)
    }

    /// What they have found out, by each replica's port.
    pub fn seen(&self) -> Result<BTreeMap<(Protocol, SocketAddr), Seen>, IngressError> {
        let open = self.maps.open_connections();
        let mut all = BTreeMap::new();
        for (key, number) in &self.held.owners {
            let Some(protocol) = Protocol::numbered(key.protocol) else { continue };
            let at = SocketAddr::from((layout::from_v4(key.address), u16::from_be(key.port)));
            let (state, counts) = (self.maps.state(*number)?, self.maps.counts(*number)?);
            let seen = Seen {
                standing: Standing::of(state.standing),
                open: open.get(number).copied().unwrap_or(0),
                taken: counts.connections,
                refused: counts.refused,
                silent: counts.silent,
                resets: counts.resets,
            };
            all.insert((protocol, at), seen);
        }
        Ok(all)
    }

    /// How many packets went no further, by why.
    pub fn dropped(&self) -> Result<BTreeMap<&'static str, u64>, IngressError> {
        let counts = self.maps.drops()?;
        Ok(layout::DROPS.into_iter().zip(counts).collect())
    }

    /// Has one of these take connections again.
    pub fn take_back(&mut self, it: &Down) -> Result<(), IngressError> {
        self.maps.take_back(it.number, it.pool)
    }

    /// Whether the programs carry what comes to a port.
    #[must_use]
    pub fn carries(port: &Published) -> bool {
        image::is_carried(port)
    }

    /// Takes all away.
    pub fn remove() -> Result<(), IngressError> {
        programs::remove()
    }
}
