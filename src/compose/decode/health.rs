//! How a container's well-being is found out: `healthcheck` and `x-fizz.health` together.

use super::{cursor::Cursor, text};
use crate::{
    compose::extension,
    model::{
        Millis,
        spec::{HealthSpec, HealthTest},
    },
};

pub(super) fn decode(service: &Cursor<'_>) -> Option<HealthSpec> {
    let place = service.key("healthcheck");
    let own = service.key("x-fizz");
    let extra = own.key("health");
    if !place.is_set() && !extra.is_set() {
        return None;
    }
    let request = extension::request(&extra);
    if request.is_some() && place.key("test").is_set() {
        extra.error(
            "a service has one health check: remove `healthcheck.test`, or `http` and `tcp` here",
        );
    }
    let disabled = place.key("disable").flag().unwrap_or(false);
    if request.is_some() && disabled {
        extra.error("`healthcheck.disable` contradicts `http` and `tcp` here; remove one");
    }
    let test = if disabled { Some(HealthTest::Disabled) } else { test(&place.key("test")) };
    Some(HealthSpec {
        test: test.or(request),
        interval: duration(&place, &extra, "interval"),
        timeout: duration(&place, &extra, "timeout"),
        retries: either(&place, &extra, "retries")
            .integer(0, u32::MAX.into())
            .filter(|it| *it != 0),
        start_period: duration(&place, &extra, "start_period"),
        start_interval: duration(&place, &extra, "start_interval"),
    })
}

fn test(place: &Cursor<'_>) -> Option<HealthTest> {
    if place.node()?.as_text().is_some() {
        return place.string().map(HealthTest::Shell);
    }
    let mut words = place.strings();
    if words.is_empty() {
        return None;
    }
    let rest = words.split_off(1);
    match (words[0].as_str(), rest.len()) {
        ("NONE", 0) => Some(HealthTest::Disabled),
        ("CMD", 1..) => Some(HealthTest::Command(rest)),
        ("CMD-SHELL", 1) => rest.into_iter().next().map(HealthTest::Shell),
        _ => {
            place.error(
                "must be [\"NONE\"], [\"CMD\", program, argument...], [\"CMD-SHELL\", line] or a \
                 line",
            );
            None
        }
    }
}

/// Zero means the default, as with the engine.
fn duration(place: &Cursor<'_>, extra: &Cursor<'_>, key: &str) -> Option<Millis> {
    let place = either(place, extra, key);
    place.parse("a duration such as `10s`", text::duration).filter(|it| *it != Millis(0))
}

/// The one of two places that holds a timing.
fn either<'a>(place: &'a Cursor<'a>, extra: &'a Cursor<'a>, key: &'a str) -> Cursor<'a> {
    let (place, extra) = (place.key(key), extra.key(key));
    if place.is_set() && extra.is_set() {
        extra.error(format!("`healthcheck.{key}` says this too; remove one of the two"));
    }
    if place.is_set() { place } else { extra }
}
