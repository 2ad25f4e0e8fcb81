//! Deployments that stories are about: one or two services, with whatever settings the seed gives them.

use fizz::{
    model::{ProjectName, Random, ServiceKey},
    node::{DeployRequest, Request},
};
use serde_json::{Value, json};

use crate::engine::{BAD, CRASHING, TASK, UNMAKEABLE};

/// What kind of service a deployment is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// So many replicas that serve.
    Replicated,
    /// One that serves on each node.
    Global,
    /// Such that must never run twice.
    Singleton,
    /// So many that run to completion.
    Job,
    /// One on each node that runs to completion.
    JobOnEach,
    /// One that runs to completion each minute.
    Timed,
}

/// Each story has at least one of these, by its seed.
pub(crate) const KINDS: &[Kind] =
    &[Kind::Replicated, Kind::Singleton, Kind::Job, Kind::Timed, Kind::Global, Kind::JobOnEach];

/// What the others are.
const KINDS_DRAWN: &[Kind] = &[
    Kind::Replicated,
    Kind::Replicated,
    Kind::Replicated,
    Kind::Replicated,
    Kind::Replicated,
    Kind::Singleton,
    Kind::Singleton,
    Kind::Global,
    Kind::Job,
    Kind::JobOnEach,
    Kind::Timed,
];

impl Kind {
    /// One on each node.
    pub(crate) fn is_on_each(self) -> bool {
        matches!(self, Self::Global | Self::JobOnEach)
    }

    /// It runs to completion.
    pub(crate) fn is_job(self) -> bool {
        matches!(self, Self::Job | Self::JobOnEach | Self::Timed)
    }

    /// It has as many replicas as a user says.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Self::Replicated | Self::Singleton | Self::Job)
    }
}

/// A deployment, as users want it.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) name: ProjectName,
    pub(crate) style: Style,
    pub(crate) replicas: u32,
    pub(crate) image: String,
    pub(crate) revision: u32,
    /// What its web servers must be made from once all is quiet, if that is certain.
    pub(crate) certain: Option<String>,
    /// Its last change must be known to have failed.
    pub(crate) fails: bool,
    /// It was as it should be when it was last changed, or has been since.
    pub(crate) rests: bool,
}

/// What does not change about it.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) kind: Kind,
    pub(crate) checked: bool,
    pub(crate) start_first: bool,
    pub(crate) parallelism: u32,
    monitor: &'static str,
    delay: &'static str,
    pub(crate) action: &'static str,
    ratio: f64,
    pub(crate) port: Option<u16>,
    labelled: bool,
    memory: &'static str,
    per_node_max: u32,
    restart: &'static str,
    pub(crate) paired: bool,
}

fn one<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len())]
}

impl Stack {
    pub(crate) fn new(index: usize, kind: Option<Kind>, random: &mut Random) -> Self {
        let rare = |random: &mut Random| random.below(5) == 0;
        let drawn = one(random, KINDS_DRAWN);
        let kind = kind.unwrap_or(drawn);
        let style = Style {
            kind,
            checked: random.below(3) != 0 && !kind.is_job(),
            start_first: random.below(2) == 0,
            parallelism: one(random, &[0, 1, 1, 1, 2, 3]),
            monitor: one(random, &["1s", "2s", "500ms", "5s"]),
            delay: one(random, &["0s", "0s", "0s", "2s"]),
            action: one(random, &["rollback", "rollback", "pause", "continue"]),
            ratio: one(random, &[0.0, 0.0, 0.0, 0.4]),
            port: (rare(random) && !kind.is_job())
                .then(|| 8_000 + u16::try_from(index % 3).unwrap_or_default()),
            labelled: rare(random) && kind != Kind::Timed,
            memory: if kind == Kind::Timed { "" } else { one(random, &["", "", "", "200M", "1G"]) },
            per_node_max: one(random, &[0, 0, 0, 1, 2]),
            restart: if kind.is_job() {
                "on-failure"
            } else {
                one(random, &["any", "any", "on-failure"])
            },
            paired: random.below(8) == 0 && kind == Kind::Replicated,
        };
        let name = format!("p{index}").parse().unwrap();
        let replicas = 1 + u32::try_from(random.below(8)).unwrap_or_default();
        let replicas = replicas.min(style.replicas_max());
        let image = format!("{}:0", style.image());
        Self {
            name,
            style,
            replicas,
            image: image.clone(),
            revision: 0,
            certain: Some(image),
            fails: false,
            rests: false,
        }
    }

    /// Another image: one that is well, or not.
    pub(crate) fn change(&mut self, is_well: bool, random: &mut Random) {
        self.revision += 1;
        let kind = match (is_well, self.style.checked) {
            (true, _) => "good",
            (false, true) => one(random, &[BAD, BAD, CRASHING, UNMAKEABLE]),
            (false, false) => one(random, &[CRASHING, UNMAKEABLE]),
        };
        self.image = format!("{}:{kind}-{}", self.style.image(), self.revision);
    }

    /// The service that it is there for.
    pub(crate) fn key(&self) -> ServiceKey {
        ServiceKey { project: self.name.clone(), service: "web".parse().unwrap() }
    }

    /// How many replicas there can be of it, on so many machines.
    pub(crate) fn width(&self, machines: usize) -> u64 {
        let machines = machines as u64;
        match self.style.kind {
            Kind::Replicated => u64::from(self.replicas) + u64::from(self.style.paired),
            Kind::Singleton | Kind::Job => u64::from(self.replicas),
            Kind::Global | Kind::JobOnEach => machines,
            Kind::Timed => 1,
        }
    }

    /// How many of its web servers must be well while it changes, of so many that are.
    pub(crate) fn floor(&self, replicas: u32) -> u32 {
        let style = &self.style;
        if style.kind != Kind::Replicated || style.paired {
            return 0;
        }
        if style.start_first && style.port.is_none() {
            return replicas;
        }
        if style.action == "continue" {
            return 0;
        }
        let at_once = if style.parallelism == 0 { replicas } else { style.parallelism };
        // So many may have failed, and it goes on.
        let forgiven = if 0.0 < style.ratio { replicas * 2 / 5 } else { 0 };
        replicas.saturating_sub(at_once + forgiven)
    }

    pub(crate) fn request(&self) -> Request {
        let model = json!({
            "name": self.name.to_string(),
            "services": self.services(),
            "networks": {"default": {"name": format!("{}_default", self.name)}},
        });
        Request::Deploy(Box::new(DeployRequest { model, ..DeployRequest::default() }))
    }

    fn services(&self) -> Value {
        let style = &self.style;
        let check = json!({
            "test": ["CMD", "true"], "interval": "1s", "start_interval": "300ms",
            "start_period": "3s", "retries": 2,
        });
        let mut deploy = json!({
            "update_config": {
                "parallelism": style.parallelism, "monitor": style.monitor,
                "delay": style.delay, "failure_action": style.action,
                "max_failure_ratio": style.ratio, "order": self.order(),
            },
            "rollback_config": {
                "parallelism": style.parallelism, "monitor": style.monitor,
                "order": self.order(),
            },
            "restart_policy": {"condition": style.restart, "delay": "300ms"},
            "placement": {"max_replicas_per_node": style.per_node_max},
        });
        match style.kind {
            Kind::Replicated | Kind::Singleton => deploy["replicas"] = json!(self.replicas),
            Kind::Job => {
                deploy["mode"] = json!("replicated-job");
                deploy["replicas"] = json!(self.replicas);
            }
            Kind::Global => deploy["mode"] = json!("global"),
            Kind::JobOnEach => deploy["mode"] = json!("global-job"),
            Kind::Timed => {}
        }
        if !style.kind.is_counted() {
            deploy["placement"] = json!({});
        }
        if style.labelled {
            deploy["placement"]["constraints"] = json!(["node.labels.disk == ssd"]);
        }
        if !style.memory.is_empty() {
            deploy["resources"] = json!({"reservations": {"memory": style.memory}});
        }
        let mut web = json!({"image": self.image, "deploy": deploy});
        web["networks"] = json!({"default": null});
        match style.kind {
            Kind::Replicated | Kind::Global | Kind::Job | Kind::JobOnEach => {}
            Kind::Singleton => web["x-fizz"] = json!({"partition": "singleton"}),
            // What goes on does not keep the next from its time.
            Kind::Timed => {
                web["x-fizz"] = json!({"cron": {"schedule": "* * * * *", "concurrency": "allow"}});
            }
        }
        if style.checked {
            web["healthcheck"] = check.clone();
        }
        if let Some(port) = style.port {
            web["ports"] =
                json!([{"target": 80, "published": port.to_string(), "protocol": "tcp"}]);
        }
        if !style.paired {
            return json!({"web": web});
        }
        web["depends_on"] = json!({"db": {"condition": "service_healthy", "required": true}});
        let db = json!({
            "image": "db:1", "healthcheck": check, "networks": {"default": null}, "restart": "always",
        });
        json!({"web": web, "db": db})
    }

    fn order(&self) -> &'static str {
        if self.style.start_first { "start-first" } else { "stop-first" }
    }
}

impl Style {
    fn image(&self) -> &'static str {
        if self.kind.is_job() { TASK } else { "web" }
    }

    /// How many replicas it has at most.
    pub(crate) fn replicas_max(&self) -> u32 {
        match self.kind {
            // What waits to be sure takes its time.
            Kind::Singleton => 3,
            Kind::Replicated if self.paired => 2,
            Kind::Replicated | Kind::Global | Kind::Job | Kind::JobOnEach | Kind::Timed => 8,
        }
    }
}
