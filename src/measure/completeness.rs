//! Completeness (M24): the share of the expected events that arrived.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Error, Reader, SystemContext, Window, WindowAnswer};

#[derive(Debug, Serialize, ToSchema)]
pub struct Completeness {
    pub system: String,
    pub window: WindowAnswer,
    #[serde(flatten)]
    pub share: Share,
}

/// In events.
#[derive(Debug, Clone, Serialize, Deserialize, clickhouse::Row, ToSchema)]
pub struct Share {
    /// `arrived` ÷ (`arrived` + `refused` + `waiting` + `stalled`); null before the first worker has reported, and where nothing is expected.
    pub completeness: Option<f64>,
    pub arrived: u64,
    /// Dead letters that were not sent again.
    pub refused: u64,
    /// Messages in Kafka that have not been counted yet, unless the whole window has been.
    pub waiting: u64,
    /// What `stalled_sources` would have sent.
    pub stalled: f64,
    /// Sources without any event on a working day, that send on most.
    pub stalled_sources: Vec<String>,
}

const SQL: &str = "\
SELECT completeness, arrived, refused, waiting, stalled, stalled_sources
FROM {{completeness}}";

pub async fn ask(reader: &Reader, system: SystemContext, window: Window) -> Result<Completeness, Error> {
    let share = share(reader, &system, window).await?;
    Ok(Completeness {
        window: window.answer(&system),
        system: system.name,
        share,
    })
}

pub async fn share(reader: &Reader, system: &SystemContext, window: Window) -> Result<Share, Error> {
    reader.row(reader.about(system, window, SQL)).await
}
