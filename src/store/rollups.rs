//! The rollups, each defined once for all that derives it from raw events. The views of the migrations say the same; a test
//! compares them.

/// A column of the key, and what it is of an event.
pub struct Key {
    pub column: &'static str,
    pub raw: &'static str,
}

/// What a rollup holds for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// How many clicks: `clicks`, a sum.
    Clicks,
    /// Which users: `users`, a set of ordinals.
    Users,
}

/// A rollup. Its key is `system`, `zone`, `rebuilt` and [`keys`](Self::keys).
pub struct Rollup {
    pub table: &'static str,
    /// Which events it stands for.
    pub of: &'static str,
    pub keys: &'static [Key],
    pub holds: Holds,
}

/// The columns of `raw_events` that the rollups are derived from. Beside them the expressions use `day` and `hour`, those of the
/// event in the zone that it is counted in.
pub const RAW_COLUMNS: &str = "type, outcome, ordinal, feature";

/// The tables that hold what was counted: the raw events, and what is left of those of erased users.
pub const RAW_TABLES: [&str; 2] = ["raw_events FINAL", "erased_events"];

const fn key(column: &'static str, raw: &'static str) -> Key {
    Key { column, raw }
}

const FEATURE: Key = key("feature", "feature");
const DAY: Key = key("local_date", "day");
const HOUR: Key = key("local_hour", "hour");
const CLICK: &str = "type = 'feature_click'";

pub const ROLLUPS: [Rollup; 5] = [
    Rollup {
        table: "day_users",
        of: "true",
        keys: &[
            DAY,
            key(
                "activity",
                "CAST(multiIf(type = 'feature_click', 'click', type = 'login' AND outcome = 'success', 'login', 'other'), \
                    'Enum8(\\'click\\' = 1, \\'login\\' = 2, \\'other\\' = 3)')",
            ),
        ],
        holds: Holds::Users,
    },
    Rollup {
        table: "hour_users",
        of: CLICK,
        keys: &[DAY, HOUR],
        holds: Holds::Users,
    },
    Rollup {
        table: "feature_users",
        of: CLICK,
        keys: &[FEATURE, DAY],
        holds: Holds::Users,
    },
    Rollup {
        table: "feature_hours",
        of: CLICK,
        keys: &[FEATURE, DAY, HOUR],
        holds: Holds::Clicks,
    },
    Rollup {
        table: "feature_user_days",
        of: CLICK,
        keys: &[FEATURE, key("ordinal", "ordinal"), DAY],
        holds: Holds::Clicks,
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
        let value = match self.holds {
            Holds::Clicks => "clicks",
            Holds::Users => "users",
        };
        format!("system, zone, rebuilt, {}, {value}", self.key_columns())
    }

    /// A query of the rows of one system and zone as the raw events have it: `rebuilt`, the keys as `k0`, `k1` … and the value.
    /// `events` is a query that gives [`RAW_COLUMNS`], `rebuilt`, `day` and `hour`.
    pub fn derived_from(&self, events: &str) -> String {
        let value = match self.holds {
            Holds::Clicks => "count()",
            Holds::Users => "groupBitmapState(ordinal)",
        };
        self.group_raw(events, value, "")
    }

    /// The same with one row for each key and user where it holds users: `member`, the ordinal (0 where it holds clicks), and
    /// `n`, the clicks (1 where it holds users).
    pub fn members_of(&self, events: &str) -> String {
        match self.holds {
            Holds::Clicks => self.group_raw(events, "toUInt64(0) AS member, count() AS n", ""),
            Holds::Users => self.group_raw(events, "ordinal AS member, toUInt64(1) AS n", ", ordinal"),
        }
    }

    /// What [`Self::members_of`] gives, of the stored rows that `which` selects.
    pub fn stored_members(&self, which: &str) -> String {
        let keys = list(self.keys, |i, key| format!("{} AS k{i}", key.column));
        let value = match self.holds {
            Holds::Clicks => "toUInt64(0) AS member, sum(clicks) AS n",
            Holds::Users => "arrayJoin(bitmapToArray(groupBitmapMergeState(users))) AS member, toUInt64(1) AS n",
        };
        let (table, by) = (self.table, self.key_columns());
        format!("SELECT rebuilt, {keys}, {value} FROM {table} WHERE {which} GROUP BY rebuilt, {by}")
    }

    fn group_raw(&self, events: &str, value: &str, and_by: &str) -> String {
        let keys = list(self.keys, |i, key| format!("{} AS k{i}", key.raw));
        let (of, by) = (self.of, list(self.keys, |i, _| format!("k{i}")));
        format!("SELECT rebuilt, {keys}, {value} FROM ({events}) WHERE {of} GROUP BY rebuilt, {by}{and_by}")
    }

    fn key_columns(&self) -> String {
        list(self.keys, |_, key| key.column.to_owned())
    }
}
