//! A world for one node: a runtime that obeys at once, a disk of rows, a clock that is set.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    model::{
        ContainerId, ContainerState, ImageId, Millis, Moment, NodeId, NodeState, Observed,
        ProjectName, RuntimeId, RuntimeState, ServiceKey, ServiceName, WallTime,
    },
    node::{
        DeployRequest, DownRequest, Effect, Event, Failure, Launch, Node, Now, Planned,
        ProbeResult, Refusal, Request, RequestId, Response, RunRequest, ServiceVerb, Sight, View,
    },
    state::{self, ClusterState, ContainerRecord, NodeRecord, ReplicaId, Step},
};

const ME: NodeId = NodeId(7);

pub(super) struct World {
    node: Node,
    now: Now,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    containers: BTreeMap<RuntimeId, Observed>,
    images: BTreeMap<RuntimeId, String>,
    starts: BTreeMap<RuntimeId, u32>,
    made: u32,
    events: VecDeque<Event>,
    reply: Option<Result<Response, Refusal>>,
    well: BTreeMap<String, bool>,
    exits: BTreeMap<String, i64>,
    stops: BTreeMap<String, i64>,
    refused: BTreeSet<String>,
    hooks_fail: BTreeSet<String>,
    pruned: BTreeSet<ImageId>,
    stops_hang: bool,
    keeps_volumes: bool,
    hanging: Vec<(ContainerId, RuntimeId)>,
    log: Vec<String>,
    last: Value,
    carried: usize,
    kill_at: Option<(usize, bool)>,
    killed: bool,
    doubled: bool,
    lost: bool,
}

fn facts() -> NodeRecord {
    NodeRecord {
        replica: ReplicaId(1),
        version: "0".into(),
        cpus: 1,
        memory_bytes: 1,
        architecture: "x86_64".into(),
        kernel: "6".into(),
        ..NodeRecord::unmeasured("here".parse().unwrap(), NodeState::Alive, WallTime(0))
    }
}

fn shop() -> ProjectName {
    "shop".parse().unwrap()
}

fn model(services: Value) -> Value {
    json!({"name": "shop", "services": services, "networks": {"default": {"name": "shop_default"}}})
}

impl World {
    pub(super) fn new() -> Self {
        let node = Node::new(ME, facts(), ClusterState::new(ReplicaId(1)), 1);
        let now = Now { moment: Moment(1_000), wall: WallTime(1_000_000) };
        let mut world = Self {
            node,
            now,
            rows: BTreeMap::new(),
            containers: BTreeMap::new(),
            images: BTreeMap::new(),
            starts: BTreeMap::new(),
            made: 0,
            events: VecDeque::new(),
            reply: None,
            well: BTreeMap::new(),
            exits: BTreeMap::new(),
            stops: BTreeMap::new(),
            refused: BTreeSet::new(),
            hooks_fail: BTreeSet::new(),
            pruned: BTreeSet::new(),
            stops_hang: false,
            keeps_volumes: false,
            hanging: vec![],
            log: vec![],
            last: Value::Null,
            carried: 0,
            kill_at: None,
            killed: false,
            doubled: false,
            lost: false,
        };
        world.find_runtime();
        world
    }

    // What people do.

    pub(super) fn up(&mut self, services: Value) -> Planned {
        self.deploy(services, |_| ()).unwrap()
    }

    pub(super) fn up_again(&mut self) {
        let services = self.last.clone();
        self.up(services);
    }

    pub(super) fn deploy(
        &mut self,
        services: Value,
        change: impl FnOnce(&mut DeployRequest),
    ) -> Result<Planned, Refusal> {
        self.last = services.clone();
        let mut request = DeployRequest { model: model(services), ..DeployRequest::default() };
        change(&mut request);
        match self.ask(Request::Deploy(Box::new(request)))? {
            Response::Planned(planned) => Ok(*planned),
            other @ (Response::Done
            | Response::Recorded(_)
            | Response::Explained(_)
            | Response::Moves(_)) => {
                panic!("{other:?}")
            }
        }
    }

    pub(super) fn verb(&mut self, services: &[&str], verb: ServiceVerb) {
        let services = services.iter().map(|it| it.parse().unwrap()).collect();
        self.ask(Request::Services(shop(), services, verb)).unwrap();
    }

    /// Like [`Self::verb`], where there may be nothing to do it to.
    pub(super) fn try_verb(&mut self, services: &[&str], verb: ServiceVerb) {
        let services = services.iter().map(|it| it.parse().unwrap()).collect();
        self.try_ask(Request::Services(shop(), services, verb));
    }

    pub(super) fn try_down_only(&mut self, service: &str) {
        self.try_ask(Request::Down(DownRequest {
            project: shop(),
            services: vec![service.parse().unwrap()],
            volumes: false,
            images: None,
            grace: None,
        }));
    }

    pub(super) fn try_run(&mut self, service: &str, waits: bool) {
        self.try_ask(Self::run_request(service, waits));
    }

    fn try_ask(&mut self, request: Request) {
        let answer = self.ask(request);
        assert!(matches!(answer, Ok(_) | Err(Refusal::NotFound { .. })), "{answer:?}");
    }

    /// Every container of `fizz run` is removed by hand.
    pub(super) fn remove_runs(&mut self) {
        let view = self.view();
        for it in view.state.containers().filter(|it| it.one_off.is_some()) {
            self.ask(Request::Remove { container: it.id, force: true, volumes: true }).unwrap();
        }
    }

    pub(super) fn down(&mut self) {
        self.down_only(&[]);
    }

    /// Takes some services down; none named is all.
    pub(super) fn down_only(&mut self, services: &[&str]) {
        let request = DownRequest {
            project: shop(),
            services: services.iter().map(|it| it.parse().unwrap()).collect(),
            volumes: true,
            images: None,
            grace: None,
        };
        self.ask(Request::Down(request)).unwrap();
    }

    /// Replaces the rest of the world's file: networks and such.
    pub(super) fn deploy_with(&mut self, services: Value, networks: &[&str]) -> Planned {
        let named = |key: &&str| ((*key).to_owned(), json!({"name": format!("shop_{key}")}));
        let networks: Value = networks.iter().map(named).collect::<serde_json::Map<_, _>>().into();
        self.deploy(services, |request| request.model["networks"] = networks).unwrap()
    }

    pub(super) fn run(&mut self, service: &str, waits: bool) -> ContainerId {
        match self.ask(Self::run_request(service, waits)).unwrap() {
            Response::Recorded(id) => id,
            other @ (Response::Done
            | Response::Planned(_)
            | Response::Explained(_)
            | Response::Moves(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn run_request(service: &str, waits: bool) -> Request {
        Request::Run(Box::new(RunRequest {
            project: shop(),
            service: service.parse().unwrap(),
            name: None,
            definition: json!({"image": service}),
            no_deps: false,
            remove: true,
            waits,
        }))
    }

    /// Asks, and asks again if the daemon was killed before it answered: nothing was promised then.
    pub(super) fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        self.reply = None;
        while self.reply.is_none() {
            self.events.push_back(Event::Asked(RequestId(1), request.clone()));
            self.turn();
        }
        self.reply.take().unwrap()
    }

    // What the world does.

    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.moment + Millis(millis);
        let mut ticks = 0;
        while let Some(due) = self.node.next_wake().filter(|due| *due <= end) {
            ticks += 1;
            assert!(ticks <= millis + 1_000, "it never rests");
            let due = due.max(self.now.moment);
            self.now.wall.0 += (due - self.now.moment).0;
            self.now.moment = due;
            self.events.push_back(Event::Tick);
            self.turn();
        }
        self.now.wall.0 += (end - self.now.moment).0;
        self.now.moment = end;
    }

    pub(super) fn health(&mut self, service: &str, well: bool) {
        self.well.insert(service.to_owned(), well);
    }

    /// From now on the service's processes end at once, with this status.
    pub(super) fn exits(&mut self, service: &str, code: i64) {
        self.exits.insert(service.to_owned(), code);
    }

    /// From now on the service's processes end with this status when they are asked to stop.
    pub(super) fn stops_with(&mut self, service: &str, code: i64) {
        self.stops.insert(service.to_owned(), code);
    }

    /// From now on the service's processes go on.
    pub(super) fn goes_on(&mut self, service: &str) {
        self.exits.remove(service);
    }

    pub(super) fn refuses(&mut self, image: &str) {
        self.refused.insert(image.to_owned());
    }

    /// From now on the service's hooks after a start fail, or not.
    pub(super) fn fails_hooks(&mut self, service: &str, fails: bool) {
        match fails {
            true => self.hooks_fail.insert(service.to_owned()),
            false => self.hooks_fail.remove(service),
        };
    }

    /// Somebody removed an image from the runtime.
    pub(super) fn prune(&mut self, image: &ImageId) {
        self.pruned.insert(image.clone());
    }

    /// From now on processes do not stop when they are asked to, until [`Self::let_stop`].
    pub(super) fn hang_stops(&mut self) {
        self.stops_hang = true;
    }

    /// What a project has beside containers cannot be removed for now.
    pub(super) fn keep_volumes(&mut self, keep: bool) {
        self.keeps_volumes = keep;
    }

    pub(super) fn let_stop(&mut self) {
        self.stops_hang = false;
        for (container, id) in std::mem::take(&mut self.hanging) {
            self.end(&id, 143);
            self.finish(container, Ok(()), Some(&id));
        }
        self.turn();
    }

    pub(super) fn pause(&mut self, name: &str, pause: bool) {
        let id = self.record(name).runtime_id.unwrap();
        if let RuntimeState::Running { paused, .. } =
            &mut self.containers.get_mut(&id).unwrap().state
        {
            *paused = pause;
        }
        self.see(&id);
        self.turn();
    }

    /// The wall clock is set.
    pub(super) fn set_clock(&mut self, wall: WallTime) {
        self.now.wall = wall;
    }

    /// What was recorded of a service: its containers' names and states.
    pub(super) fn runs(&self, service: &str) -> Vec<(String, ContainerState)> {
        let view = self.view();
        let mine = view.state.containers().filter(|it| it.service.service.as_str() == service);
        let mut runs: Vec<_> = mine.map(|it| (it.name.to_string(), it.state)).collect();
        runs.sort();
        runs
    }

    /// The wall clock was wrong, and is set back.
    pub(super) fn set_back(&mut self, millis: u64) {
        self.now.wall.0 -= millis;
    }

    /// A container as it is now, to be told later.
    pub(super) fn sight_of(&self, name: &str) -> Event {
        let record = self.record(name);
        let container = record.runtime_id.and_then(|it| self.containers.get(&it)).cloned();
        Event::Seen(record.id, Sight { container: container.map(Box::new), image_health: None })
    }

    /// All containers as they are now, to be told later.
    pub(super) fn list(&self) -> Event {
        Event::Observed(self.containers.values().cloned().collect(), BTreeMap::new())
    }

    /// All containers that the node knows of, one by one, to be told later.
    pub(super) fn sights(&self) -> Vec<Event> {
        self.containers.keys().map(|id| self.sight_of_id(id)).collect()
    }

    fn sight_of_id(&self, id: &RuntimeId) -> Event {
        let it = self.containers[id].clone();
        let sight = Sight { container: Some(Box::new(it.clone())), image_health: None };
        Event::Seen(it.container, sight)
    }

    /// Something is told once more, much later.
    pub(super) fn hear_again(&mut self, event: &Event) {
        if self.lost {
            return;
        }
        if let Event::Seen(id, sight) = event {
            self.hear(Event::Seen(*id, sight.clone()));
        } else if let Event::Observed(list, health) = event {
            self.hear(Event::Observed(list.clone(), health.clone()));
        }
    }

    pub(super) fn hear(&mut self, event: Event) {
        self.events.push_back(event);
        self.turn();
    }

    /// The runtime goes away, and nobody has noticed yet.
    pub(super) fn break_runtime(&mut self) {
        self.lost = true;
    }

    /// What was agreed becomes unreadable for this version, as if a later one had written it.
    pub(super) fn spoil(&mut self) {
        let view = self.view();
        let mut state = (*view.state).clone();
        let mut record = (**state.deployments().get(&shop()).unwrap()).clone();
        record.model = "of a later version".into();
        let step =
            state.commit(state::Change::Deployment(shop(), Some(Arc::new(record))), self.now.wall);
        self.keep(&[step]);
        self.restart_daemon();
    }

    fn keep(&mut self, steps: &[Step]) {
        for row in steps.iter().flat_map(|it| state::encode(it).unwrap()) {
            match row.value {
                Some(value) => self.rows.insert(row.key, value),
                None => self.rows.remove(&row.key),
            };
        }
    }

    pub(super) fn allows(&mut self, image: &str) {
        self.refused.remove(image);
    }

    pub(super) fn crash(&mut self, name: &str, code: i64) {
        self.now.wall.0 += 1;
        let id = self.record(name).runtime_id.unwrap();
        self.end(&id, code);
        self.see(&id);
        self.turn();
    }

    pub(super) fn vanish(&mut self, name: &str) {
        let record = self.record(name);
        self.containers.remove(&record.runtime_id.unwrap());
        self.events.push_back(Event::Seen(record.id, Sight::default()));
        self.turn();
    }

    /// The process of one of the containers ends, if any runs.
    pub(super) fn crash_some(&mut self, which: u8, code: i64) {
        let up = |it: &&Observed| matches!(it.state, RuntimeState::Running { .. });
        let up: Vec<RuntimeId> =
            self.containers.values().filter(up).map(|it| it.runtime_id.clone()).collect();
        if let Some(id) = up.get(usize::from(which) % up.len().max(1)) {
            self.now.wall.0 += 1;
            self.end(id, code);
            if !self.lost {
                self.see(id);
            }
            self.turn();
        }
    }

    /// One of the containers is removed by somebody else, if there is any.
    pub(super) fn vanish_some(&mut self, which: u8) {
        let all: Vec<RuntimeId> = self.containers.keys().cloned().collect();
        if let Some(id) = all.get(usize::from(which) % all.len().max(1))
            && let Some(it) = self.containers.remove(id)
            && !self.lost
        {
            self.events.push_back(Event::Seen(it.container, Sight::default()));
            self.turn();
        }
    }

    pub(super) fn lose_runtime(&mut self) {
        self.lost = true;
        self.events.push_back(Event::RuntimeLost("gone".into()));
        self.turn();
    }

    pub(super) fn find_runtime(&mut self) {
        self.lost = false;
        self.events.push_back(Event::RuntimeFound("docker 1".into()));
        self.observe();
        self.turn();
    }

    /// The daemon will be killed at its effect number `cut`, before or after the world has done it.
    pub(super) fn kill_daemon_at(&mut self, cut: usize, carried: bool) {
        self.kill_at = Some((self.carried + cut, carried));
    }

    pub(super) fn restart_daemon(&mut self) {
        let mut state = ClusterState::new(ReplicaId(1));
        for (key, value) in &self.rows {
            state::decode(&mut state, key, value).unwrap();
        }
        self.events.clear();
        let seed = 1_000 + u64::try_from(self.carried).unwrap();
        self.node = Node::new(ME, facts(), state, seed);
        if !self.lost {
            self.events.push_back(Event::RuntimeFound("docker 1".into()));
            self.observe();
        }
        self.turn();
    }

    // What can be seen.

    pub(super) fn view(&self) -> View {
        self.node.view()
    }

    /// Everything agreed, but for this node's own record, which tells of its runtime.
    pub(super) fn agreed(&self) -> String {
        let state = self.view().state;
        let containers: Vec<_> = state.containers().collect();
        format!("{:?} {:?} {containers:?}", state.services(), state.deployments())
    }

    pub(super) fn running(&self) -> Vec<String> {
        let up = |it: &&Observed| matches!(it.state, RuntimeState::Running { .. });
        let mut names: Vec<String> =
            self.containers.values().filter(up).map(|it| it.name.clone()).collect();
        names.sort();
        names
    }

    pub(super) fn images(&self, service: &str) -> Vec<String> {
        let of = |(id, it): (&RuntimeId, &Observed)| {
            (it.service.as_str() == service).then(|| self.images[id].clone())
        };
        let mut images: Vec<String> = self.containers.iter().filter_map(of).collect();
        images.sort();
        images
    }

    pub(super) fn runtime_ids(&self) -> BTreeSet<RuntimeId> {
        self.containers.keys().cloned().collect()
    }

    pub(super) fn record(&self, name: &str) -> ContainerRecord {
        let view = self.view();
        let found = view.state.containers().find(|it| it.name.as_str() == name);
        (**found.unwrap_or_else(|| panic!("no container {name}"))).clone()
    }

    pub(super) fn name_of(&self, id: ContainerId) -> String {
        self.view().state.container(id).unwrap().name.to_string()
    }

    pub(super) fn state(&self, name: &str) -> ContainerState {
        self.record(name).state
    }

    pub(super) fn doing(&self, name: &str) -> String {
        let id = self.record(name).id;
        self.view().doing.get(&id).map(super::super::Activity::words).unwrap_or_default()
    }

    fn key(service: &str) -> ServiceKey {
        ServiceKey { project: shop(), service: service.parse::<ServiceName>().unwrap() }
    }

    pub(super) fn is_ready(&self, service: &str) -> bool {
        self.view().ready.contains(&Self::key(service))
    }

    pub(super) fn stuck(&self, service: &str) -> String {
        let why = self.view().stuck.get(&Self::key(service)).map(ToString::to_string);
        why.unwrap_or_default()
    }

    pub(super) fn starts(&self, name: &str) -> u32 {
        self.starts[&self.record(name).runtime_id.unwrap()]
    }

    pub(super) fn made(&self) -> u32 {
        self.made
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.clone()
    }

    pub(super) fn clear_log(&mut self) {
        self.log.clear();
    }

    pub(super) fn effects_carried(&self) -> usize {
        self.carried
    }

    pub(super) fn was_killed(&self) -> bool {
        self.killed
    }

    pub(super) fn at_most_one_ran_per_name(&self) -> bool {
        !self.doubled
    }

    // The machinery.

    /// Lets the node take every event that is there, and carries its effects out.
    fn turn(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.now.wall.0 += 1;
            for effect in self.node.handle(event, self.now) {
                let cut = self.kill_at.filter(|(at, _)| *at == self.carried);
                self.carried += 1;
                if let Some((_, carried)) = cut {
                    self.killed = true;
                    self.kill_at = None;
                    if carried {
                        self.carry(effect);
                    }
                    self.restart_daemon();
                    return;
                }
                self.carry(effect);
            }
        }
    }

    /// While the runtime is away, whatever needs it fails for now.
    fn carry(&mut self, effect: Effect) {
        let away = || Failure { reason: "the runtime is away".into(), passing: true };
        match effect {
            Effect::Launch(launch) | Effect::Start(launch) if self.lost => {
                self.events.push_back(Event::Finished(launch.container, Err(away()), None));
            }
            Effect::Halt { container, .. } | Effect::Discard { container, .. } if self.lost => {
                self.events.push_back(Event::Finished(container, Err(away()), None));
            }
            Effect::Signal { .. } if self.lost => {}
            Effect::Clear { project, .. } if self.lost || self.keeps_volumes => {
                self.events.push_back(Event::Cleared(project, Err(away())));
            }
            Effect::Look(..) if self.lost => {}
            Effect::Persist(steps) => self.keep(&steps),
            Effect::Reply(_, reply) => self.reply = Some(reply),
            Effect::Notify(_) => {}
            Effect::Send { .. }
            | Effect::Fetch(_)
            | Effect::Unwrap(..)
            | Effect::Place { .. }
            | Effect::Wrap(..)
            | Effect::Gone => {
                unreachable!("it is in no cluster")
            }
            Effect::Launch(launch) => self.launch(&launch),
            Effect::Start(launch) => {
                let id = launch.runtime_id.clone().unwrap();
                let gone = Failure { reason: "it is not there".into(), passing: false };
                let there = self.containers.contains_key(&id);
                let ran = if there { self.start(&id, &launch) } else { Err(gone) };
                self.finish(launch.container, ran, Some(&id));
            }
            Effect::Halt { container, runtime_id, .. } if self.stops_hang => {
                self.hanging.push((container, runtime_id));
            }
            Effect::Halt { container, runtime_id, hooks, .. } => {
                let hooks = hooks.iter().map(|it| format!("hook {}", it.command.join(" ")));
                self.log.extend(hooks);
                self.log.push(format!("stop {runtime_id}"));
                let service = self.containers.get(&runtime_id).map(|it| it.service.clone());
                let code = service.and_then(|it| self.stops.get(it.as_str()).copied());
                self.end(&runtime_id, code.unwrap_or(143));
                self.finish(container, Ok(()), Some(&runtime_id));
            }
            Effect::Signal { container, runtime_id, .. } => {
                self.end(&runtime_id, 137);
                self.look(container, &runtime_id);
            }
            Effect::Discard { container, runtime_id, .. } => {
                let by_label = self.containers.values().find(|it| it.container == container);
                let id = runtime_id.or_else(|| by_label.map(|it| it.runtime_id.clone()));
                if let Some(id) = id {
                    self.log.push(format!("remove {id}"));
                    self.containers.remove(&id);
                }
                self.finish(container, Ok(()), None);
            }
            Effect::Clear { project, .. } => {
                self.log.push(format!("clear {project}"));
                self.events.push_back(Event::Cleared(project, Ok(())));
            }
            Effect::Probe { container, .. } => {
                let service = self.view().state.container(container).unwrap().service.clone();
                let passed = self.well.get(service.service.as_str()).copied().unwrap_or(true);
                let result = (!self.lost).then(|| ProbeResult { passed, output: "ok".into() });
                self.events.push_back(Event::Probed(container, result));
            }
            Effect::Look(container, id) => self.look(container, &id),
        }
    }

    fn launch(&mut self, launch: &Launch) {
        if self.refused.contains(&launch.spec.image) {
            let reason: Arc<str> = "no such image".into();
            let failure = Failure { reason, passing: false };
            self.log.push(format!("refuse {}", launch.name));
            return self.finish(launch.container, Err(failure), None);
        }
        let there = self.containers.values().find(|it| it.container == launch.container);
        let id = match there {
            Some(it) => it.runtime_id.clone(),
            None => self.make(launch),
        };
        let ran = if launch.no_start {
            self.log.push(format!("make {}", launch.name));
            Ok(())
        } else {
            self.start(&id, launch)
        };
        self.finish(launch.container, ran, Some(&id));
    }

    fn make(&mut self, launch: &Launch) -> RuntimeId {
        self.made += 1;
        let id = RuntimeId(self.made.to_string().into());
        let name = match launch.beside {
            true => format!("{}-{}", launch.name, launch.container.short()),
            false => launch.name.to_string(),
        };
        assert!(self.containers.values().all(|it| it.name != name), "{name} is taken");
        let pinned = launch.image.clone().filter(|it| !self.pruned.contains(it));
        let image = ImageId(format!("sha256:{}", launch.spec.image).into());
        let image = pinned.unwrap_or(image);
        let observed = Observed {
            command: String::new(),
            runtime_id: id.clone(),
            name,
            container: launch.container,
            project: launch.service.project.clone(),
            service: launch.service.service.clone(),
            slot: launch.slot,
            revision: launch.revision,
            one_off: launch.one_off,
            image,
            state: RuntimeState::Created,
            created: self.now.wall,
            addresses: BTreeMap::new(),
            ports: vec![],
            shares: launch.peers.iter().map(|(_, id)| id.clone()).collect(),
        };
        self.containers.insert(id.clone(), observed);
        self.images.insert(id.clone(), launch.spec.image.clone());
        id
    }

    /// Starts a container, and runs its hooks.
    fn start(&mut self, id: &RuntimeId, launch: &Launch) -> Result<(), Failure> {
        self.log.push(format!("start {}", launch.name));
        let doubled = self.containers.values().any(|it| {
            let running = matches!(it.state, RuntimeState::Running { .. });
            it.name == launch.name.as_str() && it.runtime_id != *id && running
        });
        self.doubled |= doubled;
        *self.starts.entry(id.clone()).or_default() += 1;
        let since = self.now.wall;
        let it = self.containers.get_mut(id).unwrap();
        it.name = launch.name.to_string();
        it.state = RuntimeState::Running { since, paused: false };
        if let Some(&code) = self.exits.get(it.service.as_str()) {
            self.now.wall.0 += 1;
            self.end(id, code);
        }
        let fails = self.hooks_fail.contains(launch.service.service.as_str());
        match launch.spec.post_start.first().filter(|_| fails) {
            Some(hook) => {
                let reason = format!("post_start hook `{}` failed", hook.command.join(" "));
                Err(Failure { reason: reason.into(), passing: false })
            }
            None => Ok(()),
        }
    }

    fn end(&mut self, id: &RuntimeId, code: i64) {
        let at = self.now.wall;
        if let Some(it) = self.containers.get_mut(id)
            && matches!(it.state, RuntimeState::Running { .. })
        {
            it.state = RuntimeState::Exited { code, oom_killed: false, at };
        }
    }

    fn finish(&mut self, id: ContainerId, result: Result<(), Failure>, at: Option<&RuntimeId>) {
        let container = at.and_then(|it| self.containers.get(it)).cloned().map(Box::new);
        let sight = Some(Sight { container, image_health: None });
        self.events.push_back(Event::Finished(id, result, sight));
    }

    fn look(&mut self, container: ContainerId, id: &RuntimeId) {
        let seen = self.containers.get(id).cloned().map(Box::new);
        let sight = Sight { container: seen, image_health: None };
        self.events.push_back(Event::Seen(container, sight));
    }

    fn see(&mut self, id: &RuntimeId) {
        let Some(it) = self.containers.get(id).cloned() else { return };
        let sight = Sight { container: Some(Box::new(it.clone())), image_health: None };
        self.events.push_back(Event::Seen(it.container, sight));
    }

    fn observe(&mut self) {
        let list = self.containers.values().cloned().collect();
        self.events.push_back(Event::Observed(list, BTreeMap::new()));
    }
}
