//! Which registry an image comes from (distribution's reference grammar).

/// The registry of images that name none.
const HUB: &str = "docker.io";

/// The registry that a reference names: what is before the first slash, if it can be a host.
pub(crate) fn of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => canonical(host),
        Some(_) | None => HUB,
    }
}

/// Docker's hub has several names, also in the files of `docker login`.
pub(super) fn canonical(host: &str) -> &str {
    let bare = host.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.split('/').next().unwrap_or(bare);
    match bare {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => HUB,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_registry_is_its_first_part_if_that_is_a_host() {
        assert_eq!(of("redis:7"), "docker.io");
        assert_eq!(of("library/redis"), "docker.io");
        assert_eq!(of("localhost/app"), "localhost");
        assert_eq!(of("127.0.0.1:5000/app"), "127.0.0.1:5000");
        assert_eq!(of("ghcr.io/a/b@sha256:00"), "ghcr.io");
        assert_eq!(canonical("https://index.docker.io/v1/"), "docker.io");
    }
}
