//! What can go wrong with the kernel's links.

use std::io;

/// Why a link is not as it is to be.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused.
    #[error("can't {doing}: {why}")]
    Refused {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        why: io::Error,
    },
    /// What the kernel said was not understood, or it said nothing.
    #[error("can't {doing}: {why}")]
    Unclear {
        /// What was being done.
        doing: String,
        /// In which way.
        why: String,
    },
    /// A link has one of our names, and is something else.
    #[error("can't {doing}: {name} is there, and it is no {wanted}: rename it or take it away")]
    Taken {
        /// What was being done.
        doing: String,
        /// The link.
        name: String,
        /// What it is to be.
        wanted: &'static str,
    },
    /// The kernel has no such links.
    #[error("can't {doing}: this kernel has no {wanted}")]
    Unsupported {
        /// What was being done.
        doing: String,
        /// What it has not.
        wanted: &'static str,
    },
    /// Nothing here speaks WireGuard.
    #[error(
        "no WireGuard device works on this machine: the kernel's: {kernel}; in a process: {process}. Install a \
         kernel with WireGuard (Linux 5.6 or later; in a cloud image the package may be \
         linux-modules-extra-$(uname -r)) and run `modprobe wireguard`, or run `modprobe tun` for the process"
    )]
    NoWireguard {
        /// Why the kernel's does not.
        kernel: String,
        /// Why one in a process does not.
        process: String,
    },
}

/// The same before it is known what was being done.
pub(super) enum Fault {
    /// The kernel refused, or was not understood.
    Kernel(rtnetlink::Error),
    /// A link has one of our names, and is something else.
    Taken { name: String, wanted: &'static str },
}

impl From<rtnetlink::Error> for Fault {
    fn from(why: rtnetlink::Error) -> Self {
        Self::Kernel(why)
    }
}

impl Fault {
    pub(super) fn while_doing(self, doing: &str) -> NetworkError {
        let doing = doing.to_owned();
        match self {
            Self::Taken { name, wanted } => NetworkError::Taken { doing, name, wanted },
            Self::Kernel(why) => {
                if let rtnetlink::Error::NetlinkError(why) = &why {
                    return NetworkError::Refused { doing, why: why.to_io() };
                }
                NetworkError::Unclear { doing, why: why.to_string() }
            }
        }
    }
}
