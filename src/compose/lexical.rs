//! Paths as text. Nothing here looks at the disk, and Windows paths are known on Linux too.

/// A path without `.`, inner `..` and doubled slashes, as Go's `path.Clean` gives it.
#[must_use]
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// Where relative paths begin.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// The project's folder, absolute.
    pub base: &'a str,
    /// What `~` stands for, if that is known.
    pub home: Option<&'a str>,
}

impl Folders<'_> {
    /// The absolute form of a path; one that is empty or absolute already stays as it is.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        let path = self.expand(path);
        if path.is_empty() || path.starts_with('/') {
            return path;
        }
        clean(&format!("{}/{path}", self.base))
    }

    /// The absolute form of a path of the host, which may be a Windows machine.
    #[must_use]
    pub fn absolute_on_host(&self, path: &str) -> String {
        let path = self.expand(path);
        if path.starts_with('/') || is_absolute_windows(&path) {
            return path;
        }
        clean(&format!("{}/{path}", self.base))
    }

    fn expand(&self, path: &str) -> String {
        match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => clean(&format!("{home}/{rest}")),
            _ => path.to_owned(),
        }
    }
}

/// Whether a path is absolute on Windows: `C:\x`, `\\host\share`, `\\.\pipe\x`.
#[must_use]
pub fn is_absolute_windows(path: &str) -> bool {
    let is_slash = |it: Option<&u8>| matches!(it, Some(b'/' | b'\\'));
    let bytes = path.as_bytes();
    match bytes.first() {
        Some(b'/' | b'\\') => is_slash(bytes.get(1)),
        Some(_) => bytes.get(1) == Some(&b':') && is_slash(bytes.get(2)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_is_lexical() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("/a/", "/a"),
            ("a//b/./c/../d", "a/b/d"),
            ("/../a", "/a"),
            ("../../a/..", "../.."),
            ("./", "."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn paths_become_absolute() {
        let folders = Folders { base: "/work/app", home: Some("/home/me") };
        for (path, absolute) in [
            ("", ""),
            (".", "/work/app"),
            ("./a", "/work/app/a"),
            ("../a", "/work/a"),
            ("/a/../b", "/a/../b"),
            ("~", "/home/me"),
            ("~/x", "/home/me/x"),
        ] {
            assert_eq!(folders.absolute(path), absolute, "{path}");
        }
        assert_eq!(Folders { base: "/b", home: None }.absolute("~/x"), "/b/~/x");
        assert_eq!(folders.absolute_on_host(""), "/work/app");
        assert_eq!(folders.absolute_on_host("C:\\x"), "C:\\x");
        assert_eq!(folders.absolute_on_host("x"), "/work/app/x");
    }

    #[test]
    fn absolute_windows_paths_are_known() {
        for path in
            ["C:\\a", "c:/a", "\\\\host\\share", "//host/share", "\\\\.\\pipe\\x", "\\\\?\\c:\\"]
        {
            assert!(is_absolute_windows(path), "{path}");
        }
        for path in ["", "C:", "C:a", "\\a", "/a", "a\\b", "."] {
            assert!(!is_absolute_windows(path), "{path}");
        }
    }
}
