//! Mounts in the short form: `[SOURCE:]TARGET[:OPTION,...]`, for Linux and for Windows.

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) source: Option<String>,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) no_copy: bool,
    pub(super) propagation: Option<String>,
    pub(super) selinux: Option<String>,
    /// Options that mean nothing to us.
    pub(super) unknown: Vec<String>,
}

impl Mount {
    /// Whether the source is a path of the host and not the name of a volume.
    pub(super) fn is_bind(&self) -> bool {
        self.source.as_deref().is_some_and(is_path)
    }
}

/// The mount that a text stands for.
pub(super) fn parse(text: &str) -> Result<Mount, String> {
    if text.is_empty() {
        return Err("a mount must not be empty".to_owned());
    }
    if text.chars().count() <= 2 {
        return Ok(Mount { target: text.to_owned(), ..Mount::default() });
    }
    let parts = parts(text);
    if parts.iter().any(String::is_empty) {
        return Err(format!(
            "{text:?} has nothing between two colons; write SOURCE:TARGET:OPTIONS"
        ));
    }
    let mut parts = parts.into_iter();
    let mut mount = Mount::default();
    let (first, second, options) = (parts.next(), parts.next(), parts.next());
    if parts.next().is_some() {
        return Err(format!("{text:?} has too many colons; write SOURCE:TARGET:OPTIONS"));
    }
    match (first, second) {
        (Some(source), Some(target)) => (mount.source, mount.target) = (Some(source), target),
        (Some(target), None) => mount.target = target,
        (None, _) => {}
    }
    for option in options.iter().flat_map(|it| it.split(',')) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.no_copy = true,
            "z" | "Z" => mount.selinux = Some(option.to_owned()),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                mount.propagation = Some(option.to_owned());
            }
            other => mount.unknown.push(other.to_owned()),
        }
    }
    Ok(mount)
}

/// The text between colons that neither follow a drive letter nor stand in `${...}`.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut open = 0_u32;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let part = parts.last().map_or("", String::as_str);
        let drive = part.len() == 1 && part.starts_with(char::is_alphabetic);
        match letter {
            '$' if letters.peek() == Some(&'{') => open += 1,
            '}' => open = open.saturating_sub(1),
            ':' if open == 0 && !drive => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

fn is_path(source: &str) -> bool {
    let mut letters = source.chars();
    match (letters.next(), letters.next()) {
        (Some('.' | '/' | '~'), _) | (Some('\\'), Some('\\')) => true,
        (Some(drive), Some(':')) => drive.is_alphabetic(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let mount = parse(text).unwrap();
        let kind = if mount.is_bind() { "bind" } else { "volume" };
        let mut said =
            format!("{kind} {} {}", mount.source.as_deref().unwrap_or("-"), mount.target);
        for (is, name) in [(mount.read_only, " ro"), (mount.no_copy, " nocopy")] {
            said.push_str(if is { name } else { "" });
        }
        for option in mount.propagation.iter().chain(&mount.selinux).chain(&mount.unknown) {
            said.push_str(&format!(" {option}"));
        }
        said
    }

    #[test]
    fn every_short_form_is_read() {
        for (text, expected) in [
            ("/path", "volume - /path"),
            ("/", "volume - /"),
            ("d:", "volume - d:"),
            ("/path:/target", "bind /path /target"),
            ("./a:/b:ro", "bind ./a /b ro"),
            ("~/a:/b", "bind ~/a /b"),
            ("data:/data", "volume data /data"),
            ("data:/data:nocopy", "volume data /data nocopy"),
            ("data:/data:ro,nocopy", "volume data /data ro nocopy"),
            ("/a:/b:slave", "bind /a /b slave"),
            ("/a:/b:ro,z", "bind /a /b ro z"),
            ("/a:/b:rw,Z", "bind /a /b Z"),
            ("/a:/b:cached", "bind /a /b cached"),
            ("C:\\path:/foo", "bind C:\\path /foo"),
            ("C:\\path:D:\\foo:ro", "bind C:\\path D:\\foo ro"),
            ("C:\\path", "volume - C:\\path"),
            ("\\\\.\\pipe\\a:\\\\.\\pipe\\a", "bind \\\\.\\pipe\\a \\\\.\\pipe\\a"),
            ("${A:-/x}:/b", "volume ${A:-/x} /b"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_mount_is_refused() {
        for text in ["", "/foo::/bar", "/foo:", ":/foo", "aa:bb:ro:x", "//a:/b::", "C:\\a:D:\\b::"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
