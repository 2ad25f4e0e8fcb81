//! Stories that cannot be told on containerd yet, and why: the one place that says so. A run on
//! containerd prints it and leaves them out.

/// There is no network by name, as containerd leaves networks to others.
const NETWORKS: &str = "networks by name wait for Fizz's own bridge";

/// Images are made elsewhere.
const BUILD: &str = "containerd builds no images; refusing it is a story of its own";

/// There is nothing that could be on.
const ACCOUNT: &str = "containerd has neither restart policies nor health checks to be turned off";

/// By the beginning of their names.
pub(super) const ON_CONTAINERD: &[(&str, &str)] = &[
    ("runtime::networks::", NETWORKS),
    ("runtime::ports::", NETWORKS),
    ("runtime::images::an_image_is_built", BUILD),
    ("runtime::images::a_build_", BUILD),
    ("runtime::life::restarts_and_health_checks", ACCOUNT),
    ("runtime::process::command_and_entrypoint", BUILD),
    ("runtime::process::variables_are_set", BUILD),
];
