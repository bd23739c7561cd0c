//! What is stored against what must be.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use uptake::store::Store;

use crate::common::differences::Differences;
use crate::truth::Truth;

const RAW: &str = "SELECT count(), uniqExact(identity), sum(identity) \
    FROM raw_events FINAL";
const REJECTS: &str = "SELECT count() FROM rejects FINAL";
const FEATURE_HOURS: &str = "SELECT concat(toString(feature), '/', toString(toUInt16(local_date)), '/', \
    toString(local_hour)) AS key, sum(clicks) FROM feature_hours GROUP BY key";
const FEATURE_USER_DAYS: &str = "SELECT concat(toString(feature), '/', lower(hex(user)), '/', \
    toString(toUInt16(local_date))) AS key, sum(clicks) FROM feature_user_days INNER JOIN (SELECT DISTINCT user, ordinal FROM ordinals) AS owners USING (ordinal) GROUP BY key";

impl Differences {
    pub async fn of(store: &Store, truth: &Truth, rejects: u64) -> anyhow::Result<Self> {
        let mut differences = Self::default();
        let (stored, distinct, sum): (u64, u64, u64) = store.client().query(RAW).fetch_one().await?;
        differences.compare("events", truth.events, distinct);
        differences.compare("events, repeats included", distinct, stored);
        if stored == truth.events && sum != truth.identity_sum {
            differences.compare("events: as many as were acknowledged, but others", 1, 0);
        }
        let refused = store.client().query(REJECTS).fetch_one::<u64>().await?;
        differences.compare("rejects", rejects, refused);
        for (table, sql, expected) in [
            ("feature_hours", FEATURE_HOURS, &truth.feature_hours),
            ("feature_user_days", FEATURE_USER_DAYS, &truth.feature_user_days),
        ] {
            let found = store.client().query(sql).fetch_all::<(String, u64)>().await?;
            let found: BTreeMap<_, _> = found.into_iter().collect();
            for key in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
                let of = |rollup: &BTreeMap<String, u64>| rollup.get(key).copied().unwrap_or_default();
                differences.compare(&format!("{table}: {key}"), of(expected), of(&found));
            }
        }
        Ok(differences)
    }

    fn compare(&mut self, what: &str, expected: u64, found: u64) {
        let told = || format!("{what}: {found}, expected {expected}");
        match expected.cmp(&found) {
            Ordering::Equal => {}
            Ordering::Greater => self.lose(expected - found, told),
            Ordering::Less => self.double(found - expected, told),
        }
    }
}
