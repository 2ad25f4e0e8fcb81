//! `x-fizz`: what Compose has no words for, typed and checked.
//!
//! It is an `x-` key, so that other tools ignore it and every canonical model keeps it. Inside it
//! nothing is ignored: an unknown key is an error.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::decode::{Known, cursor::Cursor, text};
use crate::model::{
    NodeName, Schedule, ServiceName, Zone,
    spec::{
        Affinity, ConcurrencyPolicy, CronSpec, HealthTest, HttpCheck, IngressSpec, JobSpec,
        MissedRunPolicy, PartitionMode, ProjectExtension, ServiceExtension, TcpCheck,
    },
};

/// `x-fizz` at the top level.
pub(super) fn project(place: &Cursor<'_>) -> ProjectExtension {
    let place = section(place, &["partition"]);
    ProjectExtension { partition: partition(&place) }
}

/// `x-fizz` of a service.
pub(super) fn service(
    place: &Cursor<'_>,
    known: &Known<'_>,
    own: &ServiceName,
) -> ServiceExtension {
    let place = section(place, &KEYS);
    let placement = section(&place.key("placement"), &PLACEMENT);
    let update = section(&place.key("update"), &["canary"]);
    let health = section(&place.key("health"), &HEALTH);
    let nodes = placement.key("nodes");
    ServiceExtension {
        node_labels: placement.key("labels").pairs(),
        nodes: nodes
            .items()
            .iter()
            .filter_map(|it| it.name::<NodeName>().map(|name| name.to_string()))
            .collect(),
        affinities: affinities(&placement, known, own),
        partition: partition(&place),
        ingress: ingress(&place.key("ingress")),
        canary: update.key("canary").integer(1, u32::MAX.into()),
        failed_after: health.key("failed_after").integer(1, u32::MAX.into()),
        job: job(&place.key("job")),
        cron: cron(&place.key("cron")),
        pre_deploy: pre_deploy(&place.key("pre_deploy"), known, own),
    }
}

/// What a service's `x-fizz` may hold.
pub(super) const KEYS: [&str; 8] =
    ["cron", "health", "ingress", "job", "partition", "placement", "pre_deploy", "update"];
const PLACEMENT: [&str; 4] = ["affinity", "anti_affinity", "labels", "nodes"];
const HEALTH: [&str; 8] = [
    "failed_after",
    "http",
    "interval",
    "retries",
    "start_interval",
    "start_period",
    "tcp",
    "timeout",
];

/// A mapping with these keys only.
fn section<'a>(place: &Cursor<'a>, keys: &[&str]) -> Cursor<'a> {
    place.members();
    place.only(keys);
    *place
}

fn partition(place: &Cursor<'_>) -> Option<PartitionMode> {
    place
        .key("partition")
        .word(&[("available", PartitionMode::Available), ("singleton", PartitionMode::Singleton)])
}

fn affinities(placement: &Cursor<'_>, known: &Known<'_>, own: &ServiceName) -> Vec<Affinity> {
    let mut found: BTreeMap<ServiceName, Affinity> = BTreeMap::new();
    for (key, near) in [("affinity", true), ("anti_affinity", false)] {
        for item in placement.key(key).items() {
            let Some(service) = item.text().and_then(|it| known.service(it, &item)) else {
                continue;
            };
            if near && service == *own {
                item.error("a service is always near itself; `anti_affinity` spreads its replicas");
            } else if found.contains_key(&service) {
                item.error(format!("`{service}` is named twice; keep one of the two"));
            }
            found.insert(service.clone(), Affinity { service, near });
        }
    }
    found.into_values().collect()
}

fn ingress(place: &Cursor<'_>) -> Option<IngressSpec> {
    let place = section(place, &["affinity", "allow", "drain", "local_first"]);
    let range = |text: &str| {
        let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(one).map(|it| it.trunc())
    };
    place.is_set().then(|| IngressSpec {
        local_first: place.key("local_first").flag().unwrap_or(false),
        affinity: place.key("affinity").word(&[("none", false), ("source", true)]).unwrap_or(false),
        allow: {
            let place = place.key("allow");
            let ranges = place.items().into_iter();
            ranges.filter_map(|it| it.parse("a range such as `192.0.2.0/24`", range)).collect()
        },
        drain: place.key("drain").parse("a duration such as `30s`", text::duration),
    })
}

fn job(place: &Cursor<'_>) -> Option<JobSpec> {
    let place = section(place, &["retries", "timeout"]);
    place.is_set().then(|| JobSpec {
        retries: place.key("retries").integer(0, u32::MAX.into()).unwrap_or(0),
        timeout: place.key("timeout").parse("a duration such as `10m`", text::duration),
    })
}

fn cron(place: &Cursor<'_>) -> Option<CronSpec> {
    let place = section(place, &["concurrency", "missed", "schedule", "time_zone"]);
    if !place.is_set() {
        return None;
    }
    let said = place.key("schedule");
    if !said.is_set() {
        said.error("is missing; write `minute hour day month weekday`, or `@daily`");
    }
    let parsed = said.text().map(str::parse::<Schedule>);
    let schedule = parsed.and_then(|it| it.map_err(|message| said.error(message)).ok());
    let zone = place
        .key("time_zone")
        .parse("an IANA time zone such as `Europe/Berlin`", |text| text.parse::<Zone>().ok());
    Some(CronSpec {
        schedule: schedule?,
        zone: zone.unwrap_or_else(Zone::utc),
        concurrency: place
            .key("concurrency")
            .word(&[
                ("forbid", ConcurrencyPolicy::Forbid),
                ("allow", ConcurrencyPolicy::Allow),
                ("replace", ConcurrencyPolicy::Replace),
            ])
            .unwrap_or_default(),
        missed: place
            .key("missed")
            .word(&[("skip", MissedRunPolicy::Skip), ("run_once", MissedRunPolicy::RunOnce)])
            .unwrap_or_default(),
    })
}

fn pre_deploy(place: &Cursor<'_>, known: &Known<'_>, own: &ServiceName) -> Option<ServiceName> {
    let place = section(place, &["service"]);
    let service = place.key("service");
    if place.is_set() && !service.is_set() {
        place.error("names no `service`, a job that is to complete first");
    }
    let name = service.text().and_then(|it| known.service(it, &service))?;
    if name == *own {
        service.error("a service cannot come before itself; name a job");
        return None;
    }
    Some(name)
}

/// `http` or `tcp` of `x-fizz.health`.
pub(super) fn request(health: &Cursor<'_>) -> Option<HealthTest> {
    let http = section(&health.key("http"), &["host", "path", "port", "status"]);
    let tcp = section(&health.key("tcp"), &["port"]);
    if http.is_set() && tcp.is_set() {
        tcp.error("a service has one health check; keep `http` or `tcp`");
    }
    if tcp.is_set() && !http.is_set() {
        return port(&tcp).map(|port| HealthTest::Tcp(TcpCheck { port }));
    }
    http.is_set().then_some(())?;
    let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic()).then(|| text.to_owned());
    let path = |text: &str| visible(text).filter(|it| it.starts_with('/'));
    let check = HttpCheck {
        port: port(&http)?,
        path: http
            .key("path")
            .parse("a path; it begins with `/` and has no spaces", path)
            .unwrap_or_else(|| "/".to_owned()),
        status: http.key("status").integer(100, 599),
        host: http.key("host").parse("a host name without spaces", visible),
    };
    Some(HealthTest::Http(check))
}

fn port(place: &Cursor<'_>) -> Option<u16> {
    let port = place.key("port");
    if !port.is_set() {
        place.error("names no port; add `port`, the one that the container listens on");
    }
    port.integer(1, u16::MAX.into())
}

#[cfg(test)]
mod tests;
