//! The programs: loaded, put where they are to be, and pinned there, so that they go on without the daemon.
//!
//! What is pinned below `/sys/fs/bpf/fizz/v1` (BPF's file system: bpf(2)): each map by its name, and for each place
//! where a program is a link, `links/PROGRAM-PLACE`. A daemon that starts finds the maps with all that is in them, and
//! has each link hold its own program from then on, in one step: no packet passes by.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{
        CgroupAttachMode, CgroupSockAddr, LinkOrder, Program, ProgramError, SchedClassifier,
        TcAttachType, TestRun, TestRunOptions,
        links::{FdLink, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    },
    util::KernelVersion,
};
use nix::net::if_::{if_nameindex, if_nametoindex};

use super::IngressError;

/// The programs, as the compiler made them (`ebpf/build.rs`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ingress.bpf.o"));

/// Where what is pinned is, below BPF's file system. Another layout of the maps gets another number.
const HOME: &str = "fizz";
const VERSION: &str = "v1";

/// The mount of BPF's file system.
const BPF_FS: &str = "/sys/fs/bpf";

/// The programs at the sockets of the host's own processes.
const AT_SOCKETS: [&str; 10] = [
    "connect_v4",
    "connect_v6",
    "sendmsg_v4",
    "sendmsg_v6",
    "recvmsg_v4",
    "recvmsg_v6",
    "getpeername_v4",
    "getpeername_v6",
    "bind_v4",
    "bind_v6",
];

/// The priority and handle of our filters, as no other program has them.
const FILTER: (u16, TcHandle) = (0xf122, TcHandle::new(0, 0xf122));

/// What a classifier is told beside its packet (`struct __sk_buff` of linux/bpf.h), and where in it the link's number is.
const CONTEXT_BYTES: usize = 192;
const CONTEXT_LINK: usize = 40;

/// By how much a packet grows at most: another header, or an error that quotes it.
const GROWTH_BYTES_MAX: usize = 256;

/// Which program a link has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The outside, with hardware addresses.
    Outside,
    /// The outside, without.
    Flat,
    /// The node's end of a container's.
    Container,
    /// The mesh's device.
    Mesh,
}

impl Role {
    const ALL: [Self; 4] = [Self::Outside, Self::Flat, Self::Container, Self::Mesh];

    const fn program(self) -> &'static str {
        match self {
            Self::Outside => "from_outside",
            Self::Flat => "from_outside_flat",
            Self::Container => "from_container",
            Self::Mesh => "from_mesh",
        }
    }
}

/// A link, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Which program it has.
    pub role: Role,
}

/// The loaded programs.
pub(super) struct Programs {
    loaded: Ebpf,
    links: PathBuf,
    /// Where this daemon has put its own.
    placed: BTreeSet<Place>,
}

impl Programs {
    /// Has the kernel take the programs, with the maps that are pinned.
    pub(super) fn load(flows_max: u32) -> Result<Self, IngressError> {
        let home = Path::new(BPF_FS).join(HOME).join(VERSION);
        let links = home.join("links");
        let pins = |why| IngressError::Pins { path: home.clone(), why };
        DirBuilder::new().recursive(true).mode(0o700).create(&links).map_err(pins)?;
        let mut loader = EbpfLoader::new();
        let mut loaded = loader
            .default_map_pin_directory(&home)
            .map_max_entries("flows", flows_max)
            .load(OBJECT)?;
        for role in Role::ALL {
            let program = role.program();
            let at: &mut SchedClassifier = get(&mut loaded, program)?;
            at.load().map_err(|why| IngressError::Program { program, why })?;
        }
        Ok(Self { loaded, links, placed: BTreeSet::new() })
    }

    /// The maps, once.
    pub(super) fn maps(&mut self) -> &mut Ebpf {
        &mut self.loaded
    }

    /// Puts the programs at these links, and takes them from all others.
    pub(super) fn place(&mut self, wanted: &BTreeSet<Place>) -> Result<(), IngressError> {
        for place in self.placed.difference(wanted).filter(|_| !has_links()) {
            take_filter(&place.name);
        }
        self.placed.retain(|it| wanted.contains(it));
        let kept: BTreeSet<String> = wanted.iter().map(pin_of).collect();
        for name in self.pinned() {
            let ours = Role::ALL.iter().any(|it| name.starts_with(&format!("{}-", it.program())));
            if ours && !kept.contains(&name) {
                self.unpin(&name)?;
            }
        }
        for place in wanted.difference(&self.placed.clone()) {
            let put = if has_links() { self.attach(place) } else { self.add_filter(place) };
            match put {
                Ok(()) => drop(self.placed.insert(place.clone())),
                // It went meanwhile, as a container's does.
                Err(_) if if_nametoindex(place.name.as_str()) != Ok(place.index) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Where the kernel has no links for programs, one is a filter of the link's queueing discipline (tc-bpf(8)), and
    /// stays by itself.
    fn add_filter(&mut self, place: &Place) -> Result<(), IngressError> {
        let program = place.role.program();
        let failed = |why: String| IngressError::Attach { program, at: place.name.clone(), why };
        // It may be there already.
        drop(tc::qdisc_add_clsact(&place.name));
        let at: &mut SchedClassifier = get(&mut self.loaded, program)?;
        let filter = SchedClassifierLink::attached(
            &place.name,
            TcAttachType::Ingress,
            FILTER.0,
            FILTER.1,
            None,
        );
        let filter = filter.map_err(|it| failed(it.to_string()))?;
        let options = NlOptions { priority: FILTER.0, handle: FILTER.1, classid: None };
        let id = at
            .attach_to_link(filter)
            .or_else(|_| {
                let options = TcAttachOptions::Netlink(options);
                at.attach_with_options(&place.name, TcAttachType::Ingress, options)
            })
            .map_err(|it| failed(said(&it)))?;
        // Whoever drops it takes it away.
        std::mem::forget(at.take_link(id));
        Ok(())
    }

    fn attach(&mut self, place: &Place) -> Result<(), IngressError> {
        let program = place.role.program();
        let failed = |why: String| IngressError::Attach { program, at: place.name.clone(), why };
        let pin = self.links.join(pin_of(place));
        let at: &mut SchedClassifier = get(&mut self.loaded, program)?;
        if let Ok(pinned) = PinnedLink::from_pin(&pin) {
            let link = FdLink::from(pinned).try_into().map_err(|it| failed(format!("{it}")))?;
            // A link's number may have become another's; then what is pinned holds nothing any more.
            if let Ok(id) = at.attach_to_link(link) {
                // What holds it is the pin.
                drop(at.take_link(id));
                return Ok(());
            }
            fs::remove_file(&pin).map_err(|why| failed(why.to_string()))?;
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = at
            .attach_with_options(&place.name, TcAttachType::Ingress, options)
            .map_err(|it| failed(said(&it)))?;
        let link = at.take_link(id).map_err(|it| failed(said(&it)))?;
        let link: FdLink = link.try_into().map_err(|it| failed(format!("{it}")))?;
        link.pin(&pin).map(drop).map_err(|it| failed(it.to_string()))
    }

    /// Has the kernel run a program on a packet that never was on a link (bpf(2), `BPF_PROG_TEST_RUN`): what it says of it,
    /// and what it makes of it. `link`: the number of the one at which it is to have come.
    pub(super) fn run(
        &mut self,
        role: Role,
        link: u32,
        packet: &[u8],
    ) -> Result<(u32, Vec<u8>), IngressError> {
        let program = role.program();
        let mut context = [0; CONTEXT_BYTES];
        context[CONTEXT_LINK..CONTEXT_LINK + 4].copy_from_slice(&link.to_ne_bytes());
        let mut out = vec![0; packet.len() + GROWTH_BYTES_MAX];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let at: &mut SchedClassifier = get(&mut self.loaded, program)?;
        let ran = at.test_run(options).map_err(|why| IngressError::Program { program, why })?;
        out.truncate(ran.data_size_out as usize);
        Ok((ran.return_value, out))
    }

    /// Puts programs at the sockets of all processes of a control group.
    pub(super) fn at_sockets(&mut self, group: &Path) -> Result<(), IngressError> {
        let file = File::open(group).map_err(IngressError::Groups)?;
        for program in AT_SOCKETS {
            let failed = |why: String| IngressError::Attach {
                program,
                at: group.display().to_string(),
                why,
            };
            let at: &mut CgroupSockAddr = get(&mut self.loaded, program)?;
            at.load().map_err(|why| IngressError::Program { program, why })?;
            let id = at.attach(&file, CgroupAttachMode::Single).map_err(|it| failed(said(&it)))?;
            let link = at.take_link(id).map_err(|it| failed(said(&it)))?;
            let link: FdLink = link.try_into().map_err(|it| failed(format!("{it}")))?;
            self.replace(program, link).map_err(|it| failed(it.to_string()))?;
        }
        Ok(())
    }

    /// Pins a link in the place of the one before, which ends only then.
    fn replace(&self, name: &str, link: FdLink) -> io::Result<()> {
        let pin = self.links.join(name);
        let before = PinnedLink::from_pin(&pin).ok();
        match fs::remove_file(&pin) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            Ok(()) | Err(_) => {}
        }
        let pinned = link.pin(&pin).map(drop).map_err(io::Error::other);
        drop(before);
        pinned
    }

    fn unpin(&self, name: &str) -> Result<(), IngressError> {
        let path = self.links.join(name);
        fs::remove_file(&path).map_err(|why| IngressError::Pins { path, why })
    }

    fn pinned(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.links).into_iter().flatten().flatten();
        entries.filter_map(|it| it.file_name().into_string().ok()).collect()
    }
}

/// Whether the kernel has links for programs at network devices (tcx, of Linux 6.6).
fn has_links() -> bool {
    KernelVersion::current().is_ok_and(|it| KernelVersion::new(6, 6, 0) <= it)
}

/// Takes our filter from a link, if it has one.
fn take_filter(link: &str) {
    drop(SchedClassifierLink::attached(link, TcAttachType::Ingress, FILTER.0, FILTER.1, None));
}

/// Takes all away: programs end with what is pinned of them.
pub(super) fn remove() -> Result<(), IngressError> {
    if !has_links() {
        for link in if_nameindex().iter().flatten() {
            take_filter(&link.name().to_string_lossy());
        }
    }
    let path = Path::new(BPF_FS).join(HOME);
    match fs::remove_dir_all(&path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(IngressError::Pins { path, why }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn pin_of(place: &Place) -> String {
    format!("{}-{}", place.role.program(), place.index)
}

fn get<'a, T>(loaded: &'a mut Ebpf, program: &'static str) -> Result<&'a mut T, IngressError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let unknown = || IngressError::Attach {
        program,
        at: "this build".to_owned(),
        why: "it is not in it".to_owned(),
    };
    let found = loaded.program_mut(program).ok_or_else(unknown)?;
    found.try_into().map_err(|why| IngressError::Program { program, why })
}

/// An error with what is below it: the kernel's own word is there.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(below) = next {
        text.push_str(&format!(": {below}"));
        next = below.source();
    }
    text
}
