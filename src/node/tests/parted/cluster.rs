//! A few nodes, a network between them that can be cut, and a runtime that obeys at once. All of it in
//! virtual time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    gossip::{Epoch, Fetched, Key, Keyring},
    model::{
        ContainerId, ImageId, Moment, NodeId, NodeState, Observed, RuntimeId, RuntimeState,
        WallTime,
    },
    node::{
        DeployRequest, Effect, Event, Fetch, Launch, Node, Now, Request, RequestId, Seat, Sight,
    },
    state::{Availability, Change, ClusterState, NodeRecord, ReplicaId},
    swim::Config,
};

/// How long a datagram takes, in milliseconds.
const DELAY: u64 = 2;

pub(super) struct Cluster {
    now: Now,
    machines: Vec<Machine>,
    /// What is due, in order, and the number of it.
    due: BTreeMap<(u64, u64), (usize, u32, Event)>,
    numbers: u64,
    cut: BTreeSet<usize>,
    hangs: bool,
    starts: u32,
    kills: u32,
    runs_max: usize,
    /// How long each commit takes.
    commit: u64,
}

struct Machine {
    id: NodeId,
    node: Option<Node>,
    /// What it knew when it was last up.
    state: ClusterState,
    life: u32,
    containers: BTreeMap<RuntimeId, Observed>,
    labels: BTreeMap<String, String>,
    persisted: u64,
    /// What it has told of deployments and nodes, since that was last asked for.
    told: Vec<String>,
}

fn address(at: usize) -> SocketAddr {
    format!("10.0.0.{}:7780", at + 1).parse().unwrap()
}

fn record(at: usize) -> NodeRecord {
    NodeRecord {
        address: Some(address(at)),
        replica: ReplicaId(at as u64 + 1),
        cpus: 1,
        memory_bytes: 1 << 30,
        ..NodeRecord::unmeasured(format!("n{at}").parse().unwrap(), NodeState::Alive, WallTime(0))
    }
}

impl Cluster {
    /// So many that know one another.
    pub(super) fn of(nodes: usize) -> Self {
        let now = Now { moment: Moment(1_000), wall: WallTime(1_000_000) };
        let id = |at: usize| NodeId((at as u128 + 1) << 96 | 7 << (at * 3));
        let mut states = vec![];
        let mut writes = vec![];
        for at in 0..nodes {
            let mut state = ClusterState::new(ReplicaId(at as u64 + 1));
            let own = Change::Node(id(at), Some(Arc::new(record(at))));
            writes.extend(state.commit(own, now.wall).writes().iter().cloned());
            states.push(state);
        }
        let machine = |(at, mut state): (usize, ClusterState)| {
            for write in &writes {
                drop(state.apply(write.clone(), now.wall));
            }
            Machine {
                id: id(at),
                node: None,
                state,
                life: 1,
                containers: BTreeMap::new(),
                labels: BTreeMap::new(),
                persisted: 0,
                told: vec![],
            }
        };
        let mut cluster = Self {
            now,
            machines: states.into_iter().enumerate().map(machine).collect(),
            due: BTreeMap::new(),
            numbers: 0,
            cut: BTreeSet::new(),
            hangs: false,
            starts: 0,
            kills: 0,
            runs_max: 1,
            commit: 0,
        };
        (0..nodes).for_each(|at| cluster.boot_daemon(at));
        cluster
    }

    // What people and the world do.

    pub(super) fn up(&mut self, at: usize, services: Value) {
        let model = json!({"name": "shop", "services": services,
                           "networks": {"default": {"name": "shop_default"}}});
        let request = DeployRequest { model, ..DeployRequest::default() };
        self.ask(at, Request::Deploy(Box::new(request)));
    }

    pub(super) fn drain(&mut self, at: usize) {
        self.ask(at, Request::Avail(Availability::Draining));
    }

    pub(super) fn ask(&mut self, at: usize, request: Request) {
        self.take(at, Event::Asked(RequestId(1), request));
    }

    /// These do not hear the others any more, nor the others them.
    pub(super) fn cut(&mut self, nodes: &[usize]) {
        self.cut = nodes.iter().copied().collect();
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// A machine goes off, with all that runs on it.
    pub(super) fn kill(&mut self, at: usize) {
        self.stop_daemon(at);
        let wall = self.now.wall;
        for it in self.machines[at].containers.values_mut() {
            it.state = RuntimeState::Exited { code: 255, oom_killed: false, at: wall };
        }
    }

    pub(super) fn boot(&mut self, at: usize) {
        self.machines[at].life += 1;
        self.boot_daemon(at);
    }

    /// From its daemon's next start on a machine is labelled so.
    pub(super) fn label(&mut self, at: usize, name: &str, value: &str) {
        self.machines[at].labels.insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn restart_daemon(&mut self, at: usize, after: u64) {
        self.stop_daemon(at);
        self.pass(after);
        self.boot(at);
    }

    /// From now on nothing stops when it is asked to.
    /// So many may run, of a service that may run more than once.
    pub(super) fn may_run(&mut self, count: usize) {
        self.runs_max = count;
    }

    /// Disks are slow from now on, and what waits for them.
    pub(super) fn slow_disks(&mut self, millis: u64) {
        self.commit = millis;
    }

    pub(super) fn stops_hang(&mut self) {
        self.hangs = true;
    }

    /// What runs on a machine ends well.
    pub(super) fn complete(&mut self, at: usize) {
        let wall = self.now.wall;
        let mut ended = vec![];
        for it in self.machines[at].containers.values_mut() {
            it.state = RuntimeState::Exited { code: 0, oom_killed: false, at: wall };
            ended.push(it.container);
        }
        for container in ended {
            let sight = self.sight(at, container);
            self.take(at, Event::Seen(container, sight));
        }
    }

    /// One puts another, which is off, out of the cluster.
    pub(super) fn remove(&mut self, by: usize, at: usize) {
        let node = self.machines[at].id;
        self.ask(by, Request::RemoveNode { node, force: false, rotation: None });
    }

    // What can be seen.

    /// The machines on which a container runs.
    pub(super) fn running(&self) -> Vec<usize> {
        let runs = |it: &Machine| {
            let up = |it: &&Observed| matches!(it.state, RuntimeState::Running { .. });
            it.containers.values().filter(up).count()
        };
        let all = self.machines.iter().enumerate();
        all.flat_map(|(at, it)| std::iter::repeat_n(at, runs(it))).collect()
    }

    pub(super) fn starts(&self) -> u32 {
        self.starts
    }

    /// What each node has told of deployments and nodes since this was last asked.
    pub(super) fn told(&mut self) -> Vec<Vec<String>> {
        self.machines.iter_mut().map(|it| std::mem::take(&mut it.told)).collect()
    }

    pub(super) fn kills(&self) -> u32 {
        self.kills
    }

    pub(super) fn records(&self) -> usize {
        self.machines[0].node.as_ref().unwrap().state().containers().count()
    }

    pub(super) fn stuck(&self, at: usize) -> String {
        let view = self.machines[at].node.as_ref().unwrap().view();
        view.stuck.values().map(ToString::to_string).collect()
    }

    /// What each node knows, for whoever has to find out.
    pub(super) fn describe(&self) -> String {
        let nodes = self.machines.iter().map(|machine| {
            let Some(node) = &machine.node else { return "off".to_owned() };
            let view = node.view();
            let standings = view.cluster.as_ref().map(|it| (it.ready, it.standings.clone()));
            let containers: Vec<_> =
                view.state.containers().map(|it| (&it.name, it.node, it.state)).collect();
            format!("{containers:?} {:?} {:?} {standings:?}", view.doing, view.stuck)
        });
        nodes.collect::<Vec<_>>().join("\n")
    }

    // The machinery.

    /// Lets time pass. Never do more run than may: one, unless more are wanted.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.moment.0 + millis;
        loop {
            let wakes = self.machines.iter().enumerate().filter_map(|(at, it)| {
                let due = it.node.as_ref()?.next_wake()?;
                Some((due.0.max(self.now.moment.0 + 1), at))
            });
            let wake = wakes.min();
            let next = self.due.keys().next().copied();
            let when = next.map(|(when, _)| when).into_iter().chain(wake.map(|it| it.0)).min();
            let Some(when) = when.filter(|it| *it <= end) else { break };
            self.turn_clock(when);
            match next.filter(|it| it.0 <= when).and_then(|it| self.due.remove(&it)) {
                Some((at, life, event)) if self.machines[at].life == life => self.take(at, event),
                Some(_) => {}
                None => {
                    if let Some((_, at)) = wake {
                        self.take(at, Event::Tick);
                    }
                }
            }
            let running = self.running();
            assert!(running.len() <= self.runs_max, "too many run at {when}: {running:?}");
        }
        self.turn_clock(end);
    }

    fn turn_clock(&mut self, to: u64) {
        self.now.wall.0 += to - self.now.moment.0;
        self.now.moment.0 = to;
    }

    fn boot_daemon(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let keys = Keyring::new(Epoch(0), Key::new([7; 32]));
        let seat = Seat { keys, life: machine.life, config: Config::lan(), mesh: None };
        let seed = at as u64 + 100 * u64::from(machine.life);
        let facts = NodeRecord { labels: machine.labels.clone(), ..record(at) };
        let node = Node::new(machine.id, facts, machine.state.clone(), seed);
        machine.node = Some(node.seated(seat, self.now));
        machine.persisted = 0;
        let all = machine.containers.values().cloned().collect();
        self.take(at, Event::RuntimeFound("docker 1".into()));
        self.take(at, Event::Observed(all, BTreeMap::new()));
    }

    fn stop_daemon(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if let Some(node) = machine.node.take() {
            machine.state = (**node.state()).clone();
        }
        machine.life += 1;
    }

    fn later(&mut self, delay: u64, at: usize, event: Event) {
        self.numbers += 1;
        let life = self.machines[at].life;
        self.due.insert((self.now.moment.0 + delay, self.numbers), (at, life, event));
    }

    fn take(&mut self, at: usize, event: Event) {
        let Some(node) = &mut self.machines[at].node else { return };
        for effect in node.handle(event, self.now) {
            self.carry(at, effect);
        }
    }

    fn carry(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Persist(_) => {
                self.machines[at].persisted += 1;
                let groups = self.machines[at].persisted;
                self.later(self.commit, at, Event::Persisted(groups));
            }
            Effect::Reply(_, reply) => drop(reply.unwrap()),
            Effect::Notify(notice) => {
                if notice.kind.starts_with("deployment.") || notice.kind == "node.changed" {
                    let state = notice.state.unwrap_or_else(|| "-".to_owned());
                    self.machines[at].told.push(format!("{} {state}", notice.kind));
                }
            }
            Effect::Send { to, datagram, once_durable } => {
                let there = (0..self.machines.len()).find(|it| address(*it) == to).unwrap();
                if self.cut.contains(&at) == self.cut.contains(&there) {
                    let wait = if once_durable { self.commit } else { 0 };
                    self.later(wait + DELAY, there, Event::Datagram(address(at), datagram));
                }
            }
            Effect::Fetch(fetch) => self.fetch(at, fetch),
            Effect::Place { .. } => {}
            Effect::Unwrap(..) | Effect::Wrap(..) | Effect::Gone => unreachable!(),
            Effect::Launch(launch) | Effect::Start(launch) => self.launch(at, &launch),
            Effect::Halt { .. } if self.hangs => {}
            Effect::Halt { container, .. } => {
                self.end(at, container);
                self.finish(at, container);
            }
            Effect::Signal { container, .. } => {
                self.kills += 1;
                self.end(at, container);
                let sight = self.sight(at, container);
                self.later(1, at, Event::Seen(container, sight));
            }
            Effect::Discard { container, .. } => {
                self.machines[at].containers.retain(|_, it| it.container != container);
                self.finish(at, container);
            }
            Effect::Clear { project, .. } => self.later(1, at, Event::Cleared(project, Ok(()))),
            Effect::Probe { container, .. } => self.later(1, at, Event::Probed(container, None)),
            Effect::Look(container, _) => {
                let sight = self.sight(at, container);
                self.later(1, at, Event::Seen(container, sight));
            }
        }
    }

    fn fetch(&mut self, at: usize, fetch: Fetch) {
        let from = self.machines.iter().position(|it| it.id == fetch.from).unwrap();
        let cut = self.cut.contains(&at) != self.cut.contains(&from);
        let state = self.machines[from].node.as_ref().filter(|_| !cut).map(|it| it.state().clone());
        let ended = state.map(|state| {
            let writes = state.delta_since(&fetch.seen).collect();
            self.later(DELAY, at, Event::Fetched(fetch.from, writes));
            Fetched::Delta(state.seen().clone())
        });
        self.later(DELAY, at, Event::FetchEnded(fetch.from, ended));
    }

    fn launch(&mut self, at: usize, launch: &Launch) {
        let id = RuntimeId(launch.container.to_string().into());
        let now = self.now.wall;
        let all = &mut self.machines[at].containers;
        let it = all.entry(id.clone()).or_insert_with(|| made(id, launch, now));
        if !launch.no_start {
            it.state = RuntimeState::Running { since: now, paused: false };
            self.starts += 1;
        }
        self.finish(at, launch.container);
    }

    fn end(&mut self, at: usize, container: ContainerId) {
        let wall = self.now.wall;
        for it in self.machines[at].containers.values_mut().filter(|it| it.container == container) {
            it.state = RuntimeState::Exited { code: 143, oom_killed: false, at: wall };
        }
    }

    fn finish(&mut self, at: usize, container: ContainerId) {
        let sight = self.sight(at, container);
        self.later(1, at, Event::Finished(container, Ok(()), Some(sight)));
    }

    fn sight(&self, at: usize, container: ContainerId) -> Sight {
        let mut all = self.machines[at].containers.values();
        let there = all.find(|it| it.container == container).cloned().map(Box::new);
        Sight { container: there, image_health: None }
    }
}

fn made(id: RuntimeId, launch: &Launch, now: WallTime) -> Observed {
    Observed {
        command: String::new(),
        runtime_id: id,
        name: launch.name.to_string(),
        container: launch.container,
        project: launch.service.project.clone(),
        service: launch.service.service.clone(),
        slot: launch.slot,
        revision: launch.revision,
        one_off: launch.one_off,
        image: ImageId(format!("sha256:{}", launch.spec.image).into()),
        state: RuntimeState::Created,
        created: now,
        addresses: BTreeMap::new(),
        ports: vec![],
        shares: vec![],
    }
}
