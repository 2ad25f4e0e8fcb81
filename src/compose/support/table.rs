//! The table: every key of the Compose specification (compose-spec, 2025), and `x-fizz`.
//!
//! A key that is not here lies below one that is warned about or refused.

use super::{Key, Support, When, honoured::HONOURED};

/// The whole table, in no order.
pub(super) fn keys() -> impl Iterator<Item = Key> {
    let key = |path, support, when| Key { path, support, when };
    let honoured = HONOURED.iter().map(move |path| key(path, Support::Honoured, When::Set));
    let differs =
        DIFFERS.iter().map(move |(path, how)| key(path, Support::Differs(how), When::Set));
    let warned = WARNED.iter().map(move |(path, when, why)| key(path, Support::Warned(why), *when));
    let refused =
        REFUSED.iter().map(move |(path, when, why)| key(path, Support::Refused(why), *when));
    honoured.chain(differs).chain(warned).chain(refused)
}

/// Keys that work, and how they differ.
const DIFFERS: &[(&str, &str)] = &[
    ("configs.*.environment", "read at `up` where `up` runs; containers keep what it was then"),
    (
        "configs.*.file",
        "read at `up` where `up` runs, up to 1 MiB; containers keep what it was then",
    ),
    ("configs.*.labels", "kept in the model; the engine has no object to put them on"),
    ("networks.*.enable_ipv4", ENGINE_28),
    ("secrets.*.environment", "read at `up` where `up` runs, and mounted from memory"),
    ("secrets.*.file", "read at `up` where `up` runs, up to 1 MiB, and mounted from memory"),
    ("secrets.*.labels", "kept in the model; the engine has no object to put them on"),
    ("services.*.annotations", ENGINE_24),
    ("services.*.build", "built by the engine's classic builder, without BuildKit"),
    ("services.*.build.cache_from", "takes images; BuildKit's other kinds of cache do not exist"),
    (
        "services.*.deploy.endpoint_mode",
        "names resolve to the containers themselves, as `dnsrr` asks; one node has no virtual address",
    ),
    (
        "services.*.deploy.mode",
        "a job that completed runs again only when its definition changes or a person restarts it; \
         what must share a node runs once in all, whatever `global` says",
    ),
    (
        "services.*.deploy.rollback_config.order",
        "the old container stops first where both cannot be at once: a fixed host port, a name",
    ),
    (
        "services.*.deploy.update_config.order",
        "the old container stops first where both cannot be at once: a fixed host port, a name",
    ),
    ("services.*.deploy.placement", TOGETHER),
    ("services.*.deploy.restart_policy", "done by Fizz; the engine's own restart policy is off"),
    (
        "services.*.healthcheck",
        "run by Fizz, not by the engine, so that `docker ps` shows no health",
    ),
    (
        "services.*.logging.driver",
        "`fizz logs` shows only what the engine can read back from the driver",
    ),
    ("services.*.networks.*.gw_priority", ENGINE_28),
    ("services.*.networks.*.interface_name", ENGINE_28_1),
    ("services.*.networks.*.mac_address", ENGINE_25),
    ("services.*.ports[].mode", "on one node `host` and `ingress` publish alike"),
    ("services.*.restart", "done by Fizz; the engine's own restart policy is off"),
    ("services.*.volumes[].bind.recursive", ENGINE_25),
    ("services.*.volumes[].consistency", "means nothing on Linux"),
    ("services.*.volumes[].image", ENGINE_28),
    ("services.*.volumes[].image.subpath", ENGINE_28),
    ("services.*.volumes[].volume.subpath", ENGINE_26),
    ("services.*.x-fizz.partition", PARTED),
    ("services.*.x-fizz.placement", TOGETHER),
    ("x-fizz.partition", PARTED),
];

const TOGETHER: &str = "in a cluster without a mesh, services of a project that share a network go to one \
                        node together, by the rules of each";
const PARTED: &str = "`singleton` never runs twice where more than half of the nodes hear one another, and \
                      nowhere else; it has its price: see placement.md. `mode: global` has one on each node";
const ENGINE_24: &str = "needs Docker Engine 24 or newer; with an older one `up` says so and stops";
const ENGINE_25: &str = "needs Docker Engine 25 or newer; with an older one `up` says so and stops";
const ENGINE_26: &str = "needs Docker Engine 26 or newer; with an older one `up` says so and stops";
const ENGINE_28: &str = "needs Docker Engine 28 or newer; with an older one `up` says so and stops";
const ENGINE_28_1: &str =
    "needs Docker Engine 28.1 or newer; with an older one `up` says so and stops";

/// Keys that, or some of whose values, are ignored, why, and what to do.
const WARNED: &[(&str, When, &str)] = &[
    (
        "services.*.build.cache_to",
        When::Set,
        "Fizz builds without BuildKit, which alone can export a cache; the image is the \
         same without it; remove it",
    ),
    (
        "services.*.build.no_cache_filter",
        When::Set,
        "Fizz builds without BuildKit, which alone can leave out stages; use `no_cache` \
         for all of them",
    ),
    (
        "services.*.build.provenance",
        When::Set,
        "Fizz builds without BuildKit, which alone makes attestations; the image is the \
         same without them; remove it",
    ),
    (
        "services.*.build.sbom",
        When::Set,
        "Fizz builds without BuildKit, which alone makes attestations; the image is the \
         same without them; remove it",
    ),
    ("services.*.cpu_count", When::Set, "it is for Windows containers; use `cpus`"),
    ("services.*.cpu_percent", When::Set, "it is for Windows containers; use `cpus`"),
    (
        "services.*.deploy.resources.reservations.generic_resources",
        When::Set,
        "Fizz knows of no such resources, and places services without regard to them; use labels of nodes",
    ),
    (
        "services.*.deploy.restart_policy.window",
        When::Set,
        "earlier attempts are forgotten once a container has run for ten seconds, as with \
         the engine's own policy; remove it",
    ),
    (
        "services.*.develop",
        When::Set,
        "Fizz does not watch files; run `fizz up --build` after a change",
    ),
    (
        "services.*.x-fizz.ingress",
        When::Set,
        "one node has no ingress to steer; ports are published by the engine",
    ),
    ("version", When::Set, "it is obsolete; remove it"),
];

/// Keys whose values, or some of them, are refused, why, and what to do.
const REFUSED: &[(&str, When, &str)] = &[
    (
        "configs.*.external",
        When::Is(&["true"]),
        "there are no configs outside projects; use `file`, `content` or `environment`",
    ),
    (
        "configs.*.template_driver",
        When::Set,
        "containers would get the template instead of its result; write the content out",
    ),
    (
        "models",
        When::Set,
        "Fizz runs no models itself; run the model's server as a service and pass its \
         address in `environment`",
    ),
    (
        "secrets.*.driver",
        When::Set,
        "Fizz has no secret drivers; fetch the value before `up` and use `file` or \
         `environment`",
    ),
    (
        "secrets.*.driver_opts",
        When::Set,
        "Fizz has no secret drivers; fetch the value before `up` and use `file` or \
         `environment`",
    ),
    (
        "secrets.*.external",
        When::Is(&["true"]),
        "there are no secrets outside projects; use `file` or `environment`",
    ),
    (
        "secrets.*.template_driver",
        When::Set,
        "containers would get the template instead of its result; write the value out",
    ),
    (
        "services.*.build.additional_contexts",
        When::Set,
        "Fizz builds without BuildKit, which alone knows further contexts, and a `FROM` \
         could find a stranger's image of that name instead; copy what is needed into the \
         context",
    ),
    (
        "services.*.build.entitlements",
        When::Set,
        "Fizz builds without BuildKit, which alone grants them, and steps that need them \
         would fail; build the image elsewhere and name it in `image`",
    ),
    (
        "services.*.build.isolation",
        When::Not(&["default"]),
        "Linux has one kind of isolation, `default`; remove it",
    ),
    (
        "services.*.build.platforms",
        When::Several,
        "Fizz builds without BuildKit, which alone builds for several platforms; keep one, \
         or build the image elsewhere and name it in `image`",
    ),
    (
        "services.*.build.privileged",
        When::Set,
        "Fizz builds without BuildKit, which alone builds with privileges; build the image \
         elsewhere and name it in `image`",
    ),
    (
        "services.*.build.secrets",
        When::Set,
        "Fizz builds without BuildKit, which alone hides secrets from the image; build it \
         elsewhere and name it in `image`",
    ),
    (
        "services.*.build.ssh",
        When::Set,
        "Fizz builds without BuildKit, which alone forwards keys; fetch the sources before \
         the build, or build the image elsewhere",
    ),
    (
        "services.*.credential_spec",
        When::Set,
        "it gives a Windows container its account, and Fizz runs Linux containers; remove \
         it",
    ),
    (
        "services.*.isolation",
        When::Not(&["default"]),
        "Linux has one kind of isolation, `default`; remove it",
    ),
    (
        "services.*.models",
        When::Set,
        "Fizz runs no models itself; run the model's server as a service and pass its \
         address in `environment`",
    ),
    (
        "services.*.pre_start",
        When::Set,
        "the service would start without its preparation; make it a service of its own, \
         and wait for it with `depends_on` and `service_completed_successfully`",
    ),
    (
        "services.*.provider",
        When::Set,
        "Fizz runs containers, no provider's programs; run what it provides as a service, \
         or beside Fizz",
    ),
    (
        "services.*.use_api_socket",
        When::Set,
        "it would hand the container the engine's socket and your registry credentials; \
         mount what it needs under `volumes`",
    ),
    (
        "services.*.volumes[].type",
        When::Is(&["npipe", "cluster"]),
        "it is not for Linux containers on one node; use `volume`, `bind` or `tmpfs`",
    ),
];
