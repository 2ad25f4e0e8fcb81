//! Volumes, paths of the node, memory and images in a container.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

use fizz::{
    model::spec::{Bind, Mount, MountKind, Propagation, VolumeSpec},
    runtime::{CreateContainer, MountedFile, RuntimeError},
};
use serde_json::json;

use crate::harness::Lab;

fn bind(source: &str) -> Bind {
    Bind {
        source: source.to_owned(),
        create_host_path: true,
        propagation: None,
        selinux: None,
        recursive: None,
    }
}

fn at(target: &str, read_only: bool, kind: MountKind) -> Mount {
    Mount { kind, target: target.to_owned(), read_only }
}

fn named(key: &str) -> MountKind {
    MountKind::Volume {
        name: Some(key.to_owned()),
        no_copy: false,
        subpath: None,
        labels: Default::default(),
    }
}

async fn volume(lab: &Lab, key: &str) -> String {
    let spec = VolumeSpec { name: format!("{}_{key}", lab.project), ..VolumeSpec::default() };
    lab.runtime.ensure_volume(&spec, &lab.labels()).await.unwrap();
    spec.name
}

#[tokio::test]
async fn a_volume_keeps_what_was_written_and_starts_with_the_images_content() {
    let lab = Lab::new();
    let (data, empty) = (volume(&lab, "data").await, volume(&lab, "empty").await);
    let volumes = [("data".to_owned(), data), ("empty".to_owned(), empty)];
    let first = lab
        .run_with(|it| {
            it.volumes = volumes.clone().into();
            let no_copy = MountKind::Volume {
                name: Some("empty".to_owned()),
                no_copy: true,
                subpath: None,
                labels: Default::default(),
            };
            it.spec.mounts = vec![at("/work", false, named("data")), at("/etc", false, no_copy)];
        })
        .await;
    assert_eq!(lab.sh(&first, "cat /work/from-image; echo kept > /work/kept").await, "image");
    assert_ne!(lab.try_sh(&first, "test -e /etc/passwd").await.1, 0);
    lab.runtime.remove(&first, true).await.unwrap();
    let second = lab
        .run_with(|it| {
            it.volumes = volumes.into();
            it.spec.mounts = vec![at("/data", true, named("data"))];
        })
        .await;
    assert_eq!(lab.sh(&second, "cat /data/kept").await, "kept");
    assert_ne!(lab.try_sh(&second, "echo x > /data/x").await.1, 0);
    let stray = lab.with(|it| it.spec.mounts = vec![at("/data", true, named("stray"))]);
    assert!(lab.runtime.create(&stray).await.unwrap_err().to_string().contains("stray"));
}

#[tokio::test]
async fn an_anonymous_volume_survives_restarts_and_goes_with_its_container_when_told() {
    let lab = Lab::new();
    for (with_volumes, left) in [(false, 1), (true, 0)] {
        let label = format!("{}.{with_volumes}", lab.project);
        let id = lab
            .run_with(|it| {
                let labels = [(label.clone(), "x".to_owned())];
                let labels = labels.into_iter().filter(|_| !lab.on_podman()).collect();
                it.spec.mounts = vec![at("/data", false, anonymous(labels))];
            })
            .await;
        let name = lab.inspected(&id, "/Mounts/0/Name").await;
        let named = async || {
            let all = lab.runtime.volumes(None).await.unwrap();
            all.iter().filter(|it| name == it.name.as_str()).count()
        };
        lab.sh(&id, "echo kept > /data/kept").await;
        lab.runtime.kill(&id, "KILL").await.unwrap();
        lab.ended(&id).await;
        lab.runtime.start(&id).await.unwrap();
        assert_eq!(lab.sh(&id, "cat /data/kept").await, "kept");
        let labelled = lab.runtime.volumes(Some((&label, "x"))).await.unwrap().len();
        assert_eq!((named().await, labelled), (1, usize::from(!lab.on_podman())));
        lab.runtime.remove(&id, with_volumes).await.unwrap();
        assert_eq!(named().await, left);
    }
    if lab.on_podman() {
        let labels = [("a".to_owned(), "b".to_owned())].into();
        let change = |it: &mut CreateContainer| {
            it.spec.mounts = vec![at("/data", false, anonymous(labels))];
        };
        super::refused(&lab, "volume.labels", change).await;
    }
}

fn anonymous(labels: BTreeMap<String, String>) -> MountKind {
    MountKind::Volume { name: None, no_copy: false, subpath: None, labels }
}

#[tokio::test]
async fn a_missing_path_of_the_node_is_made_or_refused_as_the_file_says() {
    let lab = Lab::new();
    let base = lab.engine.dir().join(format!("{}-paths", lab.project));
    std::fs::create_dir(&base).unwrap();
    let path = |name: &str| base.join(name).display().to_string();
    let id = lab
        .run_with(|it| {
            it.spec.mounts = vec![at("/host", false, MountKind::Bind(bind(&path("new"))))]
        })
        .await;
    lab.sh(&id, "echo seen > /host/file").await;
    assert_eq!(std::fs::read_to_string(base.join("new/file")).unwrap(), "seen\n");

    let strict = |selinux| {
        MountKind::Bind(Bind { create_host_path: false, selinux, ..bind(&path("missing")) })
    };
    for selinux in [None, Some('z')] {
        let request = lab.with(|it| it.spec.mounts = vec![at("/host", false, strict(selinux))]);
        let error = lab.runtime.create(&request).await.unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("create_host_path"), "{error}");
        assert!(!base.join("missing").exists());
    }
    let colon = lab
        .with(|it| it.spec.mounts = vec![at("/host", false, MountKind::Bind(bind(&path("a:b"))))]);
    super::supported(&lab, "a:b", (1, 42), lab.runtime.create(&colon).await).await;
    std::fs::create_dir_all(base.join("a:b")).unwrap();
    let id = lab.run(&lab.with(|it| it.spec = colon.spec)).await;
    lab.sh(&id, "touch /host/x").await;
    assert!(base.join("a:b/x").exists());
}

#[tokio::test]
async fn paths_of_the_node_have_their_options() {
    let lab = Lab::new();
    let base = lab.engine.dir().join(format!("{}-options", lab.project));
    std::fs::create_dir(&base).unwrap();
    let source = base.display().to_string();
    let id = lab
        .run_with(|it| {
            let slave = Bind { propagation: Some(Propagation::RSlave), ..bind(&source) };
            let single = Bind {
                recursive: Some("disabled".to_owned()),
                create_host_path: false,
                ..bind(&source)
            };
            let label = Bind { selinux: Some('Z'), ..bind(&source) };
            it.spec.mounts = vec![
                at("/slave", true, MountKind::Bind(slave)),
                at("/single", false, MountKind::Bind(single)),
                at("/label", false, MountKind::Bind(label)),
            ];
        })
        .await;
    assert_ne!(lab.try_sh(&id, "touch /slave/x").await.1, 0);
    lab.sh(&id, "touch /single/x /label/y").await;
    if lab.on_containerd() {
        let mounts = lab.inspected(&id, "/fizz/mounts").await;
        let options = mounts.as_array().unwrap().iter().map(|it| &it["mount"]["options"]);
        let wanted =
            [["rbind", "ro", "rslave"], ["bind", "rw", "rprivate"], ["rbind", "rw", "rprivate"]];
        assert!(options.eq(wanted.map(|it| json!(it)).iter()), "{mounts}");
        return;
    }
    let binds = lab.inspected(&id, "/HostConfig/Binds").await;
    if lab.on_podman() {
        // It lists all of them so, and a label only where the node has SELinux.
        let binds: Vec<&str> =
            binds.as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
        for (target, options) in [("/slave", "ro,rslave,rbind"), ("/single", "bind,rw,rprivate")] {
            let line = format!("{source}:{target}:{options}");
            assert!(binds.contains(&line.as_str()), "{line} in {binds:?}");
        }
    } else {
        assert_eq!(
            binds,
            json!([format!("{source}:/slave:ro,rslave"), format!("{source}:/label:rw,Z")])
        );
        assert_eq!(lab.inspected(&id, "/HostConfig/Mounts/0/BindOptions/NonRecursive").await, true);
    }
    for word in ["writable", "readonly"] {
        let request = lab.with(|it| {
            let kind =
                Bind { recursive: Some(word.to_owned()), create_host_path: false, ..bind(&source) };
            it.spec.mounts = vec![at("/host", true, MountKind::Bind(kind))];
        });
        super::supported(&lab, word, (1, 44), lab.runtime.create(&request).await).await;
    }
}

#[tokio::test]
async fn memory_is_mounted_with_its_bound_and_mode() {
    let lab = Lab::new();
    let kind = MountKind::Tmpfs { size_bytes: Some(2 << 20), mode: Some(0o1770) };
    let id = lab.run_with(|it| it.spec.mounts = vec![at("/memory", false, kind)]).await;
    assert_eq!(
        lab.sh(&id, "df -k /memory | awk 'END{print $1, $2}'; stat -c %a /memory").await,
        "tmpfs 2048\n1770"
    );
}

#[tokio::test]
async fn configs_and_secrets_are_files_that_cannot_be_written() {
    let lab = Lab::new();
    let source = lab.engine.dir().join(format!("{}-secret", lab.project));
    std::fs::write(&source, "hush").unwrap();
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o440)).unwrap();
    let file = MountedFile { source, target: "/run/secrets/word".to_owned() };
    let id = lab.run_with(|it| it.files = vec![file]).await;
    assert_eq!(
        lab.sh(&id, "cat /run/secrets/word; stat -c ' %a' /run/secrets/word").await,
        "hush 440"
    );
    assert_ne!(lab.try_sh(&id, "echo x > /run/secrets/word").await.1, 0);
}

#[tokio::test]
async fn volumes_come_from_other_containers() {
    let lab = Lab::new();
    let data = volume(&lab, "data").await;
    let mut db = lab.request("db");
    db.volumes = [("data".to_owned(), data)].into();
    db.spec.mounts = vec![at("/data", false, named("data"))];
    let db_id = lab.run(&db).await;
    lab.sh(&db_id, "echo here > /data/x").await;
    for (from, writes) in [
        ("service:db:ro".to_owned(), false),
        ("db".to_owned(), true),
        (format!("container:{}", db.name), true),
    ] {
        let id = lab
            .run_with(|it| {
                it.peers = [("db".parse().unwrap(), db_id.clone())].into();
                it.spec.volumes_from = vec![from.clone()];
            })
            .await;
        assert_eq!(lab.sh(&id, "cat /data/x").await, "here");
        assert_eq!(lab.try_sh(&id, "touch /data/y").await.1 == 0, writes, "{from}");
    }
}

#[tokio::test]
async fn what_an_old_engine_cannot_mount_is_refused_by_name() {
    let lab = Lab::new();
    let data = volume(&lab, "data").await;
    let subpath = lab.with(|it| {
        it.volumes = [("data".to_owned(), data)].into();
        let kind = MountKind::Volume {
            name: Some("data".to_owned()),
            no_copy: false,
            subpath: Some("sub".to_owned()),
            labels: Default::default(),
        };
        it.spec.mounts = vec![at("/data", false, kind)];
    });
    super::supported(&lab, "subpath", (1, 45), lab.runtime.create(&subpath).await).await;
    let image = lab.with(|it| {
        let kind = MountKind::Image { image: "busybox".to_owned(), subpath: None };
        it.spec.mounts = vec![at("/image", true, kind)];
    });
    super::supported(&lab, "image busybox", (1, 48), lab.runtime.create(&image).await).await;
    let relative =
        lab.with(|it| it.spec.mounts = vec![at("/x", false, MountKind::Bind(bind("here")))]);
    let error = lab.runtime.create(&relative).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Failed { .. }), "{error}");
}
