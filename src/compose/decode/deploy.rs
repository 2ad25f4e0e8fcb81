//! How many containers there are, where, and how they are restarted and replaced.

use super::{cursor::Cursor, text};
use crate::model::{
    Millis,
    spec::{
        Constraint, DeploySpec, FailureAction, InvalidPlacement, Mode, NodeFact, PlacementSpec,
        REPLICAS_MAX, RestartCondition, RestartSpec, SpreadLabel, UpdateOrder, UpdateSpec,
    },
};

pub(super) fn decode(service: &Cursor<'_>) -> DeploySpec {
    let place = service.key("deploy");
    DeploySpec {
        mode: mode(service, &place),
        labels: place.key("labels").pairs(),
        placement: placement(&place.key("placement")),
        restart: restart(service, &place.key("restart_policy")),
        update: update(&place.key("update_config"), true),
        rollback: update(&place.key("rollback_config"), false),
    }
}

fn mode(service: &Cursor<'_>, place: &Cursor<'_>) -> Mode {
    let count = |place: &Cursor<'_>| place.integer::<u32>(0, REPLICAS_MAX.into());
    let (scale, replicas) = (count(&service.key("scale")), count(&place.key("replicas")));
    if scale.is_some() && replicas.is_some() && scale != replicas {
        service.key("scale").error("differs from `deploy.replicas`; set one, or both alike");
    }
    let count = scale.or(replicas);
    let modes = [
        ("replicated", Mode::Replicated(count.unwrap_or(1))),
        ("global", Mode::Global),
        ("replicated-job", Mode::ReplicatedJob(count.unwrap_or(1))),
        ("global-job", Mode::GlobalJob),
    ];
    let mode = place.key("mode").word(&modes).unwrap_or(modes[0].1);
    if count.is_some() && matches!(mode, Mode::Global | Mode::GlobalJob) {
        place.key("mode").error("runs one container on each node; remove `replicas` and `scale`");
    }
    mode
}

fn placement(place: &Cursor<'_>) -> PlacementSpec {
    let max = place.key("max_replicas_per_node").integer(0, u32::MAX.into());
    PlacementSpec {
        constraints: place.key("constraints").items().iter().filter_map(constraint).collect(),
        spread: place.key("preferences").items().iter().filter_map(spread).collect(),
        per_node_max: max.filter(|it| *it != 0),
    }
}

/// What Docker refuses is refused. What it takes though no node can have it is told.
fn constraint(place: &Cursor<'_>) -> Option<Constraint> {
    let parsed = place.text()?.parse();
    let constraint: Constraint =
        parsed.map_err(|error: InvalidPlacement| place.error(error.to_string())).ok()?;
    if let NodeFact::Unknown(text) = &constraint.fact {
        let message = InvalidPlacement::Fact(text.clone());
        place.warn(format!("the service can run nowhere: {message}"));
    }
    Some(constraint)
}

/// Docker passes over what is no label, and so do we, but not in silence.
fn spread(preference: &Cursor<'_>) -> Option<SpreadLabel> {
    let place = preference.key("spread");
    let parsed = place.text().filter(|it| !it.is_empty())?.parse();
    parsed.map_err(|error: InvalidPlacement| place.warn(format!("{error}; it does not count"))).ok()
}

const CONDITIONS: [(&str, RestartCondition); 7] = [
    ("no", RestartCondition::Never),
    ("none", RestartCondition::Never),
    ("on-failure", RestartCondition::OnFailure),
    ("always", RestartCondition::Always),
    ("any", RestartCondition::Always),
    ("unless-stopped", RestartCondition::Always),
    ("", RestartCondition::Unset),
];

/// `deploy.restart_policy` if it is there, else `restart`, as `docker compose` does.
fn restart(service: &Cursor<'_>, policy: &Cursor<'_>) -> RestartSpec {
    let own = own_restart(&service.key("restart"));
    if !policy.is_set() {
        return own;
    }
    let duration = |key: &str| policy.key(key).parse("a duration such as `5s`", text::duration);
    let condition = policy.key("condition").word(&CONDITIONS);
    RestartSpec {
        condition: condition.unwrap_or(RestartCondition::Always),
        delay: duration("delay"),
        attempts_max: policy.key("max_attempts").integer(0, u32::MAX.into()).filter(|it| *it != 0),
        window: duration("window"),
    }
}

fn own_restart(place: &Cursor<'_>) -> RestartSpec {
    let what = "a restart policy; use `no`, `always`, `unless-stopped`, `on-failure` or \
                `on-failure:TIMES`";
    let spec = place.parse(what, |text| {
        let (word, attempts) = match text.split_once(':') {
            Some(("on-failure", times)) => ("on-failure", Some(times.parse().ok()?)),
            Some(_) => return None,
            None => (text, None),
        };
        let (_, condition) = CONDITIONS.iter().find(|(it, _)| *it == word)?;
        let attempts_max = attempts.filter(|it| *it != 0);
        Some(RestartSpec { condition: *condition, attempts_max, ..RestartSpec::default() })
    });
    spec.unwrap_or_default()
}

/// `update_config`, or `rollback_config`, from which there is no further rollback.
fn update(place: &Cursor<'_>, may_roll_back: bool) -> UpdateSpec {
    let silent = UpdateSpec::default();
    let duration = |key: &str| place.key(key).parse("a duration such as `10s`", text::duration);
    let actions = [
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
        ("rollback", FailureAction::Rollback),
    ];
    let actions = if may_roll_back { &actions[..] } else { &actions[..2] };
    let orders = [("stop-first", UpdateOrder::StopFirst), ("start-first", UpdateOrder::StartFirst)];
    UpdateSpec {
        parallelism: place
            .key("parallelism")
            .integer(0, u32::MAX.into())
            .unwrap_or(silent.parallelism),
        delay: duration("delay").unwrap_or(silent.delay),
        failure_action: place.key("failure_action").word(actions).unwrap_or(silent.failure_action),
        monitor: duration("monitor").filter(|it| *it != Millis(0)).unwrap_or(silent.monitor),
        failure_ratio_max_ppm: ratio(&place.key("max_failure_ratio")),
        order: place.key("order").word(&orders).unwrap_or(silent.order),
    }
}

const MILLION: u64 = 1_000_000;

fn ratio(place: &Cursor<'_>) -> u32 {
    let millionths = |text: &str| {
        let millionths = text::fixed(text, 6).filter(|it| *it <= MILLION)?;
        u32::try_from(millionths).ok()
    };
    place.parse("a ratio from 0 to 1", millionths).unwrap_or(0)
}
