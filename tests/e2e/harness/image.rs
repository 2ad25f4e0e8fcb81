//! An image of nothing but busybox, and registries that ask for a name and that do not.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Dockerd, Kind, REGISTRY, REGISTRY_OPEN};

/// Where Debian's busybox-static has it.
const BUSYBOX: &str = "/bin/busybox";

/// The image's whole name.
const BUSYBOX_NAME: &str = "docker.io/library/busybox:latest";

/// bcrypt of `plain`, and of a password whose base64 differs between the two alphabets.
const USERS: &str = "plain:$2b$04$4Fa8u9Q1SHxKmx1oHvre..T1OFqoMfb21CxSUUPB76rrhj5dXK6C6\nodd:$2b$04$j0h8TPkfD9dA49kHdvc9ieePecQYGzVzlKCefT88uii7iGQbvsy2m\n";

/// Imports the image as `busybox:latest`, and offers it in both registries.
pub(super) fn load(engine: &Dockerd) {
    if engine.kind() == Kind::Containerd {
        import(engine, BUSYBOX_NAME, Vec::new(), json!({ "Cmd": ["sh"] }));
        if engine.has_registries() {
            push(engine);
        }
        return;
    }
    feed(engine, &["import", "-c", r#"CMD ["sh"]"#, "-", "busybox:latest"], &tar());
    // What `docker login` would write; Podman's own asks registries by TLS only.
    let config = engine.dir().join("docker-config");
    fs::create_dir_all(&config).unwrap();
    let login = format!(r#"{{"auths": {{"{REGISTRY}": {{"auth": "cGxhaW46cGxhaW4="}}}}}}"#);
    fs::write(config.join("config.json"), login).unwrap();
    // One for each test: they run beside one another, and what one has fetched another must miss.
    for (name, count) in offered() {
        for tag in 1..=count {
            let image = format!("{name}:{tag}");
            // Each has a layer of its own, for its pull to have something to do.
            let dockerfile =
                format!("FROM busybox\nRUN head -c 3000000 /dev/urandom > /{}-{tag}\n", name.len());
            feed(engine, &["build", "-q", "-t", &image, "-"], dockerfile.as_bytes());
            engine.docker(&["push", &image]);
            engine.docker(&["rmi", &image]);
        }
    }
}

/// The images in the registries, and how many tags each has.
fn offered() -> [(String, u32); 2] {
    [(format!("{REGISTRY}/closed"), 4), (format!("{REGISTRY_OPEN}/open"), 2)]
}

/// Imports busybox with a layer of its own, if there is one, under a name.
fn import(engine: &Dockerd, name: &str, layer: Vec<u8>, defaults: Value) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let archive = engine.dir().join(format!("image-{number}.tar"));
    fs::write(&archive, layout(name, layer, defaults)).unwrap();
    ctr(engine, &["images", "import", archive.to_str().unwrap()]);
    fs::remove_file(archive).unwrap();
}

/// busybox as an archive that containerd and Podman import: each time the same image, to the last byte.
pub(crate) fn archive() -> Vec<u8> {
    layout(BUSYBOX_NAME, Vec::new(), json!({ "Cmd": ["sh"] }))
}

/// Imports busybox with what the lines of a Dockerfile say, for an engine without a builder.
pub(crate) fn import_as(engine: &Dockerd, name: &str, lines: &str) {
    let mut defaults = json!({ "Cmd": ["sh"] });
    for line in lines.lines() {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "ENTRYPOINT" => {
                defaults["Entrypoint"] = serde_json::from_str(rest).unwrap();
                // A new entrypoint takes the base's command away.
                defaults["Cmd"] = Value::Null;
            }
            "CMD" => defaults["Cmd"] = serde_json::from_str(rest).unwrap(),
            "ENV" => defaults["Env"] = rest.split(' ').collect(),
            other => panic!("{other} takes a builder"),
        }
    }
    import(engine, &format!("docker.io/{name}"), Vec::new(), defaults);
}

fn ctr(engine: &Dockerd, words: &[&str]) {
    let output = engine.ctr(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ctr {words:?}: {said}");
}

/// Offers the same images as Docker does, by containerd's own command line.
fn push(engine: &Dockerd) {
    for (name, count) in offered() {
        for tag in 1..=count {
            let image = format!("{name}:{tag}");
            let mut noise = vec![0; 3_000_000];
            fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
            let mut layer = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(noise.len() as u64);
            layer.append_data(&mut header, format!("noise-{tag}"), &noise[..]).unwrap();
            let defaults = json!({ "Cmd": ["sh"] });
            import(engine, &image, layer.into_inner().unwrap(), defaults);
            ctr(engine, &["images", "push", "--plain-http", "--user", "plain:plain", &image]);
            ctr(engine, &["images", "rm", "--sync", &image]);
        }
    }
}

/// Docker's command line with something to read.
fn feed(engine: &Dockerd, words: &[&str], input: &[u8]) {
    let mut docker = engine
        .command("docker")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    docker.stdin.take().unwrap().write_all(input).unwrap();
    let output = docker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {words:?}: {said}");
}

/// The registries' settings.
pub(super) fn write_registry(dir: &Path) {
    fs::write(dir.join("users"), USERS).unwrap();
    for (name, address, auth) in [
        (
            "registry",
            REGISTRY,
            format!(
                "auth:\n  htpasswd:\n    realm: fizz\n    path: {}\n",
                dir.join("users").display()
            ),
        ),
        ("registry-open", REGISTRY_OPEN, String::new()),
    ] {
        let settings = format!(
            "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{auth}",
            dir.join(format!("{name}-data")).display(),
        );
        fs::write(dir.join(format!("{name}.yml")), settings).unwrap();
    }
}

/// Bytes as most layers are packed.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, bytes) = (gzip.stdin.take().unwrap(), bytes.to_vec());
    let writing = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let packed = gzip.wait_with_output().unwrap().stdout;
    writing.join().unwrap();
    packed
}

/// The image as an archive in the OCI image layout.
fn layout(name: &str, further: Vec<u8>, defaults: Value) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes).unwrap();
    };
    let mut blob = |kind: &str, bytes: &[u8]| {
        let hex: String = Sha256::digest(bytes).iter().map(|it| format!("{it:02x}")).collect();
        add(&format!("blobs/sha256/{hex}"), bytes);
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    };
    let digest = |bytes: &[u8]| {
        let hex: String = Sha256::digest(bytes).iter().map(|it| format!("{it:02x}")).collect();
        format!("sha256:{hex}")
    };
    let (mut layers, mut ids) = (vec![blob("layer.v1.tar", &tar())], vec![digest(&tar())]);
    if !further.is_empty() {
        layers.push(blob("layer.v1.tar+gzip", &packed(&further)));
        ids.push(digest(&further));
    }
    let config = json!({
        "created": "2026-01-01T00:00:00Z", "os": "linux",
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "config": defaults,
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({
        "io.containerd.image.name": name,
        // The same for Podman.
        "org.opencontainers.image.ref.name": name,
    });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    add("index.json", index.to_string().as_bytes());
    add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    archive.into_inner().unwrap()
}

/// busybox under all its names, a user, and directories to mount on.
pub(crate) fn tar() -> Vec<u8> {
    let mut busybox = Vec::new();
    fs::File::open(BUSYBOX)
        .expect("busybox is missing: apt-get install busybox-static")
        .read_to_end(&mut busybox)
        .unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            tar.append_data(&mut header, path, content).unwrap();
        } else {
            tar.append_link(&mut header, path, link).unwrap();
        }
    };
    for (directory, mode) in
        [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700), ("work", 0o755)]
    {
        add(directory, tar::EntryType::Directory, mode, b"", "");
    }
    add("bin/busybox", tar::EntryType::Regular, 0o755, &busybox, "");
    let names = Command::new(BUSYBOX).arg("--list").output().unwrap().stdout;
    for name in String::from_utf8(names).unwrap().lines().filter(|it| *it != "busybox") {
        add(&format!("bin/{name}"), tar::EntryType::Symlink, 0o777, b"", "busybox");
    }
    let files = [
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/work:/bin/sh\n"),
        ("etc/group", "root:x:0:\napp:x:1001:\naudio:x:29:\n"),
        ("work/from-image", "image\n"),
    ];
    for (path, text) in files {
        add(path, tar::EntryType::Regular, 0o644, text.as_bytes(), "");
    }
    tar.into_inner().unwrap()
}
