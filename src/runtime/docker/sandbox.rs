//! The container that holds a network namespace for another, since Docker takes none that is there already.
//!
//! It does nothing at all: its one program, [`PROGRAM`], waits for signals (pause(2)). The container that it is
//! for joins its network, and may end and begin again without losing that.

use bollard::{
    models::{
        ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum,
    },
    query_parameters::{CreateContainerOptions, ImportImageOptions},
};
use bytes::Bytes;
use futures_util::StreamExt;

use super::{
    connect::{ANSWER_MAX, Engine, WORK_MAX},
    containers,
    errors::{Refusal, about},
};
use crate::{
    model::ContainerId,
    runtime::{Held, RuntimeError, RuntimeId, SandboxRequest, digest::sha256, labels},
};

/// The image of the program. Its name is nobody's but Fizz's: nothing is ever asked of a registry for it.
const IMAGE: &str = "fizz.internal/pause:1";

/// An ELF file (elf(5)) of one segment: its header, the segment's, and the code.
#[cfg(target_arch = "x86_64")]
const PROGRAM: Program = Program {
    machine: 62,
    architecture: "amd64",
    code: &[
        0xb8, 0x22, 0, 0, 0, // mov eax, 34 (pause)
        0x0f, 0x05, // syscall
        0xeb, 0xf7, // jmp to the beginning
    ],
};

/// The same; this architecture has ppoll(2) in the place of pause(2).
#[cfg(target_arch = "aarch64")]
const PROGRAM: Program = Program {
    machine: 183,
    architecture: "arm64",
    code: &[
        0x00, 0x00, 0x80, 0xd2, // mov x0, 0: no files
        0x01, 0x00, 0x80, 0xd2, // mov x1, 0
        0x02, 0x00, 0x80, 0xd2, // mov x2, 0: no end
        0x03, 0x00, 0x80, 0xd2, // mov x3, 0
        0x04, 0x00, 0x80, 0xd2, // mov x4, 0
        0x28, 0x09, 0x80, 0xd2, // mov x8, 73 (ppoll)
        0x01, 0x00, 0x00, 0xd4, // svc 0
        0xf9, 0xff, 0xff, 0x17, // b to the beginning
    ],
};

struct Program {
    /// As ELF numbers machines.
    machine: u16,
    /// As images name them.
    architecture: &'static str,
    code: &'static [u8],
}

/// Where the file is in memory, and how long its two headers are.
const BASE: u64 = 0x40_0000;
const HEADERS_BYTES: u64 = 64 + 56;

impl Program {
    fn file(&self) -> Vec<u8> {
        let bytes = HEADERS_BYTES + self.code.len() as u64;
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
        put(&2_u16.to_le_bytes()); // a program
        put(&self.machine.to_le_bytes());
        put(&1_u32.to_le_bytes());
        put(&(BASE + HEADERS_BYTES).to_le_bytes()); // begins here
        put(&64_u64.to_le_bytes()); // the segments' headers
        put(&0_u64.to_le_bytes()); // no sections
        put(&0_u32.to_le_bytes());
        for number in [64_u16, 56, 1, 0, 0, 0] {
            put(&number.to_le_bytes());
        }
        put(&1_u32.to_le_bytes()); // to be loaded,
        put(&5_u32.to_le_bytes()); // read and run
        for number in [0, BASE, BASE, bytes, bytes, 0x1000] {
            put(&number.to_le_bytes());
        }
        put(self.code);
        file
    }

    /// The image as `docker save` would write it.
    fn archive(&self) -> Result<Vec<u8>, std::io::Error> {
        let layer = tar(&[("pause", 0o755, &self.file())])?;
        let config = serde_json::json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]},
        });
        let manifest = serde_json::json!([
            {"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}
        ]);
        tar(&[
            ("config.json", 0o644, config.to_string().as_bytes()),
            ("layer.tar", 0o644, &layer),
            ("manifest.json", 0o644, manifest.to_string().as_bytes()),
        ])
    }
}

fn tar(files: &[(&str, u32, &[u8])]) -> Result<Vec<u8>, std::io::Error> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, *bytes)?;
    }
    archive.into_inner()
}

fn name_of(container: ContainerId) -> String {
    format!("fizz-net-{container}")
}

/// The namespace that is held for a container, held from now on.
pub(super) async fn hold(engine: &Engine, request: &SandboxRequest) -> Result<Held, RuntimeError> {
    let name = name_of(request.container);
    if let Some(held) = held(engine, request.container).await? {
        return Ok(held);
    }
    make(engine, request, &name).await?;
    let started = engine.ask(WORK_MAX, engine.client.start_container(&name, None)).await;
    started.map_err(|it| engine.error(it, about("start", "container", &name)))?;
    let held = held(engine, request.container).await?;
    held.ok_or_else(|| RuntimeError::Failed {
        doing: format!("start container {name}"),
        why: "it has ended at once".to_owned(),
    })
}

/// The namespace that is held for a container, if one is.
pub(super) async fn held(
    engine: &Engine,
    container: ContainerId,
) -> Result<Option<Held>, RuntimeError> {
    let name = name_of(container);
    let found = engine.ask(ANSWER_MAX, engine.client.inspect_container(&name, None)).await;
    match found {
        Ok(found) => {
            let pid = found.state.and_then(|it| it.pid).filter(|it| *it != 0);
            Ok(pid.zip(found.id).map(|(pid, id)| Held {
                id: RuntimeId(id.into()),
                namespace: format!("/proc/{pid}/ns/net").into(),
            }))
        }
        Err(refusal) if refusal.is_missing() => Ok(None),
        Err(refusal) => Err(engine.error(refusal, about("inspect", "container", name))),
    }
}

async fn make(engine: &Engine, request: &SandboxRequest, name: &str) -> Result<(), RuntimeError> {
    let there = engine.ask(ANSWER_MAX, engine.client.inspect_image(IMAGE)).await;
    match there {
        Ok(_) => {}
        Err(refusal) if refusal.is_missing() => load(engine).await?,
        Err(refusal) => return Err(engine.error(refusal, about("inspect", "image", IMAGE))),
    }
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let host = HostConfig {
        network_mode: Some("none".to_owned()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        dns: some(&request.dns),
        dns_search: some(&request.dns_search),
        dns_options: some(&request.dns_options),
        extra_hosts: some(
            &request
                .extra_hosts
                .iter()
                .map(|(name, at)| format!("{name}:{at}"))
                .collect::<Vec<_>>(),
        ),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        hostname: Some(request.hostname.clone()),
        domainname: request.domain_name.clone(),
        labels: Some([(labels::SANDBOX_OF.to_owned(), request.container.to_string())].into()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptions { name: Some(name.to_owned()), platform: String::new() };
    let made = engine.ask(WORK_MAX, engine.client.create_container(Some(options), body)).await;
    match made {
        Ok(_) => Ok(()),
        // An attempt whose answer was lost has made it.
        Err(refusal) if refusal.status() == Some(409) => Ok(()),
        Err(refusal) => Err(engine.error(refusal, about("create", "container", name))),
    }
}

/// Gives the engine the image.
async fn load(engine: &Engine) -> Result<(), RuntimeError> {
    let failed = |it: Refusal| engine.error(it, about("load", "image", IMAGE));
    let archive = PROGRAM.archive().map_err(|it| failed(Refusal::said(it.to_string())))?;
    let body = bollard::body_full(Bytes::from(archive));
    let mut steps = engine.client.import_image(ImportImageOptions::default(), body, None);
    while let Some(step) =
        engine.ask(WORK_MAX, async { steps.next().await.transpose() }).await.map_err(failed)?
    {
        tracing::debug!(said = ?step.stream, "the image {IMAGE} is loaded");
    }
    Ok(())
}

/// Lets go of a container's namespace.
pub(super) async fn let_go(engine: &Engine, container: ContainerId) -> Result<(), RuntimeError> {
    containers::remove(engine, &name_of(container), true).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_one_that_waits() {
        let file = PROGRAM.file();
        assert_eq!(file.len() as u64, HEADERS_BYTES + PROGRAM.code.len() as u64);
        let path = std::env::temp_dir().join(format!("fizz-pause-{}", std::process::id()));
        std::fs::write(&path, &file).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none(), "it goes on");
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
