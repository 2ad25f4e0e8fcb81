//! Capabilities, privileges and namespaces in the engine's terms.

use bollard::models::{HostConfig, HostConfigCgroupnsModeEnum, HostConfigIsolationEnum};

use super::super::flavour::Flavour;
use crate::{
    model::{ServiceName, spec::NamespaceMode},
    runtime::{CreateContainer, RuntimeError, RuntimeId},
};

pub(super) async fn set(
    host: &mut HostConfig,
    flavour: Flavour,
    request: &CreateContainer,
) -> Result<(), RuntimeError> {
    let security = &request.spec.security;
    host.privileged = Some(security.privileged);
    host.readonly_rootfs = Some(security.read_only);
    host.cap_add = super::list(&security.cap_add);
    host.cap_drop = super::list(&security.cap_drop);
    host.ipc_mode = namespace(request, security.ipc.as_ref())?;
    host.pid_mode = namespace(request, security.pid.as_ref())?;
    host.uts_mode = security.uts_host.then(|| "host".to_owned());
    host.cgroup_parent.clone_from(&security.cgroup_parent);
    host.sysctls = super::some(security.sysctls.clone());
    host.cgroupns_mode = match security.cgroup.as_deref() {
        None => None,
        Some("host") => Some(HostConfigCgroupnsModeEnum::HOST),
        Some("private") => Some(HostConfigCgroupnsModeEnum::PRIVATE),
        Some(other) => return Err(unknown("cgroup", other, "`host` or `private`")),
    };
    // The engine takes any word here, and heeds this one.
    host.userns_mode = match security.userns.as_deref() {
        None | Some("") => None,
        Some("host") => Some("host".to_owned()),
        Some(other) => return Err(unknown("userns_mode", other, "`host`")),
    };
    host.isolation = match security.isolation.as_deref() {
        None | Some("default") => None,
        Some("process") => Some(HostConfigIsolationEnum::PROCESS),
        Some("hyperv") => Some(HostConfigIsolationEnum::HYPERV),
        Some(other) => return Err(unknown("isolation", other, "`default` on Linux")),
    };
    options(host, flavour, &security.options).await
}

fn unknown(key: &str, value: &str, right: &str) -> RuntimeError {
    RuntimeError::Unsupported(format!("`{key}: {value}` is unknown to Docker; use {right}"))
}

fn namespace(
    request: &CreateContainer,
    mode: Option<&NamespaceMode>,
) -> Result<Option<String>, RuntimeError> {
    Ok(match mode {
        None => None,
        Some(NamespaceMode::Host) => Some("host".to_owned()),
        Some(NamespaceMode::Service(service)) => {
            Some(format!("container:{}", peer(request, service)?))
        }
        Some(NamespaceMode::Container(name)) => Some(format!("container:{name}")),
        Some(NamespaceMode::Other(word)) => Some(word.clone()),
    })
}

/// The container that `service:NAME` means.
pub(super) fn peer<'a>(
    request: &'a CreateContainer,
    service: &ServiceName,
) -> Result<&'a RuntimeId, RuntimeError> {
    request.peers.get(service).ok_or_else(|| RuntimeError::NotFound {
        what: "container of service",
        name: service.to_string(),
    })
}

/// `security_opt`. The engine wants a seccomp profile itself, not where it is, and has no word for
/// unmasked system paths but their empty lists.
async fn options(
    host: &mut HostConfig,
    flavour: Flavour,
    options: &[String],
) -> Result<(), RuntimeError> {
    let mut sent = Vec::new();
    for option in options {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("systempaths", "unconfined") => {
                host.masked_paths = Some(Vec::new());
                host.readonly_paths = Some(Vec::new());
                match flavour {
                    Flavour::Docker => {}
                    // It does not look at the lists.
                    Flavour::Podman => sent.push("unmask=ALL".to_owned()),
                }
            }
            ("seccomp", path) if !matches!(path, "unconfined" | "builtin") => {
                let profile = seccomp_profile(path).await?;
                sent.push(match flavour {
                    Flavour::Docker => format!("seccomp={profile}"),
                    Flavour::Podman if path.starts_with('{') => {
                        return Err(RuntimeError::Unsupported(
                            "Podman takes `security_opt: seccomp` as a file's path only; write the profile to a file of the node"
                                .to_owned(),
                        ));
                    }
                    // It reads the file itself, once it is known to be right.
                    Flavour::Podman => format!("seccomp={path}"),
                });
            }
            ("no-new-privileges", "") => sent.push(option.clone()),
            _ => sent.push(format!("{name}={value}")),
        }
    }
    host.security_opt = Some(sent);
    Ok(())
}

async fn seccomp_profile(path: &str) -> Result<String, RuntimeError> {
    let failed = |why: String| RuntimeError::Failed {
        doing: format!("read seccomp profile {path}"),
        why: format!("{why}; name a JSON file of this node, or `unconfined`"),
    };
    let text = if path.starts_with('{') {
        path.to_owned()
    } else {
        tokio::fs::read_to_string(path).await.map_err(|error| failed(error.to_string()))?
    };
    let profile: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    Ok(profile.to_string())
}
