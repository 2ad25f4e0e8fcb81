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

use std::{collections::BTreeSet, path::Path};

pub use error::IngressError;
pub use image::Wanted;
use image::{Image, Known};
use maps::Maps;
use programs::Programs;
pub use programs::{Place, Role};

use crate::topology::Published;

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

    /// Has a program hear who listens.
    pub fn at_listeners(&mut self) -> Result<(), IngressError> {
        self.programs.at_listeners()
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
