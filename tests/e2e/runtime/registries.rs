//! Registries that are asked by Fizz itself, as containerd leaves it to its clients: with tokens, and with TLS.

use fizz::runtime::RuntimeError;
use tokio::sync::mpsc;

use crate::harness::Lab;

/// One that takes tokens of somebody else only, on this machine.
const TOKENS: &str = "127.0.0.1:5002";

/// One that is elsewhere, as far as its address tells.
const TLS: &str = "10.98.0.1:5443";

/// Both registries, with what the open one has, and a token for one repository.
const SERVE: &str = r#"
set -e
cd "$DIR"
ip addr add 10.98.0.1/32 dev lo
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.crt -subj /CN=fizz 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj /CN=registry 2>/dev/null
echo subjectAltName=IP:10.98.0.1 > tls.ext
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile tls.ext -out tls.crt 2>/dev/null
packed() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
der=$(openssl x509 -in ca.crt -outform DER | openssl base64 -A)
now=$(date +%s)
head=$(printf '{"typ":"JWT","alg":"RS256","x5c":["%s"]}' "$der" | packed)
body=$(printf '{"iss":"fizz","aud":"here","sub":"","nbf":%s,"iat":%s,"exp":%s,"jti":"1","access":[{"type":"repository","name":"open","actions":["pull"]}]}' \
  $((now - 60)) $((now - 60)) $((now + 3600)) | packed)
signature=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign ca.key -binary | packed)
mkdir tokens
printf '{"token":"%s.%s.%s"}' "$head" "$body" "$signature" > tokens/token
settings() { printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s/registry-open-data}}\n%s\n' "$DIR" "$1"; }
settings "http: {addr: '$TOKENS'}
auth: {token: {realm: 'http://127.0.0.1:5003/token', service: here, issuer: fizz, rootcertbundle: $DIR/ca.crt}}" > tokens.yml
settings "http: {addr: '$TLS', tls: {certificate: $DIR/tls.crt, key: $DIR/tls.key}}" > tls.yml
setsid busybox httpd -f -p 127.0.0.1:5003 -h tokens < /dev/null > /dev/null 2>&1 &
for name in tokens tls; do
  setsid docker-registry serve $name.yml < /dev/null > $name.log 2>&1 &
done
for look in $(seq 200); do
  curl -so /dev/null "http://$TOKENS/v2/" && curl -sko /dev/null "https://$TLS/v2/" && exit
  sleep 0.05
done
cat tokens.log tls.log
exit 1
"#;

/// Trusts the second registry, on this side of the tests' own mounts only.
const TRUST: &str = r#"
set -e
mount -t tmpfs tmpfs /etc/containerd
mkdir -p "/etc/containerd/certs.d/$TLS"
cp "$DIR/ca.crt" "/etc/containerd/certs.d/$TLS/ca.crt"
"#;

async fn pull(lab: &Lab, image: &str) -> Result<(), RuntimeError> {
    let (sender, _receiver) = mpsc::channel(1);
    lab.runtime.pull(image, None, None, sender).await.map(drop)
}

#[tokio::test]
async fn registries_are_asked_with_tokens_and_with_tls() {
    let lab = Lab::new();
    if !lab.on_containerd() {
        // The others ask by themselves.
        return;
    }
    let dir = lab.engine.dir().display().to_string();
    let inside = |script: &str| {
        lab.engine.inside(&format!("DIR={dir} TOKENS={TOKENS} TLS={TLS}\n{script}"));
    };
    inside(SERVE);
    pull(&lab, &format!("{TOKENS}/open:2")).await.unwrap();
    let error = pull(&lab, &format!("{TOKENS}/other:1")).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Unauthorized { registry, .. } if registry == TOKENS),
        "{error}"
    );

    let image = format!("{TLS}/open:2");
    let error = pull(&lab, &image).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Failed { why, .. } if why.contains("certificate")),
        "{error}"
    );
    inside(TRUST);
    pull(&lab, &image).await.unwrap();
    let id = lab.run_with(|it| it.spec.image = image).await;
    lab.sh(&id, "test -s /noise-2").await;
}
