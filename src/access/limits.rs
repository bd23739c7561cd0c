//! How much one caller may ask.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{Right, Who};
use crate::config;

/// With more of them, those that have asked nothing lately are forgotten.
const MANY: usize = 10_000;

/// The time after which a request would be within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl Wait {
    /// As `Retry-After` says it.
    pub fn seconds(self) -> u64 {
        self.0.as_millis().div_ceil(1_000).max(1) as u64
    }
}

pub struct Limits {
    questions: Limit<Who>,
    sends: Limit<Who>,
    refusals: Limit<IpAddr>,
}

/// None: no limit.
struct Limit<K: Hash + Eq + Clone>(Option<DefaultKeyedRateLimiter<K>>);

impl Limits {
    pub fn new(config: &config::Limits) -> Self {
        Self {
            questions: Limit::new(config.questions_per_second, config.questions_burst),
            sends: Limit::new(config.sends_per_second, config.sends_burst),
            refusals: Limit::new(config.refusals_per_second, config.refusals_burst),
        }
    }

    /// Counts a request of somebody who is known.
    pub fn request(&self, who: &Who, right: Right) -> Result<(), Wait> {
        match (who, right) {
            // Whoever can reach the API then has this machine.
            (Who::Anybody, _) => Ok(()),
            (_, Right::Send) => self.sends.check(who),
            _ => self.questions.check(who),
        }
    }

    /// Counts a request of somebody who is not.
    pub fn refusal(&self, address: IpAddr) -> Result<(), Wait> {
        self.refusals.check(&address)
    }
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(per_second: u32, burst: u32) -> Self {
        let numbers = NonZeroU32::new(per_second).zip(NonZeroU32::new(burst));
        Self(numbers.map(|(rate, burst)| RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))))
    }

    fn check(&self, key: &K) -> Result<(), Wait> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        if limiter.len() > MANY {
            limiter.retain_recent();
        }
        limiter
            .check_key(key)
            .map_err(|until| Wait(until.wait_time_from(DefaultClock::default().now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_does_not_use_up_what_another_may_ask() {
        let mut config = config::Config::load(None).unwrap().api.limits;
        (config.questions_per_second, config.questions_burst) = (1, 3);
        (config.sends_per_second, config.sends_burst) = (0, 0);
        let limits = Limits::new(&config);
        let (one, two) = (Who::Token("one".to_owned()), Who::Subject("one".to_owned()));
        for _ in 0..3 {
            limits.request(&one, Right::ReadNumbers).unwrap();
        }
        let wait = limits.request(&one, Right::ReadDefinitions).unwrap_err();
        assert_eq!(wait.seconds(), 1);
        limits.request(&two, Right::ReadNumbers).unwrap();
        for _ in 0..100 {
            limits.request(&one, Right::Send).unwrap();
            limits.request(&Who::Anybody, Right::ReadNumbers).unwrap();
        }
    }

    #[test]
    fn a_client_is_never_told_to_come_back_at_once() {
        assert_eq!(Wait(Duration::ZERO).seconds(), 1);
        assert_eq!(Wait(Duration::from_millis(1_001)).seconds(), 2);
    }
}
