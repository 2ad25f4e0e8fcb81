//! Networks: made, compared, joined, isolated.

use std::net::IpAddr;

use fizz::{
    model::spec::{
        GatewayPriority, IpamPool, IpamSpec, NetworkAttachment, NetworkMode, NetworkSpec,
    },
    runtime::{CreateContainer, RuntimeError, RuntimeId, labels},
};
use serde_json::{Value, json};

use crate::harness::{Lab, joins};

async fn ensure(lab: &Lab, spec: &NetworkSpec) -> Result<(), RuntimeError> {
    lab.runtime.ensure_network(spec, &lab.labels()).await
}

fn shown(lab: &Lab, name: &str) -> Value {
    let all: Value =
        serde_json::from_str(&lab.engine.docker(&["network", "inspect", name])).unwrap();
    all[0].clone()
}

/// It must reach another: once the name server knows it, and the link between them is up.
async fn reaches(lab: &Lab, id: &RuntimeId, name: &str) {
    let look = format!("ping -c 1 -W 2 {name} && exit; sleep 0.5");
    lab.sh(id, &format!("for i in $(seq 20); do {look}; done; exit 1")).await;
}

#[tokio::test]
async fn of_two_networks_with_one_name_the_older_stays() {
    let lab = Lab::new();
    let name = format!("{}_twin", lab.project);
    // What an engine before 25.0 makes of two daemons that ask at the same time.
    let body = json!({"Name": name, "Labels": lab.labels()}).to_string();
    let make = format!(
        "curl -sf --unix-socket {} -H 'Content-Type: application/json' -d '{body}' \
         http://engine/v1.41/networks/create",
        lab.engine.socket().display()
    );
    let first: Value = serde_json::from_str(&lab.engine.inside(&make)).unwrap();
    if lab.on_podman() {
        // It makes no twins.
        return assert_eq!(lab.engine.inside(&format!("{make} || echo refused")), "refused");
    }
    let second: Value = serde_json::from_str(&lab.engine.inside(&make)).unwrap();
    assert_ne!(first["Id"], second["Id"], "the engine made no twin");
    let spec = NetworkSpec { name: name.clone(), ..NetworkSpec::default() };
    for _ in 0..2 {
        ensure(&lab, &spec).await.unwrap();
        assert_eq!(shown(&lab, &name)["Id"], first["Id"]);
    }
    lab.runtime.remove_network(&name).await.unwrap();
}

#[tokio::test]
async fn a_network_is_made_as_it_was_described() {
    let lab = Lab::new();
    let mut spec = NetworkSpec {
        name: format!("{}_net", lab.project),
        driver_options: [("com.docker.network.driver.mtu".to_owned(), "1400".to_owned())].into(),
        attachable: true,
        enable_ipv6: Some(true),
        ipam: IpamSpec {
            pools: vec![
                IpamPool {
                    subnet: Some("10.81.0.0/16".to_owned()),
                    gateway: Some("10.81.0.9".to_owned()),
                    ip_range: Some("10.81.5.0/24".to_owned()),
                    reserved: [("router".to_owned(), "10.81.5.1".to_owned())].into(),
                },
                IpamPool { subnet: Some("fd81::/64".to_owned()), ..IpamPool::default() },
            ],
            ..IpamSpec::default()
        },
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..NetworkSpec::default()
    };
    if lab.on_podman() {
        let error = ensure(&lab, &spec).await.unwrap_err().to_string();
        assert!(error.contains("aux_addresses"), "{error}");
        spec.ipam.pools[0].reserved.clear();
    }
    ensure(&lab, &spec).await.unwrap();
    let first = shown(&lab, &spec.name)["Id"].clone();
    ensure(&lab, &spec).await.unwrap();
    let there = shown(&lab, &spec.name);
    assert_eq!(there["Id"], first, "it was made anew");
    assert_eq!((&there["Driver"], &there["EnableIPv6"]), (&json!("bridge"), &json!(true)));
    assert_shows_its_settings(&lab, &spec, &there).await;
    assert_eq!(
        (&there["Labels"]["a"], &there["Labels"][labels::PROJECT]),
        (&json!("b"), &json!(lab.project))
    );
    assert_eq!(
        lab.runtime.networks(labels::PROJECT, &lab.project).await.unwrap(),
        std::slice::from_ref(&spec.name)
    );

    let id = lab
        .run_with(|it| {
            joins(it, &[(&spec.name, &[])]);
            it.networks[0].attachment.ipv4 = Some("10.81.5.77".parse().unwrap());
            it.networks[0].attachment.ipv6 = Some("fd81::77".parse().unwrap());
            it.networks[0].attachment.mac_address = Some("02:42:ac:11:65:43".to_owned());
        })
        .await;
    let seen = lab.sh(&id, "ip addr show eth0").await;
    for word in ["10.81.5.77/16", "fd81::77/64", "02:42:ac:11:65:43", "mtu 1400"] {
        assert!(seen.contains(word), "{word} in {seen}");
    }
    assert!(lab.sh(&id, "ip route").await.contains("default via 10.81.0.9"));
    assert_eq!(
        lab.runtime.address(&id).await.unwrap(),
        Some("10.81.5.77".parse::<IpAddr>().unwrap())
    );
    let observed = lab.runtime.observe(&id).await.unwrap().unwrap();
    assert_eq!(observed.addresses, [(spec.name.clone(), "10.81.5.77".to_owned())].into());

    let error = lab.runtime.remove_network(&spec.name).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Conflict(_)), "{error}");
    lab.runtime.remove(&id, true).await.unwrap();
    for _ in 0..2 {
        lab.runtime.remove_network(&spec.name).await.unwrap();
    }
    assert!(lab.runtime.networks(labels::PROJECT, &lab.project).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_network_that_differs_is_made_anew_unless_it_is_used() {
    let lab = Lab::new();
    let mut spec = NetworkSpec { name: format!("{}_net", lab.project), ..NetworkSpec::default() };
    ensure(&lab, &spec).await.unwrap();
    let first = shown(&lab, &spec.name)["Id"].clone();
    ensure(&lab, &spec).await.unwrap();
    assert_eq!(shown(&lab, &spec.name)["Id"], first);
    spec.internal = true;
    ensure(&lab, &spec).await.unwrap();
    assert_ne!(shown(&lab, &spec.name)["Id"], first);
    // A container that never ran belongs to it, too.
    let id = lab.runtime.create(&lab.with(|it| joins(it, &[(&spec.name, &[])]))).await.unwrap();
    spec.internal = false;
    let error = ensure(&lab, &spec).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Conflict(why) if why.contains("internal") && why.contains("-web-")),
        "{error}"
    );
    lab.runtime.remove(&id, true).await.unwrap();
    ensure(&lab, &spec).await.unwrap();
    assert_eq!(shown(&lab, &spec.name)["Internal"], false);
}

#[tokio::test]
async fn a_network_of_others_is_used_only_as_external() {
    let lab = Lab::new();
    let mut spec = NetworkSpec {
        name: format!("{}_out", lab.project),
        external: true,
        ..NetworkSpec::default()
    };
    let error = ensure(&lab, &spec).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NotFound { what: "external network", .. }), "{error}");
    lab.engine.docker(&["network", "create", &spec.name]);
    ensure(&lab, &spec).await.unwrap();
    spec.external = false;
    let error = ensure(&lab, &spec).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Conflict(why) if why.contains("external: true")),
        "{error}"
    );
}

#[tokio::test]
async fn containers_find_one_another_by_alias_and_only_in_common_networks() {
    let lab = Lab::new();
    let front = lab.network("front", |_| {}).await;
    let back = lab.network("back", |it| it.internal = true).await;
    let db = lab.run_with(|it| joins(it, &[(&back, &["db", "store"])])).await;
    let app = lab.run_with(|it| joins(it, &[(&front, &["app"]), (&back, &["app"])])).await;
    let web = lab.run_with(|it| joins(it, &[(&front, &["web"])])).await;
    for name in ["db", "store"] {
        reaches(&lab, &app, name).await;
        assert_ne!(
            lab.try_sh(&web, &format!("ping -c 1 -W 1 {name}")).await.1,
            0,
            "web reaches {name}"
        );
    }
    reaches(&lab, &web, "app").await;
    let address = lab.runtime.address(&db).await.unwrap().unwrap();
    assert_ne!(lab.try_sh(&web, &format!("ping -c 1 -W 1 {address}")).await.1, 0);
    // An internal network has no way out, whatever its routes say.
    lab.engine.inside(
        "ip netns add world && ip link add world type veth peer name eth0 netns world && \
         ip addr add 198.51.100.1/24 dev world && ip link set world up && \
         ip -n world addr add 198.51.100.2/24 dev eth0 && ip -n world link set eth0 up",
    );
    for container in [&web, &app] {
        reaches(&lab, container, "198.51.100.2").await;
    }
    assert_ne!(lab.try_sh(&db, "ping -c 1 -W 2 198.51.100.2").await.1, 0);
    assert_eq!(lab.runtime.observe(&app).await.unwrap().unwrap().addresses.len(), 2);
}

#[tokio::test]
async fn a_container_half_joined_is_joined_when_it_is_made_again() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one", |_| {}).await, lab.network("two", |_| {}).await);
    let request = lab.with(|it| joins(it, &[(&one, &[]), (&two, &["late"])]));
    let id = lab.runtime.create(&request).await.unwrap();
    lab.engine.docker(&["network", "disconnect", &two, &id.0]);
    assert_eq!(lab.runtime.create(&request).await.unwrap(), id);
    let aliases = lab.inspected(&id, &format!("/NetworkSettings/Networks/{two}/Aliases")).await;
    assert!(aliases.as_array().unwrap().contains(&json!("late")), "{aliases}");
    let stray = lab.with(|it| joins(it, &[(&one, &[]), ("nowhere", &[])]));
    let error = lab.runtime.create(&stray).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NotFound { what: "network", .. }), "{error}");
    assert_eq!(lab.runtime.list(lab.node).await.unwrap().len(), 1, "half a container was left");
}

#[tokio::test]
async fn other_ways_to_be_in_a_network() {
    let lab = Lab::new();
    let db = lab.run_with(|it| it.spec.network = NetworkMode::Bridge).await;
    let own = "ip -4 -o addr show eth0 | awk '{print $4}' | cut -d/ -f1";
    let address = lab.sh(&db, own).await;
    let named =
        lab.inspected(&db, "/Name").await.as_str().unwrap().trim_start_matches('/').to_owned();
    for mode in [NetworkMode::Service("db".parse().unwrap()), NetworkMode::Container(named)] {
        let id = lab
            .run_with(|it| {
                it.peers = [("db".parse().unwrap(), db.clone())].into();
                it.spec.network = mode;
            })
            .await;
        assert_eq!(lab.sh(&id, own).await, address);
        assert_eq!(lab.runtime.address(&id).await.unwrap(), Some(address.parse().unwrap()));
    }
    let id = lab.run_with(|it| it.spec.network = NetworkMode::Host).await;
    assert!(lab.sh(&id, "ip addr").await.contains(if lab.on_podman() {
        "podman0"
    } else {
        "docker0"
    }));
    assert_eq!(lab.runtime.address(&id).await.unwrap(), Some("127.0.0.1".parse().unwrap()));
    let id = lab.run(&lab.request("web")).await;
    assert_eq!(lab.sh(&id, "ls /sys/class/net").await, "lo");
    assert_eq!(lab.runtime.address(&id).await.unwrap(), None);
    let net = lab.network("net", |_| {}).await;
    let id = lab.run_with(|it| it.spec.network = NetworkMode::Named(net.clone())).await;
    assert!(lab.inspected(&id, "/NetworkSettings/Networks").await.get(&net).is_some());
}

#[tokio::test]
async fn names_are_looked_up_as_the_file_says() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.network = NetworkMode::Bridge;
            it.spec.dns = vec!["192.0.2.53".to_owned()];
            it.spec.dns_options = vec!["ndots:3".to_owned()];
            it.spec.dns_search = vec!["shop.test".to_owned()];
            it.spec.extra_hosts = vec![
                ("elsewhere".to_owned(), "192.0.2.7".to_owned()),
                ("six".to_owned(), "2001:db8::7".to_owned()),
                ("gate".to_owned(), "host-gateway".to_owned()),
            ];
        })
        .await;
    let resolv = lab.sh(&id, "cat /etc/resolv.conf").await;
    for word in ["nameserver 192.0.2.53", "options ndots:3", "search shop.test"] {
        assert!(resolv.contains(word), "{resolv}");
    }
    let hosts = lab.sh(&id, "cat /etc/hosts").await;
    let gate = if lab.on_podman() { "10.88.0.1\tgate" } else { "172.30.0.1\tgate" };
    for word in ["192.0.2.7\telsewhere", "2001:db8::7\tsix", gate] {
        assert!(hosts.contains(word), "{hosts}");
    }
}

#[tokio::test]
async fn links_name_other_containers() {
    let lab = Lab::new();
    let net = lab.network("net", |_| {}).await;
    let mut db = lab.request("db");
    joins(&mut db, &[(&net, &[])]);
    lab.run(&db).await;
    let link = |it: &mut CreateContainer| {
        it.links = [("db".parse().unwrap(), vec![db.name.to_string()])].into();
        it.spec.links = vec![("db".parse().unwrap(), "store".to_owned())];
        it.spec.external_links = vec![(db.name.to_string(), "outside".to_owned())];
    };
    if lab.on_podman() {
        super::refused(&lab, "links: db:store", link).await;
        super::refused(&lab, "external_links", link).await;
        return;
    }
    let id = lab
        .run_with(|it| {
            joins(it, &[(&net, &[])]);
            link(it);
        })
        .await;
    for name in ["store", "outside"] {
        reaches(&lab, &id, name).await;
    }
    db = lab.request("old");
    db.spec.network = NetworkMode::Bridge;
    lab.run(&db).await;
    let id = lab
        .run_with(|it| {
            it.spec.network = NetworkMode::Bridge;
            it.spec.external_links = vec![(db.name.to_string(), "outside".to_owned())];
        })
        .await;
    reaches(&lab, &id, "outside").await;
}

#[tokio::test]
async fn a_container_has_the_mac_address_it_was_given() {
    let lab = Lab::new();
    let net = lab.network("net", |_| {}).await;
    let mac = "02:42:ac:11:ff:01";
    for bridge in [true, false] {
        let id = lab
            .run_with(|it| {
                if bridge {
                    it.spec.network = NetworkMode::Bridge;
                } else {
                    joins(it, &[(&net, &[])]);
                }
                it.spec.mac_address = Some(mac.to_owned());
            })
            .await;
        assert!(lab.sh(&id, "ip link show eth0").await.contains(mac));
    }
}

#[tokio::test]
async fn attachments_have_their_options() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one", |_| {}).await, lab.network("two", |_| {}).await);
    if lab.on_podman() {
        return podman_refuses_what_it_lacks(&lab, &one, &two).await;
    }
    let id = lab
        .run_with(|it| {
            joins(it, &[(&one, &[])]);
            it.networks[0].attachment.driver_options = [("a.b".to_owned(), "c".to_owned())].into();
            it.networks[0].attachment.link_local = vec!["169.254.7.7".parse().unwrap()];
        })
        .await;
    let endpoint = lab.inspected(&id, &format!("/NetworkSettings/Networks/{one}")).await;
    assert_eq!(endpoint["DriverOpts"], json!({ "a.b": "c" }));
    assert!(lab.sh(&id, "ip addr show eth0").await.contains("169.254.7.7"));

    let interface = lab.with(|it| {
        joins(it, &[(&one, &[])]);
        it.networks[0].attachment.interface_name = Some("lan0".to_owned());
    });
    super::supported(&lab, "interface_name", (1, 49), lab.runtime.create(&interface).await).await;
    let gateway = lab.with(|it| {
        joins(it, &[(&one, &[]), (&two, &[])]);
        it.networks[1].attachment.gateway_priority = Some(GatewayPriority(10));
    });
    super::supported(&lab, "gw_priority", (1, 48), lab.runtime.create(&gateway).await).await;
    let macs = lab.with(|it| {
        joins(it, &[(&one, &[]), (&two, &[])]);
        it.networks[1].attachment.mac_address = Some("02:42:ac:11:ff:02".to_owned());
    });
    super::supported(&lab, "mac_address", (1, 44), lab.runtime.create(&macs).await).await;
}

/// A network's settings, where each engine shows them.
async fn assert_shows_its_settings(lab: &Lab, spec: &NetworkSpec, there: &Value) {
    if lab.on_podman() {
        // Any of its networks can be joined, and the range shows by the addresses that are given.
        assert_eq!(there["Options"]["mtu"], "1400");
        let id = lab.run_with(|it| joins(it, &[(&spec.name, &[])])).await;
        assert!(lab.sh(&id, "ip addr show eth0").await.contains("inet 10.81.5."));
        return lab.runtime.remove(&id, true).await.unwrap();
    }
    assert_eq!(there["Attachable"], true);
    assert_eq!(there["Options"]["com.docker.network.driver.mtu"], "1400");
    let pool = &there["IPAM"]["Config"][0];
    assert_eq!(pool["IPRange"], "10.81.5.0/24");
    assert_eq!(pool["AuxiliaryAddresses"], json!({ "router": "10.81.5.1" }));
}

/// But it has a MAC address in each network.
async fn podman_refuses_what_it_lacks(lab: &Lab, one: &str, two: &str) {
    type Change<'a> = &'a dyn Fn(&mut NetworkAttachment);
    let wants = |change: Change<'_>, it: &mut CreateContainer| {
        joins(it, &[(one, &[]), (two, &[])]);
        change(&mut it.networks[1].attachment);
    };
    let cases: [(&str, Change<'_>); 4] = [
        ("driver_opts", &|it| it.driver_options = [("a.b".to_owned(), "c".to_owned())].into()),
        ("link_local_ips", &|it| it.link_local = vec!["169.254.7.7".parse().unwrap()]),
        ("interface_name", &|it| it.interface_name = Some("lan0".to_owned())),
        ("gw_priority", &|it| it.gateway_priority = Some(GatewayPriority(10))),
    ];
    for (field, change) in cases {
        super::refused(lab, field, |it| wants(change, it)).await;
    }
    let mac = "02:42:ac:11:ff:02";
    let id = lab.run_with(|it| wants(&|it| it.mac_address = Some(mac.to_owned()), it)).await;
    // Which of the two it calls eth0 is chance.
    assert!(lab.sh(&id, "ip link").await.contains(mac));
}
