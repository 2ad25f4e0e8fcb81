//! Three machines at a switch, and what they say of themselves and of each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
    thread::{self, sleep},
    time::Duration,
};

use fizz::{
    model::{ClusterId, NodeId},
    topology::Plan,
};
use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    lan,
    machine::{Image, Machine, Said},
};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The stacks of `examples/`.
pub(crate) const EXAMPLES: [&str; 4] = ["hello", "shop", "queue", "metrics"];

/// How long what is to come about may take, and between two looks.
const COMING_MAX: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(500);

/// The machines. Should a test fail, they say their last words.
pub(crate) struct Cluster {
    image: Image,
    pub(crate) machines: Vec<Machine>,
}

impl Cluster {
    /// Makes the switch and the machines, and boots them together.
    pub(crate) fn boot() -> Self {
        let folder = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.unwrap_or_else(|| panic!("{name} is not set; run: sudo tests/vm/run.sh cluster"))
        };
        let (image, work) = (Image(folder("FIZZ_VM_IMAGE")), folder("FIZZ_VM_WORK"));
        lan::make(&NAMES);
        share(&work.join("share"));
        let machines = (1..).zip(NAMES).map(|(i, name)| Machine::new(&image, &work, name, i));
        let mut cluster = Self { machines: machines.collect(), image };
        for machine in &mut cluster.machines {
            machine.switch_on(&cluster.image);
        }
        for machine in &mut cluster.machines {
            machine.until_it_answers();
        }
        cluster
    }

    pub(crate) fn of(&self, name: &str) -> &Machine {
        self.machines.iter().find(|it| it.name == name).unwrap()
    }

    /// Takes the power from one.
    pub(crate) fn kill(&mut self, name: &str) {
        self.machines.iter_mut().find(|it| it.name == name).unwrap().kill();
    }

    pub(crate) fn switch_on(&mut self, name: &str) {
        let machine = self.machines.iter_mut().find(|it| it.name == name).unwrap();
        machine.switch_on(&self.image);
        machine.until_it_answers();
    }

    /// Does the same on all of them at once.
    pub(crate) fn each<T: Send>(&self, work: impl Fn(&Machine) -> T + Sync) -> Vec<T> {
        thread::scope(|scope| {
            let work = &work;
            let all: Vec<_> =
                self.machines.iter().map(|it| scope.spawn(move || work(it))).collect();
            all.into_iter().map(|it| it.join().unwrap()).collect()
        })
    }

    /// Waits until all of these see the members so.
    pub(crate) fn until_seen(&self, by: &[&str], members: &[(&str, &str)]) {
        let wanted: BTreeMap<String, String> =
            members.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect();
        for name in by {
            until(&format!("{name} sees {members:?}"), || {
                let nodes = self.of(name).json("nodes");
                let nodes = nodes.as_array().unwrap().iter();
                let seen = nodes.map(|it| (text(it, "name"), text(it, "state"))).collect();
                wanted == seen
            });
        }
    }

    /// The containers of a project that are well, as a node sees them, by slot: what was lost with its node is not.
    pub(crate) fn well(&self, by: &str, project: &str, service: &str) -> BTreeMap<u64, Value> {
        let all = self.of(by).json(&format!("-p {project} ps {service}"));
        let all = all.as_array().unwrap().iter().cloned();
        let well = all.filter(|it| it["state"] == "healthy" && it["node_state"].is_null());
        well.map(|it| (it["slot"].as_u64().unwrap(), it)).collect()
    }

    /// Waits until as many replicas are well; what they are.
    pub(crate) fn until_well(
        &self,
        by: &str,
        project: &str,
        service: &str,
        count: usize,
    ) -> BTreeMap<u64, Value> {
        let what = format!("{count} of {service} are well");
        until(&what, || self.well(by, project, service).len() == count);
        self.well(by, project, service)
    }

    /// The plan of the cluster's addresses.
    pub(crate) fn plan(&self) -> Plan {
        let id: ClusterId = text(&self.of("a").json("cluster status"), "id").parse().unwrap();
        Plan::new(id, "10.100.0.0/16".parse().unwrap(), 24).unwrap()
    }

    /// What `wg show` is to say on a machine, from what Fizz says of the nodes there: the others by key, with
    /// where they are and what is behind them.
    pub(crate) fn peers_told(&self, by: &str) -> BTreeMap<String, (String, BTreeSet<IpNet>)> {
        let plan = self.plan();
        let nodes = self.of(by).json("nodes");
        let others = nodes.as_array().unwrap().iter().filter(|it| it["is_self"] == false);
        let told = others.map(|it| {
            let mesh = &it["mesh"];
            let id: NodeId = text(it, "id").parse().unwrap();
            let blocks = mesh["blocks"].as_array().unwrap().iter();
            let blocks = blocks.map(|it| it.as_str().unwrap().parse::<Ipv4Net>().unwrap());
            let behind = blocks.flat_map(|it| [IpNet::V4(it), plan.v6_block(it).into()]);
            let behind = behind.chain([IpNet::from(std::net::IpAddr::V6(plan.of_node(id)))]);
            let endpoint = mesh["endpoints"][0].as_str().unwrap().to_owned();
            (text(mesh, "key"), (endpoint, behind.collect()))
        });
        told.collect()
    }

    /// What `wg show` says there.
    pub(crate) fn peers_shown(&self, by: &str) -> BTreeMap<String, (String, BTreeSet<IpNet>)> {
        let shown = self.of(by).ok("wg show fizz-mesh dump");
        let peers = shown.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let nets = fields[3].split(',').map(|it| it.parse().unwrap()).collect();
            (fields[0].to_owned(), (fields[2].to_owned(), nets))
        });
        peers.collect()
    }

    /// Each container of a service reaches each by name, in both families, and is served by it.
    pub(crate) fn all_reach_all(&self, project: &str, service: &str, count: u64) {
        let plan = self.plan();
        let well = self.well("a", project, service);
        let addresses = well.values().map(|it| {
            let address = it["addresses"].as_object().unwrap().values().next().unwrap();
            plan.v6(address.as_str().unwrap().parse().unwrap()).to_string()
        });
        let v6: Vec<String> = addresses.map(|it| format!("http://[{it}]/")).collect();
        let names: Vec<String> = (1..=count).map(|it| format!("{it}.{service}")).collect();
        let script = format!(
            "set -e; for name in {}; do ping -4 -q -c 1 -W 5 $name; ping -6 -q -c 1 -W 5 $name; \
             wget -q -O - http://$name/; done >/tmp/said; for url in {}; do wget -q -O - $url; done; \
             wget -q -O - http://{service}/; wget -q -O - http://{service}.{project}.fizz.internal/",
            names.join(" "),
            v6.join(" "),
        );
        for slot in 1..=count {
            let words = format!(
                "-p {project} exec -T --index {slot} {service} sh -c '{script}' </dev/null"
            );
            let mut last = None;
            let reached = settles(|| {
                let said: Said = self.of("a").run(&format!("fizz {words}"));
                let all = said.code == 0 && said.out.lines().count() as u64 == count + 2;
                last = Some(said);
                all
            });
            assert!(reached, "{slot}.{service} does not reach all: {last:?}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for machine in &mut self.machines {
                tell(&machine.last_words());
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "without a harness, the test itself says how it was")]
fn tell(words: &str) {
    eprintln!("{words}");
}

/// What all machines have at /mnt/share: the binary, as small as it gets, and what is beside it.
fn share(folder: &std::path::Path) {
    fs::create_dir_all(folder).unwrap();
    let fizz = folder.join("fizz");
    let strip = Command::new("strip").arg("-o").arg(&fizz).arg(env!("CARGO_BIN_EXE_fizz")).status();
    assert!(strip.unwrap().success());
    let beside = ["packaging", "examples", "vagrant/node.sh"];
    let copy = Command::new("cp").arg("-r").args(beside).arg(folder).status();
    assert!(copy.unwrap().success());
    // A process in a container takes an emulated processor seconds to begin.
    let patient =
        ["-i", "-e", "s/ timeout: 2s/ timeout: 60s/", "-e", "s/ interval: [12]s/ interval: 15s/"];
    let files = EXAMPLES.map(|it| folder.join("examples").join(it).join("compose.yaml"));
    assert!(Command::new("sed").args(patient).args(files).status().unwrap().success());
}

pub(crate) fn text(it: &Value, key: &str) -> String {
    it[key].as_str().unwrap_or_else(|| panic!("no {key} in {it}")).to_owned()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, so: impl FnMut() -> bool) {
    assert!(settles(so), "it does not come about that {what}");
}

fn settles(mut so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < COMING_MAX {
        if so() {
            return true;
        }
        sleep(LOOK);
    }
    false
}
