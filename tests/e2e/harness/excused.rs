//! Stories that cannot be told on containerd, and why: the one place that says so. A run on containerd
//! prints it and leaves them out; that each is refused by its name is a story of its own.

/// containerd leaves networks to others, and what else could make them for it (CNI) is none of ours: Fizz
/// makes its own, and starts containers in them by `CreateContainer::network_namespace`.
const NETWORKS: &str =
    "containerd makes no networks and no ports: Fizz starts containers in its own";

/// Images are made elsewhere.
const BUILD: &str = "containerd builds no images";

/// By the beginning of their names.
pub(super) const ON_CONTAINERD: &[(&str, &str)] = &[
    ("runtime::networks::", NETWORKS),
    ("runtime::ports::", NETWORKS),
    ("runtime::images::an_image_is_built", BUILD),
    ("runtime::images::a_build_", BUILD),
];
