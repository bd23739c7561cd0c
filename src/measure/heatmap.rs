//! Heatmaps: hour of the week (M11), feature × group (M12).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Cut, DataQuality, Dimension, Error, Filter, GroupKey, Reader, SystemContext, Window, WindowAnswer, quality,
};

/// When features are clicked, in local time.
#[derive(Debug, Serialize, ToSchema)]
pub struct HourHeatmap {
    pub system: String,
    pub window: WindowAnswer,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// Monday to Sunday.
    pub weekdays: Vec<WeekdayCount>,
    /// All 168, by weekday and hour.
    pub cells: Vec<HourCell>,
    pub data_quality: DataQuality,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WeekdayCount {
    /// 1 = Monday … 7 = Sunday.
    pub weekday: u8,
    /// How often it occurs in the window.
    pub days: u64,
}

/// An hour of the week. Numbers are null where the whole system is too small to show any.
#[derive(Debug, Serialize, ToSchema)]
pub struct HourCell {
    pub weekday: u8,
    pub hour: u8,
    pub clicks: Option<u64>,
    /// Distinct users; null too for a window longer than what is kept of single users.
    pub users: Option<u64>,
    /// Divided by how often the weekday occurs; null where it does not.
    pub clicks_per_day: Option<f64>,
    pub users_per_day: Option<f64>,
}

#[derive(clickhouse::Row, Deserialize)]
struct HourRow {
    weekday: u8,
    hour: u8,
    days: u64,
    clicks: Option<u64>,
    users: Option<u64>,
    clicks_per_day: Option<f64>,
    users_per_day: Option<f64>,
}

const HOURS_SQL: &str = "\
SELECT weekday, hour, toUInt64(days) AS days, CAST(clicks, 'Nullable(UInt64)') AS clicks, CAST(users, 'Nullable(UInt64)') AS users,
    clicks_per_day, users_per_day
FROM {{heatmap_hours}}
ORDER BY weekday, hour";

/// `user_months`: how long single users are kept; beyond, a count of them would be too low, so there is none.
pub async fn ask_hours(
    reader: &Reader,
    system: SystemContext,
    window: Window,
    filter: Filter,
    user_months: u32,
) -> Result<HourHeatmap, Error> {
    let cut = Cut::of(filter);
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<HourRow>(reader.about_people(&system, window, &cut, HOURS_SQL)),
        quality::ask(reader, &system, window)
    )?;
    let mut weekdays: Vec<_> = rows
        .iter()
        .map(|row| WeekdayCount {
            weekday: row.weekday,
            days: row.days,
        })
        .collect();
    weekdays.dedup();
    let users_known = !window.longer_than_months(user_months);
    let cell = |row: HourRow| HourCell {
        weekday: row.weekday,
        hour: row.hour,
        clicks: row.clicks,
        users: row.users.filter(|_| users_known),
        clicks_per_day: row.clicks_per_day,
        users_per_day: row.users_per_day.filter(|_| users_known),
    };
    Ok(HourHeatmap {
        window: window.answer(&system),
        system: system.name,
        filter: cut.filter,
        weekdays,
        cells: rows.into_iter().map(cell).collect(),
        data_quality,
    })
}

/// Which groups use which features.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeatureHeatmap {
    pub system: String,
    pub window: WindowAnswer,
    pub by: Dimension,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// Every feature, catalogued or clicked, with every group that has entitled people; by feature and group.
    pub cells: Vec<FeatureCell>,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FeatureCell {
    pub feature: String,
    #[serde(flatten)]
    pub key: GroupKey,
    /// Entitled persons of the group who clicked the feature.
    pub users: Option<u64>,
    pub entitled: Option<u64>,
    /// Those whose role is expected to use it; null too where they are so few that they would be a group too small to show.
    pub expected: Option<u64>,
    /// `users` ÷ `entitled`.
    pub breadth: Option<f64>,
    /// The share of the expected who used it.
    pub expected_breadth: Option<f64>,
    /// True where nobody of the group is expected to use it.
    pub not_expected: bool,
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct FeatureRow {
    feature: String,
    group_name: String,
    users: Option<u64>,
    entitled: Option<u64>,
    expected: Option<u64>,
    breadth: Option<f64>,
    expected_breadth: Option<f64>,
    not_expected: bool,
    suppressed: bool,
}

const FEATURES_SQL: &str = "\
SELECT feature, group_name, users, entitled, expected, breadth, expected_breadth, toBool(not_expected) AS not_expected,
    toBool(suppressed) AS suppressed
FROM {{heatmap_features}}
ORDER BY feature, group_name";

pub async fn ask_features(
    reader: &Reader,
    system: SystemContext,
    window: Window,
    cut: Cut,
) -> Result<FeatureHeatmap, Error> {
    let question = reader.about_people(&system, window, &cut, FEATURES_SQL);
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<FeatureRow>(question),
        quality::ask(reader, &system, window)
    )?;
    let cell = |row: FeatureRow| FeatureCell {
        feature: row.feature,
        key: GroupKey::new(cut.by, row.group_name),
        users: row.users,
        entitled: row.entitled,
        expected: row.expected,
        breadth: row.breadth,
        expected_breadth: row.expected_breadth,
        not_expected: row.not_expected,
        suppressed: row.suppressed,
    };
    Ok(FeatureHeatmap {
        window: window.answer(&system),
        system: system.name,
        by: cut.by,
        filter: cut.filter,
        cells: rows.into_iter().map(cell).collect(),
        data_quality,
    })
}
