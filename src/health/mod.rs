//! Is it well: one monitor for each container that runs.
//!
//! The rules are those of Compose's `healthcheck`: after `retries` failures in a row a container is
//! unhealthy; failures in the start period do not count, and the first success ends that period.
//! Fizz adds an end: as many failures again, and the container is given up, to be replaced.

use crate::model::{
    Millis, Moment,
    spec::{HealthSpec, HealthTest},
};

const INTERVAL: Millis = Millis::from_secs(30);
const TIMEOUT: Millis = Millis::from_secs(30);
const START_INTERVAL: Millis = Millis::from_secs(5);
const RETRIES: u32 = 3;

/// A health check with every value settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What to do.
    pub test: HealthTest,
    /// Between the end of one check and the next.
    pub interval: Millis,
    /// After which a check has failed.
    pub timeout: Millis,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Failures in a row after which it is given up.
    pub failed_after: u32,
    /// In which failures do not count.
    pub start_period: Millis,
    /// Between checks in the start period.
    pub start_interval: Millis,
}

/// What a result says about the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new: still starting, or not failed often enough.
    Unsure,
    /// Well.
    Passed,
    /// Not well.
    Sickened,
    /// Not well for too long.
    GaveUp,
}

/// A container's health check under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    check: Check,
    starting: bool,
    start_until: Moment,
    failures: u32,
    due: Option<Moment>,
}

impl Check {
    /// What the service and the image say together: the service's test and timings where it sets
    /// them, else the image's. `None`: there is nothing to check.
    #[must_use]
    pub fn new(
        service: Option<&HealthSpec>,
        image: Option<&HealthSpec>,
        failed_after: Option<u32>,
    ) -> Option<Self> {
        let of = |it: Option<&HealthSpec>| it.and_then(|it| it.test.clone());
        let test = match of(service).or_else(|| of(image))? {
            HealthTest::Disabled => return None,
            test @ (HealthTest::Command(_)
            | HealthTest::Shell(_)
            | HealthTest::Http(_)
            | HealthTest::Tcp(_)) => test,
        };
        let span = |get: fn(&HealthSpec) -> Option<Millis>, default: Millis| {
            let set = |it: Option<&HealthSpec>| it.and_then(get).filter(|it| *it != Millis(0));
            set(service).or_else(|| set(image)).unwrap_or(default)
        };
        let retries = |it: Option<&HealthSpec>| it.and_then(|it| it.retries).filter(|it| *it != 0);
        let retries = retries(service).or_else(|| retries(image)).unwrap_or(RETRIES);
        Some(Self {
            test,
            interval: span(|it| it.interval, INTERVAL),
            timeout: span(|it| it.timeout, TIMEOUT),
            retries,
            failed_after: failed_after.unwrap_or(retries.saturating_mul(2)).max(retries),
            start_period: span(|it| it.start_period, Millis(0)),
            start_interval: span(|it| it.start_interval, START_INTERVAL),
        })
    }
}

impl Monitor {
    /// Begins when the container's process did.
    #[must_use]
    pub fn new(check: Check, began: Moment) -> Self {
        let start_until = began + check.start_period;
        let mut monitor = Self { check, starting: true, start_until, failures: 0, due: None };
        monitor.due = Some(began + monitor.pause(began));
        monitor
    }

    /// Goes on with a container that has run for a while, whoever checked it until now: its first check
    /// is due at once. One that never passed a check is still `starting`.
    #[must_use]
    pub fn resumed(check: Check, starting: bool, ran: Millis, now: Moment) -> Self {
        let start_until = now + Millis(check.start_period.0.saturating_sub(ran.0));
        Self { check, starting, start_until, failures: 0, due: Some(now) }
    }

    /// How it checks.
    #[must_use]
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// When the next check is due; `None` while one is under way.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.due
    }

    /// A check begins.
    pub fn begin(&mut self) {
        self.due = None;
    }

    /// A check could not be made: it says nothing, and the next one comes in its turn.
    pub fn skip(&mut self, now: Moment) {
        self.due = Some(now + self.pause(now));
    }

    /// A check has a result.
    pub fn result(&mut self, passed: bool, now: Moment) -> Verdict {
        let forgiven = self.in_start_period(now);
        let verdict = if passed {
            (self.starting, self.failures) = (false, 0);
            Verdict::Passed
        } else if forgiven {
            Verdict::Unsure
        } else {
            self.failures = self.failures.saturating_add(1);
            if self.check.failed_after <= self.failures && self.check.retries < self.failures {
                Verdict::GaveUp
            } else if self.check.retries <= self.failures {
                Verdict::Sickened
            } else {
                Verdict::Unsure
            }
        };
        self.due = Some(now + self.pause(now));
        verdict
    }

    fn in_start_period(&self, now: Moment) -> bool {
        self.starting && now < self.start_until
    }

    fn pause(&self, now: Moment) -> Millis {
        if self.in_start_period(now) {
            self.check.start_interval.min(self.check.interval)
        } else {
            self.check.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        let spec = HealthSpec {
            test: Some(HealthTest::Shell("true".into())),
            interval: Some(Millis(100)),
            timeout: None,
            retries: Some(2),
            start_period: None,
            start_interval: None,
        };
        Check::new(Some(&spec), None, None).unwrap()
    }

    #[test]
    fn a_container_is_unhealthy_after_its_retries_and_given_up_after_as_many_again() {
        let mut monitor = Monitor::new(check(), Moment(0));
        let verdicts: Vec<Verdict> =
            (1..=4).map(|turn| monitor.result(false, Moment(turn * 100))).collect();
        let (unsure, sick) = (Verdict::Unsure, Verdict::Sickened);
        assert_eq!(verdicts, [unsure, sick, sick, Verdict::GaveUp]);
    }

    #[test]
    fn one_success_forgets_all_failures() {
        let mut monitor = Monitor::new(check(), Moment(0));
        assert_eq!(monitor.result(false, Moment(100)), Verdict::Unsure);
        assert_eq!(monitor.result(true, Moment(200)), Verdict::Passed);
        assert_eq!(monitor.result(false, Moment(300)), Verdict::Unsure);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_the_first_success() {
        let slow = Check { start_period: Millis(1000), start_interval: Millis(10), ..check() };
        let mut monitor = Monitor::new(slow, Moment(0));
        assert_eq!(monitor.due(), Some(Moment(10)));
        for at in [10, 20, 30] {
            assert_eq!(monitor.result(false, Moment(at)), Verdict::Unsure);
        }
        assert_eq!(monitor.result(true, Moment(40)), Verdict::Passed);
        assert_eq!(monitor.due(), Some(Moment(140)));
        assert_eq!(monitor.result(false, Moment(140)), Verdict::Unsure);
        assert_eq!(monitor.result(false, Moment(240)), Verdict::Sickened);
    }

    #[test]
    fn who_goes_on_with_a_container_keeps_what_is_left_of_its_start_period() {
        let slow = Check { start_period: Millis(1000), ..check() };
        let mut young = Monitor::resumed(slow.clone(), true, Millis(400), Moment(5000));
        assert_eq!(young.due(), Some(Moment(5000)));
        assert_eq!(young.result(false, Moment(5599)), Verdict::Unsure);
        assert_eq!(young.result(false, Moment(5600)), Verdict::Unsure);
        assert_eq!(young.result(false, Moment(5601)), Verdict::Sickened);
        let mut grown = Monitor::resumed(slow, false, Millis(400), Moment(5000));
        assert_eq!(grown.result(false, Moment(5000)), Verdict::Unsure);
        assert_eq!(grown.result(false, Moment(5001)), Verdict::Sickened);
    }

    #[test]
    fn the_service_overrides_the_image_and_can_switch_its_check_off() {
        let silent = |test| HealthSpec {
            test,
            interval: None,
            timeout: None,
            retries: Some(7),
            start_period: None,
            start_interval: None,
        };
        let image = HealthSpec {
            interval: Some(Millis(5)),
            ..silent(Some(HealthTest::Shell("image".into())))
        };
        let merged = Check::new(Some(&silent(None)), Some(&image), None).unwrap();
        assert_eq!((merged.test, merged.interval.0), (HealthTest::Shell("image".into()), 5));
        assert_eq!(merged.retries, 7);
        let off = silent(Some(HealthTest::Disabled));
        assert_eq!(Check::new(Some(&off), Some(&image), None), None);
        assert_eq!(Check::new(None, None, None), None);
    }
}
