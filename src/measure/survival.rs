//! Kaplan–Meier: when half of those who are watched have done something, where some are watched too short to tell.

/// What happened on one day of watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// Days since watching began.
    pub days: u32,
    /// Those who did it on that day.
    pub events: u64,
    /// Those who had not done it by the end of that day, and were not watched any longer.
    pub censored: u64,
}

/// The first day by which the estimated share of those who have not done it yet is at most a half; `None` while it is above.
/// `afters` are in order of days, each day once.
pub fn median_days(afters: &[After]) -> Option<u32> {
    let mut at_risk: u64 = afters.iter().map(|after| after.events + after.censored).sum();
    let mut survival = 1.0;
    for after in afters {
        if after.events > 0 {
            survival *= (at_risk - after.events) as f64 / at_risk as f64;
            if survival <= 0.5 + ROUNDING {
                return Some(after.days);
            }
        }
        at_risk -= after.events + after.censored;
    }
    None
}

/// A product of fractions that is exactly a half may come out a little above it.
const ROUNDING: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Single observations: days, and whether it happened.
    fn afters(observed: &[(u32, bool)]) -> Vec<After> {
        let mut days: Vec<_> = observed.iter().map(|(days, _)| *days).collect();
        days.sort_unstable();
        days.dedup();
        let count = |days, happened| observed.iter().filter(|of| **of == (days, happened)).count() as u64;
        days.into_iter()
            .map(|days| After {
                days,
                events: count(days, true),
                censored: count(days, false),
            })
            .collect()
    }

    /// Remission of leukaemia in weeks: Freireich et al., Blood 21 (1963), 699–716; medians as in Kleinbaum and Klein, Survival
    /// Analysis, chapter 2.
    #[test]
    fn the_medians_of_a_published_trial() {
        let treated = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|weeks| (weeks, true));
        let censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|weeks| (weeks, false));
        assert_eq!(median_days(&afters(&[&treated[..], &censored].concat())), Some(23));
        let placebo =
            [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23].map(|weeks| (weeks, true));
        assert_eq!(median_days(&afters(&placebo)), Some(8));
    }

    #[test]
    fn there_is_no_median_while_more_than_half_wait() {
        assert_eq!(median_days(&[]), None);
        assert_eq!(median_days(&afters(&[(3, false), (4, false)])), None);
        assert_eq!(median_days(&afters(&[(3, true), (4, false), (5, false)])), None);
        assert_eq!(median_days(&afters(&[(3, true), (4, false)])), Some(3));
        // Both are gone from those at risk when the last one does it.
        assert_eq!(median_days(&afters(&[(1, false), (2, false), (9, true)])), Some(9));
    }

    proptest! {
        /// Without censoring the estimate is the share itself.
        #[test]
        fn with_everyone_watched_to_the_end_it_is_the_lower_median(mut days in prop::collection::vec(0u32..50, 1..60)) {
            let observed: Vec<_> = days.iter().map(|days| (*days, true)).collect();
            days.sort_unstable();
            prop_assert_eq!(median_days(&afters(&observed)), Some(days[(days.len() - 1) / 2]));
        }
    }
}
