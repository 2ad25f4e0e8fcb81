//! Images of services: `pull`, `build`, `images`, and having them there before `up`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use futures_util::{StreamExt, stream};

use super::{
    Invocation,
    board::{Mood, PullBoard, Row},
    build::{self, BuildFlags},
    client::Route,
    credentials,
    error::{CliError, problem_text},
    format::{ago, decimal_bytes, now},
    output::{ListFormat, Listing},
    project::Project,
    screen::Screen,
    table::columns,
};
use crate::{
    api::wire::{Image, Progress, Pull, RegistryCredentials},
    model::{
        WallTime,
        spec::{PullPolicy, ServiceSpec},
    },
};

/// How many images are pulled at once.
const PULLS_MAX: usize = 4;

/// `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PullWhen {
    /// At each time.
    Always,
    /// When the image is not there.
    Missing,
    /// Not at all.
    Never,
}

/// `fizz pull`.
#[derive(Args, Debug)]
pub(super) struct PullArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Pull without printing progress information
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Also pull services declared as dependencies
    #[arg(long)]
    pub(super) include_deps: bool,
    /// Pull what it can and ignores images with pull failures
    #[arg(long)]
    pub(super) ignore_pull_failures: bool,
    /// Ignore images that can be built
    #[arg(long)]
    pub(super) ignore_buildable: bool,
    /// Apply pull policy
    #[arg(long, value_name = "POLICY")]
    pub(super) policy: Option<PullWhen>,
}

/// `fizz build`.
#[derive(Args, Debug)]
pub(super) struct BuildArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Set build-time variables for services
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) build_arg: Vec<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pub(super) pull: bool,
    /// Suppress the build output
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Also build dependencies (transitively)
    #[arg(long)]
    pub(super) with_dependencies: bool,
}

/// `fizz images`.
#[derive(Args, Debug)]
pub(super) struct ImagesArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Only display IDs
    #[arg(short, long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// What the command line says about images.
#[derive(Clone, Debug, Default)]
pub(super) struct ImageFlags {
    /// `--pull`.
    pub(super) pull: Option<PullWhen>,
    /// `--build`.
    pub(super) build: bool,
    /// `--no-build`.
    pub(super) no_build: bool,
    /// `--quiet-pull`.
    pub(super) quiet_pull: bool,
}

/// What to do so that a service's image is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Build it.
    Build,
    /// Pull it.
    Pull,
    /// It is there, or the daemon says that it is not.
    Keep,
}

/// Decides: `present` is when the node's copy was made, if it has one.
#[must_use]
pub(super) fn step(
    policy: PullPolicy,
    has_build: bool,
    flags: &ImageFlags,
    present: Option<u64>,
    now: WallTime,
) -> Step {
    if has_build {
        let asked = flags.build || policy == PullPolicy::Build || present.is_none();
        return if asked && !flags.no_build { Step::Build } else { Step::Keep };
    }
    let policy = match flags.pull {
        Some(PullWhen::Always) => PullPolicy::Always,
        Some(PullWhen::Missing) => PullPolicy::Missing,
        Some(PullWhen::Never) => PullPolicy::Never,
        None => policy,
    };
    let pulls = match policy {
        PullPolicy::Always => true,
        PullPolicy::Missing => present.is_none(),
        PullPolicy::Never | PullPolicy::Build => false,
        PullPolicy::OlderThanSeconds(seconds) => {
            present.is_none_or(|made| made.saturating_add(seconds.saturating_mul(1000)) < now.0)
        }
    };
    if pulls { Step::Pull } else { Step::Keep }
}

/// What the API calls what the runtime cannot do: a node that has none can nothing.
const UNSUPPORTED: &str = "urn:fizz:unsupported";

/// The node's copy of an image. A node without a runtime has none.
async fn present(invocation: &Invocation, image: &str) -> Result<Option<Image>, CliError> {
    let route = Route::to(&["images", "inspect"]).with("reference", image);
    match invocation.client.get(&route).await {
        Ok(image) => Ok(Some(image)),
        Err(error) if error.is_not_found() || is_unsupported(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_unsupported(error: &CliError) -> bool {
    matches!(error, CliError::Refused(problem) if problem.kind == UNSUPPORTED)
}

/// Whether the node that answers has no runtime to have images in.
async fn runs_nothing(invocation: &Invocation, services: &[&ServiceSpec]) -> bool {
    let Some(service) = services.first() else { return false };
    let route = Route::to(&["images", "inspect"]).with("reference", &service.container.image);
    matches!(invocation.client.get::<Image>(&route).await, Err(error) if is_unsupported(&error))
}

/// The node's copies of the services' images, by reference.
pub(super) async fn all_present(
    invocation: &Invocation,
    services: &[&ServiceSpec],
) -> Result<BTreeMap<String, Image>, CliError> {
    let references: BTreeSet<&str> =
        services.iter().map(|it| it.container.image.as_str()).collect();
    let asked = references.into_iter().map(|reference| async move {
        present(invocation, reference).await.map(|it| it.map(|it| (reference.to_owned(), it)))
    });
    let found = futures_util::future::try_join_all(asked).await?;
    Ok(found.into_iter().flatten().collect())
}

/// What the images of services are by content, where there is one.
#[must_use]
pub(super) fn pins(
    services: &[&ServiceSpec],
    present: &BTreeMap<String, Image>,
) -> BTreeMap<String, String> {
    let one = |it: &&ServiceSpec| {
        let reference = &it.container.image;
        Some((it.name.to_string(), pin(reference, present.get(reference)?)))
    };
    services.iter().filter_map(one).collect()
}

/// What an image is on every node: its digest in the registry of this name; else its id, which other nodes
/// have too if it was loaded there.
fn pin(reference: &str, image: &Image) -> String {
    let of_name =
        |it: &&String| it.split_once('@').is_some_and(|(it, _)| name(it) == name(reference));
    image.digests.iter().find(of_name).unwrap_or(&image.id).clone()
}

/// A reference without tag and digest, and without what Docker Hub's names go without.
fn name(reference: &str) -> &str {
    let it = reference.split_once('@').map_or(reference, |(it, _)| it);
    let (it, _) = split_reference(it);
    let it = it.strip_prefix("docker.io/").unwrap_or(it);
    it.strip_prefix("library/").unwrap_or(it)
}

/// The credentials for the images of services; what cannot be had is a warning.
pub(super) async fn credentials_for(
    invocation: &Invocation,
    services: &[&ServiceSpec],
) -> Result<Vec<RegistryCredentials>, CliError> {
    let images: Vec<&str> = services.iter().map(|it| it.container.image.as_str()).collect();
    let (credentials, warnings) = credentials::collect(&images).await?;
    warnings.iter().for_each(|it| invocation.output.warn(it));
    Ok(credentials)
}

/// Builds and pulls what has to be; gives the images that are there then, by service.
pub(super) async fn prepare(
    invocation: &Invocation,
    project: &Project,
    services: &[&ServiceSpec],
    flags: &ImageFlags,
    credentials: &[RegistryCredentials],
    screen: &Screen,
) -> Result<BTreeMap<String, String>, CliError> {
    if runs_nothing(invocation, services).await {
        // The nodes that run containers fetch what they need themselves.
        return Ok(BTreeMap::new());
    }
    let there = all_present(invocation, services).await?;
    let now = now();
    let step_of = |it: &ServiceSpec| {
        let made = there.get(&it.container.image).map(|it| it.created_ms);
        step(it.pull, it.has_build, flags, made, now)
    };
    let builds: Vec<&ServiceSpec> =
        services.iter().filter(|it| step_of(it) == Step::Build).copied().collect();
    let built =
        build::build_all(invocation, project, &builds, &BuildFlags::default(), screen).await?;
    let pulls: Vec<&ServiceSpec> =
        services.iter().filter(|it| step_of(it) == Step::Pull).copied().collect();
    let pulled = pull_all(invocation, &pulls, credentials, flags.quiet_pull, screen).await;
    for (_, result) in pulled {
        result?;
    }
    screen.finish();
    let mut images = pins(services, &all_present(invocation, services).await?);
    images.extend(built);
    Ok(images)
}

/// Pulls the images of services, each once, some at a time.
async fn pull_all(
    invocation: &Invocation,
    services: &[&ServiceSpec],
    credentials: &[RegistryCredentials],
    quiet: bool,
    screen: &Screen,
) -> Vec<(String, Result<String, CliError>)> {
    let wanted: BTreeSet<(String, Option<String>)> = services
        .iter()
        .map(|it| (it.container.image.clone(), it.container.platform.clone()))
        .collect();
    let pulls = wanted.into_iter().map(|(image, platform)| async move {
        let request = Pull { image: image.clone(), platform, credentials: credentials.to_vec() };
        (image, pull_one(invocation, &request, quiet, screen).await)
    });
    stream::iter(pulls).buffer_unordered(PULLS_MAX).collect().await
}

/// Pulls an image; gives its id.
async fn pull_one(
    invocation: &Invocation,
    request: &Pull,
    quiet: bool,
    screen: &Screen,
) -> Result<String, CliError> {
    let row =
        |status: String, mood| Row { kind: "Image", name: request.image.clone(), status, mood };
    if !quiet {
        screen.show(&row("Pulling".into(), Mood::Working));
    }
    let route = Route::to(&["images", "pull"]);
    let mut lines = invocation.client.post_lines::<Progress>(&route, request).await?;
    let mut board = PullBoard::default();
    while let Some(progress) = lines.next().await? {
        if let Some(error) = &progress.error {
            screen.show(&row("Failed".into(), Mood::Failed));
            return Err(CliError::Failed(format!(
                "can't pull {}: {}",
                request.image,
                problem_text(error)
            )));
        }
        if let Some(id) = progress.image {
            if !quiet {
                screen.show(&row("Pulled".into(), Mood::Done));
            }
            return Ok(id);
        }
        let status = board.step(&progress);
        if !quiet {
            screen.step(&row(status, Mood::Working));
        }
    }
    Err(CliError::Failed(format!("the pull of {} broke off; see the daemon's log", request.image)))
}

/// `fizz pull`.
pub(super) async fn pull(invocation: &Invocation, args: PullArgs) -> Result<(), CliError> {
    let project = Project::load(&invocation.globals, &args.services, &invocation.output)?;
    let services = match args.include_deps {
        true => project.with_dependencies(&args.services)?,
        false => project.services(&args.services)?,
    };
    let flags =
        ImageFlags { pull: args.policy.or(Some(PullWhen::Always)), ..ImageFlags::default() };
    let there = all_present(invocation, &services).await?;
    let now = now();
    let pulled = services.iter().filter(|it| {
        let policy_says = !matches!(it.pull, PullPolicy::Never | PullPolicy::Build);
        let made = there.get(&it.container.image).map(|it| it.created_ms);
        policy_says && !it.has_build && step(it.pull, false, &flags, made, now) == Step::Pull
    });
    let pulled: Vec<&ServiceSpec> = pulled.copied().collect();
    if !args.ignore_buildable {
        for service in services.iter().filter(|it| it.has_build) {
            invocation
                .output
                .note(&format!(" Image {}  Skipped: it is built", service.container.image));
        }
    }
    let credentials = credentials_for(invocation, &pulled).await?;
    let screen = Screen::new(invocation.output);
    let results = pull_all(invocation, &pulled, &credentials, args.quiet, &screen).await;
    screen.finish();
    let mut failure = None;
    for (_, result) in results {
        match result {
            Ok(_) => {}
            Err(error) if args.ignore_pull_failures => invocation.output.warn(&error.to_string()),
            Err(error) => {
                if let Some(before) = failure.replace(error) {
                    invocation.output.error(&before);
                }
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// `fizz build`.
pub(super) async fn build(invocation: &Invocation, args: BuildArgs) -> Result<(), CliError> {
    let project = Project::load(&invocation.globals, &args.services, &invocation.output)?;
    let services = match args.with_dependencies {
        true => project.with_dependencies(&args.services)?,
        false => project.services(&args.services)?,
    };
    let built: Vec<_> = services.into_iter().filter(|it| it.has_build).collect();
    if built.is_empty() {
        invocation.output.warn("no services to build");
    }
    let flags = BuildFlags {
        no_cache: args.no_cache,
        pull: args.pull,
        args: args.build_arg,
        quiet: args.quiet,
    };
    let screen = Screen::new(invocation.output);
    build::build_all(invocation, &project, &built, &flags, &screen).await.map(|_| ())
}

/// `fizz images`.
pub(super) async fn images(invocation: &Invocation, args: ImagesArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let containers =
        super::containers::of_services(&invocation.client, &project, &args.services, true).await?;
    let route = Route::to(&["images"]).with("project", &project);
    let (mut list, warnings): (Vec<Image>, _) = invocation.client.get_of_all(&route).await?;
    warnings.iter().for_each(|it| invocation.output.warn(it));
    if !args.services.is_empty() {
        let wanted: BTreeSet<&str> = containers.iter().map(|it| it.name.as_str()).collect();
        for image in &mut list {
            image.containers.retain(|it| wanted.contains(it.as_str()));
        }
        list.retain(|it| !it.containers.is_empty());
    }
    let output = &invocation.output;
    if args.quiet {
        let ids: BTreeSet<&str> = list.iter().map(|it| short_id(&it.id)).collect();
        return ids.iter().try_for_each(|it| output.line(it));
    }
    match args.listing.format {
        ListFormat::Json => output.json(&list),
        ListFormat::Table => output.line(&images_table(&list, now())),
    }
}

fn short_id(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

/// One row for each container, as `docker compose images` has it.
fn images_table(list: &[Image], now: WallTime) -> String {
    let mut rows: Vec<[String; 7]> = Vec::new();
    for image in list {
        let reference = image.references.first().map(String::as_str).unwrap_or("<none>:<none>");
        let (repository, tag) = split_reference(reference);
        rows.extend(image.containers.iter().map(|container| {
            [
                container.clone(),
                repository.to_owned(),
                tag.to_owned(),
                image.platform.clone(),
                short_id(&image.id).to_owned(),
                decimal_bytes(image.size_bytes),
                ago(now, image.created_ms),
            ]
        }));
    }
    rows.sort();
    columns(["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"], rows)
}

/// Name and tag; the colon of a registry's port is no tag's.
fn split_reference(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// Services of tests.
#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::spec::{ContainerSpec, DeploySpec, ServiceExtension};

    /// A service with what matters here.
    pub(in crate::cli) fn service(name: &str, image: &str, has_build: bool) -> ServiceSpec {
        ServiceSpec {
            name: name.parse().unwrap(),
            container_name: None,
            depends_on: BTreeMap::new(),
            deploy: DeploySpec::default(),
            pull: PullPolicy::Missing,
            has_build,
            attach: true,
            container: ContainerSpec { image: image.into(), ..ContainerSpec::default() },
            extension: ServiceExtension::default(),
        }
    }

    #[test]
    fn policies_and_flags_decide_between_building_pulling_and_keeping() {
        let now = WallTime(100_000);
        let none = ImageFlags::default();
        let pull = |pull| ImageFlags { pull: Some(pull), ..ImageFlags::default() };
        let build = ImageFlags { build: true, ..ImageFlags::default() };
        let no_build = ImageFlags { no_build: true, ..ImageFlags::default() };
        let older = PullPolicy::OlderThanSeconds(50);
        for (policy, has_build, flags, present, expected) in [
            (PullPolicy::Missing, false, &none, None, Step::Pull),
            (PullPolicy::Missing, false, &none, Some(0), Step::Keep),
            (PullPolicy::Always, false, &none, Some(0), Step::Pull),
            (PullPolicy::Never, false, &none, None, Step::Keep),
            (older, false, &none, Some(10_000), Step::Pull),
            (older, false, &none, Some(60_000), Step::Keep),
            (PullPolicy::Never, false, &pull(PullWhen::Always), Some(0), Step::Pull),
            (PullPolicy::Always, false, &pull(PullWhen::Never), None, Step::Keep),
            (PullPolicy::Always, false, &pull(PullWhen::Missing), Some(0), Step::Keep),
            (PullPolicy::Missing, true, &none, None, Step::Build),
            (PullPolicy::Missing, true, &none, Some(0), Step::Keep),
            (PullPolicy::Build, true, &none, Some(0), Step::Build),
            (PullPolicy::Missing, true, &build, Some(0), Step::Build),
            (PullPolicy::Build, true, &no_build, None, Step::Keep),
            (PullPolicy::Always, true, &pull(PullWhen::Always), Some(0), Step::Keep),
        ] {
            let decided = step(policy, has_build, flags, present, now);
            assert_eq!(decided, expected, "{policy:?} {has_build} {flags:?} {present:?}");
        }
    }

    #[test]
    fn an_image_is_the_same_on_all_nodes_by_its_digest_in_the_registry_of_its_name() {
        let image = |digests: &[&str]| Image {
            id: "sha256:1".into(),
            references: vec![],
            digests: digests.iter().map(|it| (*it).to_owned()).collect(),
            size_bytes: 0,
            created_ms: 0,
            platform: String::new(),
            containers: vec![],
        };
        let redis = image(&["mirror.example:5000/redis@sha256:2", "redis@sha256:3"]);
        for (reference, expected) in [
            ("redis", "redis@sha256:3"),
            ("docker.io/library/redis:7.2", "redis@sha256:3"),
            ("mirror.example:5000/redis:7", "mirror.example:5000/redis@sha256:2"),
            ("redis@sha256:3", "redis@sha256:3"),
            ("ghcr.io/redis", "sha256:1"),
        ] {
            assert_eq!(pin(reference, &redis), expected, "{reference}");
        }
        assert_eq!(pin("redis", &image(&[])), "sha256:1");
    }

    #[test]
    fn images_are_listed_for_each_container() {
        let image = Image {
            digests: vec![],
            id: "sha256:0123456789abcdef".into(),
            references: vec!["127.0.0.1:5000/web:1.2".into()],
            size_bytes: 4_310_000,
            created_ms: 0,
            platform: "linux/amd64".into(),
            containers: vec!["shop-web-2".into(), "shop-web-1".into()],
        };
        let expected = "\
CONTAINER    REPOSITORY           TAG   PLATFORM      IMAGE ID       SIZE     CREATED
shop-web-1   127.0.0.1:5000/web   1.2   linux/amd64   0123456789ab   4.31MB   2 minutes ago
shop-web-2   127.0.0.1:5000/web   1.2   linux/amd64   0123456789ab   4.31MB   2 minutes ago";
        assert_eq!(images_table(&[image], WallTime(120_000)), expected);
        assert_eq!(split_reference("localhost:5000/x"), ("localhost:5000/x", "latest"));
    }
}
