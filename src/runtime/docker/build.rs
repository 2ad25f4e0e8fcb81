//! Images made by the engine's own builder, the classic one, from a streamed context.

use bollard::{models::BuildInfo, query_parameters::BuildImageOptions};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;

use super::{
    archive::watched,
    connect::Engine,
    errors::{Refusal, about},
    flavour::Flavour,
    images, podman,
};
use crate::{
    model::ImageId,
    runtime::{BuildRequest, Credentials, Progress, RuntimeError, progress::Reporter},
};

pub(super) async fn build(
    engine: &Engine,
    request: BuildRequest,
    context: BoxStream<'static, Result<Bytes, std::io::Error>>,
    credentials: Vec<Credentials>,
    progress: mpsc::Sender<Progress>,
) -> Result<ImageId, RuntimeError> {
    if request.shm_bytes.is_some() && engine.flavour == Flavour::Podman {
        return Err(RuntimeError::Unsupported(format!(
            "Podman {} can't build with `shm_size` through its service; leave it out, or build with `podman build` and name the image",
            engine.version
        )));
    }
    if request.privileged {
        return Err(RuntimeError::Unsupported(
            "Docker's classic builder can't build with `privileged: true`; leave it out, or build with `docker buildx` and name the image".to_owned(),
        ));
    }
    let name = request.tags.first().cloned().unwrap_or_else(|| "without a name".to_owned());
    let about = || about("build", "image", &name);
    let mut options = options(&request);
    if engine.flavour == Flavour::Podman {
        let built = (podman::BUILT_LABEL.to_owned(), "true".to_owned());
        options.labels.get_or_insert_default().extend([built]);
    }
    let client = engine.client_with(more(engine.flavour, &request), None);
    let logins = credentials
        .into_iter()
        .map(|it| (images::server(&it.registry).to_owned(), images::credentials(it)))
        .collect();
    let (context, cause) = watched(context);
    let context = bollard::body_try_stream(context);
    let mut steps = client.build_image(options, Some(logins), Some(context)).boxed();
    let mut reporter = Reporter::new(progress);
    let mut output = Output::default();
    let mut ended = Ok(());
    while let Some(step) = steps.next().await {
        match step {
            Ok(step) => output.take(step, &mut reporter),
            Err(error) => {
                ended = Err(Refusal::from(error));
                break;
            }
        }
    }
    reporter.finish().await;
    if let Err(refusal) = ended {
        let of_context = cause.error(&format!("read the context of image {name}"));
        return Err(of_context.unwrap_or_else(|| {
            let refusal = output.explain(refusal);
            engine.heard(&refusal);
            let image = output.base.as_deref().unwrap_or(&name);
            refusal.into_image_error(&engine.whose(), image, about())
        }));
    }
    match output.id {
        Some(id) => Ok(id),
        None => Err(engine.error(Refusal::said("it ended without an image"), about())),
    }
}

/// What bollard has a field for.
fn options(request: &BuildRequest) -> BuildImageOptions {
    let args = request.args.iter();
    BuildImageOptions {
        dockerfile: request.dockerfile.clone().unwrap_or_else(|| "Dockerfile".to_owned()),
        // An argument without a value keeps the Dockerfile's default.
        buildargs: Some(
            args.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect(),
        ),
        labels: Some(request.labels.clone().into_iter().collect()),
        target: request.target.clone().unwrap_or_default(),
        cachefrom: (!request.cache_from.is_empty()).then(|| request.cache_from.clone()),
        nocache: request.no_cache,
        pull: request.pull.then(|| "true".to_owned()),
        platform: request.platform.clone().unwrap_or_default(),
        networkmode: request.network.clone(),
        rm: true,
        forcerm: true,
        ..BuildImageOptions::default()
    }
}

/// What it has no field for, or too small a one.
fn more(flavour: Flavour, request: &BuildRequest) -> String {
    let mut query = Vec::new();
    query.extend(request.tags.iter().map(|tag| format!("t={}", escaped(tag))));
    query.extend(request.shm_bytes.map(|bytes| format!("shmsize={bytes}")));
    let hosts = request.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    let limits = request.ulimits.iter();
    let limits: Vec<serde_json::Value> = match flavour {
        Flavour::Docker => {
            query.extend(hosts.map(|it| format!("extrahosts={}", escaped(&it))));
            let named = limits.map(|(name, (soft, hard))| {
                serde_json::json!({ "Name": name, "Soft": soft, "Hard": hard })
            });
            named.collect()
        }
        // Both are lists of what stands on its command line.
        Flavour::Podman => {
            let hosts: Vec<String> = hosts.collect();
            if !hosts.is_empty() {
                let hosts = serde_json::json!(hosts).to_string();
                query.push(format!("extrahosts={}", escaped(&hosts)));
            }
            limits.map(|(name, (soft, hard))| format!("{name}={soft}:{hard}").into()).collect()
        }
    };
    if !limits.is_empty() {
        let limits = serde_json::Value::Array(limits).to_string();
        query.push(format!("ulimits={}", escaped(&limits)));
    }
    query.join("&")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// What a build has said so far.
#[derive(Default)]
struct Output {
    /// The image, once it is there.
    id: Option<ImageId>,
    /// The step under way: `Step 3/5 : RUN make`.
    step: Option<String>,
    /// The base image of the stage under way.
    base: Option<String>,
}

impl Output {
    fn take(&mut self, said: BuildInfo, reporter: &mut Reporter) {
        if let Some(id) = said.aux.and_then(|it| it.id) {
            self.id = Some(ImageId(id.into()));
        }
        let counted = said.progress_detail.unwrap_or_default();
        if let Some(status) = said.status {
            reporter.report(Progress {
                layer: said.id,
                status,
                current_bytes: images::bytes(counted.current),
                total_bytes: images::bytes(counted.total),
            });
        }
        for line in said.stream.unwrap_or_default().lines().filter(|it| !it.trim().is_empty()) {
            let step = podman::build_line(line);
            let line = step.as_deref().unwrap_or(line);
            if line.starts_with("Step ") {
                self.step = Some(line.trim_end().to_owned());
                let base = line.split_once(" : FROM ").map(|(_, base)| base.split_whitespace());
                let base = base.and_then(|mut it| it.find(|word| !word.starts_with("--")));
                self.base = base.map(str::to_owned).or(self.base.take());
            }
            reporter.report(Progress {
                layer: None,
                status: line.to_owned(),
                current_bytes: None,
                total_bytes: None,
            });
        }
    }

    /// An error with the step that failed.
    fn explain(&self, refusal: Refusal) -> Refusal {
        match (refusal, &self.step) {
            (Refusal::Said { status, message }, Some(step)) => {
                Refusal::Said { status, message: format!("{step}: {message}") }
            }
            (refusal, _) => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bollard_has_no_field_for_goes_into_the_address() {
        let request = BuildRequest {
            tags: vec!["a:1".into(), "r:5000/b".into()],
            shm_bytes: Some(1 << 33),
            ulimits: [("nofile".to_owned(), (1, 2))].into(),
            extra_hosts: vec![("db".into(), "::1".into())],
            ..BuildRequest::default()
        };
        assert_eq!(
            more(Flavour::Docker, &request),
            "t=a%3A1&t=r%3A5000%2Fb&shmsize=8589934592&extrahosts=db%3A%3A%3A1&ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Soft%22%3A1%2C%22Hard%22%3A2%7D%5D"
        );
        assert_eq!(
            more(Flavour::Podman, &request),
            "t=a%3A1&t=r%3A5000%2Fb&shmsize=8589934592&extrahosts=%5B%22db%3A%3A%3A1%22%5D&ulimits=%5B%22nofile%3D1%3A2%22%5D"
        );
    }
}
