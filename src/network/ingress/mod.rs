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

use std::{collections::BTreeSet, net::SocketAddr, path::Path, time::Duration};

pub use error::IngressError;
pub use image::Wanted;
use image::{Image, Known};
use maps::Maps;
use programs::Programs;
pub use programs::{Place, Role};

use crate::topology::Published;

/// A replica's port whose connections failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// Where it is.
    pub at: SocketAddr,
    number: u32,
    pool: u32,
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
        for (number, it) in &self.held.backends {
            if self.maps.state(*number)?.standing != 0 {
                let at = SocketAddr::from((layout::from_v4(it.address), u16::from_be(it.port)));
                let found = Down { at, number: *number, pool: it.pool };
                down.push((found, Duration::from_nanos(it.patience_ns)));
            }
        }
        Ok(down)
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
