//! Key by key: networks, names and ports.

use serde_json::json;

use super::*;

const NETWORKS: &str = r#"
services:
  server:
    image: busybox
    command: ["sh", "-c", "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 80 -h /www"]
    stop_grace_period: 0s
    # Those that ask it are not to come before it listens.
    healthcheck: {test: wget -q -O /dev/null 127.0.0.1, interval: 300ms, start_period: 30s}
    networks:
      front: {aliases: [shopfront, till]}
      back: {ipv4_address: 10.77.7.9, priority: 10}
    expose: ["81", "5000-5001/udp"]
    ports:
      - "18200:80"
      - "127.0.0.1:18201:80"
      - "18210-18212:8000-8002"
      - "18220:53/udp"
      - {target: 80, published: "18202", host_ip: 127.0.0.1, protocol: tcp, name: web}
      - "9999"
    extra_hosts: ["printer=10.9.8.7", "gate:host-gateway"]
    dns: [9.9.9.9]
    dns_search: [example.test]
    dns_opt: ["ndots:3"]
  client:
    image: busybox
    command: sleep 3600
    stop_grace_period: 0s
    networks: [front]
    depends_on: [server]
  beside: {image: busybox, command: sleep 3600, stop_grace_period: 0s, network_mode: "service:server"}
  host: {image: busybox, command: sleep 3600, stop_grace_period: 0s, network_mode: host}
  alone: {image: busybox, command: sleep 3600, stop_grace_period: 0s, network_mode: none}
  mac: {image: busybox, command: sleep 3600, stop_grace_period: 0s, mac_address: "02:42:ac:11:65:43", networks: [front]}
networks:
  front: {labels: {side: front}, driver_opts: {com.docker.network.bridge.name: fzfront0}}
  back:
    name: back-office
    internal: true
    attachable: true
    ipam: {config: [{subnet: 10.77.7.0/24, gateway: 10.77.7.254, ip_range: 10.77.7.0/25}]}
"#;

/// `{"80/tcp": [...]}` with what was written, by container port.
fn bindings(account: &Value) -> Vec<(String, String, String)> {
    let all = account["HostConfig"]["PortBindings"].as_object().unwrap();
    let mut bindings: Vec<_> = all
        .iter()
        .flat_map(|(target, list)| {
            list.as_array().into_iter().flatten().map(|it| {
                let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
                (target.clone(), text("HostIp"), text("HostPort"))
            })
        })
        .collect();
    bindings.sort();
    bindings
}

/// The engine's account of the networks themselves.
fn assert_networks() {
    let inspect = |name: &str| -> Value {
        serde_json::from_str::<Value>(&engine().docker(&["network", "inspect", name])).unwrap()[0]
            .clone()
    };
    assert_places(
        &inspect("nets_front"),
        &[("/Labels/side", json!("front")), ("/Driver", json!("bridge"))],
    );
    assert_places(
        &inspect("nets_front"),
        &shown(&[("/Options/com.docker.network.bridge.name", json!("fzfront0"))]),
    );
    assert_places(
        &inspect("back-office"),
        &shown(&[
            ("/Internal", json!(true)),
            ("/Attachable", json!(true)),
            (
                "/IPAM/Config/0",
                json!({"Subnet": "10.77.7.0/24", "IPRange": "10.77.7.0/25", "Gateway": "10.77.7.254"}),
            ),
        ]),
    );
}

/// What `host-gateway` means: Docker's bridge, and for Podman that of the container's first network.
fn gateway() -> &'static str {
    if on_podman() { "10.77.7.254" } else { "172.30.0.1" }
}

#[test]
fn networks_names_and_ports_are_as_written() {
    let stack = Stack::new("nets", NETWORKS);
    stack.up();
    let server = stack.inspect("server-1");
    assert_places(
        &server,
        &[
            ("/NetworkSettings/Networks/back-office/IPAddress", json!("10.77.7.9")),
            ("/HostConfig/Dns", json!(["9.9.9.9"])),
            ("/HostConfig/DnsSearch", json!(["example.test"])),
            ("/HostConfig/DnsOptions", json!(["ndots:3"])),
        ],
    );
    let fixed = "/NetworkSettings/Networks/back-office/IPAMConfig/IPv4Address";
    assert_places(&server, &shown(&[(fixed, json!("10.77.7.9"))]));
    let hosts = server["HostConfig"]["ExtraHosts"].as_array().unwrap();
    assert!(hosts.contains(&json!("printer:10.9.8.7")), "{hosts:?}");
    assert!(stack.inside("server-1", "cat /etc/hosts").contains(&format!("{}\tgate", gateway())));
    let aliases =
        server["NetworkSettings"]["Networks"]["nets_front"]["Aliases"].as_array().unwrap();
    for alias in ["shopfront", "till", "server"] {
        assert!(aliases.contains(&json!(alias)), "{alias} in {aliases:?}");
        assert_eq!(stack.inside("client-1", &format!("wget -q -O- {alias}")), "hello");
    }
    let exposed = ["81/tcp", "5000/udp", "5001/udp", "80/tcp", "53/udp", "9999/tcp"];
    // Podman keeps none of them.
    for port in exposed.iter().filter(|_| !on_podman()) {
        let all = server["Config"]["ExposedPorts"].as_object().unwrap();
        assert!(all.contains_key(*port), "{port} in {all:?}");
    }
    let wanted: Vec<_> = [
        ("53/udp", "", "18220"),
        ("80/tcp", "", "18200"),
        ("80/tcp", "127.0.0.1", "18201"),
        ("80/tcp", "127.0.0.1", "18202"),
        ("8000/tcp", "", "18210"),
        ("8001/tcp", "", "18211"),
        ("8002/tcp", "", "18212"),
        ("9999/tcp", "", ""),
    ]
    .map(|(target, ip, port)| (target.to_owned(), ip.to_owned(), port.to_owned()))
    .into();
    // Podman has chosen the one that is left to it.
    let chosen = |it: &(String, String, String)| on_podman() && it.0 == "9999/tcp";
    let (mut written, mut wanted): (Vec<_>, Vec<_>) = (bindings(&server), wanted);
    written.retain(|it| !chosen(it));
    wanted.retain(|it| !chosen(it));
    assert_eq!(written, wanted);
    for port in ["18200", "18201", "18202"] {
        assert_eq!(get(&[&format!("http://127.0.0.1:{port}/")]), "hello");
    }
    assert_eq!(
        stack.fizz(&["port", "server", "53", "--protocol", "udp"]).ok().out.trim(),
        "0.0.0.0:18220"
    );

    let id = server["Id"].as_str().unwrap();
    assert_places(
        &stack.inspect("beside-1"),
        &[("/HostConfig/NetworkMode", json!(format!("container:{id}")))],
    );
    assert_eq!(stack.inside("beside-1", "wget -q -O- 127.0.0.1"), "hello");
    assert_places(&stack.inspect("host-1"), &[("/HostConfig/NetworkMode", json!("host"))]);
    assert_eq!(stack.inside("host-1", "wget -q -O- 127.0.0.1:18200"), "hello");
    assert_places(&stack.inspect("alone-1"), &[("/HostConfig/NetworkMode", json!("none"))]);
    assert_eq!(stack.inside("alone-1", "ls /sys/class/net"), "lo");
    assert_eq!(stack.inside("mac-1", "cat /sys/class/net/eth0/address"), "02:42:ac:11:65:43");

    assert_networks();
    stack.down();
    assert!(!engine().docker(&["network", "ls"]).contains("back-office"));
}

const SHARED: &str = r#"
services:
  web: {image: busybox, command: sleep 3600, stop_grace_period: 0s, networks: [given], volumes: ["kept:/kept"], links: ["db:database"]}
  db: {image: busybox, command: sleep 3600, stop_grace_period: 0s, networks: [given]}
networks: {given: {external: true, name: given-network}}
volumes: {kept: {external: true, name: kept-volume}}
"#;

#[test]
fn what_is_external_is_used_and_never_removed() {
    // Podman has no links, and finds a service by its own name.
    let name = if on_podman() { "db" } else { "database" };
    let stack = Stack::new("external", &SHARED.replace("db:database", &format!("db:{name}")));
    stack.fizz(&["up", "--wait", "--wait-timeout", "30"]).refused().tells(&["given-network"]);
    engine().docker(&["network", "create", "given-network"]);
    engine().docker(&["volume", "create", "kept-volume"]);
    stack.up();
    // Its name is known and the link is up a moment after it runs.
    let look = format!("ping -c 1 -W 2 {name} && exec touch /kept/it; sleep 0.5");
    let said = stack.inside("web-1", &format!("for i in $(seq 20); do {look}; done; exit 1"));
    assert!(said.contains("1 packets received"), "{said}");
    stack.down();
    assert_eq!(engine().docker(&["network", "rm", "given-network"]), "given-network");
    assert_eq!(engine().docker(&["volume", "rm", "kept-volume"]), "kept-volume");
}
