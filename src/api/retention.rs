//! `GET /api/v1/systems/{system}/retention`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::App;
use super::error::Error;
use super::params::{FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown};
use super::reply::Reply;
use crate::measure::retention::{self, Retention};

/// Retention: cohorts by week of first activity, and who of them is active in the weeks after.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/retention",
    tag = "users",
    params(SystemParam, WindowParams, FilterParams),
    responses((
        status = 200,
        body = Retention,
        example = json!({
            "system": "erp", "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "cohorts": [{
                "week": "2026-10-12", "size": 40, "suppressed": false,
                "weeks": [{"week": 0, "active": 40, "share": 1.0}, {"week": 1, "active": 31, "share": 0.775}]
            }],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_retention(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let filter = parameters.filter();
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &system, &filter).await?;
    reply.document(&retention::ask(&app.reader, system, window, filter).await?)
}
