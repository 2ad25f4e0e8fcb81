//! One service: by itself, and towards the rest of the project.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Project, Service, inside};
use crate::compose::{
    select,
    tree::{Node, Path},
};

/// A key of a service, and the keys under `deploy` that say the same.
const TWICE: [(&str, [&str; 3], &str); 4] = [
    ("cpus", ["resources", "limits", "cpus"], "deploy.resources.limits.cpus"),
    ("mem_limit", ["resources", "limits", "memory"], "deploy.resources.limits.memory"),
    (
        "mem_reservation",
        ["resources", "reservations", "memory"],
        "deploy.resources.reservations.memory",
    ),
    ("pids_limit", ["resources", "limits", "pids"], "deploy.resources.limits.pids"),
];

impl<'a> Service<'a> {
    /// What can be told without the rest of the project.
    pub(super) fn values(&mut self) {
        self.ports();
        self.mounts_have_targets();
        self.device_requests();
        self.watch_paths();
    }

    /// What a service that is to run must be, and what it names.
    pub(super) fn relations(&mut self, project: &Project<'a>) {
        self.has_something_to_run();
        self.build(project);
        self.networking();
        self.healthcheck();
        self.dependencies(project);
        self.shared_network(project);
        self.resources(project);
        self.said_twice();
        self.scale();
        self.watch_targets();
        self.mounted_once();
    }

    fn ports(&mut self) {
        for (index, port) in self.list("ports").iter().enumerate() {
            let ports = self.path.key("ports");
            let path = ports.index(index);
            if port.as_map().is_none() {
                continue;
            }
            if matches!(port.get("target").map(Node::as_text), None | Some(Some("0"))) {
                let why = "this port has no `target`, the port in the container, which is not 0";
                self.problems.error(port.at, &path, why);
            }
            let ip = port.get("host_ip").filter(|it| {
                it.as_text().is_some_and(|it| !it.is_empty() && it.parse::<IpAddr>().is_err())
            });
            if let Some(ip) = ip {
                let why = format!("{:?} is not an IP address", ip.as_text().unwrap_or_default());
                self.problems.error(ip.at, &path.key("host_ip"), why);
            }
        }
    }

    fn mounts_have_targets(&mut self) {
        for key in ["volumes", "devices"] {
            for (index, mount) in self.list(key).iter().enumerate() {
                if mount.as_map().is_some() && mount.get("target").is_none() {
                    let why = "this has no `target`, the path in the container";
                    self.problems.error(mount.at, &self.path.key(key).index(index), why);
                }
            }
        }
    }

    fn device_requests(&mut self) {
        let deploy = self.path.key("deploy");
        let resources = deploy.key("resources");
        let reservations = resources.key("reservations");
        let reserved =
            self.get("deploy").and_then(|it| inside(it, &["resources", "reservations", "devices"]));
        for (list, path) in
            [(reserved, reservations.key("devices")), (self.get("gpus"), self.path.key("gpus"))]
        {
            let list = list.and_then(Node::as_list).unwrap_or_default();
            for (index, device) in list.iter().enumerate() {
                if device.get("count").is_some() && device.get("device_ids").is_some() {
                    let why = "`count` and `device_ids` exclude each other; keep one";
                    self.problems.error(device.at, &path.index(index), why);
                }
            }
        }
    }

    fn watches(&self) -> impl Iterator<Item = (usize, &'a Node)> + use<'a> {
        let list = self.get("develop").and_then(|it| it.get("watch")?.as_list());
        list.unwrap_or_default().iter().enumerate()
    }

    fn watch_paths(&mut self) {
        let develop = self.path.key("develop");
        let list = develop.key("watch");
        for (index, watch) in self.watches() {
            if let Some(blank) = watch.get("path").filter(|it| it.as_text() == Some("")) {
                let path = list.index(index);
                self.problems.error(blank.at, &path.key("path"), "the path to watch is blank");
            }
        }
    }

    fn has_something_to_run(&mut self) {
        let image = self.text("image").is_some_and(|it| !it.is_empty());
        if !image && self.get("build").is_none() && self.get("provider").is_none() {
            let why = format!("the service {:?} has neither an `image` nor a `build`", self.name);
            self.problems.error(self.at, self.path, why);
        }
    }

    fn build(&mut self, project: &Project<'_>) {
        let Some(build) = self.get("build") else { return };
        let path = self.path.key("build");
        let filled =
            |key| build.get(key).filter(|it| it.as_text().is_some_and(|it| !it.is_empty()));
        if let (Some(_), Some(inline)) = (filled("dockerfile"), filled("dockerfile_inline")) {
            let why = "`dockerfile` and `dockerfile_inline` exclude each other; keep one";
            self.problems.error(inline.at, &path, why);
        }
        let contexts = build.get("additional_contexts").and_then(Node::as_map);
        for (name, entry) in contexts.into_iter().flatten() {
            let Some(other) = entry.node.as_text().and_then(|it| it.strip_prefix("service:"))
            else {
                continue;
            };
            let why = match project.services.get(other) {
                Some(service) if service.get("build").is_some() => continue,
                Some(_) => format!("the service {other:?} is not built, so it is no build context"),
                None => format!("there is no service {other:?}"),
            };
            let contexts = path.key("additional_contexts");
            self.problems.error(entry.node.at, &contexts.key(name), why);
        }
        let platforms = build.get("platforms").and_then(Node::as_list).unwrap_or_default();
        let platform = self.text("platform").filter(|it| !it.is_empty());
        let Some(platform) = platform.filter(|_| !platforms.is_empty()) else { return };
        if !platforms.iter().any(|it| it.as_text() == Some(platform)) {
            let why = format!("`build.platforms` must have the service's platform {platform:?}");
            self.problems.error(build.at, &path.key("platforms"), why);
        }
    }

    fn networking(&mut self) {
        let networks = self.get("networks").and_then(Node::as_map).is_some_and(|it| !it.is_empty());
        if networks && self.text("network_mode").is_some_and(|it| !it.is_empty()) {
            self.wrong(
                "network_mode",
                "`network_mode` and `networks` exclude each other; keep one",
            );
        }
    }

    fn healthcheck(&mut self) {
        let test = self.get("healthcheck").and_then(|it| it.get("test"));
        let Some(first) = test.and_then(|it| it.as_list()?.first()) else { return };
        if !matches!(first.as_text(), Some("CMD" | "CMD-SHELL" | "NONE")) {
            let why = "a test in list form begins with CMD, CMD-SHELL or NONE";
            self.problems.error(first.at, &self.path.key("healthcheck").key("test"), why);
        }
    }

    fn dependencies(&mut self, project: &Project<'_>) {
        let on = self.get("depends_on").and_then(Node::as_map);
        for (name, entry) in on.into_iter().flatten() {
            if project.active.contains(name) {
                continue;
            }
            let required = entry.node.get("required").and_then(Node::as_text) != Some("false");
            let why = match project.services.get(name.as_str()) {
                Some(_) if !required => continue,
                Some(off) => format!("depends on {name:?}, which is off; {}", profiles(off)),
                None => format!("depends on {name:?}, but there is no such service"),
            };
            self.problems.error(entry.key_at, &self.path.key("depends_on").key(name), why);
        }
    }

    fn shared_network(&mut self, project: &Project<'_>) {
        let Some(other) = self.text("network_mode").and_then(|it| it.strip_prefix("service:"))
        else {
            return;
        };
        if !project.active.contains(other) && !self.depends_on(other) {
            self.wrong(
                "network_mode",
                format!("there is no service {other:?} to share a network with"),
            );
        }
    }

    fn depends_on(&self, other: &str) -> bool {
        self.get("depends_on").and_then(|it| it.get(other)).is_some()
    }

    fn resources(&mut self, project: &Project<'_>) {
        for select::Use { section, name, at } in select::used_by(self.map) {
            if project.sections.get(section).is_some_and(|it| it.contains(name.as_str())) {
                continue;
            }
            let kind = section.trim_end_matches('s');
            let why = format!(
                "uses the {kind} {name:?}, but `{section}` at the top has none of that name"
            );
            self.problems.error(at, &self.path.key(section), why);
        }
    }

    fn said_twice(&mut self) {
        let Some(deploy) = self.get("deploy") else { return };
        for (key, keys, name) in TWICE {
            let number = |node: Option<&Node>| {
                node.and_then(Node::as_text).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0)
            };
            let here = number(self.get(key));
            // Where there are limits at all, each one that is missing is a zero.
            if here != 0.0
                && inside(deploy, &keys[..2]).is_some()
                && number(inside(deploy, &keys)) != here
            {
                self.wrong(key, format!("`{key}` and `{name}` say different things; keep one"));
            }
        }
    }

    fn scale(&mut self) {
        let count = |node: Option<&Node>| node.and_then(Node::as_text)?.parse::<i64>().ok();
        let (scale, replicas) =
            (count(self.get("scale")), count(self.get("deploy").and_then(|it| it.get("replicas"))));
        if scale.is_some() && replicas.is_some() && scale != replicas {
            self.wrong("scale", "`scale` and `deploy.replicas` say different things; keep one");
        }
        let key = if scale.is_some() { "scale" } else { "deploy" };
        let Some(count) = scale.or(replicas) else { return };
        if count < 0 {
            let name = if key == "scale" { "scale" } else { "deploy.replicas" };
            self.wrong(key, format!("`{name}` is {count}, but must be at least 0"));
        }
        if count > 1 && self.text("container_name").is_some_and(|it| !it.is_empty()) {
            let why = format!("{count} containers cannot share one container_name; leave it out");
            self.wrong("container_name", why);
        }
    }

    fn watch_targets(&mut self) {
        let develop = self.path.key("develop");
        let list = develop.key("watch");
        for (index, watch) in self.watches() {
            let action = watch.get("action").and_then(Node::as_text);
            let target = watch.get("target").and_then(Node::as_text).unwrap_or_default();
            if target.is_empty() && !matches!(action, Some("rebuild" | "restart") | None) {
                let why = "this action copies files, so it needs a `target` in the container";
                self.problems.error(watch.at, &list.index(index), why);
            }
        }
    }

    fn mounted_once(&mut self) {
        let mut taken: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
        let tmpfs = self.list("tmpfs").iter().enumerate().filter_map(|(index, item)| {
            let text = item.as_text()?;
            Some((text.split_once(':').map_or(text, |it| it.0), "tmpfs", index, item))
        });
        let volumes = self.list("volumes").iter().enumerate().filter_map(|(index, item)| {
            Some((item.get("target")?.as_text()?, "volumes", index, item))
        });
        for (target, key, index, item) in tmpfs.chain(volumes) {
            let Some((first, at)) = taken.get(target) else {
                taken.insert(target, (key, index));
                continue;
            };
            let first = Path::from(&self.path.key(first).index(*at));
            let why = format!("{target:?} is already mounted by {first}");
            self.problems.error(item.at, &self.path.key(key).index(index), why);
        }
    }
}

fn profiles(service: &Node) -> String {
    let list = service.get("profiles").and_then(Node::as_list).unwrap_or_default();
    let names: Vec<&str> = list.iter().filter_map(Node::as_text).collect();
    format!("turn on one of its profiles: {}", names.join(", "))
}
