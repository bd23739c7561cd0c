//! `GET /api/v1/systems/{system}/features` and `…/features/{feature}/time-to-adopt`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::IntoParams;

use super::App;
use super::error::Error;
use super::flows::refuse_unknown_features;
use super::params::{FeaturePath, FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::access::Caller;
use crate::measure::features::{self, Feature, Features};
use crate::measure::time_to_adopt::{self, TimeToAdopt};

/// Features, ranked: who of those who should use them does, how much, and what is never used.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/features",
    tag = "features",
    params(SystemParam, WindowParams, FilterParams),
    responses((
        status = 200,
        body = Features,
        example = json!({
            "system": "erp",
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "features": [{
                "rank": 1, "feature": "finance.invoice.approve", "module": "finance", "title": "Approve invoice",
                "catalogued": true, "released": "2026-01-05", "cadence": "daily", "users": 371, "expected_users": 350, "expected": 412,
                "breadth": 0.8495, "clicks": 20400, "depth": 3.0, "adopted_users": 340, "previous_breadth": 0.81,
                "change": 0.0488, "unused": false, "declining": false, "suppressed": false
            }],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_features(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let filter = parameters.filter();
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &filter).await?;
    reply.table(&features::ask(&app.reader, system, window, filter).await?)
}

#[derive(Serialize)]
pub struct Row<'t> {
    rank: u64,
    feature: Text<'t>,
    module: Text<'t>,
    title: Option<Text<'t>>,
    catalogued: bool,
    released: Option<Date>,
    users: Option<u64>,
    expected_users: Option<u64>,
    expected: Option<u64>,
    breadth: Option<f64>,
    clicks: Option<u64>,
    depth: Option<f64>,
    adopted_users: Option<u64>,
    previous_breadth: Option<f64>,
    change: Option<f64>,
    unused: bool,
    declining: bool,
    suppressed: bool,
    cadence: Option<&'t str>,
}

impl Table for Features {
    const COLUMNS: &'static [&'static str] = &[
        "rank",
        "feature",
        "module",
        "title",
        "catalogued",
        "released",
        "users",
        "expected_users",
        "expected",
        "breadth",
        "clicks",
        "depth",
        "adopted_users",
        "previous_breadth",
        "change",
        "unused",
        "declining",
        "suppressed",
        "cadence",
    ];
    type Row<'t> = Row<'t>;

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.features.iter().map(row)
    }
}

fn row(feature: &Feature) -> Row<'_> {
    Row {
        rank: feature.rank,
        feature: Text(&feature.feature),
        module: Text(&feature.module),
        title: feature.title.as_deref().map(Text),
        catalogued: feature.catalogued,
        released: feature.released,
        users: feature.users,
        expected_users: feature.expected_users,
        expected: feature.expected,
        breadth: feature.breadth,
        clicks: feature.clicks,
        depth: feature.depth,
        adopted_users: feature.adopted_users,
        previous_breadth: feature.previous_breadth,
        change: feature.change,
        unused: feature.unused,
        declining: feature.declining,
        suppressed: feature.suppressed,
        cadence: feature.cadence.as_deref(),
    }
}

/// Documents the feature in a path. Only documents: [`FeaturePath`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct FeatureParam {
    /// The key of the feature.
    #[param(example = "finance.invoice.approve")]
    feature: String,
}

/// Time to adopt: days until people first use a feature, with those who have not yet.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/features/{feature}/time-to-adopt",
    tag = "features",
    params(SystemParam, FeatureParam, WindowParams, FilterParams),
    responses((
        status = 200,
        body = TimeToAdopt,
        example = json!({
            "system": "erp", "feature": "finance.invoice.approve",
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "expected": 412, "not_adopted": 62, "not_adopted_share": 0.1505, "median_days": 23, "suppressed": false,
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_time_to_adopt(
    State(app): State<App>,
    caller: Caller,
    FeaturePath(system, feature): FeaturePath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let filter = parameters.filter();
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &filter).await?;
    refuse_unknown_features(&app, &system, "feature", std::slice::from_ref(&feature)).await?;
    reply.document(&time_to_adopt::ask(&app.reader, system, window, feature, filter).await?)
}
