//! `GET /api/v1/systems/{system}/stickiness`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::App;
use super::error::Error;
use super::params::{FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown};
use super::reply::Reply;
use crate::measure::stickiness::{self, Stickiness};

/// Stickiness: of those active in 28 days, the share active on a working day.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/stickiness",
    tag = "users",
    params(SystemParam, WindowParams, FilterParams),
    responses((
        status = 200,
        body = Stickiness,
        example = json!({
            "system": "erp", "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "stickiness": 0.61, "ceiling": 1.0, "averaged_days": 18, "suppressed": false,
            "days": [{"day": "2026-10-09", "dau": 1071, "mau": 1720, "ratio": 0.6227}],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_stickiness(
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
    reply.document(&stickiness::ask(&app.reader, system, window, filter).await?)
}
