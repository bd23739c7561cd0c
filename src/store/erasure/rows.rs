//! The rows of erased users: what is moved to stand-ins, and what is removed.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use clickhouse::query::Query;
use jiff::civil::Date;

use super::{Erased, hex};
use crate::pseudonym::Pseudonym;
use crate::store::Store;

/// The rows of some users, each of whom gets the stand-in at the same place.
pub struct Rows<'a> {
    pub store: &'a Store,
    pub users: &'a [Pseudonym],
    pub stand_ins: Vec<[u8; 16]>,
    pub ordinals: Removed,
    /// The first day on which somebody who comes back is entitled anew.
    pub from: Date,
}

/// Ordinals that are removed.
pub struct Removed {
    /// Each with the stand-in that its raw events get.
    pub stand_ins: HashMap<u64, [u8; 16]>,
    /// The stand-ins of the users who have any.
    pub owners: HashSet<[u8; 16]>,
}

/// Which rows are moved, and the stand-in that each of them gets: by pseudonym, or by ordinal where a table has none.
const OURS: &str = "has({users:Array(String)}, hex(user))";
const STAND_IN: &str =
    "toFixedString(unhex(transform(hex(user), {users:Array(String)}, {stand_ins:Array(String)}, '')), 16)";
const OURS_BY_ORDINAL: &str = "ordinal IN {ordinals:Array(UInt64)}";
const STAND_IN_BY_ORDINAL: &str =
    "toFixedString(unhex(transform(ordinal, {ordinals:Array(UInt64)}, {of_ordinals:Array(String)}, '')), 16)";

impl Rows<'_> {
    /// Counts and removes. Whatever of it was done before is not done again.
    pub async fn erase(&self) -> anyhow::Result<Erased> {
        let found = self.found().await?;
        // Several rows of one key may not be merged yet.
        let user_days = format!(
            "SELECT uniqExact(system, zone, rebuilt, feature, ordinal, local_date) FROM feature_user_days WHERE {OURS_BY_ORDINAL}"
        );
        let erased = Erased {
            found,
            unknown: self.users.len() as u64 - found,
            events: self.count("raw_events FINAL", OURS_BY_ORDINAL).await?,
            user_days: self.number(&user_days).await?,
            roster_rows: self.count("roster", OURS).await?,
            trainings: self.count("training", OURS).await?,
        };
        self.remove("ordinals", OURS).await?;
        self.move_splits().await?;
        self.move_events().await?;
        self.move_roster().await?;
        self.remove("training", OURS).await?;
        Ok(erased)
    }

    /// How many of the users have an ordinal, or had one when an erasure was cut off, or stand on a roster.
    async fn found(&self) -> anyhow::Result<u64> {
        let listed = format!("SELECT DISTINCT hex(user) FROM roster WHERE {OURS}");
        let listed: HashSet<String> = self.query(&listed).fetch_all().await?.into_iter().collect();
        let is_found = |(user, stand_in): &(&Pseudonym, _)| {
            self.ordinals.owners.contains(*stand_in) || listed.contains(&hex(&user.0))
        };
        Ok(self.users.iter().zip(&self.stand_ins).filter(is_found).count() as u64)
    }

    /// The other ordinals of users who have several still count as their first one.
    async fn move_splits(&self) -> anyhow::Result<()> {
        self.execute(&format!(
            "INSERT INTO split_users (user, ordinal) SELECT {STAND_IN} AS stand_in, ordinal FROM split_users FINAL \
             WHERE {OURS} AND stand_in NOT IN (SELECT user FROM split_users)"
        ))
        .await
        .context("split_users")?;
        self.remove("split_users", OURS).await
    }

    async fn move_events(&self) -> anyhow::Result<()> {
        let columns = "ordinal, type, outcome, feature, zone, local_date, local_hour";
        self.execute(&format!(
            "INSERT INTO erased_events (system, user, time, {columns}) \
             SELECT system, {STAND_IN_BY_ORDINAL} AS stand_in, toStartOfFifteenMinutes(time) AS quarter, {columns} FROM raw_events FINAL \
             WHERE {OURS_BY_ORDINAL} AND (stand_in, toYYYYMM(time)) NOT IN (SELECT user, toYYYYMM(time) FROM erased_events)"
        ))
        .await
        .context("erased_events")?;
        self.remove("raw_events", OURS_BY_ORDINAL).await
    }

    /// Only the newest roster of a system counts.
    async fn move_roster(&self) -> anyhow::Result<()> {
        let columns = "system, version, ordinal, kind, unit, role, tier, site, phase, entitled_from";
        self.execute(&format!(
            "INSERT INTO roster ({columns}, user, entitled_to, next_from, erased) \
             SELECT {columns}, {STAND_IN} AS stand_in, least(entitled_to, {{from:Date}}) AS until, \
                if(next_from >= {{from:Date}}, toDate('2149-06-06'), next_from) AS next, true \
             FROM roster \
             WHERE {OURS} AND entitled_from < {{from:Date}} \
                AND (system, version) IN (SELECT system, max(version) FROM roster_versions GROUP BY system) \
                AND stand_in NOT IN (SELECT user FROM roster)"
        ))
        .await
        .context("roster")?;
        self.remove("roster", OURS).await
    }

    async fn count(&self, table: &str, ours: &str) -> anyhow::Result<u64> {
        self.number(&format!("SELECT count() FROM {table} WHERE {ours}")).await
    }

    async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        Ok(self.query(sql).fetch_one().await?)
    }

    /// Rewrites the parts that hold rows of the users: a lightweight delete would only hide them.
    async fn remove(&self, table: &str, ours: &str) -> anyhow::Result<()> {
        // A mutation touches every part, so it is only started where there is something.
        if self.count(table, ours).await? == 0 {
            return Ok(());
        }
        let (stored, on) = self.store.stored(table);
        self.execute(&format!(
            "ALTER TABLE {stored} {on} DELETE WHERE {ours} SETTINGS mutations_sync = 2"
        ))
        .await
        .with_context(|| format!("rows of {table} cannot be removed"))
    }

    async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        Ok(self.query(sql).execute().await?)
    }

    fn query(&self, sql: &str) -> Query {
        let users: Vec<_> = self.users.iter().map(|user| hex(&user.0)).collect();
        let stand_ins: Vec<_> = self.stand_ins.iter().map(|stand_in| hex(stand_in)).collect();
        let of_ordinals = self.ordinals.stand_ins.iter();
        let (ordinals, of_ordinals): (Vec<_>, Vec<_>) =
            of_ordinals.map(|(ordinal, stand_in)| (*ordinal, hex(stand_in))).unzip();
        let query = self.store.client().query(sql);
        query
            .param("users", users)
            .param("stand_ins", stand_ins)
            .param("ordinals", ordinals)
            .param("of_ordinals", of_ordinals)
            .param("from", self.from.to_string())
            .with_setting("insert_deduplicate", "0")
    }
}
