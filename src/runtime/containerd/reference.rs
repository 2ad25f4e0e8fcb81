//! Names of images, as people write them and as containerd keeps them.
//!
//! The rules are Docker's (the `distribution/reference` grammar): without a registry it is Docker Hub's,
//! without a tag it is `latest`.

use crate::runtime::RuntimeError;

/// Docker Hub's name, and the one by which its API answers.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// A name of an image in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// `docker.io`, `127.0.0.1:5000`.
    pub(super) registry: String,
    /// `library/redis`.
    pub(super) repository: String,
    /// `7`; `latest` where neither a tag nor a digest is named.
    pub(super) tag: Option<String>,
    /// `sha256:...`.
    pub(super) digest: Option<String>,
}

impl Reference {
    pub(super) fn parse(text: &str) -> Result<Self, RuntimeError> {
        let wrong = |why: &str| RuntimeError::Failed {
            doing: format!("read the image's name {text}"),
            why: format!("{why}; write it as `registry/name:tag` or `name@sha256:...`"),
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|it| !is_digest(it)) {
            return Err(wrong("what follows `@` is not `sha256:` and 64 hexadecimal digits"));
        }
        let after_path = name.rfind('/').map_or(0, |it| it + 1);
        let (name, tag) = match name[after_path..].find(':') {
            Some(colon) => (&name[..after_path + colon], Some(&name[after_path + colon + 1..])),
            None => (name, None),
        };
        let tag_letter = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
        if tag.is_some_and(|it| it.is_empty() || it.len() > 128 || !it.chars().all(tag_letter)) {
            return Err(wrong("its tag has other characters than letters, digits and `_.-`"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => (HUB, name.to_owned()),
            None => (HUB, format!("library/{name}")),
        };
        if !is_host(registry) {
            return Err(wrong("its registry is no host"));
        }
        let registry = if registry == "index.docker.io" { HUB } else { registry };
        let letter =
            |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "_.-/".contains(it);
        let parts = || repository.split('/');
        if parts().any(|it| it.is_empty() || it == "." || it == "..")
            || !repository.chars().all(letter)
        {
            return Err(wrong(
                "its name has other characters than small letters, digits and `_.-/`",
            ));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        let digest = digest.map(str::to_owned);
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// As containerd keeps it. A digest says more than a tag, which is left out then.
    pub(super) fn full(&self) -> String {
        let name = format!("{}/{}", self.registry, self.repository);
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, tag) => format!("{name}:{}", tag.as_deref().unwrap_or("latest")),
        }
    }

    /// As people write it.
    pub(super) fn familiar(&self) -> String {
        let full = self.full();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    }

    /// The same image by its digest.
    pub(super) fn with_digest(&self, digest: &str) -> Self {
        Self { tag: None, digest: Some(digest.to_owned()), ..self.clone() }
    }

    /// Where its registry's API answers.
    pub(super) fn host(&self) -> &str {
        if self.registry == HUB { HUB_HOST } else { &self.registry }
    }

    /// What a registry calls this version: its digest, or its tag.
    pub(super) fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// Whether its registry is on this machine, and is asked without TLS as Docker does.
    pub(super) fn is_on_loopback(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(&*self.registry, |(host, _)| host);
        is_loopback(host)
    }
}

/// Whether a text may be a host, with a port or without.
fn is_host(text: &str) -> bool {
    let letter = |it: char| it.is_ascii_alphanumeric() || "-_:[]".contains(it);
    text.split('.').all(|it| !it.is_empty() && it.chars().all(letter))
}

/// Whether a host is this machine itself.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|it: std::net::IpAddr| it.is_loopback())
}

/// `sha256:` and 64 hexadecimal digits: the one kind of digest that is in use.
pub(super) fn is_digest(text: &str) -> bool {
    let hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    text.strip_prefix("sha256:").is_some_and(|it| it.len() == 64 && it.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_docker_reads_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, full, familiar) in [
            ("redis", "docker.io/library/redis:latest", "redis:latest"),
            ("redis:7", "docker.io/library/redis:7", "redis:7"),
            ("acme/app", "docker.io/acme/app:latest", "acme/app:latest"),
            ("localhost/app:1", "localhost/app:1", "localhost/app:1"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
            ("index.docker.io/library/x", "docker.io/library/x:latest", "x:latest"),
        ] {
            let read = Reference::parse(text).unwrap();
            assert_eq!((read.full().as_str(), read.familiar().as_str()), (full, familiar));
        }
        let read = Reference::parse(&format!("redis:7@{digest}")).unwrap();
        assert_eq!(read.full(), format!("docker.io/library/redis@{digest}"));
        assert_eq!(read.version(), digest);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "UPPER", "a//b", "a:", "a:b c", "a@sha256:12", "../x", "a/../b", "h:5000/"]
        {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machines_registries_are_asked_without_tls() {
        for (text, on_loopback) in [
            ("127.8.0.1:5000/x", true),
            ("localhost:1/x", true),
            ("10.0.0.1:5000/x", false),
            ("x", false),
        ] {
            assert_eq!(Reference::parse(text).unwrap().is_on_loopback(), on_loopback, "{text}");
        }
    }
}
