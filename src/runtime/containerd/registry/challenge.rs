//! What a registry wants to be told first (RFC 9110, section 11.6.1, and the distribution project's token
//! authentication): `Bearer realm="https://auth.example/token",service="registry.example"`.

use std::collections::BTreeMap;

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a name and a password.
    Basic,
    /// With a token that somebody else gives.
    Bearer {
        /// Who gives it.
        realm: String,
        /// For whom, and for what.
        parameters: BTreeMap<String, String>,
    },
}

/// Reads a `WWW-Authenticate` header. `None`: none of those.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = parameters(rest);
    let realm = parameters.remove("realm")?;
    parameters.retain(|name, _| name == "service" || name == "scope");
    Some(Challenge::Bearer { realm, parameters })
}

/// `a="b, c",d=e`
fn parameters(mut text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    while let Some((name, rest)) = text.split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        found.insert(name, value.trim().to_owned());
        text = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_ask_for_is_read() {
        assert_eq!(parse("Basic realm=\"fizz\""), Some(Challenge::Basic));
        let hub = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\",error=\"x\"";
        let Some(Challenge::Bearer { realm, parameters }) = parse(hub) else { panic!("{hub}") };
        assert_eq!(realm, "https://auth.docker.io/token");
        let wanted = [("scope", "repository:a/b:pull,push"), ("service", "registry.docker.io")];
        assert!(parameters.iter().map(|(a, b)| (a.as_str(), b.as_str())).eq(wanted));
        assert!(
            matches!(parse("bearer realm=a, service=b"), Some(Challenge::Bearer { realm, .. }) if realm == "a")
        );
        for other in ["", "Negotiate", "Bearer service=\"x\""] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
