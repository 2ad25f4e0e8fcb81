//! Capabilities, privileges and namespaces, seen from inside.

use std::path::Path;

use fizz::model::spec::NamespaceMode;

use crate::harness::{Lab, words};

/// CAP_NET_ADMIN, CAP_CHOWN.
const NET_ADMIN: u64 = 1 << 12;
const CHOWN: u64 = 1;

async fn capabilities(lab: &Lab, id: &fizz::runtime::RuntimeId) -> u64 {
    let bits = lab.sh(id, "grep CapBnd /proc/1/status | awk '{print $2}'").await;
    u64::from_str_radix(&bits, 16).unwrap()
}

#[tokio::test]
async fn capabilities_are_added_and_dropped() {
    let lab = Lab::new();
    let plain = lab.run(&lab.request("web")).await;
    let bits = capabilities(&lab, &plain).await;
    assert!(bits & NET_ADMIN == 0 && bits & CHOWN != 0, "{bits:x}");
    let id = lab
        .run_with(|it| {
            it.spec.security.cap_add = vec!["NET_ADMIN".to_owned()];
            it.spec.security.cap_drop = vec!["CHOWN".to_owned()];
        })
        .await;
    let bits = capabilities(&lab, &id).await;
    assert!(bits & NET_ADMIN != 0 && bits & CHOWN == 0, "{bits:x}");
}

#[tokio::test]
async fn a_privileged_container_may_do_more() {
    let lab = Lab::new();
    let request = lab.with(|it| it.spec.security.privileged = true);
    let id = lab.runtime.create(&request).await.unwrap();
    if !lab.on_containerd() {
        assert_eq!(lab.inspected(&id, "/HostConfig/Privileged").await, true);
    }
    // A node that may not give every capability itself cannot start it, and says so.
    match lab.runtime.start(&id).await {
        Ok(()) => assert!(capabilities(&lab, &id).await & NET_ADMIN != 0),
        Err(error) => assert!(error.to_string().contains("start container"), "{error}"),
    }
}

#[tokio::test]
async fn a_read_only_root_cannot_be_written() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.security.read_only = true;
            it.spec.tmpfs = vec![("/scratch".to_owned(), "size=1m,mode=1700".to_owned())];
        })
        .await;
    assert_ne!(lab.try_sh(&id, "echo x > /x").await.1, 0);
    lab.sh(&id, "echo x > /scratch/x").await;
    assert_eq!(
        lab.sh(&id, "df -k /scratch | awk 'END{print $2}'; stat -c %a /scratch").await,
        "1024\n1700"
    );
}

#[tokio::test]
async fn security_options_hold() {
    let lab = Lab::new();
    let profile = lab.engine.dir().join(format!("{}-seccomp.json", lab.project));
    let rules = r#"{ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }"#;
    std::fs::write(&profile, rules).unwrap();
    let id = lab
        .run_with(|it| {
            it.spec.security.options = vec![
                "no-new-privileges:true".to_owned(),
                format!("seccomp:{}", profile.display()),
                "systempaths=unconfined".to_owned(),
            ];
        })
        .await;
    assert_eq!(lab.sh(&id, "grep NoNewPrivs /proc/1/status | awk '{print $2}'").await, "1");
    assert_ne!(lab.try_sh(&id, "mkdir /tmp/x").await.1, 0);
    if lab.on_podman() || lab.on_containerd() {
        assert_eq!(lab.sh(&id, "grep -c ' /proc/[a-z]' /proc/mounts || true").await, "0");
    } else {
        assert_eq!(lab.inspected(&id, "/HostConfig/MaskedPaths").await, serde_json::json!([]));
    }
    let missing =
        lab.with(|it| it.spec.security.options = vec!["seccomp=/nowhere.json".to_owned()]);
    let error = lab.runtime.create(&missing).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere.json"), "{error}");
}

#[tokio::test]
async fn kernel_parameters_are_the_containers_own() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.security.sysctls =
                [("net.ipv4.ip_default_ttl".to_owned(), "44".to_owned())].into();
        })
        .await;
    assert_eq!(lab.sh(&id, "cat /proc/sys/net/ipv4/ip_default_ttl").await, "44");
}

#[tokio::test]
async fn namespaces_are_shared_with_the_one_named() {
    let lab = Lab::new();
    let mut first = lab.request("db");
    first.spec.security.ipc = Some(NamespaceMode::Other("shareable".to_owned()));
    let first_id = lab.run(&first).await;
    let id = lab
        .run_with(|it| {
            it.peers = [("db".parse().unwrap(), first_id.clone())].into();
            it.spec.security.ipc = Some(NamespaceMode::Service("db".parse().unwrap()));
            it.spec.security.pid = Some(NamespaceMode::Container(first.name.to_string()));
        })
        .await;
    for namespace in ["ipc", "pid"] {
        let line = format!("readlink /proc/self/ns/{namespace}");
        assert_eq!(lab.sh(&id, &line).await, lab.sh(&first_id, &line).await);
    }
    let id = lab
        .run_with(|it| {
            it.spec.security.pid = Some(NamespaceMode::Host);
            it.spec.security.ipc = Some(NamespaceMode::Host);
            it.spec.security.uts_host = true;
            it.spec.security.cgroup = (!lab.on_podman()).then(|| "host".to_owned());
        })
        .await;
    for namespace in ["pid", "ipc", "uts"] {
        let line = format!("readlink /proc/self/ns/{namespace}");
        assert_eq!(lab.sh(&id, &line).await, lab.engine.inside(&line), "{namespace}");
    }
    // Podman's account is silent about it, and the namespace itself tells both.
    let cgroup = "readlink /proc/self/ns/cgroup";
    if !lab.on_podman() {
        assert_eq!(lab.sh(&id, cgroup).await, lab.engine.inside(cgroup));
    }
    let nobody = lab
        .with(|it| it.spec.security.pid = Some(NamespaceMode::Service("nobody".parse().unwrap())));
    assert!(lab.runtime.create(&nobody).await.unwrap_err().to_string().contains("nobody"));
}

#[tokio::test]
async fn a_cgroup_of_ones_own_and_a_parent() {
    let lab = Lab::new();
    // Below the engine's own, so that it is cleared away with it.
    let parent = format!("/{}/special", lab.engine.dir().file_name().unwrap().to_str().unwrap());
    // Podman gives what the machine has: under version 1 of control groups, its own.
    let private = !lab.on_podman() || !Path::new("/sys/fs/cgroup/memory").exists();
    let word = |private| if private { "private" } else { "host" };
    if lab.on_podman() {
        let other = Some(word(!private).to_owned());
        super::refused(&lab, "cgroup", |it| it.spec.security.cgroup = other).await;
    }
    let id = lab
        .run_with(|it| {
            it.spec.security.cgroup = Some(word(private).to_owned());
            it.spec.security.cgroup_parent = Some(parent.clone());
        })
        .await;
    let pid = lab.inspected(&id, "/State/Pid").await;
    let cgroups = lab.engine.inside(&format!("cat /proc/{pid}/cgroup"));
    assert!(cgroups.contains("/special/"), "{cgroups}");
    let cgroup = "readlink /proc/self/ns/cgroup";
    assert_eq!(lab.sh(&id, cgroup).await != lab.engine.inside(cgroup), private);
}

#[tokio::test]
async fn words_that_the_engine_does_not_know_are_refused() {
    let lab = Lab::new();
    let isolated = lab.with(|it| it.spec.security.isolation = Some("default".to_owned()));
    lab.runtime.create(&isolated).await.unwrap();
    for change in [
        |it: &mut fizz::model::spec::Security| it.isolation = Some("vault".to_owned()),
        |it: &mut fizz::model::spec::Security| it.isolation = Some("hyperv".to_owned()),
        |it: &mut fizz::model::spec::Security| it.cgroup = Some("both".to_owned()),
        |it: &mut fizz::model::spec::Security| it.userns = Some("vault".to_owned()),
    ] {
        let request = lab.with(|it| change(&mut it.spec.security));
        assert!(lab.runtime.create(&request).await.is_err(), "{:?}", request.spec.security);
    }
    let host = lab.with(|it| it.spec.security.userns = Some("host".to_owned()));
    let id = lab.run(&host).await;
    let user = "readlink /proc/self/ns/user";
    assert_eq!(lab.sh(&id, user).await, lab.engine.inside(user));
}

#[tokio::test]
async fn storage_options_reach_the_engine() {
    let lab = Lab::new();
    let request = lab.with(|it| {
        it.spec.storage_options = [("size".to_owned(), "1G".to_owned())].into();
        it.spec.command = words(&["true"]);
    });
    match lab.runtime.create(&request).await {
        Ok(id) => assert_eq!(lab.inspected(&id, "/HostConfig/StorageOpt/size").await, "1G"),
        // Only some file systems can.
        Err(error) => assert!(
            error.to_string().contains("storage-opt")
                || error.to_string().contains("`storage_opt`"),
            "{error}"
        ),
    }
}
