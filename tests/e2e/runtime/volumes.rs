//! Volumes of the node.

use fizz::{
    model::spec::{Mount, MountKind, VolumeSpec},
    runtime::{RuntimeError, labels},
};

use crate::harness::Lab;

#[tokio::test]
async fn a_volume_is_made_once_listed_and_removed() {
    let lab = Lab::new();
    let spec = VolumeSpec {
        name: format!("{}_data", lab.project),
        // Podman 4.3 takes a size for a quota of the disk.
        driver_options: [
            ("type", "tmpfs"),
            ("device", "tmpfs"),
            ("o", if lab.on_podman() { "noexec" } else { "size=1m" }),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..VolumeSpec::default()
    };
    for _ in 0..2 {
        lab.runtime.ensure_volume(&spec, &lab.labels()).await.unwrap();
    }
    let listed = lab.runtime.volumes(Some((labels::PROJECT, &lab.project))).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].name, listed[0].driver.as_str(), &listed[0].options),
        (&spec.name, "local", &spec.driver_options)
    );
    assert_eq!(listed[0].labels["a"], "b");
    assert!(listed[0].created.is_some() && listed[0].mountpoint.contains(&spec.name));
    assert!(lab.runtime.volumes(None).await.unwrap().contains(&listed[0]));

    let other = VolumeSpec { driver_options: Default::default(), ..spec.clone() };
    let error = lab.runtime.ensure_volume(&other, &lab.labels()).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Conflict(why) if why.contains("holds data")), "{error}");
    for _ in 0..2 {
        lab.runtime.remove_volume(&spec.name).await.unwrap();
    }
    assert!(lab.runtime.volumes(Some((labels::PROJECT, &lab.project))).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_volume_in_use_stays_and_an_external_one_must_be_there() {
    let lab = Lab::new();
    let name = format!("{}_ext", lab.project);
    let spec = VolumeSpec { name: name.clone(), external: true, ..VolumeSpec::default() };
    let error = lab.runtime.ensure_volume(&spec, &lab.labels()).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NotFound { what: "external volume", .. }), "{error}");
    if lab.on_containerd() {
        let own = VolumeSpec { external: false, ..spec.clone() };
        lab.runtime.ensure_volume(&own, &Default::default()).await.unwrap();
    } else {
        lab.engine.docker(&["volume", "create", &name]);
    }
    lab.runtime.ensure_volume(&spec, &lab.labels()).await.unwrap();
    if lab.on_containerd() {
        let user = lab.with(|it| {
            it.volumes = [("x".to_owned(), name.clone())].into();
            let (key, no_copy) = (Some("x".to_owned()), false);
            let kind =
                MountKind::Volume { name: key, no_copy, subpath: None, labels: Default::default() };
            it.spec.mounts = vec![Mount { kind, target: "/x".to_owned(), read_only: false }];
        });
        lab.runtime.create(&user).await.unwrap();
    } else {
        lab.engine.docker(&["create", "-v", &format!("{name}:/x"), "busybox"]);
    }
    let error = lab.runtime.remove_volume(&name).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Conflict(_)), "{error}");
}
