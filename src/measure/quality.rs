//! How far an answer can be trusted: what stands beside every one of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Error, Reader, SystemContext, Window, revisions};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DataQuality {
    /// Every event of the window up to here has been counted, at most its end; null before the first worker has reported.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub complete_through: Option<Timestamp>,
    /// Messages in Kafka that have not been counted yet.
    pub consumer_lag: Option<u64>,
    /// Messages refused in the window and not sent again since: those of this system and those that do not say which.
    pub dead_letters: u64,
    /// Share of the window's clicks that hit features which the definition does not list.
    pub uncatalogued_click_share: Option<f64>,
    /// Users with an event in the window and no roster row in it.
    pub users_not_on_roster: u64,
    /// True while the counts are being derived again because the system's time zone changed.
    pub rebuilding: bool,
    /// True while a month that the window touches is not final: what comes until 7 days after its end makes no revision.
    pub provisional: bool,
    /// 1, and one more for each hour in which a month of the window changed after it had become final.
    pub revision: u64,
    /// When the last of these hours began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub changed_at: Option<Timestamp>,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    complete_through_ms: Option<i64>,
    consumer_lag: Option<u64>,
    dead_letters: u64,
    uncatalogued_click_share: Option<f64>,
    users_not_on_roster: u64,
    rebuilding: bool,
}

const SQL: &str = "\
SELECT toUnixTimestamp64Milli(complete_through) AS complete_through_ms, consumer_lag, dead_letters, uncatalogued_click_share,
    users_not_on_roster, toBool(rebuilding) AS rebuilding
FROM {{data_quality}}";

pub async fn ask(reader: &Reader, system: &SystemContext, window: Window) -> Result<DataQuality, Error> {
    let (row, shown) = tokio::try_join!(
        reader.row::<Row>(reader.about(system, window, SQL)),
        revisions::shown(reader, system, window, Timestamp::now())
    )?;
    Ok(DataQuality {
        complete_through: row
            .complete_through_ms
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            // What is asked again about the past is answered with the same words.
            .map(|through| through.min(window.end(&system.timezone))),
        consumer_lag: row.consumer_lag,
        dead_letters: row.dead_letters,
        uncatalogued_click_share: row.uncatalogued_click_share,
        users_not_on_roster: row.users_not_on_roster,
        rebuilding: row.rebuilding,
        provisional: shown.provisional,
        revision: shown.changes.count + 1,
        changed_at: shown.changes.last,
    })
}
