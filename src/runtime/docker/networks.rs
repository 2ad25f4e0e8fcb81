//! The engine's networks, compared with what is wanted.

use std::collections::BTreeMap;

use bollard::{
    models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect},
    query_parameters::{ListContainersOptions, ListNetworksOptions},
};
use tracing::warn;

use super::{
    connect::{ANSWER_MAX, ApiVersion, Engine, WORK_MAX},
    errors::{Refusal, about},
    flavour::Flavour,
};
use crate::{
    model::spec::{IpamPool, NetworkSpec},
    runtime::{RuntimeError, labels},
};

/// The driver options that a network was made with, by name: the engine adds some of its own, which
/// must not look like a difference.
const OPTIONS_LABEL: &str = "fizz.network-options";

pub(super) async fn ensure(
    engine: &Engine,
    spec: &NetworkSpec,
    labels: &BTreeMap<String, String>,
) -> Result<(), RuntimeError> {
    let error = |doing, refusal| engine.error(refusal, about(doing, "network", &spec.name));
    part_twins(engine, spec, labels).await?;
    let found = engine.ask(ANSWER_MAX, engine.client.inspect_network(&spec.name, None)).await;
    let existing = match found {
        // The engine also finds networks by the beginning of their id.
        Ok(existing) if existing.name.as_deref() == Some(&spec.name) => existing,
        Err(refusal) if !refusal.is_missing() => return Err(error("inspect", refusal)),
        Ok(_) | Err(_) if spec.external => {
            return Err(RuntimeError::NotFound {
                what: "external network",
                name: spec.name.clone(),
            });
        }
        Ok(_) | Err(_) => {
            create(engine, spec, labels).await?;
            return part_twins(engine, spec, labels).await;
        }
    };
    if spec.external {
        return Ok(());
    }
    let theirs = existing.labels.as_ref().and_then(|it| it.get(labels::PROJECT));
    if theirs != labels.get(labels::PROJECT) {
        return Err(RuntimeError::Conflict(format!(
            "network {} is there already and belongs to {}; remove it, name this one otherwise, or declare it `external: true`",
            spec.name,
            theirs
                .map_or_else(|| "nobody that Fizz knows".to_owned(), |it| format!("project {it}")),
        )));
    }
    let differences = differences(engine.flavour, spec, &existing);
    if differences.is_empty() {
        return Ok(());
    }
    let users = users(engine, &spec.name).await.map_err(|it| error("list containers of", it))?;
    if !users.is_empty() {
        return Err(RuntimeError::Conflict(format!(
            "network {} has to be made anew ({}), and {} use it; remove them first, for instance with `fizz down`",
            spec.name,
            differences.join("; "),
            users.join(", "),
        )));
    }
    remove(engine, &spec.name).await?;
    create(engine, spec, labels).await
}

/// Leaves one of several networks of ours that have the same name. Engines before 25.0 make twins when a
/// daemon is killed while it makes a network, and the next daemon makes it again before the engine is
/// done with the first request.
async fn part_twins(
    engine: &Engine,
    spec: &NetworkSpec,
    labels: &BTreeMap<String, String>,
) -> Result<(), RuntimeError> {
    let Some(project) = labels.get(labels::PROJECT).filter(|_| !spec.external) else {
        return Ok(());
    };
    let error = |refusal| engine.error(refusal, about("list", "networks named", &spec.name));
    let filter = vec![format!("{}={project}", labels::PROJECT)];
    let options = ListNetworksOptions { filters: Some([("label".to_owned(), filter)].into()) };
    let listed = engine.ask(ANSWER_MAX, engine.client.list_networks(Some(options))).await;
    let twins = listed.map_err(error)?.into_iter();
    let twins = twins.filter(|it| it.name.as_deref() == Some(&spec.name));
    let mut twins: Vec<(String, String)> =
        twins.filter_map(|it| Some((it.created.unwrap_or_default(), it.id?))).collect();
    if twins.len() < 2 {
        return Ok(());
    }
    // The oldest stays, unless only a younger one is used already.
    twins.sort();
    let mut used = Vec::new();
    for (_, id) in &twins {
        used.push(!users(engine, id).await.map_err(error)?.is_empty());
    }
    let kept = used.iter().position(|used| *used).unwrap_or(0);
    for (place, (_, id)) in twins.iter().enumerate() {
        if place != kept && !used[place] {
            remove(engine, id).await?;
        }
    }
    Ok(())
}

async fn create(
    engine: &Engine,
    spec: &NetworkSpec,
    labels: &BTreeMap<String, String>,
) -> Result<(), RuntimeError> {
    if spec.enable_ipv4 == Some(false) {
        engine.require("`enable_ipv4: false`", ApiVersion(1, 48), "28.0")?;
    }
    if engine.flavour == Flavour::Podman && spec.ipam.pools.iter().any(|it| !it.reserved.is_empty())
    {
        return Err(RuntimeError::Unsupported(format!(
            "Podman {} can't keep `ipam.config.aux_addresses` of network {} free; leave them out, or give an `ip_range` without them",
            engine.version, spec.name
        )));
    }
    let options = options_label(engine.flavour, spec);
    let all = spec.labels.iter().chain(labels).map(|(name, value)| (name.clone(), value.clone()));
    let all = all.chain([(OPTIONS_LABEL.to_owned(), options)]);
    let pools = &spec.ipam.pools;
    let request = NetworkCreateRequest {
        name: spec.name.clone(),
        driver: Some(driver(spec).to_owned()),
        internal: Some(spec.internal),
        attachable: Some(spec.attachable),
        enable_ipv4: spec.enable_ipv4,
        enable_ipv6: Some(spec.enable_ipv6.unwrap_or(false)),
        options: Some(spec.driver_options.clone().into_iter().collect()),
        ipam: Some(Ipam {
            driver: Some(ipam_driver(spec).to_owned()),
            config: (!pools.is_empty()).then(|| pools.iter().map(pool).collect()),
            options: (!spec.ipam.options.is_empty())
                .then(|| spec.ipam.options.clone().into_iter().collect()),
        }),
        labels: Some(all.collect()),
        ..NetworkCreateRequest::default()
    };
    // Engines before 25.0 make a second network of the same name unless told not to.
    let body = serde_json::to_value(&request).map(|mut body| {
        body["CheckDuplicate"] = true.into();
        body.to_string().into_bytes()
    });
    let body = body.map_err(|it| {
        engine.error(Refusal::said(it.to_string()), about("create", "network", &spec.name))
    })?;
    let client = engine.client_with(String::new(), Some(body));
    let made = engine.ask(WORK_MAX, client.create_network(request)).await;
    let made = made.map_err(|it| engine.error(it, about("create", "network", &spec.name)))?;
    if !made.warning.is_empty() {
        // Podman's way to say that it leaves an option out.
        let (network, warning) = (&spec.name, &made.warning);
        warn!(network, warning, "the network is made, but not wholly as it is described");
    }
    Ok(())
}

/// What of a network's settings its label keeps. Docker shows all, and more: the names tell which are ours.
/// Podman has other names for some and does not show a range of addresses at all.
fn options_label(flavour: Flavour, spec: &NetworkSpec) -> String {
    let options = spec.driver_options.iter();
    match flavour {
        Flavour::Docker => options.map(|(name, _)| name.clone()).collect::<Vec<_>>().join(","),
        Flavour::Podman => {
            let options = options.map(|(name, value)| format!("{name}={value}"));
            let ranges = spec.ipam.pools.iter().filter_map(|it| it.ip_range.as_ref());
            options.chain(ranges.map(|it| format!("ip_range={it}"))).collect::<Vec<_>>().join(",")
        }
    }
}

fn driver(spec: &NetworkSpec) -> &str {
    spec.driver.as_deref().unwrap_or("bridge")
}

fn ipam_driver(spec: &NetworkSpec) -> &str {
    spec.ipam.driver.as_deref().unwrap_or("default")
}

fn pool(pool: &IpamPool) -> IpamConfig {
    let reserved = &pool.reserved;
    IpamConfig {
        subnet: pool.subnet.clone(),
        gateway: pool.gateway.clone(),
        ip_range: pool.ip_range.clone(),
        auxiliary_addresses: (!reserved.is_empty()).then(|| reserved.clone().into_iter().collect()),
    }
}

/// In what an existing network is not what is wanted, for people. What the spec leaves open, the
/// engine has chosen.
fn differences(flavour: Flavour, spec: &NetworkSpec, existing: &NetworkInspect) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, wanted: &str, there: &str| {
        if wanted != there {
            found.push(format!("{what} is `{there}`, wanted is `{wanted}`"));
        }
    };
    let yes = |value: Option<bool>| value.unwrap_or(false).to_string();
    compare("driver", driver(spec), existing.driver.as_deref().unwrap_or("bridge"));
    compare("internal", &spec.internal.to_string(), &yes(existing.internal));
    match flavour {
        Flavour::Docker => {
            compare("attachable", &spec.attachable.to_string(), &yes(existing.attachable));
        }
        // Every network of Podman's is, and none says so.
        Flavour::Podman => {}
    }
    compare("enable_ipv6", &yes(spec.enable_ipv6), &yes(existing.enable_ipv6));
    if let Some(wanted) = spec.enable_ipv4 {
        compare(
            "enable_ipv4",
            &wanted.to_string(),
            &existing.enable_ipv4.unwrap_or(true).to_string(),
        );
    }
    let ipam = existing.ipam.clone().unwrap_or_default();
    compare("ipam.driver", ipam_driver(spec), ipam.driver.as_deref().unwrap_or("default"));
    let there = existing.options.clone().unwrap_or_default();
    let made_with = existing.labels.as_ref().and_then(|it| it.get(OPTIONS_LABEL));
    let made_with = made_with.map(String::as_str).unwrap_or_default();
    match flavour {
        Flavour::Docker => {
            let names = spec.driver_options.keys().map(String::as_str);
            for name in names.chain(made_with.split(',').filter(|it| !it.is_empty())) {
                let value = |all: Option<&String>| all.map_or("not set".to_owned(), String::clone);
                let (wanted, there) = (spec.driver_options.get(name), there.get(name));
                compare(&format!("driver_opts.{name}"), &value(wanted), &value(there));
            }
        }
        Flavour::Podman => {
            compare("driver_opts and ip_range", &options_label(flavour, spec), made_with);
        }
    }
    let there = ipam.options.unwrap_or_default();
    for (name, wanted) in &spec.ipam.options {
        compare(
            &format!("ipam.options.{name}"),
            wanted,
            there.get(name).map_or("not set", String::as_str),
        );
    }
    let pools = ipam.config.unwrap_or_default();
    for wanted in &spec.ipam.pools {
        if !pools.iter().any(|it| fits(flavour, wanted, it)) {
            let subnet = wanted.subnet.as_deref().unwrap_or("any");
            found.push(format!("ipam has no subnet `{subnet}` as it is wanted"));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn fits(flavour: Flavour, wanted: &IpamPool, there: &IpamConfig) -> bool {
    let same =
        |wanted: &Option<String>, there: &Option<String>| wanted.is_none() || wanted == there;
    let reserved = there.auxiliary_addresses.clone().unwrap_or_default();
    same(&wanted.subnet, &there.subnet)
        && same(&wanted.gateway, &there.gateway)
        && (flavour == Flavour::Podman
            || wanted.ip_range.as_deref().unwrap_or("") == there.ip_range.as_deref().unwrap_or(""))
        && wanted.reserved == reserved.into_iter().collect()
}

/// The containers that belong to a network, running or not: a stopped one could not start without it.
async fn users(engine: &Engine, name: &str) -> Result<Vec<String>, Refusal> {
    let options = ListContainersOptions {
        all: true,
        filters: Some([("network".to_owned(), vec![name.to_owned()])].into()),
        ..ListContainersOptions::default()
    };
    let listed = engine.ask(ANSWER_MAX, engine.client.list_containers(Some(options))).await?;
    let names = listed.into_iter().filter_map(|it| it.names?.into_iter().next());
    Ok(names.map(|it| it.trim_start_matches('/').to_owned()).collect())
}

pub(super) async fn remove(engine: &Engine, name: &str) -> Result<(), RuntimeError> {
    match engine.ask(WORK_MAX, engine.client.remove_network(name)).await {
        Ok(()) => Ok(()),
        Err(refusal) if refusal.is_missing() => Ok(()),
        // The engine has no status of its own for it.
        Err(Refusal::Said { message, .. })
            if message.contains("has active endpoints")
                || message.contains("has associated containers") =>
        {
            Err(RuntimeError::Conflict(format!(
                "{message}; stop the containers in network {name} first"
            )))
        }
        Err(refusal) => Err(engine.error(refusal, about("remove", "network", name))),
    }
}

pub(super) async fn list(
    engine: &Engine,
    label: &str,
    value: &str,
) -> Result<Vec<String>, RuntimeError> {
    let filter = vec![format!("{label}={value}")];
    let options = ListNetworksOptions { filters: Some([("label".to_owned(), filter)].into()) };
    let listed = engine.ask(ANSWER_MAX, engine.client.list_networks(Some(options))).await;
    let listed =
        listed.map_err(|it| engine.error(it, about("list", "networks with label", label)))?;
    let mut names: Vec<String> = listed.into_iter().filter_map(|it| it.name).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing() -> NetworkInspect {
        NetworkInspect {
            driver: Some("bridge".into()),
            options: Some(
                [
                    ("com.docker.network.driver.mtu".to_owned(), "1400".to_owned()),
                    ("engine".to_owned(), "own".to_owned()),
                ]
                .into(),
            ),
            labels: Some(
                [(OPTIONS_LABEL.to_owned(), "com.docker.network.driver.mtu".to_owned())].into(),
            ),
            ipam: Some(Ipam {
                driver: Some("default".into()),
                config: Some(vec![IpamConfig {
                    subnet: Some("10.9.0.0/24".into()),
                    gateway: Some("10.9.0.1".into()),
                    ..IpamConfig::default()
                }]),
                options: None,
            }),
            ..NetworkInspect::default()
        }
    }

    #[test]
    fn what_the_spec_leaves_open_is_no_difference() {
        let mtu = ("com.docker.network.driver.mtu".to_owned(), "1400".to_owned());
        let mut spec = NetworkSpec { driver_options: [mtu].into(), ..NetworkSpec::default() };
        assert_eq!(differences(Flavour::Docker, &spec, &existing()), Vec::<String>::new());
        spec.ipam.pools =
            vec![IpamPool { subnet: Some("10.9.0.0/24".into()), ..IpamPool::default() }];
        assert_eq!(differences(Flavour::Docker, &spec, &existing()), Vec::<String>::new());
    }

    #[test]
    fn every_change_is_a_difference() {
        let spec = NetworkSpec {
            internal: true,
            attachable: true,
            enable_ipv6: Some(true),
            driver: Some("macvlan".into()),
            ipam: crate::model::spec::IpamSpec {
                pools: vec![IpamPool { subnet: Some("10.8.0.0/24".into()), ..IpamPool::default() }],
                ..Default::default()
            },
            ..NetworkSpec::default()
        };
        let found = differences(Flavour::Docker, &spec, &existing()).join("\n");
        for word in
            ["driver is", "internal", "attachable", "enable_ipv6", "driver_opts.com", "10.8.0.0/24"]
        {
            assert!(found.contains(word), "{word} in {found}");
        }
        assert!(!found.contains("engine"), "{found}");
    }
}
