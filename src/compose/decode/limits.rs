//! What a container may use: the service's own keys and `deploy.resources` together.

use std::collections::BTreeMap;

use super::{cursor::Cursor, mount::size, text};
use crate::{
    compose::near,
    model::spec::{
        BlkioSpec, ByteRate, DeviceRequest, DeviceSpec, IoRate, IoWeight, ResourceLimits, Ulimit,
    },
};

pub(super) fn decode(service: &Cursor<'_>) -> ResourceLimits {
    let deploy = service.key("deploy");
    let resources = deploy.key("resources");
    let (limits, reservations) = (resources.key("limits"), resources.key("reservations"));
    let own = |key: &'static str| service.key(key);
    let number = |key: &'static str| own(key).integer(i64::MIN, i64::MAX).filter(|it| *it != 0);
    let pids = |place: &Cursor<'_>| place.integer(-1, i64::MAX).filter(|it| *it != 0);
    ResourceLimits {
        nano_cpus: agree(&own("cpus"), &limits.key("cpus"), nano_cpus),
        reserved_nano_cpus: nano_cpus(&reservations.key("cpus")),
        cpu_shares: number("cpu_shares"),
        cpu_period_us: number("cpu_period"),
        cpu_quota_us: number("cpu_quota"),
        cpu_rt_period_us: number("cpu_rt_period"),
        cpu_rt_runtime_us: number("cpu_rt_runtime"),
        cpuset: own("cpuset").string(),
        memory_bytes: agree(&own("mem_limit"), &limits.key("memory"), size),
        reserved_memory_bytes: agree(&own("mem_reservation"), &reservations.key("memory"), size),
        memory_swap_bytes: own("memswap_limit").integer(-1, i64::MAX).filter(|it| *it != 0),
        memory_swappiness: own("mem_swappiness").integer(0, 100),
        pids: agree(&own("pids_limit"), &limits.key("pids"), pids),
        shm_bytes: size(&own("shm_size")),
        oom_kill_disable: own("oom_kill_disable").flag().unwrap_or(false),
        oom_score_adj: own("oom_score_adj").integer(-1000, 1000),
        ulimits: ulimits(&own("ulimits")),
        blkio: blkio(&own("blkio_config")),
        devices: own("devices").items().iter().filter_map(device).collect(),
        device_cgroup_rules: device_rules(&own("device_cgroup_rules")),
        device_requests: device_requests(&own("gpus"), &reservations.key("devices")),
        generic: generic(&reservations.key("generic_resources")),
    }
}

/// One quantity that two keys can set.
fn agree<T: PartialEq>(
    own: &Cursor<'_>,
    deploy: &Cursor<'_>,
    read: impl Fn(&Cursor<'_>) -> Option<T>,
) -> Option<T> {
    let (first, second) = (read(own), read(deploy));
    if first.is_some() && second.is_some() && first != second {
        own.error("differs from the same setting under `deploy.resources`; set one, or both alike");
    }
    second.or(first)
}

/// Billionths of a core; zero is silence.
fn nano_cpus(place: &Cursor<'_>) -> Option<u64> {
    let cores = |text: &str| text::fixed(text, 9);
    place.parse("a number of CPUs such as `1.5`", cores).filter(|it| *it != 0)
}

/// The names that setrlimit(2) knows, as container engines spell them.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn ulimits(place: &Cursor<'_>) -> BTreeMap<String, Ulimit> {
    place.members().iter().filter_map(|(name, place)| ulimit(name, place)).collect()
}

fn ulimit(name: &str, place: &Cursor<'_>) -> Option<(String, Ulimit)> {
    if !ULIMITS.contains(&name) {
        place.error(format!("`{name}` is not a resource limit; {}", near::choice(name, &ULIMITS)));
    }
    let limit = |place: &Cursor<'_>| place.integer::<i64>(-1, i64::MAX);
    let (soft, hard) = match place.node()?.as_map() {
        None => (limit(place)?, limit(place)?),
        Some(_) => {
            let (soft, hard) = (limit(&place.key("soft")), limit(&place.key("hard")));
            (soft.or(hard)?, hard.or(soft)?)
        }
    };
    let order = |it: i64| if it == -1 { i64::MAX } else { it };
    if order(soft) > order(hard) {
        place.error("the soft limit is above the hard one");
    }
    Some((name.to_owned(), Ulimit { soft, hard }))
}

fn blkio(place: &Cursor<'_>) -> Option<BlkioSpec> {
    let weights = place.key("weight_device");
    let bytes = |key: &str| {
        let rate = |it: &Cursor<'_>| Some(ByteRate { path: path(it)?, bytes: rate(it)? });
        place.key(key).items().iter().filter_map(rate).collect()
    };
    let operations = |key: &str| {
        let rate = |it: &Cursor<'_>| Some(IoRate { path: path(it)?, operations: rate(it)? });
        place.key(key).items().iter().filter_map(rate).collect()
    };
    place.is_set().then(|| BlkioSpec {
        weight: weight(place),
        weight_device: weights
            .items()
            .iter()
            .filter_map(|it| Some(IoWeight { path: path(it)?, weight: weight(it)? }))
            .collect(),
        read_bps: bytes("device_read_bps"),
        write_bps: bytes("device_write_bps"),
        read_iops: operations("device_read_iops"),
        write_iops: operations("device_write_iops"),
    })
}

/// 10 to 1000 as the kernel takes it; zero is silence.
fn weight(place: &Cursor<'_>) -> Option<u16> {
    let weight = |text: &str| text.parse().ok().filter(|it| *it == 0 || (10..=1000).contains(it));
    place.key("weight").parse("a weight from 10 to 1000", weight).filter(|it| *it != 0)
}

fn rate(place: &Cursor<'_>) -> Option<u64> {
    let rate = place.key("rate").integer(0, i64::MAX);
    if !place.key("rate").is_set() {
        place.error("names no `rate`");
    }
    rate
}

fn path(place: &Cursor<'_>) -> Option<String> {
    let path = place.key("path").string();
    if path.is_none() {
        place.error("names no device; add its `path`");
    }
    path
}

fn device(place: &Cursor<'_>) -> Option<DeviceSpec> {
    let Some(source) = place.key("source").string() else {
        place.error("names no device; add its `source`");
        return None;
    };
    let target = place.key("target").string().unwrap_or_else(|| source.clone());
    // A CDI name: `vendor.com/class=device`.
    let by_name = !source.starts_with('/') && source.contains('/') && source.contains('=');
    let letters = |text: &str| text.bytes().all(|it| b"rwm".contains(&it)).then(|| text.to_owned());
    let permissions = place.key("permissions").parse("a set of the letters r, w and m", letters);
    Some(DeviceSpec {
        target: if by_name && target == source { String::new() } else { target },
        source,
        permissions: permissions.unwrap_or_else(|| "rwm".to_owned()),
    })
}

/// `c 1:3 mr`: a kind, a major and a minor number, and permissions.
fn device_rules(place: &Cursor<'_>) -> Vec<String> {
    let number = |it: &str| it == "*" || it.parse::<u32>().is_ok();
    let rule = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, numbers, letters] = words[..] else { return None };
        let (major, minor) = numbers.split_once(':')?;
        let right = ["a", "b", "c"].contains(&kind)
            && number(major)
            && number(minor)
            && letters.bytes().all(|it| b"rwm".contains(&it));
        right.then(|| text.to_owned())
    };
    let items = place.items();
    items.iter().filter_map(|it| it.parse("a device rule such as `c 1:3 mr`", rule)).collect()
}

fn device_requests(gpus: &Cursor<'_>, reserved: &Cursor<'_>) -> Vec<DeviceRequest> {
    let gpu = |place: &Cursor<'_>| {
        let mut request = device_request(place);
        if !request.capabilities.iter().any(|it| it == "gpu") {
            request.capabilities.push("gpu".to_owned());
        }
        request
    };
    let reserve = |place: &Cursor<'_>| {
        let request = device_request(place);
        if request.capabilities.is_empty() {
            place.error("names no `capabilities`; say what the device must do, such as [gpu]");
        }
        request
    };
    gpus.items().iter().map(gpu).chain(reserved.items().iter().map(reserve)).collect()
}

fn device_request(place: &Cursor<'_>) -> DeviceRequest {
    let device_ids = place.key("device_ids").strings();
    let count = place.key("count");
    if count.is_set() && !device_ids.is_empty() {
        count.error("excludes `device_ids`; remove one of the two");
    }
    let number = count.parse("a number of devices or `all`", |text| match text {
        "all" => Some(-1),
        _ => text.parse().ok().filter(|it| *it >= -1),
    });
    DeviceRequest {
        driver: place.key("driver").string(),
        count: number.or_else(|| device_ids.is_empty().then_some(-1)),
        device_ids,
        capabilities: place.key("capabilities").strings(),
        options: place.key("options").pairs(),
    }
}

fn generic(place: &Cursor<'_>) -> BTreeMap<String, i64> {
    let one = |place: &Cursor<'_>| {
        let place = place.key("discrete_resource_spec");
        Some((place.key("kind").string()?, place.key("value").integer(0, i64::MAX)?))
    };
    place.items().iter().filter_map(one).collect()
}
