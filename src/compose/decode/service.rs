//! A service: its containers, and how many, when and how they are replaced.

use std::collections::BTreeMap;

use super::{Known, container, cursor::Cursor, deploy, parse_service, text};
use crate::{
    compose::extension,
    model::{
        Millis, ServiceName,
        spec::{
            Condition, Dependency, Mode, PullPolicy, RestartCondition, RestartSpec,
            ServiceExtension, ServiceSpec,
        },
    },
};

pub(super) fn decode(place: &Cursor<'_>, known: &Known<'_>, name: ServiceName) -> ServiceSpec {
    let has_build = place.key("build").is_set();
    let mut container = container::decode(place, known);
    if container.image.is_empty() && has_build {
        container.image = format!("{}-{name}", known.project);
    } else if container.image.is_empty() {
        place.error("has neither `image` nor `build`; say what it runs");
    }
    let extension = extension::service(&place.key("x-fizz"), known, &name);
    let mut deploy = deploy::decode(place);
    if extension.job.is_some() || extension.cron.is_some() {
        deploy.mode = job_mode(deploy.mode);
        deploy.restart = job_restart(&place.key("x-fizz").key("job"), &extension, deploy.restart);
    }
    let is_job = deploy.mode.is_job();
    let said = place.key("deploy").key("update_config").key("parallelism").is_set();
    if is_job && !said {
        // A job's replicas do not wait for one another unless that is asked for, as Swarm has it.
        deploy.update.parallelism = 0;
    }
    if is_job && deploy.restart.condition == RestartCondition::Always {
        place.error(
            "is a job, which runs to completion, yet its restart policy would always start it \
             again; use `restart: on-failure` or `restart: \"no\"`",
        );
    }
    let container_name = place.key("container_name").name();
    if extension.cron.is_some() {
        let timed = place.key("x-fizz");
        let timed = timed.key("cron");
        if !matches!(deploy.mode, Mode::ReplicatedJob(0 | 1)) {
            timed.error("runs once at each tick; remove the service's `deploy.mode` and replicas");
        }
        if container_name.is_some() {
            timed.error("keeps its last runs, which cannot share a name; remove `container_name`");
        }
    }
    if let (Some(_), Mode::Replicated(2..) | Mode::ReplicatedJob(2..)) =
        (&container_name, deploy.mode)
    {
        place.key("container_name").error(
            "several replicas cannot share one container name; remove `container_name` or run \
             one replica",
        );
    }
    let mut depends_on = dependencies(&place.key("depends_on"), known, &name);
    if let Some(job) = &extension.pre_deploy {
        let completed =
            Dependency { condition: Condition::Completed, restart: false, required: true };
        depends_on.insert(job.clone(), completed);
    }
    ServiceSpec {
        container_name,
        depends_on,
        deploy,
        pull: pull_policy(place),
        has_build,
        attach: place.key("attach").flag().unwrap_or(true),
        container,
        extension,
        name,
    }
}

fn job_mode(mode: Mode) -> Mode {
    match mode {
        Mode::Replicated(count) | Mode::ReplicatedJob(count) => Mode::ReplicatedJob(count),
        Mode::Global | Mode::GlobalJob => Mode::GlobalJob,
    }
}

/// A job's retries are restarts after failures.
fn job_restart(place: &Cursor<'_>, extension: &ServiceExtension, own: RestartSpec) -> RestartSpec {
    let retries = extension.job.map_or(0, |job| job.retries);
    if retries == 0 {
        return own;
    }
    let never = own.condition == RestartCondition::Never;
    if never || own.attempts_max.is_some_and(|max| max != retries) {
        place
            .key("retries")
            .error("contradicts the service's restart policy; remove one of the two");
    }
    let condition = match own.condition {
        RestartCondition::Unset => RestartCondition::OnFailure,
        said @ (RestartCondition::Never
        | RestartCondition::OnFailure
        | RestartCondition::Always) => said,
    };
    RestartSpec { condition, attempts_max: Some(retries), ..own }
}

fn dependencies(
    place: &Cursor<'_>,
    known: &Known<'_>,
    own: &ServiceName,
) -> BTreeMap<ServiceName, Dependency> {
    let conditions = [
        ("service_started", Condition::Started),
        ("service_healthy", Condition::Healthy),
        ("service_completed_successfully", Condition::Completed),
    ];
    let one = |(key, place): (&str, Cursor<'_>)| {
        let required = place.key("required").flag().unwrap_or(true);
        if key == own.as_str() {
            place.error("a service cannot wait for itself");
        }
        let name = if required { known.service(key, &place) } else { parse_service(key, &place) };
        let dependency = Dependency {
            condition: place.key("condition").word(&conditions).unwrap_or(Condition::Started),
            restart: place.key("restart").flag().unwrap_or(false),
            required,
        };
        Some((name?, dependency))
    };
    place.members().into_iter().filter_map(one).collect()
}

const DAY_SECONDS: u64 = 24 * 60 * 60;

fn pull_policy(service: &Cursor<'_>) -> PullPolicy {
    let what = "a pull policy; use `always`, `missing`, `never`, `build`, `daily`, `weekly` or \
                `every_` and a duration";
    let refresh_after = service.key("pull_refresh_after");
    let refresh: Option<Millis> = refresh_after.parse("a duration", text::duration);
    let place = service.key("pull_policy");
    let policy = place.parse(what, |text| match text {
        "always" => Some(PullPolicy::Always),
        "missing" | "if_not_present" => Some(PullPolicy::Missing),
        "never" => Some(PullPolicy::Never),
        "build" => Some(PullPolicy::Build),
        "daily" => Some(PullPolicy::OlderThanSeconds(DAY_SECONDS)),
        "weekly" => Some(PullPolicy::OlderThanSeconds(7 * DAY_SECONDS)),
        "refresh" => Some(refresh.map_or(PullPolicy::Always, older_than)),
        _ => text.strip_prefix("every_").and_then(text::duration).map(older_than),
    });
    if refresh.is_some() && place.text() != Some("refresh") {
        refresh_after.error("has a meaning only together with `pull_policy: refresh`");
    }
    policy.unwrap_or_default()
}

fn older_than(age: Millis) -> PullPolicy {
    PullPolicy::OlderThanSeconds(age.0.div_ceil(1000))
}
