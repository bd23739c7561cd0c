//! `GET /api/v1/systems/{system}/stickiness`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::civil::Date;
use serde::Serialize;

use super::App;
use super::error::Error;
use super::params::{FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown};
use super::reply::Reply;
use super::table::Table;
use crate::access::Caller;
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
    reply.table(&stickiness::ask(&app.reader, system, window, filter).await?)
}

/// A working day, or the mean of all that have a ratio.
#[derive(Serialize)]
pub struct Row {
    day: Option<Date>,
    is_total: bool,
    dau: Option<u64>,
    mau: Option<u64>,
    ratio: Option<f64>,
    suppressed: bool,
}

impl Table for Stickiness {
    const COLUMNS: &'static [&'static str] = &["day", "is_total", "dau", "mau", "ratio", "suppressed"];
    type Row<'t> = Row;

    fn rows(&self) -> impl Iterator<Item = Row> {
        let days = self.days.iter().map(|day| Row {
            day: Some(day.day),
            is_total: false,
            dau: day.dau,
            mau: day.mau,
            ratio: day.ratio,
            suppressed: self.suppressed,
        });
        let total = Row {
            day: None,
            is_total: true,
            dau: None,
            mau: None,
            ratio: self.stickiness,
            suppressed: self.suppressed,
        };
        days.chain([total])
    }
}
