//! The rollups, each defined once for all that derives it from raw events. The views of the migrations say the same; a test
//! compares them.

/// How a value of two rows with the same key becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    Sum,
    BitOr,
    Min,
    Max,
}

impl Merge {
    pub fn function(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::BitOr => "groupBitOr",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// A column of the key, and what it is of an event.
pub struct Key {
    pub column: &'static str,
    pub raw: &'static str,
}

/// A column that is aggregated, and what it is of the events of one key.
pub struct Value {
    pub column: &'static str,
    pub merge: Merge,
    pub raw: &'static str,
}

/// A rollup. Its key is `system`, `zone`, `rebuilt` and [`keys`](Self::keys); its first value is a sum that counts events.
pub struct Rollup {
    pub table: &'static str,
    /// Which events it stands for.
    pub of: &'static str,
    pub keys: &'static [Key],
    pub values: &'static [Value],
}

/// The columns of `events` that the rollups are derived from. Beside them the expressions use `day` and `hour`, those of the
/// event in the zone that it is counted in.
pub const RAW_COLUMNS: &str = "type, outcome, time, user, feature";

const fn key(column: &'static str, raw: &'static str) -> Key {
    Key { column, raw }
}

const fn value(column: &'static str, merge: Merge, raw: &'static str) -> Value {
    Value { column, merge, raw }
}

const USER: Key = key("user", "user");
const FEATURE: Key = key("feature", "feature");
const DAY: Key = key("local_date", "day");
const CLICKS: Value = value("clicks", Merge::Sum, "count()");

pub const ROLLUPS: [Rollup; 3] = [
    Rollup {
        table: "user_days",
        of: "true",
        keys: &[USER, DAY],
        values: &[
            value("events", Merge::Sum, "count()"),
            value("logins", Merge::Sum, "countIf(type = 'login' AND outcome = 'success')"),
            value(
                "failed_logins",
                Merge::Sum,
                "countIf(type = 'login' AND outcome = 'failure')",
            ),
            value("clicks", Merge::Sum, "countIf(type = 'feature_click')"),
            value(
                "click_hours",
                Merge::BitOr,
                "groupBitOr(if(type = 'feature_click', toUInt32(bitShiftLeft(toUInt32(1), hour)), toUInt32(0)))",
            ),
            value("first_time", Merge::Min, "min(time)"),
            value("last_time", Merge::Max, "max(time)"),
        ],
    },
    Rollup {
        table: "feature_hours",
        of: "type = 'feature_click'",
        keys: &[FEATURE, DAY, key("local_hour", "hour")],
        values: &[CLICKS],
    },
    Rollup {
        table: "feature_days",
        of: "type = 'feature_click'",
        keys: &[FEATURE, USER, DAY],
        values: &[CLICKS],
    },
];

/// `items` as SQL, separated by commas; each with its number.
pub fn list<T>(items: &[T], sql: impl Fn(usize, &T) -> String) -> String {
    let sql: Vec<_> = items.iter().enumerate().map(|(i, item)| sql(i, item)).collect();
    sql.join(", ")
}

impl Rollup {
    /// The columns of a row: system, zone and those of [`Self::derived_from`].
    pub fn columns(&self) -> String {
        let keys = list(self.keys, |_, key| key.column.to_owned());
        let values = list(self.values, |_, value| value.column.to_owned());
        format!("system, zone, rebuilt, {keys}, {values}")
    }

    /// A query of the rows of one system and zone as the raw events have it: `rebuilt`, the keys as `k0`, `k1` … and the values
    /// as `v0`, `v1` …. `events` is a query that gives [`RAW_COLUMNS`], `rebuilt`, `day` and `hour`.
    pub fn derived_from(&self, events: &str) -> String {
        let keys = list(self.keys, |i, key| format!("{} AS k{i}", key.raw));
        let values = list(self.values, |i, value| format!("{} AS v{i}", value.raw));
        let (of, by) = (self.of, list(self.keys, |_, key| key.raw.to_owned()));
        format!("SELECT rebuilt, {keys}, {values} FROM ({events}) WHERE {of} GROUP BY rebuilt, {by}")
    }

    /// The same as they are stored, of the rows that `which` selects.
    pub fn stored(&self, which: &str) -> String {
        let keys = list(self.keys, |i, key| format!("{} AS k{i}", key.column));
        let values = list(self.values, |i, value| {
            format!("{}({}) AS v{i}", value.merge.function(), value.column)
        });
        let (table, by) = (self.table, list(self.keys, |_, key| key.column.to_owned()));
        format!(
            "SELECT rebuilt, {keys}, {values}, count() AS row_count FROM {table} WHERE {which} GROUP BY rebuilt, {by}"
        )
    }
}
