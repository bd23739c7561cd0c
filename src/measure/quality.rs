//! How far an answer can be trusted: what stands beside every one of them.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::memo::Memo;
use super::revisions::Changes;
use super::{Error, Reader, SystemContext, Window, revisions};
use crate::store::systems::BELIEVED;

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

#[derive(Debug, Clone, clickhouse::Row, Deserialize)]
struct IngestState {
    complete_through_ms: Option<i64>,
    consumer_lag: Option<u64>,
    rebuilding: bool,
    rebuilt: bool,
}

const STATE_SQL: &str = "\
SELECT toUnixTimestamp64Milli(complete_through) AS complete_through_ms, consumer_lag, toBool(rebuilding) AS rebuilding,
    toBool(rebuilt) AS rebuilt
FROM {{ingest_state}}";

#[derive(Debug, Clone, clickhouse::Row, Deserialize)]
struct WindowQuality {
    dead_letters: u64,
    uncatalogued_click_share: Option<f64>,
    users_not_on_roster: u64,
}

const WINDOW_SQL: &str = "\
WITH
    {{split}} AS split, -- split
    {{zone}} AS current_zone, if(current_zone = '', 'UTC', current_zone) AS timezone, {{roster}} AS current_roster,
    {{definition}} AS current_definition
SELECT dead_letters, uncatalogued_click_share, users_not_on_roster
FROM {{window_quality}}";

/// What answers rest on or stands beside them and was found a moment ago. Workers report their standings every two seconds: what
/// is believed for one is not much older than it would be anyhow.
pub(super) struct Known {
    pub(super) systems: Memo<String, SystemContext>,
    state: Memo<Asked, IngestState>,
    window: Memo<Asked, WindowQuality>,
    pub(super) changes: Memo<Asked, Changes>,
}

impl Default for Known {
    fn default() -> Self {
        Self::believing(BELIEVED, revisions::BELIEVED)
    }
}

impl Known {
    fn believing(standing: Duration, changes: Duration) -> Self {
        Self {
            systems: Memo::new(standing),
            state: Memo::new(standing),
            window: Memo::new(standing),
            changes: Memo::new(changes),
        }
    }

    /// Everything is asked each time.
    pub(super) fn nothing() -> Self {
        Self::believing(Duration::ZERO, Duration::ZERO)
    }
}

/// What a memo tells apart: what is beside a new definition or roster is asked anew.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Asked {
    system: String,
    definition: u64,
    roster: u64,
    /// None where it does not matter.
    window: Option<Window>,
}

impl Asked {
    pub(super) fn of(system: &SystemContext, window: impl Into<Option<Window>>) -> Self {
        Self {
            system: system.name.clone(),
            definition: system.definition,
            roster: system.roster,
            window: window.into(),
        }
    }
}

async fn state(reader: &Reader, system: &SystemContext, window: Window) -> Result<IngestState, Error> {
    let question = reader.about(system, window, STATE_SQL);
    reader
        .known
        .state
        .get(Asked::of(system, None), reader.row_beside(question))
        .await
}

/// Whether rollups of the system may hold days that were counted under one zone in part and derived again for another.
pub(super) async fn may_hold_rebuilt_days(
    reader: &Reader,
    system: &SystemContext,
    window: Window,
) -> Result<bool, Error> {
    Ok(state(reader, system, window).await?.rebuilt)
}

pub async fn ask(reader: &Reader, system: &SystemContext, window: Window) -> Result<DataQuality, Error> {
    let known = &reader.known;
    let (state, quality, shown) = tokio::try_join!(
        state(reader, system, window),
        known.window.get(
            Asked::of(system, window),
            reader.row_beside(reader.about(system, window, WINDOW_SQL))
        ),
        revisions::shown(reader, system, window, Timestamp::now())
    )?;
    Ok(DataQuality {
        complete_through: state
            .complete_through_ms
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            // What is asked again about the past is answered with the same words.
            .map(|through| through.min(window.end(&system.timezone))),
        consumer_lag: state.consumer_lag,
        dead_letters: quality.dead_letters,
        uncatalogued_click_share: quality.uncatalogued_click_share,
        users_not_on_roster: quality.users_not_on_roster,
        rebuilding: state.rebuilding,
        provisional: shown.provisional,
        revision: shown.changes.count + 1,
        changed_at: shown.changes.last,
    })
}
