//! Login frequency (M5): on how many working days each entitled person logged in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::group::by_group;
use super::{
    Cut, DataQuality, Dimension, Error, Filter, GroupKey, Reader, SystemContext, Window, WindowAnswer, quality,
};

#[derive(Debug, Clone)]
pub struct Request {
    pub system: SystemContext,
    pub window: Window,
    pub cut: Cut,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Logins {
    pub system: String,
    pub window: WindowAnswer,
    pub by: Dimension,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    pub groups: Vec<LoginGroup>,
    pub total: LoginFrequency,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LoginGroup {
    #[serde(flatten)]
    pub key: GroupKey,
    #[serde(flatten)]
    pub frequency: LoginFrequency,
}

/// How often the entitled persons of a group logged in. All null where suppressed.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginFrequency {
    pub entitled: Option<u64>,
    /// Those of bucket 0 who had never logged in before the end of the window.
    pub never: Option<u64>,
    pub buckets: Option<Buckets>,
    /// Working days with a login per entitled person; null when nobody is entitled.
    pub mean: Option<f64>,
    pub median: Option<f64>,
    pub suppressed: bool,
}

/// Persons by their number of working days with a successful login.
#[derive(Debug, Serialize, ToSchema)]
pub struct Buckets {
    #[serde(rename = "0")]
    pub none: u64,
    #[serde(rename = "1-3")]
    pub few: u64,
    #[serde(rename = "4-10")]
    pub some: u64,
    #[serde(rename = "11+")]
    pub many: u64,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    is_total: bool,
    group_name: String,
    suppressed: bool,
    entitled: Option<u64>,
    never: Option<u64>,
    days_0: Option<u64>,
    days_1_3: Option<u64>,
    days_4_10: Option<u64>,
    days_11: Option<u64>,
    mean: Option<f64>,
    median: Option<f64>,
}

const SQL: &str = "\
SELECT toBool(is_total) AS is_total, toString(group_name) AS group_name, toBool(suppressed) AS suppressed, entitled, never,
    days_0, days_1_3, days_4_10, CAST(days_11, 'Nullable(UInt64)') AS days_11, mean, median
FROM {{logins}}
ORDER BY is_total, group_name";

pub async fn ask(reader: &Reader, request: Request) -> Result<Logins, Error> {
    let question = reader.about_people(&request.system, request.window, &request.cut, SQL);
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<Row>(question),
        quality::ask(reader, &request.system, request.window)
    )?;
    let (groups, total) = by_group(rows, nobody(), frequency);
    let group = |(name, frequency)| LoginGroup {
        key: GroupKey::new(request.cut.by, name),
        frequency,
    };
    Ok(Logins {
        window: request.window.answer(&request.system),
        system: request.system.name,
        by: request.cut.by,
        filter: request.cut.filter,
        groups: groups.into_iter().map(group).collect(),
        total,
        data_quality,
    })
}

fn frequency(row: Row) -> (bool, String, LoginFrequency) {
    let buckets = match (row.days_0, row.days_1_3, row.days_4_10, row.days_11) {
        (Some(none), Some(few), Some(some), Some(many)) => Some(Buckets { none, few, some, many }),
        _ => None,
    };
    let frequency = LoginFrequency {
        entitled: row.entitled,
        never: row.never,
        buckets,
        mean: row.mean,
        median: row.median,
        suppressed: row.suppressed,
    };
    (row.is_total, row.group_name, frequency)
}

/// The total of a system without a roster.
fn nobody() -> LoginFrequency {
    LoginFrequency {
        entitled: Some(0),
        never: Some(0),
        buckets: Some(Buckets {
            none: 0,
            few: 0,
            some: 0,
            many: 0,
        }),
        mean: None,
        median: None,
        suppressed: false,
    }
}
