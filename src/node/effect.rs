//! Everything a node can do to the world.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use super::{Refusal, RequestId, Response};
use crate::{
    gossip::Epoch,
    model::{
        ContainerId, ContainerName, ContainerState, ImageId, Millis, NodeId, NodeName, ProjectName,
        Revision, RuntimeId, ServiceKey, ServiceName, Slot,
        spec::{ContainerSpec, HealthTest, HookSpec, ProjectSpec, PullPolicy},
    },
    state::{ReplicaId, SealedSecret, Step, VersionVector},
};

/// Everything a node can do to the world. For one container the node has at most one of `Launch`,
/// `Start`, `Halt` and `Discard` under way; each is answered by one [`super::Event::Finished`]. All
/// may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make these steps of the state durable, together. The shell carries out an answer's other
    /// effects only once its steps are: nobody hears of what a crash could take back. Only a
    /// [`Send`](Self::Send) that claims nothing of the kind goes at once.
    Persist(Vec<Step>),
    /// Answer a request.
    Reply(RequestId, Result<Response, Refusal>),
    /// Tell whoever listens.
    Notify(Notice),
    /// Make and start a container: networks, volumes, image, files, container, start, hooks.
    Launch(Box<Launch>),
    /// Start a container that is there: files, start, hooks.
    Start(Box<Launch>),
    /// Let go of it, run the hooks, ask it to stop, kill it after the grace period.
    Halt {
        /// Which.
        container: ContainerId,
        /// Which, for the runtime.
        runtime_id: RuntimeId,
        /// Commands to run in it first.
        hooks: Vec<HookSpec>,
        /// How long it may take.
        grace: Option<Millis>,
        /// Others go on for it: no node is to lead anybody to it any more before it stops, and who is connected has
        /// so long to end that. `None`: it stops at once.
        drain: Option<Millis>,
    },
    /// Send it a signal, at once, whatever else is under way for it: a stop that hangs is what it is
    /// for. Not answered: what comes of it is seen.
    Signal {
        /// Which.
        container: ContainerId,
        /// Which, for the runtime.
        runtime_id: RuntimeId,
        /// The signal.
        signal: String,
    },
    /// Remove it and its files.
    Discard {
        /// Which.
        container: ContainerId,
        /// Which, for the runtime; looked for by label when not known.
        runtime_id: Option<RuntimeId>,
        /// With anonymous volumes.
        volumes: bool,
    },
    /// Remove a project's networks, and volumes and images if asked to. Answered by
    /// [`super::Event::Cleared`].
    Clear {
        /// Whose.
        project: ProjectName,
        /// Also volumes.
        volumes: bool,
        /// Also these images.
        images: Vec<String>,
    },
    /// Check a container's health. Answered by [`super::Event::Probed`].
    Probe {
        /// Which.
        container: ContainerId,
        /// Which, for the runtime.
        runtime_id: RuntimeId,
        /// Its address in the overlay, if it is there.
        address: Option<Ipv4Addr>,
        /// How.
        test: HealthTest,
        /// After which it has failed.
        timeout: Millis,
    },
    /// Give a container that runs, and another address now, its place anew.
    Place {
        /// Which.
        container: ContainerId,
        /// Its address.
        address: Ipv4Addr,
    },
    /// Look at a container, whatever it was thought to be. Answered by [`super::Event::Seen`].
    Look(ContainerId, RuntimeId),
    /// Send a sealed datagram to a member.
    Send {
        /// Where it is.
        to: SocketAddr,
        /// The datagram.
        datagram: Vec<u8>,
        /// Only once everything that this node wrote before is durable; otherwise at once.
        once_durable: bool,
    },
    /// Fetch by stream what this node lacks. Answered by [`super::Event::Fetched`], any number of times,
    /// and one [`super::Event::FetchEnded`].
    Fetch(Fetch),
    /// Unwrap one of the cluster's keys and keep it on disk. Answered by [`super::Event::Unwrapped`].
    Unwrap(Epoch, Arc<SealedSecret>),
    /// Wrap one of the cluster's keys for a member that was left out, to this recipient, and keep it by
    /// [`super::Request::Keep`].
    Wrap(Epoch, NodeId, String),
    /// Everything is said: this node is out of its cluster.
    Gone,
}

/// What to fetch, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// From whom.
    pub from: NodeId,
    /// Where it is, if that is known.
    pub address: Option<SocketAddr>,
    /// What this node has seen.
    pub seen: VersionVector,
    /// This node comes in again, as this writer: let it in first, and tell everything.
    pub enter: Option<ReplicaId>,
}

/// What it takes to make or start a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Which.
    pub container: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Its service.
    pub service: ServiceKey,
    /// Its slot.
    pub slot: Slot,
    /// Its revision.
    pub revision: Revision,
    /// A container of `fizz run`.
    pub one_off: bool,
    /// Make it, but do not start it.
    pub no_start: bool,
    /// What it is.
    pub spec: Arc<ContainerSpec>,
    /// The project's networks, volumes, configs and secrets.
    pub project: Arc<ProjectSpec>,
    /// When to ask the registry for the image.
    pub pull: PullPolicy,
    /// The image by id, when it is known which.
    pub image: Option<ImageId>,
    /// Its address in the overlay, if it is to be there; else its networks are the runtime's own.
    pub address: Option<Ipv4Addr>,
    /// The runtime's id, when it is there already.
    pub runtime_id: Option<RuntimeId>,
    /// The container that it replaces.
    pub replaces: Option<RuntimeId>,
    /// Another has its name, or is about to get it: make it under a name of its own, and give it `name` when
    /// it starts.
    pub beside: bool,
    /// Take over the anonymous volumes of the container that it replaces.
    pub keep_volumes: bool,
    /// Containers of services whose namespaces or volumes it shares.
    pub peers: Vec<(ServiceName, RuntimeId)>,
    /// Names of containers of services that it links to.
    pub links: Vec<(ServiceName, String)>,
}

/// What is being done to a container, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Waiting for another service: the words say for what.
    Waiting(Arc<str>),
    /// Fetching the image.
    Pulling,
    /// Making it.
    Creating,
    /// Starting it.
    Starting,
    /// Stopping it.
    Stopping,
    /// Removing it.
    Removing,
    /// Will be started again at a later time, so many milliseconds from when this was said.
    BackingOff(Millis),
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The API's name for it: `container.state`.
    pub kind: &'static str,
    /// About what.
    pub subject: Subject,
    /// The state or activity now.
    pub state: Option<String>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// A container's status at its end.
    pub exit_code: Option<i64>,
}

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// This node.
    Node,
    /// Another.
    Peer(NodeId, NodeName),
    /// A deployment.
    Project(ProjectName),
    /// A service.
    Service(ServiceKey),
    /// A container.
    Container(ContainerId, ServiceKey, ContainerName),
}

impl Activity {
    /// As listings show it.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Waiting(what) => format!("waiting for {what}"),
            Self::Pulling => "pulling".to_owned(),
            Self::Creating => "creating".to_owned(),
            Self::Starting => "starting".to_owned(),
            Self::Stopping => "stopping".to_owned(),
            Self::Removing => "removing".to_owned(),
            Self::BackingOff(delay) => format!("restarting in {delay}"),
        }
    }
}

impl Notice {
    /// A container's new state.
    #[must_use]
    pub fn container_state(
        subject: Subject,
        state: ContainerState,
        reason: Option<Arc<str>>,
        exit_code: Option<i64>,
    ) -> Self {
        Self { kind: "container.state", subject, state: Some(state.to_string()), reason, exit_code }
    }
}
