//! `build:` of a service as a request to the daemon, and its run.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
};

use serde_json::Value;

use super::{
    Invocation,
    board::{Mood, Row},
    client::{Lines, Route},
    context::{Context, DOCKERFILE_ADDED, Dockerfile},
    credentials,
    error::{CliError, problem_text},
    output::ProgressMode,
    project::Project,
    screen::Screen,
};
use crate::{
    api::wire::{Build, Progress},
    model::spec::ServiceSpec,
};

/// How much of a failed build's output is shown.
const OUTPUT_LINES_MAX: usize = 200;

/// Keys of `build:` that the engine's build cannot honour and that change what comes out.
const NOT_HONOURED: [&str; 6] =
    ["additional_contexts", "entitlements", "isolation", "secrets", "ssh", "cache_to"];

/// What the command line says about builds.
#[derive(Clone, Debug, Default)]
pub(super) struct BuildFlags {
    /// Do not reuse layers.
    pub(super) no_cache: bool,
    /// Ask the registry for base images.
    pub(super) pull: bool,
    /// Further build arguments: `NAME=value`, or `NAME` for ours.
    pub(super) args: Vec<String>,
    /// Show no output.
    pub(super) quiet: bool,
}

/// What to build from what.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The request.
    pub(super) request: Build,
    /// The context's directory.
    pub(super) context: String,
    /// The Dockerfile.
    pub(super) dockerfile: Dockerfile,
}

/// Reads `build:` in its long form.
pub(super) fn plan(
    service: &ServiceSpec,
    build: &Value,
    flags: &BuildFlags,
) -> Result<Plan, CliError> {
    let wrong = |why: String| CliError::Failed(format!("services.{}.build.{why}", service.name));
    if let Some(key) = NOT_HONOURED.iter().find(|key| is_set(build.get(**key))) {
        return Err(wrong(format!(
            "{key}: this can't be built; build the image with another tool and name it in `image:`"
        )));
    }
    let context = text(build, "context").unwrap_or_else(|| ".".into());
    if is_remote(&context) {
        return Err(wrong(format!(
            "context: `{context}` is remote; clone it and name its directory"
        )));
    }
    let dockerfile = match text(build, "dockerfile_inline") {
        Some(text) => Dockerfile::Inline(text),
        None => {
            Dockerfile::At(text(build, "dockerfile").unwrap_or_else(|| "Dockerfile".into()).into())
        }
    };
    let shm_bytes = build.get("shm_size").filter(|it| !it.is_null()).map(|it| {
        it.as_u64()
            .or_else(|| it.as_str()?.parse().ok())
            .ok_or_else(|| wrong(format!("shm_size: {it} is not a number of bytes")))
    });
    let platforms = texts(build, "platforms");
    if platforms.len() > 1 && service.container.platform.is_none() {
        return Err(wrong(
            "platforms: one image is built for one platform; set the service's `platform`".into(),
        ));
    }
    let mut tags = vec![service.container.image.clone()];
    tags.extend(texts(build, "tags").into_iter().filter(|it| *it != service.container.image));
    let mut args = pairs(build, "args");
    for given in &flags.args {
        let (name, value) = match given.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (given.as_str(), std::env::var(given).ok()),
        };
        args.insert(name.to_owned(), value);
    }
    let labels =
        pairs(build, "labels").into_iter().map(|(key, value)| (key, value.unwrap_or_default()));
    let request = Build {
        tags,
        dockerfile: None,
        args,
        labels: labels.collect(),
        target: text(build, "target").filter(|it| !it.is_empty()),
        cache_from: texts(build, "cache_from"),
        no_cache: flags.no_cache || holds(build, "no_cache"),
        pull: flags.pull || holds(build, "pull"),
        platform: service.container.platform.clone().or_else(|| platforms.first().cloned()),
        network: text(build, "network"),
        shm_bytes: shm_bytes.transpose()?,
        extra_hosts: extra_hosts(build).map_err(wrong)?,
        ulimits: ulimits(build).map_err(wrong)?,
        privileged: holds(build, "privileged"),
    };
    Ok(Plan { request, context, dockerfile })
}

fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty() && text != "default",
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::Bool(true) | Value::Number(_)) => true,
    }
}

/// Whether a context is a repository or an archive elsewhere, by Docker's rules.
fn is_remote(context: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/", "oci://"];
    schemes.iter().any(|it| context.starts_with(it)) || context.contains("://")
}

fn text(build: &Value, key: &str) -> Option<String> {
    build.get(key)?.as_str().map(str::to_owned)
}

fn holds(build: &Value, key: &str) -> bool {
    build.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn texts(build: &Value, key: &str) -> Vec<String> {
    let list = build.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A mapping of names to values; null stays null.
fn pairs(build: &Value, key: &str) -> BTreeMap<String, Option<String>> {
    let plain = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    };
    let members = build.get(key).and_then(Value::as_object).into_iter().flatten();
    members.map(|(name, value)| (name.clone(), plain(value))).collect()
}

/// `name=address` lines.
fn extra_hosts(build: &Value) -> Result<Vec<(String, String)>, String> {
    let split = |line: &String| {
        let pair = line.split_once('=').or_else(|| line.split_once(':'));
        pair.map(|(name, address)| (name.to_owned(), address.to_owned()))
            .ok_or_else(|| format!("extra_hosts: `{line}` is not NAME=ADDRESS"))
    };
    texts(build, "extra_hosts").iter().map(split).collect()
}

/// One number for both bounds, or each.
fn ulimits(build: &Value) -> Result<BTreeMap<String, (i64, i64)>, String> {
    let members = build.get("ulimits").and_then(Value::as_object).into_iter().flatten();
    let one = |(name, value): (&String, &Value)| {
        let number = |value: Option<&Value>| value.and_then(Value::as_i64);
        let both = match value.is_object() {
            true => number(value.get("soft")).zip(number(value.get("hard"))),
            false => number(Some(value)).map(|it| (it, it)),
        };
        both.map(|both| (name.clone(), both))
            .ok_or_else(|| format!("ulimits.{name}: it needs `soft` and `hard`"))
    };
    members.map(one).collect()
}

/// Builds services' images, those that are the same in name and making only once; gives their ids by
/// service.
pub(super) async fn build_all(
    invocation: &Invocation,
    project: &Project,
    services: &[&ServiceSpec],
    flags: &BuildFlags,
    screen: &Screen,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut made: Vec<(&str, Option<&Value>, String)> = vec![];
    let mut ids = BTreeMap::new();
    for service in services {
        let image = service.container.image.as_str();
        let definition = project.build_of(service.name.as_str());
        let same = made.iter().find(|it| it.0 == image && it.1 == definition);
        let id = match same {
            Some((_, _, id)) => id.clone(),
            None => build(invocation, project, service, flags, screen).await?,
        };
        made.push((image, definition, id.clone()));
        ids.insert(service.name.to_string(), id);
    }
    Ok(ids)
}

/// Builds a service's image; gives its id.
async fn build(
    invocation: &Invocation,
    project: &Project,
    service: &ServiceSpec,
    flags: &BuildFlags,
    screen: &Screen,
) -> Result<String, CliError> {
    let Some(definition) = project.build_of(service.name.as_str()) else {
        return Err(CliError::Failed(format!("service {} has no `build:`", service.name)));
    };
    let Plan { mut request, context, dockerfile } = plan(service, definition, flags)?;
    let context = Context::open(Path::new(&context), &dockerfile)?;
    request.dockerfile = Some(match &context.added {
        Some(_) => DOCKERFILE_ADDED.to_owned(),
        None => context.dockerfile.clone(),
    });
    let json = serde_json::to_string(&request).map_err(|why| CliError::Failed(why.to_string()))?;
    let route = Route::to(&["images", "build"]).with("request", json);
    let row = |status: String, mood| Row {
        kind: "Image",
        name: service.container.image.clone(),
        status,
        mood,
    };
    screen.show(&row("Building".into(), Mood::Working));
    let (credentials, warnings) = credentials::collect_all().await?;
    for warning in warnings {
        invocation.output.warn(&warning);
    }
    let reply = invocation.client.build(&route, context.stream()?, &credentials).await?;
    let mut lines = Lines::<Progress>::new(reply);
    let mut said = VecDeque::new();
    while let Some(step) = lines.next().await? {
        if let Some(error) = step.error {
            screen.show(&row("Failed".into(), Mood::Failed));
            screen.finish();
            show_output(invocation, &said, flags);
            return Err(CliError::Failed(format!(
                "service {}: {}",
                service.name,
                problem_text(&error)
            )));
        }
        if let Some(id) = step.image {
            screen.show(&row("Built".into(), Mood::Done));
            return Ok(id);
        }
        for line in step.status.lines().filter(|it| !it.trim().is_empty()) {
            if !flags.quiet && invocation.output.progress == ProgressMode::Plain {
                invocation.output.note(&format!("{}  | {line}", service.name));
            }
            screen.step(&row(format!("Building: {line}"), Mood::Working));
            if said.len() == OUTPUT_LINES_MAX {
                said.pop_front();
            }
            said.push_back(line.to_owned());
        }
    }
    Err(CliError::Failed(format!(
        "service {}: the build broke off; see the daemon's log",
        service.name
    )))
}

/// Shows what a failed build said, unless it was shown on the way.
fn show_output(invocation: &Invocation, said: &VecDeque<String>, flags: &BuildFlags) {
    if flags.quiet || invocation.output.progress != ProgressMode::Plain {
        said.iter().for_each(|line| invocation.output.note(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service() -> ServiceSpec {
        super::super::images::tests::service("web", "shop-web", true)
    }

    #[test]
    fn every_key_of_build_travels() {
        let build = json!({
            "context": "/src", "dockerfile": "docker/Web", "target": "final", "args": {"A": "1", "B": null},
            "labels": {"x": "y"}, "cache_from": ["base"], "no_cache": true, "network": "host",
            "shm_size": "1024", "extra_hosts": ["a=1.2.3.4"], "tags": ["shop-web", "web:2"],
            "ulimits": {"nofile": 5, "nproc": {"soft": 1, "hard": 2}}, "platforms": ["linux/amd64"],
            "privileged": true,
        });
        let flags = BuildFlags { args: vec!["A=2".into()], pull: true, ..BuildFlags::default() };
        let Plan { request, context, dockerfile } = plan(&service(), &build, &flags).unwrap();
        assert_eq!((context.as_str(), dockerfile), ("/src", Dockerfile::At("docker/Web".into())));
        let expected = json!({
            "tags": ["shop-web", "web:2"], "dockerfile": null, "args": {"A": "2", "B": null},
            "labels": {"x": "y"}, "target": "final", "cache_from": ["base"], "no_cache": true, "pull": true,
            "platform": "linux/amd64", "network": "host", "shm_bytes": 1024,
            "extra_hosts": [["a", "1.2.3.4"]], "ulimits": {"nofile": [5, 5], "nproc": [1, 2]}, "privileged": true,
        });
        assert_eq!(serde_json::to_value(request).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_built_is_said_with_its_key() {
        for (build, key) in [
            (json!({"context": "https://github.com/a/b.git"}), "build.context"),
            (json!({"context": "git@example.com:a/b"}), "build.context"),
            (json!({"context": ".", "secrets": ["x"]}), "build.secrets"),
            (json!({"context": ".", "ssh": ["default"]}), "build.ssh"),
            (json!({"context": ".", "shm_size": "many"}), "build.shm_size"),
            (json!({"context": ".", "extra_hosts": ["x"]}), "build.extra_hosts"),
        ] {
            let error = plan(&service(), &build, &BuildFlags::default()).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        assert!(
            plan(&service(), &json!({"context": ".", "secrets": []}), &BuildFlags::default())
                .is_ok()
        );
    }
}
