//! `GET /api/v1/systems/{system}/heatmap/hours` and `…/heatmap/features`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::openapi::schema::Object;

use super::App;
use super::error::Error;
use super::params::{FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown, words};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::access::Caller;
use crate::measure::Dimension;
use crate::measure::heatmap::{self, FeatureHeatmap, HourHeatmap};

/// What features may be broken down by; the first is the default.
const BY: [Dimension; 2] = [Dimension::Unit, Dimension::Role];

fn by() -> Object {
    words(&BY)
}

/// Documents what [`get_feature_heatmap`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct FeatureHeatmapParams {
    /// The dimension that makes the groups. Default: `unit`.
    #[param(schema_with = by)]
    by: Option<String>,
}

/// Hour of the week: when features are clicked, in the system's time zone.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/heatmap/hours",
    tag = "heatmaps",
    params(SystemParam, WindowParams, FilterParams),
    responses((
        status = 200,
        body = HourHeatmap,
        example = json!({
            "system": "erp",
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "weekdays": [{"weekday": 1, "days": 4}],
            "cells": [{"weekday": 1, "hour": 9, "clicks": 5120, "users": 803, "clicks_per_day": 1280.0, "users_per_day": 200.75}],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_hour_heatmap(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let filter = parameters.filter();
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.aggregate_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &filter).await?;
    let answer = heatmap::ask_hours(&app.reader, system, window, filter, app.retention.user_months).await?;
    reply.table(&answer)
}

/// Feature × unit or role: who uses what, beside what is expected of them.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/heatmap/features",
    tag = "heatmaps",
    params(SystemParam, WindowParams, FilterParams, FeatureHeatmapParams),
    responses((
        status = 200,
        body = FeatureHeatmap,
        example = json!({
            "system": "erp", "by": "unit",
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "cells": [{
                "feature": "finance.invoice.approve", "unit": "Sales", "users": 371, "entitled": 412, "expected": 350,
                "breadth": 0.9005, "expected_breadth": 0.9543, "not_expected": false, "suppressed": false
            }],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_feature_heatmap(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let cut = parameters.cut(&BY)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &cut.filter).await?;
    let answer = heatmap::ask_features(&app.reader, system, window, cut).await?;
    reply.table(&answer)
}

#[derive(Serialize)]
pub struct HourRow {
    weekday: u8,
    hour: u8,
    days: u64,
    clicks: Option<u64>,
    users: Option<u64>,
    clicks_per_day: Option<f64>,
    users_per_day: Option<f64>,
}

impl Table for HourHeatmap {
    const COLUMNS: &'static [&'static str] = &[
        "weekday",
        "hour",
        "days",
        "clicks",
        "users",
        "clicks_per_day",
        "users_per_day",
    ];
    type Row<'t> = HourRow;

    fn rows(&self) -> impl Iterator<Item = HourRow> {
        let days_of = |weekday| {
            self.weekdays
                .iter()
                .find(|count| count.weekday == weekday)
                .map_or(0, |count| count.days)
        };
        self.cells.iter().map(move |cell| HourRow {
            weekday: cell.weekday,
            hour: cell.hour,
            days: days_of(cell.weekday),
            clicks: cell.clicks,
            users: cell.users,
            clicks_per_day: cell.clicks_per_day,
            users_per_day: cell.users_per_day,
        })
    }
}

#[derive(Serialize)]
pub struct FeatureRow<'t> {
    feature: Text<'t>,
    group: Option<Text<'t>>,
    users: Option<u64>,
    entitled: Option<u64>,
    expected: Option<u64>,
    breadth: Option<f64>,
    expected_breadth: Option<f64>,
    not_expected: bool,
    suppressed: bool,
}

impl Table for FeatureHeatmap {
    const COLUMNS: &'static [&'static str] = &[
        "feature",
        "group",
        "users",
        "entitled",
        "expected",
        "breadth",
        "expected_breadth",
        "not_expected",
        "suppressed",
    ];
    type Row<'t> = FeatureRow<'t>;

    fn rows(&self) -> impl Iterator<Item = FeatureRow<'_>> {
        self.cells.iter().map(|cell| FeatureRow {
            feature: Text(&cell.feature),
            group: cell.key.name().map(Text),
            users: cell.users,
            entitled: cell.entitled,
            expected: cell.expected,
            breadth: cell.breadth,
            expected_breadth: cell.expected_breadth,
            not_expected: cell.not_expected,
            suppressed: cell.suppressed,
        })
    }
}
