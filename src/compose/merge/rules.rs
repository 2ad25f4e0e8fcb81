//! Which places merge by a rule of their own.

use crate::compose::{
    places, shape,
    tree::{Map, Node, Value},
};

/// How two values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Mappings join, lists grow, single values give way.
    Join,
    /// The later one counts.
    Replace,
    /// `KEY=VALUE` lists or mappings, in which a later key counts even if it has no value.
    Pairs,
    /// One value or several, which grow.
    Lines,
    /// Hosts and addresses, which grow by what is new.
    Hosts,
    /// A build, or only its context.
    Build,
    /// Dependencies.
    Dependencies,
    /// Names, with or without settings.
    Names,
    /// Settings of a driver, which join only if the driver is the same.
    SameDriver,
    /// Address pools, which join by subnet.
    Subnets,
}

const RULES: &[(&str, Rule)] = &[
    ("configs.*.labels", Rule::Pairs),
    ("networks.*.ipam.config", Rule::Subnets),
    ("networks.*.labels", Rule::Pairs),
    ("secrets.*.labels", Rule::Pairs),
    ("services.*.annotations", Rule::Pairs),
    ("services.*.build", Rule::Build),
    ("services.*.build.additional_contexts", Rule::Pairs),
    ("services.*.build.args", Rule::Pairs),
    ("services.*.build.extra_hosts", Rule::Hosts),
    ("services.*.build.labels", Rule::Pairs),
    ("services.*.build.no_cache_filter", Rule::Lines),
    ("services.*.build.ssh", Rule::Pairs),
    ("services.*.command", Rule::Replace),
    ("services.*.depends_on", Rule::Dependencies),
    ("services.*.deploy.labels", Rule::Pairs),
    ("services.*.dns", Rule::Lines),
    ("services.*.dns_opt", Rule::Lines),
    ("services.*.dns_search", Rule::Lines),
    ("services.*.entrypoint", Rule::Replace),
    ("services.*.env_file", Rule::Lines),
    ("services.*.environment", Rule::Pairs),
    ("services.*.extra_hosts", Rule::Hosts),
    ("services.*.healthcheck.test", Rule::Replace),
    ("services.*.label_file", Rule::Lines),
    ("services.*.labels", Rule::Pairs),
    ("services.*.logging", Rule::SameDriver),
    ("services.*.models", Rule::Names),
    ("services.*.networks", Rule::Names),
    ("services.*.sysctls", Rule::Pairs),
    ("services.*.tmpfs", Rule::Lines),
    ("services.*.ulimits.*", Rule::Replace),
    ("volumes.*.labels", Rule::Pairs),
];

/// The rule for a place.
pub(super) fn at(keys: &[String]) -> Rule {
    let found = RULES.iter().find(|(pattern, _)| places::fits(keys, pattern));
    found.map_or(Rule::Join, |(_, rule)| *rule)
}

/// Brings one side into the form in which the rule can merge it.
pub(super) fn prepare(rule: Rule, node: &mut Node) {
    match rule {
        Rule::Join | Rule::Replace | Rule::SameDriver | Rule::Subnets => {}
        Rule::Pairs => shape::to_map(node),
        Rule::Lines => {
            if matches!(node.value, Value::Scalar(_)) {
                node.value = Value::List(vec![Node { tag: None, ..node.clone() }]);
            }
        }
        Rule::Hosts => shape::hosts_to_list(node),
        Rule::Build => shape::build_to_map(node),
        Rule::Dependencies => {
            if matches!(node.value, Value::List(_)) {
                shape::dependencies_to_map(node);
            }
        }
        Rule::Names => shape::names_to_map(node),
    }
}

/// Whether two mappings do not name different drivers.
pub(super) fn same_driver(base: &Map, over: &Map) -> bool {
    let driver = |map: &Map| map.get("driver").and_then(|it| it.node.as_text().map(str::to_owned));
    match (driver(base), driver(over)) {
        (Some(base), Some(over)) => base == over,
        (None, _) | (_, None) => true,
    }
}

/// A host and its addresses, however they are separated.
pub(super) fn host(item: &Node) -> Option<(String, String)> {
    let (host, addresses) = shape::host_and_addresses(item.as_text()?)?;
    Some((host.to_owned(), addresses.to_owned()))
}
