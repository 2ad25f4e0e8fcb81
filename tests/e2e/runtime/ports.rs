//! Ports on the node and ports that are only told of.

use fizz::{
    model::{
        Slot,
        spec::{NetworkMode, PortSpec, Protocol, PublishedPorts},
    },
    runtime::{ObservedPort, RuntimeError},
};

use crate::harness::{Lab, words};

fn port(target: u16, published: PublishedPorts) -> PortSpec {
    PortSpec {
        target,
        published,
        host_ip: None,
        protocol: Protocol::Tcp,
        host_mode: false,
        name: None,
        app_protocol: None,
    }
}

/// What is served there. A container runs before what it runs listens.
fn served(lab: &Lab, url: &str) -> String {
    let ask = format!("busybox wget -qO- {url} 2>/tmp/refused && exit");
    let again = format!("for i in $(seq 100); do {ask}; sleep 0.1; done; cat /tmp/refused; exit 1");
    lab.engine.inside(&again)
}

#[tokio::test]
async fn published_ports_are_where_they_were_asked_for() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.network = NetworkMode::Bridge;
            it.spec.command = words(&["httpd", "-f", "-p", "80", "-h", "/work"]);
            it.spec.ports = vec![
                port(80, PublishedPorts::One(18080)),
                port(80, PublishedPorts::Any),
                port(81, PublishedPorts::Range(18100, 18110)),
                PortSpec {
                    host_ip: Some("127.0.0.1".parse().unwrap()),
                    ..port(82, PublishedPorts::One(18082))
                },
                PortSpec { protocol: Protocol::Udp, ..port(53, PublishedPorts::One(18053)) },
            ];
        })
        .await;
    let ports = lab.runtime.observe(&id).await.unwrap().unwrap().ports;
    let has = |protocol: &str, target: u16, host: &str, accepts: &dyn Fn(u16) -> bool| {
        ports.iter().any(|ObservedPort { protocol: p, target: t, host_ip, published }| {
            p == protocol && *t == target && host_ip == host && accepts(*published)
        })
    };
    assert!(has("tcp", 80, "0.0.0.0", &|it| it == 18080), "{ports:?}");
    assert!(has("tcp", 80, "0.0.0.0", &|it| it > 30000), "{ports:?}");
    assert!(has("tcp", 81, "0.0.0.0", &|it| (18100..=18110).contains(&it)), "{ports:?}");
    assert!(has("tcp", 82, "127.0.0.1", &|it| it == 18082), "{ports:?}");
    assert!(has("udp", 53, "0.0.0.0", &|it| it == 18053), "{ports:?}");
    let address = lab.runtime.address(&id).await.unwrap().unwrap();
    for at in [address.to_string(), "127.0.0.1:18080".to_owned()] {
        assert_eq!(served(&lab, &format!("http://{at}/from-image")), "image");
    }
    // The next of a range is taken when the first is.
    let second = lab
        .run_with(|it| {
            it.slot = Slot(2);
            it.spec.network = NetworkMode::Bridge;
            it.spec.ports = vec![port(81, PublishedPorts::Range(18100, 18110))];
        })
        .await;
    let other = lab.runtime.observe(&second).await.unwrap().unwrap().ports;
    assert!(other.iter().all(|it| !ports.contains(it)), "{other:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_says_what_to_do() {
    let lab = Lab::new();
    let change = |it: &mut fizz::runtime::CreateContainer| {
        it.spec.network = NetworkMode::Bridge;
        it.spec.ports = vec![port(80, PublishedPorts::One(18200))];
    };
    lab.run_with(change).await;
    let id = lab.runtime.create(&lab.with(change)).await.unwrap();
    let error = lab.runtime.start(&id).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Conflict(why) if why.contains("18200") && why.contains("another port")),
        "{error}"
    );
}

#[tokio::test]
async fn exposed_ports_are_told_of() {
    let lab = Lab::new();
    let id =
        lab.run_with(|it| it.spec.expose = vec!["8080-8082".to_owned(), "53/udp".to_owned()]).await;
    if lab.on_podman() {
        // It has no place for them, and nothing of ours asks it.
        return;
    }
    let exposed = lab.inspected(&id, "/Config/ExposedPorts").await;
    let keys: Vec<_> = exposed.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["53/udp", "8080/tcp", "8081/tcp", "8082/tcp"]);
}
