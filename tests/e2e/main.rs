//! Fizz against the real thing. Needs root, dockerd, docker, docker-registry, podman, nft and
//! busybox-static, dig and dnsmasq (Debian: `apt-get install docker.io docker-registry podman netavark
//! aardvark-dns catatonit runc nftables busybox-static iproute2 iptables bind9-dnsutils dnsmasq-base`).
//!
//! Run it by `cargo test --test e2e`: one engine is started for the whole run and shared by its tests,
//! which run beside one another. A runner that gives each test a process of its own starts an engine
//! for each.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod cluster;
mod daemon;
mod dns;
mod doctor;
mod harness;
mod ingress;
mod lab;
mod mesh;
mod network;
mod runtime;
mod stacks;
