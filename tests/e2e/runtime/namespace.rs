//! A network namespace that somebody else has made and wired: a container is started in it.

use fizz::{
    model::{
        Millis,
        spec::{NetworkMode, NetworkSpec, PortSpec, Protocol, PublishedPorts},
    },
    runtime::{BuildRequest, RuntimeError},
};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::harness::{Kind, Lab, joins};

/// What the machine's end of the wire has, and the container's.
const HERE: &str = "10.99.7.1";
const THERE: &str = "10.99.7.2";

fn port() -> PortSpec {
    PortSpec {
        target: 80,
        published: PublishedPorts::One(18300),
        host_ip: None,
        protocol: Protocol::Tcp,
        host_mode: false,
        name: None,
        app_protocol: None,
    }
}

/// Makes one where the engine is, with a wire into it.
fn wire(lab: &Lab, name: &str) {
    lab.engine.inside(&format!(
        "ip netns add {name}
         ip link add {name}-h type veth peer name wire0 netns {name}
         ip addr add {HERE}/24 dev {name}-h
         ip link set {name}-h up
         ip -n {name} addr add {THERE}/24 dev wire0
         ip -n {name} link set wire0 up
         ip -n {name} link set lo up"
    ));
}

#[tokio::test]
async fn a_container_is_in_the_network_namespace_that_it_is_given() {
    let lab = Lab::new();
    let name = format!("{}-net", lab.project);
    let path = format!("/run/netns/{name}");
    let request = lab.with(|it| {
        it.network_namespace = Some(path.clone().into());
        // Networks and ports are made by whoever made it.
        joins(it, &[("nowhere", &["web"])]);
        it.spec.ports = vec![port()];
        it.spec.hostname = Some("wonder".to_owned());
        it.spec.dns = vec![HERE.to_owned()];
        it.spec.dns_search = vec!["land.test".to_owned()];
        it.spec.dns_options = vec!["ndots:3".to_owned()];
        it.spec.extra_hosts = vec![("db".to_owned(), "192.0.2.7".to_owned())];
    });
    if lab.engine.kind() == Kind::Docker {
        let error = lab.runtime.create(&request).await.unwrap_err();
        assert!(
            matches!(&error, RuntimeError::Unsupported(why) if why.contains(&path) && why.contains("container:NAME")),
            "{error}"
        );
        return;
    }
    wire(&lab, &name);
    let id = lab.run(&request).await;
    let inode = lab.engine.inside(&format!("stat -L -c %i {path}"));
    for _ in 0..2 {
        let own = lab.sh(&id, "stat -L -c %i /proc/self/ns/net; ip -4 addr show wire0").await;
        assert!(own.starts_with(&inode) && own.contains(THERE), "{own}");
        lab.sh(&id, &format!("ping -c 1 -W 5 {HERE}")).await;
        let files = lab.sh(&id, "cat /etc/resolv.conf /etc/hosts; hostname").await;
        for wanted in
            [&format!("nameserver {HERE}"), "search land.test", "options ndots:3", "192.0.2.7\tdb"]
        {
            assert!(files.contains(wanted), "{wanted} in {files}");
        }
        assert!(files.ends_with("wonder"), "{files}");
        // The wire outlives the process.
        lab.runtime.stop(&id, Some(Millis(1))).await.unwrap();
        lab.runtime.start(&id).await.unwrap();
    }
    assert!(lab.runtime.observe(&id).await.unwrap().unwrap().ports.is_empty());
    lab.runtime.remove(&id, true).await.unwrap();
    assert!(lab.engine.inside(&format!("ip -n {name} -4 addr show wire0")).contains(THERE));
}

#[tokio::test]
async fn what_containerd_leaves_to_others_is_refused_by_its_name() {
    let lab = Lab::new();
    if !lab.on_containerd() {
        return;
    }
    super::refused(&lab, "project's networks", |it| joins(it, &[("front", &[])])).await;
    super::refused(&lab, "network_mode: bridge", |it| it.spec.network = NetworkMode::Bridge).await;
    let named = NetworkMode::Named("mine".to_owned());
    super::refused(&lab, "network_mode: mine", |it| it.spec.network = named).await;
    super::refused(&lab, "published ports", |it| it.spec.ports = vec![port()]).await;
    let mac = Some("02:00:00:00:00:01".to_owned());
    super::refused(&lab, "mac_address", |it| it.spec.mac_address = mac).await;
    super::refused(&lab, "host-gateway", |it| {
        it.network_namespace = Some("/run/netns/any".into());
        it.spec.extra_hosts = vec![("node".to_owned(), "host-gateway".to_owned())];
    })
    .await;
    let network = NetworkSpec { name: "front".to_owned(), ..NetworkSpec::default() };
    let error = lab.runtime.ensure_network(&network, &lab.labels()).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Unsupported(why) if why.contains("`front`")), "{error}");
    let request = BuildRequest { tags: vec!["mine:1".to_owned()], ..BuildRequest::default() };
    let (sender, _receiver) = mpsc::channel(1);
    let context = stream::empty().boxed();
    let error = lab.runtime.build(request, context, Vec::new(), sender).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Unsupported(why) if why.contains("mine:1")), "{error}");
}
