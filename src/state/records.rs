//! What the collections hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use ipnet::Ipv4Net;

use crate::model::{
    ContainerId, ContainerName, ContainerState, ImageId, Millis, NodeId, NodeName, NodeState,
    ObservedPort, ProjectName, PublicKey, Revision, RuntimeId, ServiceKey, ServiceName, Slot, Tick,
    TokenId, WallTime,
};

use super::clock::ReplicaId;

/// A node, written by itself; when it is admitted or removed, by the member that was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// What people call it.
    pub name: NodeName,
    /// Where it is in its membership, by its own account.
    pub state: NodeState,
    /// Since when.
    pub since: WallTime,
    /// Where peers reach it.
    pub address: Option<SocketAddr>,
    /// As whom it writes.
    pub replica: ReplicaId,
    /// Its present life: the second of its start, or one more than its last.
    pub incarnation: u32,
    /// How it came into the cluster; `None` for the one that made it.
    pub admission: Option<Admission>,
    /// The public key that other members wrap the cluster's keys to, as age writes it.
    pub recipient: String,
    /// The newest of the cluster's keys that it has.
    pub key_epoch: u32,
    /// Fizz's version.
    pub version: String,
    /// The labels that its configuration gives it.
    pub labels: BTreeMap<String, String>,
    /// The labels that users gave it since; they go before those of its configuration.
    pub assigned: BTreeMap<String, String>,
    /// Which containers it takes.
    pub availability: Availability,
    /// The local volumes that it holds, by their names in the runtime.
    pub volumes: BTreeSet<String>,
    /// Cores.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// `x86_64`.
    pub architecture: String,
    /// The kernel's release.
    pub kernel: String,
    /// The container runtime and its version, while it answers.
    pub runtime: Option<String>,
    /// Its place in the mesh, if it is in one.
    pub mesh: Option<MeshRecord>,
}

/// A node's place in the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshRecord {
    /// The key of its device.
    pub key: PublicKey,
    /// Where its device may be reached, the likeliest first.
    pub endpoints: Vec<SocketAddr>,
    /// Where its device hears those that are not where they say, as behind a NAT (RFC 4787).
    pub heard: BTreeMap<NodeId, SocketAddr>,
    /// Those that its device does not hear, though they are there.
    pub missed: BTreeSet<NodeId>,
    /// Its kernel has no WireGuard, so that a process speaks it, and slower.
    pub degraded: bool,
    /// The blocks of the overlay that it claims, each since when.
    pub claims: BTreeMap<Ipv4Net, WallTime>,
}

/// Which containers a node takes, as its users want it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// Any.
    #[default]
    Open,
    /// No new ones; it keeps those that it has.
    Cordoned,
    /// None: those that it has are to go elsewhere.
    Draining,
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        })
    }
}

/// How a node came into the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The member that let it in.
    pub by: NodeId,
    /// When.
    pub at: WallTime,
    /// With which token, and how many nodes may come with that, 0 for any number. `None`: with the
    /// cluster's secret itself.
    pub token: Option<(TokenId, u16)>,
}

impl NodeRecord {
    /// A node of which only this is known: its machine was not measured yet.
    #[must_use]
    pub fn unmeasured(name: NodeName, state: NodeState, since: WallTime) -> Self {
        Self {
            name,
            state,
            since,
            address: None,
            replica: ReplicaId::default(),
            incarnation: 0,
            admission: None,
            recipient: String::new(),
            key_epoch: 0,
            version: String::new(),
            labels: BTreeMap::new(),
            assigned: BTreeMap::new(),
            availability: Availability::Open,
            volumes: BTreeSet::new(),
            cpus: 0,
            memory_bytes: 0,
            architecture: String::new(),
            kernel: String::new(),
            runtime: None,
            mesh: None,
        }
    }

    /// Its labels.
    #[must_use]
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.extend(self.assigned.clone());
        labels
    }

    /// Whether it takes part: it has come, and has not left.
    #[must_use]
    pub fn is_member(&self) -> bool {
        match self.state {
            NodeState::Alive | NodeState::Suspicious | NodeState::Dead => true,
            NodeState::Joining | NodeState::Left | NodeState::Failed => false,
        }
    }
}

/// A deployed Compose file. Its services as they were last applied have records of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRecord {
    /// How often it was changed.
    pub version: u64,
    /// The canonical model as JSON.
    pub model: Arc<str>,
    /// Where its file was.
    pub working_dir: String,
    /// The files it came from.
    pub files: Vec<String>,
    /// When it was last changed.
    pub updated: WallTime,
    /// Its networks span the nodes, through the mesh. Without, they are the runtime's own, of one node.
    pub overlay: bool,
    /// It is going: its record goes last.
    pub removal: Option<Removal>,
}

/// What goes with a deployment that is being removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Its volumes.
    pub volumes: bool,
    /// These images.
    pub images: Vec<String>,
    /// How long containers may take to stop.
    pub grace: Option<Millis>,
}

/// A service of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// What its containers must be made from.
    pub template: Template,
    /// What they were made from before, as long as `template` did not prove itself: what is gone back
    /// to if it fails.
    pub previous: Option<Arc<Template>>,
    /// How far the change from the one to the other is.
    pub rollout: Rollout,
    /// Replicas that a person wants elsewhere than where they are.
    pub moves: BTreeMap<Slot, NodeId>,
    /// Of a service that runs by the clock: the last tick before it was to. Those that came since have left
    /// their runs, each with its tick as its slot.
    pub ticks_after: Option<Tick>,
    /// Of a job: the replicas that are done, and whose containers are no longer known because their nodes were
    /// put out of the cluster. As long as `template` and `restarts` stay.
    pub done: BTreeSet<Slot>,
    /// How many are wanted: the definition's number or the user's later one.
    pub replicas: u32,
    /// What is wanted of them.
    pub intent: Intent,
    /// How often a restart was asked for. A container that has followed fewer is restarted.
    pub restarts: u64,
    /// How often a start was asked for. An ended container that has followed fewer is started.
    pub starts: u64,
    /// How long they may take to stop this time, over the definition's.
    pub grace: Option<Millis>,
    /// New anonymous volumes for replaced containers.
    pub renew_volumes: bool,
}

/// What containers are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The canonical definition as JSON.
    pub definition: Arc<str>,
    /// What the definition and its configs and secrets come to.
    pub base: Revision,
    /// `base`, or another one where the user forced new containers.
    pub revision: Revision,
    /// The image that they must run, where `up` knew it: by the digest that a registry gave it, which is
    /// the same on every node and for every architecture, else by its id.
    pub image: Option<ImageId>,
}

/// How far the change of a service's containers to another template is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// What goes on.
    pub stage: Stage,
    /// The last template that failed, and why; until another is applied.
    pub failed: Option<(Revision, Arc<str>)>,
}

/// What goes on while a service's containers change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing: all have changed, and were well.
    #[default]
    Done,
    /// They change, one group after the other.
    Going,
    /// As many as `x-fizz.update.canary` says change; then a person promotes it, or aborts it.
    Canary,
    /// No more change until a person says how to go on.
    Paused,
    /// They change back.
    Returning,
}

/// Names a deployment as it was once applied. Two that were applied at the same time in two parts of a
/// cluster have the same version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RevisionKey {
    /// Whose.
    pub project: ProjectName,
    /// The version that the deployment had.
    pub version: u64,
    /// What it comes to.
    pub content: Revision,
}

impl RevisionKey {
    /// What tells it from others of its version, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.content.to_string().chars().take(4).collect()
    }
}

/// A deployment as it was once applied. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRecord {
    /// When.
    pub at: WallTime,
    /// The node that was asked.
    pub by: NodeId,
    /// The version that it was a return to.
    pub returns_to: Option<u64>,
    /// The canonical model without its services, as JSON.
    pub model: Arc<str>,
    /// What its services' containers were made from.
    pub services: BTreeMap<ServiceName, Template>,
}

impl Template {
    /// Whether containers of one are as containers of the other.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.revision == other.revision && self.image == other.image
    }
}

impl ServiceRecord {
    /// What its containers of a revision are made from.
    #[must_use]
    pub fn template_of(&self, revision: Revision) -> &Template {
        let before = self.previous.as_deref().filter(|it| it.revision == revision);
        before.unwrap_or(&self.template)
    }
}

impl ContainerRecord {
    /// It runs, and is to stop although its service goes on: it gets no new connections, and no name leads to it.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        // What is to start again has followed no request to start yet.
        self.state.is_up() && self.starts == 0 && self.one_off.is_none()
    }

    /// One that was recorded, and of which nothing else is known: nobody has begun to make it.
    #[must_use]
    pub fn unmade(
        id: ContainerId,
        node: NodeId,
        service: ServiceKey,
        revision: Revision,
        created: WallTime,
    ) -> Self {
        Self {
            id,
            node,
            service,
            slot: Slot(0),
            name: ContainerName::of(id),
            revision,
            one_off: None,
            wanted_image: None,
            image: None,
            command: String::new(),
            runtime_id: None,
            state: ContainerState::Pending,
            since: created,
            created,
            reason: None,
            exit_code: None,
            runs: 0,
            attempts: 0,
            restarts: 0,
            starts: 0,
            given_up: false,
            held: false,
            checked: false,
            ports: vec![],
            addresses: BTreeMap::new(),
        }
    }

    /// Whether it is made from this.
    #[must_use]
    pub fn is_made_from(&self, template: &Template) -> bool {
        let image = |it| self.is_for_image(it);
        self.revision == template.revision && template.image.as_ref().is_none_or(image)
    }

    /// Whether it was made to run an image, or runs it. Where that cannot be had any more, its node takes
    /// what bears the name by then: to ask again would replace it for ever.
    #[must_use]
    pub fn is_for_image(&self, image: &ImageId) -> bool {
        let mine = self.wanted_image.as_ref().or(self.image.as_ref());
        mine.is_none_or(|it| it == image)
    }
}

/// What a user wants of a service's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// They run.
    Run,
    /// They are there, stopped.
    Stop,
    /// They are gone; the definition stays.
    Remove {
        /// With anonymous volumes.
        volumes: bool,
    },
    /// Everything of the service is gone, then this record too.
    Forget {
        /// With anonymous volumes.
        volumes: bool,
    },
}

/// A container, written only by its node: (container, node, service) and how it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerRecord {
    /// Which.
    pub id: ContainerId,
    /// Where.
    pub node: NodeId,
    /// Whose.
    pub service: ServiceKey,
    /// Which replica.
    pub slot: Slot,
    /// Its name in the runtime.
    pub name: ContainerName,
    /// What it is made from.
    pub revision: Revision,
    /// A container of `fizz run`.
    pub one_off: Option<OneOff>,
    /// The image that it is to run, as its template said when it was recorded.
    pub wanted_image: Option<ImageId>,
    /// The image it runs, once known, by its id on its node.
    pub image: Option<ImageId>,
    /// What its process runs, once known.
    pub command: String,
    /// Its id in the runtime, once known.
    pub runtime_id: Option<RuntimeId>,
    /// Where it is in its run.
    pub state: ContainerState,
    /// Since when.
    pub since: WallTime,
    /// When it was recorded.
    pub created: WallTime,
    /// Why it is in its state.
    pub reason: Option<Arc<str>>,
    /// Its last status.
    pub exit_code: Option<i64>,
    /// Runs begun beyond the first.
    pub runs: u32,
    /// Runs begun by the restart policy since it last ran well.
    pub attempts: u32,
    /// The restart requests that it has followed.
    pub restarts: u64,
    /// The start requests that it has followed.
    pub starts: u64,
    /// Its health check gave up on it: it is to be replaced.
    pub given_up: bool,
    /// A person sent it a signal: it is not started again by itself.
    pub held: bool,
    /// It has a health check, of its service's or of its image's.
    pub checked: bool,
    /// Its published ports.
    pub ports: Vec<ObservedPort>,
    /// Its addresses by network.
    pub addresses: BTreeMap<String, String>,
}

/// What makes a container of `fizz run` other than its service's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneOff {
    /// The canonical definition as JSON.
    pub definition: Arc<str>,
    /// Remove it when it has ended.
    pub remove: bool,
    /// Do not wait for what the service depends on.
    pub no_deps: bool,
}

/// Where a secret belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretPath {
    /// `secrets:` of a project.
    Project(ProjectName, String),
    /// A registry's credentials.
    Registry(String),
    /// What is kept of a join token.
    Token(TokenId),
    /// One of the cluster's keys, by its epoch, wrapped for one member.
    ClusterKey(u32, NodeId),
}

/// A secret as it is stored: nobody reads it without the node's identity.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The age file.
    pub ciphertext: Vec<u8>,
    /// A keyed hash of the plaintext, which tells that it changed and nothing else.
    pub fingerprint: [u8; 16],
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedSecret({} bytes)", self.ciphertext.len())
    }
}

/// An address of the overlay and the container that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpAllocation {
    /// The address.
    pub address: IpAddr,
    /// Whose.
    pub container: ContainerId,
}

impl IpAllocation {
    /// An IPv4 address, and the container that has it: its IPv6 address follows from that.
    #[must_use]
    pub const fn of(address: Ipv4Addr, container: ContainerId) -> Self {
        Self { address: IpAddr::V4(address), container }
    }

    /// The address, if it is one that a node gives.
    #[must_use]
    pub const fn v4(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}
