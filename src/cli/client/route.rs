//! Paths and queries of requests, percent-encoded (RFC 3986, 2.1).

use std::fmt;

/// The path and the query of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Route {
    text: String,
    has_query: bool,
}

impl Route {
    /// `/v1/` and the segments, whatever characters are in them.
    #[must_use]
    pub(in crate::cli) fn to(segments: &[&str]) -> Self {
        let mut text = "/v1".to_owned();
        for segment in segments {
            text.push('/');
            encode(segment, &mut text);
        }
        Self { text, has_query: false }
    }

    /// With a parameter.
    #[must_use]
    pub(in crate::cli) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        encode(name, &mut self.text);
        self.text.push('=');
        encode(&value.to_string(), &mut self.text);
        self
    }

    /// With a parameter, if there is a value.
    #[must_use]
    pub(in crate::cli) fn with_some(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With `name=true`, if it holds.
    #[must_use]
    pub(in crate::cli) fn with_flag(self, name: &str, holds: bool) -> Self {
        self.with_some(name, holds.then_some("true"))
    }

    /// As it goes into the request line.
    #[must_use]
    pub(in crate::cli) fn as_str(&self) -> &str {
        &self.text
    }
}

fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte));
            }
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_wrote_cannot_break_out_of_its_segment() {
        let route = Route::to(&["containers", "a/../b?c"]).with("path", "/tmp/ö & co");
        assert_eq!(route.as_str(), "/v1/containers/a%2F..%2Fb%3Fc?path=%2Ftmp%2F%C3%B6%20%26%20co");
    }

    #[test]
    fn absent_parameters_leave_no_trace() {
        let none: Option<&str> = None;
        let route = Route::to(&["containers"]).with_some("project", none).with_flag("all", false);
        assert_eq!(route.as_str(), "/v1/containers");
        assert_eq!(
            route.with_flag("all", true).with("tail", 5).as_str(),
            "/v1/containers?all=true&tail=5"
        );
    }
}
