//! `GET /api/v1/systems/{system}/retention`

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
use crate::measure::retention::{self, Cohort, CohortWeek, Retention};

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
    reply.table(&retention::ask(&app.reader, system, window, filter).await?)
}

/// A week of a cohort. A cohort that is suppressed has one row, without a week.
#[derive(Serialize)]
pub struct Row {
    cohort: Date,
    size: Option<u64>,
    week: Option<u32>,
    active: Option<u64>,
    share: Option<f64>,
    suppressed: bool,
}

impl Table for Retention {
    const COLUMNS: &'static [&'static str] = &["cohort", "size", "week", "active", "share", "suppressed"];
    type Row<'t> = Row;

    fn rows(&self) -> impl Iterator<Item = Row> {
        self.cohorts.iter().flat_map(|cohort| {
            let untold = cohort.weeks.is_empty().then(|| row(cohort, None));
            let told = cohort.weeks.iter().map(|week| row(cohort, Some(week)));
            told.chain(untold)
        })
    }
}

fn row(cohort: &Cohort, week: Option<&CohortWeek>) -> Row {
    Row {
        cohort: cohort.week,
        size: cohort.size,
        week: week.map(|week| week.week),
        active: week.map(|week| week.active),
        share: week.and_then(|week| week.share),
        suppressed: cohort.suppressed,
    }
}
