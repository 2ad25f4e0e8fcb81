//! Why ingress in the kernel does not work here.

use std::{io, path::PathBuf};

/// Why the programs are not in the kernel, or not as they are to be.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// There is no place for what is to outlive the daemon.
    #[error("can't use {path}, where the programs are kept: {why}; `mount -t bpf bpf /sys/fs/bpf`")]
    Pins {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The kernel does not take them.
    #[error("the kernel does not take the programs of ingress: {0}")]
    Load(#[from] aya::EbpfError),
    /// It does not take one.
    #[error("the kernel does not take the program `{program}`: {why}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said.
        why: aya::programs::ProgramError,
    },
    /// It does not put one where it is to be.
    #[error("the kernel does not put the program `{program}` at {at}: {why}")]
    Attach {
        /// Which.
        program: &'static str,
        /// The link, or the group.
        at: String,
        /// What it said.
        why: String,
    },
    /// A map does not hold what is to be in it.
    #[error("the kernel does not take what is agreed into the map `{map}`: {why}")]
    Map {
        /// Which.
        map: &'static str,
        /// What it said.
        why: aya::maps::MapError,
    },
    /// There is more than there is room for.
    #[error("{what}: there is room for {most}, and {wanted} are wanted")]
    Full {
        /// What of.
        what: &'static str,
        /// How many there may be.
        most: usize,
        /// How many there are to be.
        wanted: usize,
    },
    /// Nothing groups the host's processes.
    #[error(
        "no control groups of version 2 are mounted, by which the host's own connections are told: {0}"
    )]
    Groups(io::Error),
}
