//! Features (M7 to M10): how many of those who should use a feature do, how much, and how they rank.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::window::date_of;
use super::{Cut, DataQuality, Error, Filter, Reader, SystemContext, Window, WindowAnswer, quality};

#[derive(Debug, Serialize, ToSchema)]
pub struct Features {
    pub system: String,
    pub window: WindowAnswer,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// Ranked by breadth, then clicks, then change, each descending with null last, then by key.
    pub features: Vec<Feature>,
    pub data_quality: DataQuality,
}

/// A feature that is catalogued or was clicked in the window. All numbers are null where suppressed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureUse)]
pub struct Feature {
    pub rank: u64,
    pub feature: String,
    /// What stands before the first dot of the key.
    pub module: String,
    pub title: Option<String>,
    pub catalogued: bool,
    #[schema(value_type = Option<String>, format = Date)]
    pub released: Option<Date>,
    /// How often it is meant to be used, where the catalogue says.
    pub cadence: Option<String>,
    /// Entitled persons who clicked it.
    pub users: Option<u64>,
    /// Those of them whose role is expected to use it.
    pub expected_users: Option<u64>,
    /// Entitled persons whose role is expected to use it; everyone entitled where no role is declared.
    pub expected: Option<u64>,
    /// `expected_users` ÷ `expected`.
    pub breadth: Option<f64>,
    /// Clicks of all users.
    pub clicks: Option<u64>,
    /// Median clicks per user and day of use.
    pub depth: Option<f64>,
    /// Entitled persons who used it on two or more of the window's last 28 days.
    pub adopted_users: Option<u64>,
    /// Breadth in the window of equal length before this one.
    pub previous_breadth: Option<f64>,
    /// Relative change of breadth against the window before.
    pub change: Option<f64>,
    /// Catalogued, released and without any click, also in the month, quarter or year before `to` where that is its cadence.
    pub unused: bool,
    /// Breadth is down by a fifth or more; never so in a window that is shorter than the feature's cadence.
    pub declining: bool,
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    feature: String,
    module: String,
    title: String,
    catalogued: bool,
    released: Option<u16>,
    cadence: String,
    users: Option<u64>,
    expected_users: Option<u64>,
    expected: Option<u64>,
    breadth: Option<f64>,
    clicks: Option<u64>,
    depth: Option<f64>,
    adopted: Option<u64>,
    previous_breadth: Option<f64>,
    change: Option<f64>,
    unused: bool,
    declining: bool,
    suppressed: bool,
}

const SQL: &str = "\
SELECT feature, module, title, toBool(catalogued) AS catalogued, released, cadence, users, expected_users, expected, breadth, clicks, depth,
    adopted, previous_breadth, change, toBool(ifNull(unused, 0)) AS unused, toBool(ifNull(declining, 0)) AS declining, toBool(suppressed) AS suppressed
FROM {{features}}
ORDER BY breadth DESC NULLS LAST, clicks DESC NULLS LAST, change DESC NULLS LAST, feature";

pub async fn ask(reader: &Reader, system: SystemContext, window: Window, filter: Filter) -> Result<Features, Error> {
    let cut = Cut::of(filter);
    let rows = async {
        let rebuilt = quality::may_hold_rebuilt_days(reader, &system, window).await?;
        reader
            .rows::<Row>(reader.about_days(&system, window, &cut, rebuilt, SQL))
            .await
    };
    let (rows, data_quality) = tokio::try_join!(rows, quality::ask(reader, &system, window))?;
    let ranked = (1..).zip(rows).map(|(rank, row)| feature(rank, row));
    Ok(Features {
        window: window.answer(&system),
        system: system.name,
        filter: cut.filter,
        features: ranked.collect(),
        data_quality,
    })
}

fn feature(rank: u64, row: Row) -> Feature {
    Feature {
        rank,
        feature: row.feature,
        module: row.module,
        title: Some(row.title).filter(|title| !title.is_empty()),
        catalogued: row.catalogued,
        released: row.released.map(date_of),
        cadence: Some(row.cadence).filter(|cadence| !cadence.is_empty()),
        users: row.users,
        expected_users: row.expected_users,
        expected: row.expected,
        breadth: row.breadth,
        clicks: row.clicks,
        depth: row.depth,
        adopted_users: row.adopted,
        previous_breadth: row.previous_breadth,
        change: row.change,
        unused: row.unused,
        declining: row.declining,
        suppressed: row.suppressed,
    }
}

const CATALOGUED: &str = "\
SELECT arrayFilter(key -> NOT has(features.feature, key), {keys:Array(String)}) AS unlisted
FROM systems
WHERE system = {system:String} AND version = {definition:UInt64}";

const CLICKED: &str = "\
SELECT DISTINCT toString(feature) AS feature
FROM feature_users
WHERE system = {system:String} AND feature IN {keys:Array(String)}";

/// The first of `keys` that is neither in the catalogue nor was ever clicked.
pub async fn unknown(reader: &Reader, system: &SystemContext, keys: &[String]) -> Result<Option<String>, Error> {
    let ask = |sql| reader.question(sql).param("system", &system.name);
    let catalogued = ask(CATALOGUED)
        .param("definition", system.definition)
        .param("keys", keys);
    let unlisted: Vec<Vec<String>> = reader.rows(catalogued).await?;
    // No row: the system has no definition.
    let unlisted = unlisted.into_iter().next().unwrap_or_else(|| keys.to_vec());
    if unlisted.is_empty() {
        return Ok(None);
    }
    let clicked: Vec<String> = reader.rows(ask(CLICKED).param("keys", &unlisted)).await?;
    Ok(unlisted.into_iter().find(|key| !clicked.contains(key)))
}
