//! What a runtime is asked for, from what the node decided. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fault;
use crate::{
    model::{
        NodeId,
        spec::{Mount, MountKind, NetworkMode, NetworkSpec, VolumeSpec},
    },
    node::{Failure, Launch},
    runtime::{CreateContainer, MountedFile, ResolvedNetwork},
};

/// How long the name of a volume is that nobody named: a SHA-256 in hexadecimal.
const ANONYMOUS_NAME_CHARS: usize = 64;

/// The request for a container.
pub(super) fn container(
    node: NodeId,
    launch: &Launch,
    files: Vec<MountedFile>,
) -> Result<CreateContainer, Failure> {
    let mut volumes = BTreeMap::new();
    for mount in &launch.spec.mounts {
        if let MountKind::Volume { name: Some(key), .. } = &mount.kind {
            volumes.insert(key.clone(), volume(launch, key)?.name.clone());
        }
    }
    let mut links: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (service, name) in &launch.links {
        links.entry(service.clone()).or_default().push(name.clone());
    }
    Ok(CreateContainer {
        node,
        container: launch.container,
        name: launch.name.clone(),
        project: launch.service.project.clone(),
        service: launch.service.service.clone(),
        slot: launch.slot,
        revision: launch.revision,
        one_off: launch.one_off,
        spec: launch.spec.as_ref().clone(),
        networks: networks(launch)?,
        network_namespace: None,
        volumes,
        files,
        peers: launch.peers.iter().cloned().collect(),
        links,
    })
}

/// Networks in the order of joining: by falling priority. Replicas answer to their service's name, a
/// container of `fizz run` only where its definition says so.
fn networks(launch: &Launch) -> Result<Vec<ResolvedNetwork>, Failure> {
    let NetworkMode::Networks(wanted) = &launch.spec.network else { return Ok(vec![]) };
    let mut wanted: Vec<_> = wanted.iter().collect();
    wanted.sort_by_key(|(_, attachment)| std::cmp::Reverse(attachment.priority));
    let resolve = |(key, attachment): (&String, &crate::model::spec::NetworkAttachment)| {
        let mut attachment = attachment.clone();
        let service = launch.service.service.to_string();
        if !launch.one_off && !attachment.aliases.contains(&service) {
            attachment.aliases.push(service);
        }
        Ok(ResolvedNetwork { name: network(launch, key)?.name.clone(), attachment })
    };
    wanted.into_iter().map(resolve).collect()
}

/// A network of the launch's project.
pub(super) fn network<'a>(launch: &'a Launch, key: &str) -> Result<&'a NetworkSpec, Failure> {
    let found = launch.project.networks.get(key);
    found
        .ok_or_else(|| fault(format!("the network `{key}` is not in the project: deploy it again")))
}

/// A volume of the launch's project.
pub(super) fn volume<'a>(launch: &'a Launch, key: &str) -> Result<&'a VolumeSpec, Failure> {
    let found = launch.project.volumes.get(key);
    found.ok_or_else(|| fault(format!("the volume `{key}` is not in the project: deploy it again")))
}

/// Gives a container the anonymous volumes of the one that it replaces, by the account that Docker and
/// Podman give of it: by name now, at the same places, unless something else is mounted there.
pub(super) fn take_over_volumes(request: &mut CreateContainer, replaced: &Value) {
    let mounts = replaced.get("Mounts").and_then(Value::as_array).map_or(&[][..], |it| it);
    for mount in mounts {
        let text = |key| mount.get(key).and_then(Value::as_str);
        let (Some("volume"), Some(volume), Some(target)) =
            (text("Type"), text("Name"), text("Destination"))
        else {
            continue;
        };
        let hexadecimal = volume.bytes().all(|byte| byte.is_ascii_hexdigit());
        if volume.len() == ANONYMOUS_NAME_CHARS && hexadecimal {
            take_over(request, volume, target);
        }
    }
}

fn take_over(request: &mut CreateContainer, volume: &str, target: &str) {
    let there = request.spec.mounts.iter_mut().find(|it| it.target == target);
    match there.map(|it| &mut it.kind) {
        Some(MountKind::Volume { name: name @ None, .. }) => *name = Some(volume.to_owned()),
        Some(_) => return,
        None => request.spec.mounts.push(Mount {
            kind: MountKind::Volume {
                name: Some(volume.to_owned()),
                no_copy: true,
                subpath: None,
                labels: BTreeMap::new(),
            },
            target: target.to_owned(),
            read_only: false,
        }),
    }
    request.volumes.insert(volume.to_owned(), volume.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ContainerId, Revision, ServiceKey, Slot,
        spec::{ContainerSpec, NetworkAttachment, ProjectExtension, ProjectSpec, PullPolicy},
    };
    use std::sync::Arc;

    fn launch(spec: ContainerSpec) -> Launch {
        let named = |name: &str| NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() };
        let volume = VolumeSpec { name: "shop_data".to_owned(), ..VolumeSpec::default() };
        Launch {
            container: ContainerId(7),
            name: "shop-web-1".parse().unwrap(),
            service: ServiceKey {
                project: "shop".parse().unwrap(),
                service: "web".parse().unwrap(),
            },
            slot: Slot(1),
            revision: Revision(9),
            one_off: false,
            no_start: false,
            spec: Arc::new(spec),
            project: Arc::new(ProjectSpec {
                name: "shop".parse().unwrap(),
                services: BTreeMap::new(),
                networks: BTreeMap::from([
                    ("back".to_owned(), named("shop_back")),
                    ("front".to_owned(), named("shop_front")),
                ]),
                volumes: BTreeMap::from([("data".to_owned(), volume)]),
                configs: BTreeMap::new(),
                secrets: BTreeMap::new(),
                extension: ProjectExtension::default(),
            }),
            pull: PullPolicy::Missing,
            image: None,
            address: None,
            runtime_id: None,
            replaces: None,
            beside: false,
            keep_volumes: true,
            peers: vec![],
            links: vec![
                ("db".parse().unwrap(), "a".to_owned()),
                ("db".parse().unwrap(), "b".to_owned()),
            ],
        }
    }

    fn on_networks(priorities: &[(&str, i64)]) -> ContainerSpec {
        let attachment = |&(key, priority): &(&str, i64)| {
            (key.to_owned(), NetworkAttachment { priority, ..NetworkAttachment::default() })
        };
        let network = NetworkMode::Networks(priorities.iter().map(attachment).collect());
        ContainerSpec { network, ..ContainerSpec::default() }
    }

    fn volume_at(name: Option<&str>, target: &str) -> Mount {
        let name = name.map(str::to_owned);
        let kind =
            MountKind::Volume { name, no_copy: false, subpath: None, labels: BTreeMap::new() };
        Mount { kind, target: target.to_owned(), read_only: false }
    }

    #[test]
    fn networks_are_joined_by_falling_priority_under_the_services_name() {
        let launch = launch(on_networks(&[("back", 1), ("front", 5)]));
        let request = container(NodeId(1), &launch, vec![]).unwrap();
        let names: Vec<_> = request.networks.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["shop_front", "shop_back"]);
        assert!(request.networks.iter().all(|it| it.attachment.aliases == ["web"]));
        assert_eq!(request.links[&"db".parse::<crate::model::ServiceName>().unwrap()], ["a", "b"]);
    }

    #[test]
    fn a_container_of_run_does_not_answer_to_its_services_name() {
        let launch = Launch { one_off: true, ..launch(on_networks(&[("back", 0)])) };
        let request = container(NodeId(1), &launch, vec![]).unwrap();
        assert!(request.networks[0].attachment.aliases.is_empty());
    }

    #[test]
    fn a_network_that_the_project_lacks_is_a_failure_that_says_which() {
        let failed = container(NodeId(1), &launch(on_networks(&[("gone", 0)])), vec![]);
        assert!(failed.unwrap_err().reason.contains("`gone`"));
    }

    #[test]
    fn anonymous_volumes_are_taken_over_and_named_ones_are_not() {
        let mounts = vec![volume_at(Some("data"), "/data"), volume_at(None, "/cache")];
        let launch = launch(ContainerSpec { mounts, ..ContainerSpec::default() });
        let mut request = container(NodeId(1), &launch, vec![]).unwrap();
        let (cache, image, data) = ("c".repeat(64), "d".repeat(64), "e".repeat(64));
        let account = serde_json::json!({ "Mounts": [
            { "Type": "volume", "Name": cache, "Destination": "/cache" },
            { "Type": "volume", "Name": image, "Destination": "/from-the-image" },
            { "Type": "volume", "Name": data, "Destination": "/data" },
            { "Type": "volume", "Name": "shop_data", "Destination": "/elsewhere" },
            { "Type": "bind", "Source": "/srv", "Destination": "/srv" },
        ]});
        take_over_volumes(&mut request, &account);
        let mounted: Vec<_> = request
            .spec
            .mounts
            .iter()
            .map(|it| {
                let MountKind::Volume { name, .. } = &it.kind else { panic!("{it:?}") };
                (it.target.clone(), name.clone().unwrap())
            })
            .collect();
        let wanted = [("/data", "data"), ("/cache", &cache), ("/from-the-image", &image)];
        assert_eq!(mounted, wanted.map(|(at, it)| (at.to_owned(), it.to_owned())));
        assert_eq!(request.volumes[&cache], cache);
    }
}
