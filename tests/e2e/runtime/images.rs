//! Images: fetched from registries, built, looked up, removed.

use fizz::{
    model::{
        Millis,
        spec::{HealthSpec, HealthTest},
    },
    runtime::{BuildRequest, Credentials, Progress, RuntimeError},
};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::harness::{Lab, REGISTRY, REGISTRY_OPEN, import_as, words};

type Said = Vec<Progress>;

async fn pull(
    lab: &Lab,
    image: &str,
    login: Option<Credentials>,
) -> (Result<(), RuntimeError>, Said) {
    let (sender, receiver) = mpsc::channel(64);
    let pulled = lab.runtime.pull(image, None, login, sender);
    let (pulled, said) = tokio::join!(pulled, read(receiver));
    (pulled.map(drop), said)
}

async fn read(mut receiver: mpsc::Receiver<Progress>) -> Said {
    let mut said = Vec::new();
    while let Some(step) = receiver.recv().await {
        said.push(step);
    }
    said
}

fn login(username: &str, password: &str) -> Option<Credentials> {
    Some(Credentials {
        registry: REGISTRY.to_owned(),
        username: username.to_owned(),
        password: password.to_owned(),
        identity_token: String::new(),
    })
}

fn context(
    files: &[(&str, &str)],
) -> stream::BoxStream<'static, Result<bytes::Bytes, std::io::Error>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    let pieces: Vec<_> =
        bytes.chunks(700).map(|it| Ok(bytes::Bytes::copy_from_slice(it))).collect();
    stream::iter(pieces).boxed()
}

async fn build(
    lab: &Lab,
    request: BuildRequest,
    files: &[(&str, &str)],
) -> (Result<String, RuntimeError>, String) {
    let (sender, receiver) = mpsc::channel(64);
    let built = lab.runtime.build(request, context(files), Vec::new(), sender);
    let (built, said) = tokio::join!(built, read(receiver));
    let said: Vec<_> = said.into_iter().map(|it| it.status).collect();
    (built.map(|it| it.to_string()), said.join("\n"))
}

/// Builds an image upon busybox and returns its name.
pub(super) async fn built(lab: &Lab, name: &str, lines: &str) -> String {
    let image = format!("{}/{name}:1", lab.project);
    if lab.on_containerd() {
        import_as(lab.engine, &image, lines);
        return image;
    }
    let request = BuildRequest { tags: vec![image.clone()], ..BuildRequest::default() };
    build(lab, request, &[("Dockerfile", &format!("FROM busybox\n{lines}\n"))]).await.0.unwrap();
    image
}

#[tokio::test]
async fn an_image_is_fetched_with_progress_for_each_layer() {
    let lab = Lab::new();
    let image = format!("{REGISTRY_OPEN}/open:1");
    let (pulled, said) = pull(&lab, &image, None).await;
    pulled.unwrap();
    let layer = said.iter().find(|it| it.layer.is_some()).expect("a layer");
    let ends = ["Pull complete", "Already exists"];
    assert!(
        said.iter().any(|it| it.layer == layer.layer && ends.contains(&it.status.as_str())),
        "{said:?}"
    );
    // Podman ends with its last layer.
    assert!(
        lab.on_podman()
            || said.iter().any(|it| it.layer.is_none() && it.status.starts_with("Status:")),
        "{said:?}"
    );
    let info = lab.runtime.image(&image).await.unwrap().unwrap();
    assert!(info.references.contains(&image) && info.digests[0].contains("@sha256:"), "{info:?}");
    assert_eq!(info.platform, "linux/amd64");
    assert!(info.size_bytes > 500_000 && info.created.0 > 0 && info.command == ["sh"], "{info:?}");
    // By digest, too, and by a reader that takes nothing.
    let (sender, _receiver) = mpsc::channel(1);
    assert_eq!(
        lab.runtime.pull(&info.digests[0], Some("linux/amd64"), None, sender).await.unwrap(),
        info.id
    );
}

/// Offers an image for two platforms, by the registry's own interface.
const OFFER: &str = r#"
set -e
cd "$(mktemp -d)"
at="http://$REGISTRY/v2/many"
digest() { echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"; }
size() { stat -c %s "$1"; }
blob() {
  to=$(curl -sfi -X POST "$at/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$1" "$to&digest=$(digest "$1")"
}
manifest() { curl -sf -X PUT -H "Content-Type: $1" --data-binary "@$2" "$at/manifests/$3"; }
kind=application/vnd.docker.distribution.manifest
mkdir empty && tar -cf layer -C empty . && blob layer
for for in amd64 arm64; do
  printf '{"os":"linux","architecture":"%s","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["%s"]}}' $for $(digest layer) > config-$for
  blob config-$for
  printf '{"schemaVersion":2,"mediaType":"%s.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%s,"digest":"%s"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","size":%s,"digest":"%s"}]}' \
    $kind $(size config-$for) $(digest config-$for) $(size layer) $(digest layer) > $for
  manifest $kind.v2+json $for $(digest $for)
done
printf '{"schemaVersion":2,"mediaType":"%s.list.v2+json","manifests":[{"mediaType":"%s.v2+json","size":%s,"digest":"%s","platform":{"os":"linux","architecture":"amd64"}},{"mediaType":"%s.v2+json","size":%s,"digest":"%s","platform":{"os":"linux","architecture":"arm64"}}]}' \
  $kind $kind $(size amd64) $(digest amd64) $kind $(size arm64) $(digest arm64) > list
manifest $kind.list.v2+json list 1
echo "$(digest config-amd64) $(digest config-arm64)"
"#;

#[tokio::test]
async fn an_image_is_fetched_for_the_platform_that_is_asked_for() {
    let lab = Lab::new();
    let ids = lab.engine.inside(&format!("REGISTRY={REGISTRY_OPEN}\n{OFFER}"));
    let ids: Vec<_> = ids.lines().last().unwrap().split(' ').collect();
    let image = format!("{REGISTRY_OPEN}/many:1");
    // Another machine's first: it is what the name means until this machine's is there.
    for (platform, id) in [("linux/arm64", ids[1]), ("linux/amd64", ids[0])] {
        let (sender, receiver) = mpsc::channel(64);
        let pulled = lab.runtime.pull(&image, Some(platform), None, sender);
        let (pulled, _) = tokio::join!(pulled, read(receiver));
        assert_eq!(pulled.unwrap().to_string(), id);
        let info = lab.runtime.image(&image).await.unwrap().unwrap();
        assert_eq!((info.id.to_string().as_str(), info.platform.as_str()), (id, platform));
    }
    let (sender, _receiver) = mpsc::channel(1);
    assert!(lab.runtime.pull(&image, Some("linux/s390x"), None, sender).await.is_err());
    lab.runtime.remove_image(&image).await.unwrap();
    assert_eq!(lab.runtime.image(&image).await.unwrap(), None);
}

#[tokio::test]
async fn a_closed_registry_wants_the_right_name() {
    let lab = Lab::new();
    let image = format!("{REGISTRY}/closed:1");
    for wrong in [None, login("plain", "wrong")] {
        let error = pull(&lab, &image, wrong).await.0.unwrap_err();
        assert!(
            matches!(&error, RuntimeError::Unauthorized { registry, .. } if registry == REGISTRY),
            "{error}"
        );
        assert!(error.to_string().contains("docker login"), "{error}");
    }
    // The second's password has other letters in base64's two alphabets.
    for right in [login("plain", "plain"), login("odd", "~~~???>>>")] {
        pull(&lab, &image, right).await.0.unwrap();
        lab.runtime.remove_image(&image).await.unwrap();
    }
}

#[tokio::test]
async fn an_image_that_is_nowhere_is_named() {
    let lab = Lab::new();
    for image in [format!("{REGISTRY_OPEN}/open:9"), format!("{REGISTRY_OPEN}/never:1")] {
        let error = pull(&lab, &image, None).await.0.unwrap_err();
        assert_eq!(error, RuntimeError::NotFound { what: "image", name: image });
    }
    let error = pull(&lab, "127.0.0.1:1/x:1", None).await.0.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Failed { doing, .. } if doing.contains("127.0.0.1:1/x:1")),
        "{error}"
    );
}

#[tokio::test]
async fn an_image_is_built_as_it_was_asked_for() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox AS first\nARG WORD=default\nARG KEPT=default\nCOPY file /file\n\
        RUN echo $WORD $KEPT > /words; ulimit -n > /limit; cat /etc/hosts > /hosts; df -k /dev/shm | awk 'END{print $2}' > /shm\n\
        HEALTHCHECK --interval=7s --timeout=3s --start-period=1s --retries=4 CMD test -e /file\nSTOPSIGNAL SIGUSR1\n\
        FROM first AS second\nRUN false\n";
    let tags = vec![format!("{}/built:1", lab.project), format!("{}/built:2", lab.project)];
    let mut request = BuildRequest {
        tags: tags.clone(),
        dockerfile: Some("sub/Custom".to_owned()),
        args: [("WORD".to_owned(), Some("given".to_owned())), ("KEPT".to_owned(), None)].into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        target: Some("first".to_owned()),
        network: Some("none".to_owned()),
        shm_bytes: Some(5 << 20),
        extra_hosts: vec![("db".to_owned(), "192.0.2.1".to_owned())],
        ulimits: [("nofile".to_owned(), (123, 456))].into(),
        platform: Some("linux/amd64".to_owned()),
        cache_from: vec!["busybox".to_owned()],
        no_cache: true,
        ..BuildRequest::default()
    };
    let files = [("sub/Custom", dockerfile), ("file", "content")];
    // Podman's service does not heed it, and has 64 MiB.
    let shm = if lab.on_podman() { 65536 } else { 5120 };
    if lab.on_podman() {
        let (refused, _) = build(&lab, request.clone(), &files).await;
        assert!(refused.unwrap_err().to_string().contains("shm_size"));
        request.shm_bytes = None;
    }
    let (id, said) = build(&lab, request, &files).await;
    let id = id.unwrap();
    assert!(said.contains("Step 1/") && said.contains("Successfully built"), "{said}");
    for tag in &tags {
        assert_eq!(lab.runtime.image(tag).await.unwrap().unwrap().id.to_string(), id);
    }
    let info = lab.runtime.image(&tags[0]).await.unwrap().unwrap();
    let health = HealthSpec {
        test: Some(HealthTest::Shell("test -e /file".to_owned())),
        interval: Some(Millis(7000)),
        timeout: Some(Millis(3000)),
        retries: Some(4),
        start_period: Some(Millis(1000)),
        start_interval: None,
    };
    assert_eq!((info.health, info.stop_signal.as_deref()), (Some(health), Some("SIGUSR1")));
    let container = lab.run_with(|it| it.spec.image.clone_from(&tags[0])).await;
    assert_eq!(
        lab.sh(&container, "cat /file; echo; cat /words /limit /shm").await,
        format!("content\ngiven default\n123\n{shm}")
    );
    assert!(lab.sh(&container, "cat /hosts").await.contains("192.0.2.1\tdb"));
    assert_eq!(lab.inspected(&container, "/Config/Labels/a").await, "b");
    let error = lab.runtime.remove_image(&id).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Conflict(_)), "{error}");
    lab.runtime.remove(&container, true).await.unwrap();
    for tag in &tags {
        lab.runtime.remove_image(tag).await.unwrap();
    }
    assert_eq!(lab.runtime.image(&tags[0]).await.unwrap(), None);
    lab.runtime.remove_image(&tags[0]).await.unwrap();
}

#[tokio::test]
async fn a_build_that_fails_names_its_step() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\nRUN echo before\nRUN echo wrong >&2; exit 3\n";
    let request =
        BuildRequest { tags: vec![format!("{}/bad", lab.project)], ..BuildRequest::default() };
    let (built, said) = build(&lab, request.clone(), &[("Dockerfile", dockerfile)]).await;
    let error = built.unwrap_err().to_string();
    assert!(
        // Podman counts the label by which Fizz knows what it has built.
        error.contains(if lab.on_podman() { "Step 3/4" } else { "Step 3/3" })
            && error.contains("exit 3")
            && error.contains(if lab.on_podman() { "exit status 3" } else { "code: 3" }),
        "{error}"
    );
    assert!(said.contains("before") && said.contains("wrong"), "{said}");

    let (built, _) =
        build(&lab, request.clone(), &[("Dockerfile", &format!("FROM {REGISTRY}/closed:2\n"))])
            .await;
    assert!(
        matches!(&built, Err(RuntimeError::Unauthorized { image, .. }) if image.contains("closed")),
        "{built:?}"
    );
    let (built, _) = build(&lab, request.clone(), &[("file", "")]).await;
    assert!(built.unwrap_err().to_string().contains("Dockerfile"));
    let privileged = BuildRequest { privileged: true, ..request.clone() };
    let (built, _) = build(&lab, privileged, &[]).await;
    assert!(matches!(built, Err(RuntimeError::Unsupported(_))), "{built:?}");

    let (sender, _receiver) = mpsc::channel(1);
    let broken = stream::iter([Err(std::io::Error::other("the disk is gone"))]).boxed();
    let error = lab.runtime.build(request, broken, Vec::new(), sender).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Failed { why, .. } if why.contains("disk is gone")),
        "{error}"
    );
}

#[tokio::test]
async fn a_build_fetches_its_base_with_credentials() {
    let lab = Lab::new();
    let request = BuildRequest {
        tags: vec![format!("{}/based", lab.project)],
        pull: true,
        ..BuildRequest::default()
    };
    let files = format!("FROM {REGISTRY}/closed:3\nRUN true\n");
    let (sender, receiver) = mpsc::channel(64);
    let logins = login("odd", "~~~???>>>").into_iter().collect();
    let built = lab.runtime.build(request, context(&[("Dockerfile", &files)]), logins, sender);
    tokio::join!(built, read(receiver)).0.unwrap();
    let id = lab.run_with(|it| it.spec.image = format!("{}/based", lab.project)).await;
    lab.sh(&id, "true").await;
}

#[tokio::test]
async fn an_image_without_a_command_says_so() {
    let lab = Lab::new();
    let request = lab.with(|it| it.spec.command = words(&[]));
    let error = lab.runtime.create(&request).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("no command"), "{error}");
}
