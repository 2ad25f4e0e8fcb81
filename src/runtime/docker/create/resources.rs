//! Limits and devices in the engine's terms.
//!
//! Reservations of CPU and of countable resources are for placement: the engine has nothing to hold
//! them with.

use bollard::models::{
    DeviceMapping, DeviceRequest as EngineDeviceRequest, HostConfig, ResourcesBlkioWeightDevice,
    ResourcesUlimits, ThrottleDevice,
};

use crate::model::spec::{BlkioSpec, ByteRate, DeviceRequest, DeviceSpec, IoRate, ResourceLimits};

pub(super) fn set(host: &mut HostConfig, limits: &ResourceLimits) {
    host.nano_cpus = limits.nano_cpus.map(number);
    host.cpu_shares = limits.cpu_shares;
    host.cpu_period = limits.cpu_period_us;
    host.cpu_quota = limits.cpu_quota_us;
    host.cpu_realtime_period = limits.cpu_rt_period_us;
    host.cpu_realtime_runtime = limits.cpu_rt_runtime_us;
    host.cpuset_cpus.clone_from(&limits.cpuset);
    host.memory = limits.memory_bytes.map(number);
    host.memory_reservation = limits.reserved_memory_bytes.map(number);
    host.memory_swap = limits.memory_swap_bytes;
    host.memory_swappiness = limits.memory_swappiness.map(i64::from);
    host.pids_limit = limits.pids;
    host.shm_size = limits.shm_bytes.map(number);
    host.oom_kill_disable = limits.oom_kill_disable.then_some(true);
    host.oom_score_adj = limits.oom_score_adj;
    let ulimits = limits.ulimits.iter().map(|(name, it)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(it.soft),
        hard: Some(it.hard),
    });
    host.ulimits = Some(ulimits.collect());
    if let Some(blkio) = &limits.blkio {
        set_blkio(host, blkio);
    }
    let (cdi, paths): (Vec<_>, Vec<_>) =
        limits.devices.iter().partition(|it| it.target.is_empty() && !it.source.starts_with('/'));
    host.devices = Some(paths.into_iter().map(device).collect());
    host.device_cgroup_rules = super::list(&limits.device_cgroup_rules);
    let mut requests: Vec<_> = limits.device_requests.iter().map(device_request).collect();
    if !cdi.is_empty() {
        requests.push(EngineDeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(cdi.into_iter().map(|it| it.source.clone()).collect()),
            ..EngineDeviceRequest::default()
        });
    }
    host.device_requests = (!requests.is_empty()).then_some(requests);
}

fn set_blkio(host: &mut HostConfig, blkio: &BlkioSpec) {
    let bytes = |rates: &[ByteRate]| {
        Some(rates.iter().map(|it| throttle(&it.path, it.bytes)).collect::<Vec<_>>())
    };
    let operations = |rates: &[IoRate]| {
        Some(rates.iter().map(|it| throttle(&it.path, it.operations)).collect::<Vec<_>>())
    };
    let weights = blkio.weight_device.iter().map(|it| ResourcesBlkioWeightDevice {
        path: Some(it.path.clone()),
        weight: Some(usize::from(it.weight)),
    });
    host.blkio_weight = blkio.weight;
    host.blkio_weight_device = Some(weights.collect());
    host.blkio_device_read_bps = bytes(&blkio.read_bps);
    host.blkio_device_write_bps = bytes(&blkio.write_bps);
    host.blkio_device_read_iops = operations(&blkio.read_iops);
    host.blkio_device_write_iops = operations(&blkio.write_iops);
}

fn throttle(path: &str, rate: u64) -> ThrottleDevice {
    ThrottleDevice { path: Some(path.to_owned()), rate: Some(number(rate)) }
}

fn device(device: &DeviceSpec) -> DeviceMapping {
    let target = if device.target.is_empty() { &device.source } else { &device.target };
    let permissions = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
    DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(target.clone()),
        cgroup_permissions: Some(permissions.to_owned()),
    }
}

fn device_request(request: &DeviceRequest) -> EngineDeviceRequest {
    EngineDeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: super::list(&request.device_ids),
        // All of one alternative; Compose has no words for others.
        capabilities: super::list(&request.capabilities).map(|it| vec![it]),
        options: super::some(request.options.clone()),
    }
}

/// The engine counts in signed numbers.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
