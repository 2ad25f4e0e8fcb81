//! Deployments that stories are about: one or two services, with whatever settings the seed gives them.

use fizz::{
    model::{ProjectName, Random},
    node::{DeployRequest, Request},
};
use serde_json::{Value, json};

use crate::engine::{BAD, CRASHING, UNMAKEABLE};

/// A deployment, as users want it.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) name: ProjectName,
    pub(crate) style: Style,
    pub(crate) replicas: u32,
    pub(crate) image: String,
    revision: u32,
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
    pub(crate) global: bool,
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
    pub(crate) fn new(index: usize, random: &mut Random) -> Self {
        let rare = |random: &mut Random| random.below(5) == 0;
        let style = Style {
            global: random.below(8) == 0,
            checked: random.below(3) != 0,
            start_first: random.below(2) == 0,
            parallelism: one(random, &[0, 1, 1, 1, 2, 3]),
            monitor: one(random, &["1s", "2s", "500ms", "5s"]),
            delay: one(random, &["0s", "0s", "0s", "2s"]),
            action: one(random, &["rollback", "rollback", "pause", "continue"]),
            ratio: one(random, &[0.0, 0.0, 0.0, 0.4]),
            port: rare(random).then(|| 8_000 + u16::try_from(index % 3).unwrap_or_default()),
            labelled: rare(random),
            memory: one(random, &["", "", "", "200M", "1G"]),
            per_node_max: one(random, &[0, 0, 0, 1, 2]),
            restart: one(random, &["any", "any", "on-failure"]),
            paired: random.below(8) == 0,
        };
        let name = format!("p{index}").parse().unwrap();
        let replicas = 1 + u32::try_from(random.below(8)).unwrap_or_default();
        let replicas = if style.paired { replicas.min(2) } else { replicas };
        Self {
            name,
            style,
            replicas,
            image: "web:0".into(),
            revision: 0,
            certain: Some("web:0".into()),
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
        self.image = format!("web:{kind}-{}", self.revision);
    }

    /// How many of its web servers must be well while it changes, of so many that are.
    pub(crate) fn floor(&self, replicas: u32) -> u32 {
        let style = &self.style;
        if style.global || style.paired {
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
        if style.global {
            deploy["mode"] = json!("global");
            deploy["placement"] = json!({});
        } else {
            deploy["replicas"] = json!(self.replicas);
        }
        if style.labelled {
            deploy["placement"]["constraints"] = json!(["node.labels.disk == ssd"]);
        }
        if !style.memory.is_empty() {
            deploy["resources"] = json!({"reservations": {"memory": style.memory}});
        }
        let mut web = json!({"image": self.image, "deploy": deploy});
        web["networks"] = json!({"default": null});
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
