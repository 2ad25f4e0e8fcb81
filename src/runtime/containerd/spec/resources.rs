//! Limits and devices in the runtime specification's terms.
//!
//! Reservations of CPU and of countable resources are for placement: nothing holds them here.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
};

use nix::sys::stat::{major, minor};
use serde_json::{Value, json};

use super::super::errors::unsupported;
use crate::{
    model::spec::{BlkioSpec, ByteRate, DeviceSpec, IoRate, ResourceLimits},
    runtime::RuntimeError,
};

/// The default period of the completely fair scheduler.
const CPU_PERIOD_US: u64 = 100_000;

/// `linux.resources`.
pub(super) fn resources(limits: &ResourceLimits, privileged: bool) -> Result<Value, RuntimeError> {
    let mut resources = json!({
        "devices": device_rules(limits, privileged)?,
        "memory": without_nulls(json!({
            "limit": limits.memory_bytes,
            "reservation": limits.reserved_memory_bytes,
            "swap": swap(limits),
            "swappiness": limits.memory_swappiness,
            "disableOOMKiller": limits.oom_kill_disable.then_some(true),
        })),
        "cpu": without_nulls(cpu(limits)),
    });
    // -1 is no limit, and so is 0.
    if let Some(pids) = limits.pids.filter(|it| *it != 0) {
        resources["pids"] = json!({ "limit": pids });
    }
    if let Some(blkio) = &limits.blkio {
        resources["blockIO"] = block_io(blkio)?;
    }
    Ok(resources)
}

/// Memory and swap together; as much swap as memory where only memory is bounded, as Docker has it.
fn swap(limits: &ResourceLimits) -> Option<i64> {
    let twice = || limits.memory_bytes.and_then(|it| i64::try_from(it.checked_mul(2)?).ok());
    limits.memory_swap_bytes.filter(|it| *it != 0).or_else(twice)
}

fn cpu(limits: &ResourceLimits) -> Value {
    let of_cores = limits.nano_cpus.filter(|it| *it > 0);
    let quota = of_cores.map(|it| i64::try_from(it / 10_000).unwrap_or(i64::MAX));
    json!({
        "shares": limits.cpu_shares.filter(|it| *it > 0),
        "quota": quota.or(limits.cpu_quota_us.filter(|it| *it != 0)),
        "period": of_cores.map(|_| CPU_PERIOD_US).or(positive(limits.cpu_period_us)),
        "realtimeRuntime": positive(limits.cpu_rt_runtime_us),
        "realtimePeriod": positive(limits.cpu_rt_period_us),
        "cpus": limits.cpuset.as_deref().filter(|it| !it.is_empty()),
    })
}

fn positive(value: Option<i64>) -> Option<u64> {
    value.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0)
}

/// The specification knows values and their absence, but no nothing.
fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, it| !it.is_null());
    }
    value
}

fn block_io(blkio: &BlkioSpec) -> Result<Value, RuntimeError> {
    let bytes = |rates: &[ByteRate]| {
        rates.iter().map(|it| throttled(&it.path, "rate", it.bytes)).collect::<Result<Vec<_>, _>>()
    };
    let operations = |rates: &[IoRate]| {
        let rates = rates.iter().map(|it| throttled(&it.path, "rate", it.operations));
        rates.collect::<Result<Vec<_>, _>>()
    };
    let weights = blkio.weight_device.iter();
    let weights = weights.map(|it| throttled(&it.path, "weight", u64::from(it.weight)));
    Ok(without_nulls(json!({
        "weight": blkio.weight,
        "weightDevice": weights.collect::<Result<Vec<_>, _>>()?,
        "throttleReadBpsDevice": bytes(&blkio.read_bps)?,
        "throttleWriteBpsDevice": bytes(&blkio.write_bps)?,
        "throttleReadIOPSDevice": operations(&blkio.read_iops)?,
        "throttleWriteIOPSDevice": operations(&blkio.write_iops)?,
    })))
}

fn throttled(path: &str, key: &str, value: u64) -> Result<Value, RuntimeError> {
    let node = Node::at(path)?;
    Ok(json!({ "major": node.major, "minor": node.minor, key: value }))
}

/// A device's file on the node.
struct Node {
    kind: char,
    major: u64,
    minor: u64,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Node {
    fn at(path: &str) -> Result<Self, RuntimeError> {
        let failed =
            |why: String| RuntimeError::Failed { doing: format!("find device {path}"), why };
        let about = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        let kind = about.file_type();
        let kind = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => 'c',
            (_, true) => 'b',
            (false, false) => return Err(failed("it is no device; name one of /dev".to_owned())),
        };
        let (major, minor) = (major(about.rdev()), minor(about.rdev()));
        let mode = about.mode() & 0o777;
        Ok(Self { kind, major, minor, mode, uid: about.uid(), gid: about.gid() })
    }

    fn as_device(&self, path: &str) -> Value {
        json!({
            "path": path, "type": self.kind, "major": self.major, "minor": self.minor,
            "fileMode": self.mode, "uid": self.uid, "gid": self.gid,
        })
    }

    fn as_rule(&self, access: &str) -> Value {
        json!({
            "allow": true, "type": self.kind, "major": self.major, "minor": self.minor, "access": access,
        })
    }
}

/// Each device with its path in the container and what may be done with it; a directory's are all in it.
fn wanted(limits: &ResourceLimits) -> Result<Vec<(Node, String, String)>, RuntimeError> {
    let cdi = |it: &&DeviceSpec| it.target.is_empty() && !it.source.starts_with('/');
    let instead = "name the device by its path, or run this on a node with Docker";
    if let Some(named) = limits.devices.iter().find(cdi) {
        return Err(unsupported(format!("device `{}` by its CDI name", named.source), instead));
    }
    if !limits.device_requests.is_empty() {
        return Err(unsupported("`gpus` and devices by capability", instead));
    }
    let mut found = Vec::new();
    for device in &limits.devices {
        let target = if device.target.is_empty() { &device.source } else { &device.target };
        let access = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
        if !fs::metadata(&device.source).is_ok_and(|it| it.is_dir()) {
            found.push((Node::at(&device.source)?, target.clone(), access.to_owned()));
            continue;
        }
        for entry in fs::read_dir(&device.source).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Ok(node) = Node::at(&entry.path().to_string_lossy()) {
                found.push((node, format!("{target}/{name}"), access.to_owned()));
            }
        }
    }
    Ok(found)
}

/// `linux.devices`.
pub(super) fn devices(
    limits: &ResourceLimits,
    privileged: bool,
) -> Result<Vec<Value>, RuntimeError> {
    let mut devices: Vec<_> =
        wanted(limits)?.iter().map(|(node, target, _)| node.as_device(target)).collect();
    if privileged {
        // All of the node's; those in folders of their own are the container's (`/dev/pts`).
        for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
            let path = entry.path().to_string_lossy().into_owned();
            let is_link = entry.file_type().is_ok_and(|it| it.is_symlink());
            if !is_link
                && path != "/dev/console"
                && let Ok(node) = Node::at(&path)
            {
                devices.push(node.as_device(&path));
            }
        }
    }
    Ok(devices)
}

/// `linux.resources.devices`: nothing, and then what is allowed.
fn device_rules(limits: &ResourceLimits, privileged: bool) -> Result<Vec<Value>, RuntimeError> {
    let mut rules = vec![json!({ "allow": privileged, "access": "rwm" })];
    for (node, _, access) in wanted(limits)? {
        rules.push(node.as_rule(&access));
    }
    for text in &limits.device_cgroup_rules {
        rules.push(rule(text).ok_or_else(|| RuntimeError::Failed {
            doing: format!("read `device_cgroup_rules: {text}`"),
            why: "it is no rule; write it as `c 42:* rmw`".to_owned(),
        })?);
    }
    Ok(rules)
}

/// `c 42:* rmw`
fn rule(text: &str) -> Option<Value> {
    let mut words = text.split_whitespace();
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(-1),
        text => text.parse::<i64>().ok().filter(|it| *it >= 0),
    };
    let right = matches!(kind, "a" | "b" | "c")
        && access.chars().all(|it| "rwm".contains(it))
        && words.next().is_none();
    let rule = json!({
        "allow": true, "type": kind, "major": number(major)?, "minor": number(minor)?, "access": access,
    });
    right.then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_for_devices_are_read_or_refused() {
        let read = rule("c 42:* rmw").unwrap();
        assert_eq!((&read["major"], &read["minor"]), (&json!(42), &json!(-1)));
        for wrong in ["", "c 42 rmw", "x 1:1 r", "c 1:1 q", "c 1:-5 r", "c 1:1 r more"] {
            assert_eq!(rule(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn swap_is_as_much_as_memory_where_only_that_is_bounded() {
        let limits = ResourceLimits { memory_bytes: Some(10), ..ResourceLimits::default() };
        assert_eq!(swap(&limits), Some(20));
        assert_eq!(swap(&ResourceLimits { memory_swap_bytes: Some(-1), ..limits }), Some(-1));
    }
}
