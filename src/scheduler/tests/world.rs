//! Nodes and services to place, as small as a story needs them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    compose::{decode, json::to_tree, problem::Problems},
    model::{
        ContainerId, NodeId, Random, ServiceKey, ServiceName, Slot, WallTime, spec::ProjectSpec,
    },
    scheduler::{
        Count, Demand, Holder, Placement, Rules, Site, Sites, Standing, Tenant, Unit, Usage,
        Verdict, explain, place, turns,
    },
};

pub(super) const GIB: u64 = 1 << 30;

/// Nodes, and services with what holds their slots.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) nodes: BTreeMap<NodeId, Site>,
    pub(super) services: BTreeMap<ServiceKey, Service>,
    pub(super) usage: Usage,
    made: u64,
}

#[derive(Clone)]
pub(super) struct Service {
    pub(super) rules: Rules,
    pub(super) count: Count,
    pub(super) holders: Vec<Holder>,
    pub(super) wishes: BTreeMap<Slot, NodeId>,
}

pub(super) fn node(id: u128) -> Site {
    Site {
        id: NodeId(id),
        name: format!("n{id}"),
        labels: BTreeMap::new(),
        architecture: "x86_64".to_owned(),
        cpus_milli: 4000,
        memory_bytes: 8 * GIB,
        runtime: true,
        standing: Standing::Open,
        volumes: [].into(),
    }
}

pub(super) fn key(name: &str) -> ServiceKey {
    ServiceKey { project: "shop".parse().unwrap(), service: name.parse().unwrap() }
}

/// A project `shop` with these services, which need no image here.
pub(super) fn project(services: &Value, volumes: &Value) -> ProjectSpec {
    let mut services = services.clone();
    for (_, service) in services.as_object_mut().unwrap() {
        service["image"] = json!("app");
    }
    let root = json!({"name": "shop", "services": services, "volumes": volumes});
    let mut problems = Problems::default();
    decode::project(&to_tree(&root), &mut problems).unwrap_or_else(|| panic!("{problems}"))
}

impl World {
    /// Equal open nodes, `n1` and so on.
    pub(super) fn of(nodes: u128) -> Self {
        let nodes = (1..=nodes).map(|it| (NodeId(it), node(it))).collect();
        Self { nodes, ..Self::default() }
    }

    /// With the services of a project.
    pub(super) fn with(mut self, services: &Value) -> Self {
        self.deploy(services, &json!({}));
        self
    }

    pub(super) fn deploy(&mut self, services: &Value, volumes: &Value) {
        let project = project(services, volumes);
        for (name, spec) in &project.services {
            let count = match spec.deploy.mode {
                crate::model::spec::Mode::Replicated(slots)
                | crate::model::spec::Mode::ReplicatedJob(slots) => Count::Slots(slots),
                crate::model::spec::Mode::Global | crate::model::spec::Mode::GlobalJob => {
                    Count::EachNode
                }
            };
            let rules = Rules::of(spec, &project);
            let before = self.services.remove(&key(name.as_str()));
            let (holders, wishes) = before.map(|it| (it.holders, it.wishes)).unwrap_or_default();
            let service = Service { rules, count, holders, wishes };
            self.services.insert(key(name.as_str()), service);
        }
    }

    pub(super) fn node(&mut self, id: u128) -> &mut Site {
        self.nodes.get_mut(&NodeId(id)).unwrap()
    }

    pub(super) fn service(&mut self, name: &str) -> &mut Service {
        self.services.get_mut(&key(name)).unwrap()
    }

    pub(super) fn sites(&self) -> Sites {
        Sites::new(self.nodes.values().cloned())
    }

    pub(super) fn demand<'a>(&'a self, key: &'a ServiceKey) -> Demand<'a> {
        let Service { rules, count, holders, wishes } = &self.services[key];
        Demand { service: key, rules, count: *count, only: None, holders, wishes }
    }

    /// Each service by itself, or all of them on one node.
    pub(super) fn units(&self, together: bool) -> Vec<Unit<'_>> {
        let demands: Vec<_> = self.services.keys().map(|it| self.demand(it)).collect();
        match together {
            true => vec![Unit { demands, together }],
            false => demands.into_iter().map(|it| Unit { demands: vec![it], together }).collect(),
        }
    }

    pub(super) fn place(&self, name: &str) -> Placement {
        let demands = vec![self.demand(self.services.get_key_value(&key(name)).unwrap().0)];
        place(&Unit { demands, together: false }, &self.sites(), &self.usage)
    }

    /// The nodes of a service's slots, in their order.
    pub(super) fn nodes_of(&self, name: &str) -> Vec<u128> {
        self.place(name).posts.iter().map(|it| it.node.0).collect()
    }

    pub(super) fn verdicts(&self, name: &str) -> Vec<Verdict> {
        let demands = vec![self.demand(self.services.get_key_value(&key(name)).unwrap().0)];
        let unit = Unit { demands, together: false };
        explain(&unit, &key(name).service, &self.sites(), &self.usage)
    }

    /// What speaks against a node, in words.
    pub(super) fn against(&self, name: &str, node: u128) -> String {
        let verdict = self.verdicts(name).into_iter().find(|it| it.node.0 == node).unwrap();
        let words: Vec<String> = verdict.objections.iter().map(ToString::to_string).collect();
        words.join("; ")
    }

    /// Everything is placed, and then runs where it was placed. Gives what has no place.
    pub(super) fn settle(&mut self) -> usize {
        self.settle_as(false)
    }

    pub(super) fn settle_as(&mut self, together: bool) -> usize {
        let names = turns(self.services.iter().map(|(key, it)| (key, &it.rules)));
        let names: Vec<ServiceKey> = names.into_iter().cloned().collect();
        let sites = self.sites();
        let groups: Vec<&[ServiceKey]> = match together {
            true => vec![&names[..]],
            false => names.chunks(1).collect(),
        };
        let mut pending = 0;
        for group in groups {
            let demands = group.iter().map(|it| self.demand(it)).collect();
            let placement = place(&Unit { demands, together }, &sites, &self.usage);
            pending += placement.pending.len();
            for name in group {
                self.run(name, &placement);
            }
        }
        pending
    }

    /// A service's containers are where a placement wants them, and nowhere else.
    fn run(&mut self, name: &ServiceKey, placement: &Placement) {
        let service = self.services.get_mut(name).unwrap();
        let posts = placement.posts.iter().filter(|it| it.service == name.service);
        let posts: Vec<_> = posts.map(|it| (it.slot, it.node)).collect();
        let charge = service.rules.charge().clone();
        for it in &service.holders {
            let tenant =
                Tenant { service: name, slot: it.slot, created: it.created, charge: &charge };
            self.usage.remove(it.node, tenant);
        }
        let old = std::mem::take(&mut service.holders);
        for (slot, node) in posts {
            self.made += 1;
            let stays = old.iter().find(|it| it.slot == slot && it.node == node);
            let new = Holder {
                slot,
                node,
                rank: 2,
                created: WallTime(self.made),
                id: ContainerId(self.made.into()),
            };
            service.holders.push(stays.cloned().unwrap_or(new));
        }
        for it in &service.holders {
            let tenant =
                Tenant { service: name, slot: it.slot, created: it.created, charge: &charge };
            self.usage.add(it.node, tenant);
        }
    }

    /// Where everything is.
    pub(super) fn posts(&self) -> BTreeMap<(ServiceName, Slot), NodeId> {
        let all = self.services.iter();
        all.flat_map(|(key, it)| {
            it.holders.iter().map(|it| ((key.service.clone(), it.slot), it.node))
        })
        .collect()
    }

    /// How many containers a node has.
    pub(super) fn load(&self, node: u128) -> usize {
        self.posts().values().filter(|it| it.0 == node).count()
    }

    /// Whatever chance makes: up to eight nodes and six services with all kinds of rules.
    pub(super) fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut world = Self::of(1 + random.below(8) as u128);
        for site in world.nodes.values_mut() {
            site.cpus_milli = [0, 1000, 2000, 8000][random.below(4)];
            site.memory_bytes = [1, 2, 8][random.below(3)] * GIB;
            let zone = ["a", "b", "c"][random.below(3)];
            site.labels = [("zone".to_owned(), zone.to_owned())].into();
            if random.below(5) == 0 {
                site.labels.clear();
            }
        }
        let mut services = json!({});
        for name in ["a", "b", "c", "d", "e", "f"].iter().take(1 + random.below(6)) {
            services[name] = service(&mut random);
        }
        world.deploy(&services, &json!({}));
        world
    }
}

fn service(random: &mut Random) -> Value {
    let mut service = json!({"deploy": {"replicas": random.below(8), "placement": {}}});
    let deploy = &mut service["deploy"];
    if random.below(3) == 0 {
        let memory = ["100m", "500m", "1g"][random.below(3)];
        deploy["resources"] = json!({"reservations": {"memory": memory, "cpus": "0.2"}});
    }
    if random.below(3) == 0 {
        let sign = ["==", "!="][random.below(2)];
        deploy["placement"]["constraints"] = json!([format!("node.labels.zone {sign} a")]);
    }
    if random.below(3) == 0 {
        deploy["placement"]["preferences"] = json!([{"spread": "node.labels.zone"}]);
    }
    if random.below(4) == 0 {
        deploy["placement"]["max_replicas_per_node"] = json!(1 + random.below(2));
    }
    if random.below(4) == 0 {
        let published = (80 + random.below(2)).to_string();
        service["ports"] = json!([{"target": 80, "published": published, "protocol": "tcp"}]);
    }
    service
}
