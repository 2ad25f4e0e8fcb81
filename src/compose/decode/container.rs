//! What each container of a service is.

use super::{
    Known,
    cursor::Cursor,
    health, limits, mount,
    network::{self, expose, extra_hosts},
    text,
};
use crate::model::spec::{
    CommandLine, ContainerSpec, HookSpec, LoggingSpec, NamespaceMode, Security,
};

pub(super) fn decode(place: &Cursor<'_>, known: &Known<'_>) -> ContainerSpec {
    let signal = |text: &str| text::is_signal(text).then(|| text.to_owned());
    ContainerSpec {
        image: place.key("image").string().unwrap_or_default(),
        platform: place.key("platform").string(),
        command: command_line(&place.key("command")),
        entrypoint: command_line(&place.key("entrypoint")),
        environment: place.key("environment").variables(),
        working_dir: place.key("working_dir").string(),
        user: place.key("user").string(),
        group_add: place.key("group_add").strings(),
        hostname: place.key("hostname").string(),
        domain_name: place.key("domainname").string(),
        labels: place.key("labels").pairs(),
        annotations: place.key("annotations").pairs(),
        stdin_open: place.key("stdin_open").flag().unwrap_or(false),
        tty: place.key("tty").flag().unwrap_or(false),
        init: place.key("init").flag(),
        oci_runtime: place.key("runtime").string(),
        stop_signal: place
            .key("stop_signal")
            .parse("a signal; use a name such as `SIGTERM` or a number from 1 to 64", signal),
        stop_grace: place
            .key("stop_grace_period")
            .parse("a duration such as `30s`", text::duration),
        health: health::decode(place),
        network: network::mode(place, known),
        ports: network::ports(&place.key("ports")),
        expose: expose(&place.key("expose")),
        dns: network::dns_servers(&place.key("dns")),
        dns_options: place.key("dns_opt").strings(),
        dns_search: place.key("dns_search").strings(),
        extra_hosts: extra_hosts(&place.key("extra_hosts")),
        links: network::links(&place.key("links"), known),
        external_links: network::external_links(&place.key("external_links")),
        mac_address: network::mac_address(&place.key("mac_address")),
        mounts: mount::mounts(&place.key("volumes"), known),
        tmpfs: mount::tmpfs(&place.key("tmpfs")),
        volumes_from: mount::volumes_from(&place.key("volumes_from"), known),
        configs: mount::configs(&place.key("configs"), known),
        secrets: mount::secrets(&place.key("secrets"), known),
        security: security(place, known),
        resources: limits::decode(place),
        logging: logging(&place.key("logging")),
        storage_options: place.key("storage_opt").pairs(),
        post_start: hooks(&place.key("post_start")),
        pre_stop: hooks(&place.key("pre_stop")),
    }
}

fn command_line(place: &Cursor<'_>) -> CommandLine {
    if place.is_set() { CommandLine::Words(place.strings()) } else { CommandLine::Image }
}

fn security(place: &Cursor<'_>, known: &Known<'_>) -> Security {
    Security {
        privileged: place.key("privileged").flag().unwrap_or(false),
        read_only: place.key("read_only").flag().unwrap_or(false),
        cap_add: place.key("cap_add").strings(),
        cap_drop: place.key("cap_drop").strings(),
        options: place.key("security_opt").strings(),
        ipc: namespace(&place.key("ipc"), known, &["private", "shareable", "none"]),
        pid: namespace(&place.key("pid"), known, &["private"]),
        uts_host: place.key("uts").word(&[("host", true), ("private", false)]).unwrap_or(false),
        userns: place.key("userns_mode").string(),
        cgroup: place
            .key("cgroup")
            .word(&[("host", "host"), ("private", "private")])
            .map(str::to_owned),
        cgroup_parent: place.key("cgroup_parent").string(),
        sysctls: place.key("sysctls").pairs(),
        isolation: place.key("isolation").string(),
    }
}

fn namespace(place: &Cursor<'_>, known: &Known<'_>, words: &[&str]) -> Option<NamespaceMode> {
    let text = place.string()?;
    if text == "host" {
        return Some(NamespaceMode::Host);
    }
    if let Some(service) = text.strip_prefix("service:") {
        return known.service(service, place).map(NamespaceMode::Service);
    }
    if let Some(container) = text.strip_prefix("container:").filter(|it| !it.is_empty()) {
        return Some(NamespaceMode::Container(container.to_owned()));
    }
    if words.contains(&text.as_str()) {
        return Some(NamespaceMode::Other(text));
    }
    place.error(format!(
        "`{text}` is not known here; use `host`, `service:NAME`, `container:NAME`, `{}`",
        words.join("`, `")
    ));
    None
}

fn logging(place: &Cursor<'_>) -> Option<LoggingSpec> {
    place.is_set().then(|| LoggingSpec {
        driver: place.key("driver").string(),
        options: place.key("options").pairs(),
    })
}

fn hooks(place: &Cursor<'_>) -> Vec<HookSpec> {
    let hook = |place: &Cursor<'_>| {
        let command = place.key("command").strings();
        if command.is_empty() {
            place.key("command").error("a hook needs a command");
        }
        HookSpec {
            command,
            user: place.key("user").string(),
            privileged: place.key("privileged").flag().unwrap_or(false),
            working_dir: place.key("working_dir").string(),
            environment: place.key("environment").variables(),
        }
    };
    place.items().iter().map(hook).collect()
}
