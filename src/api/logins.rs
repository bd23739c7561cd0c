//! `GET /api/v1/systems/{system}/logins`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::App;
use super::error::Error;
use super::params::{ByParams, FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown};
use super::reply::Reply;
use super::table::{OfGroup, Table, by_group};
use crate::access::Caller;
use crate::measure::logins::{self, LoginFrequency, Logins, Request};
use crate::measure::{Choice, Dimension};

/// Login frequency: working days with a successful login, per entitled person.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/logins",
    tag = "adoption",
    params(SystemParam, WindowParams, ByParams, FilterParams),
    responses((
        status = 200,
        body = Logins,
        example = json!({
            "system": "erp", "by": "unit",
            "window": {"from": "2026-10-04", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "groups": [{
                "unit": "Sales", "entitled": 412, "never": 6, "mean": 11.2, "median": 12.0, "suppressed": false,
                "buckets": {"0": 41, "1-3": 40, "4-10": 110, "11+": 221}
            }],
            "total": {
                "entitled": 2010, "never": 31, "mean": 10.4, "median": 11.0, "suppressed": false,
                "buckets": {"0": 190, "1-3": 205, "4-10": 590, "11+": 1025}
            },
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_logins(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let cut = parameters.cut(Dimension::ALL)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &cut.filter).await?;
    let request = Request { system, window, cut };
    reply.table(&logins::ask(&app.reader, request).await?)
}

/// Of a group, or of all.
#[derive(Serialize)]
pub struct Numbers {
    entitled: Option<u64>,
    never: Option<u64>,
    days_0: Option<u64>,
    days_1_3: Option<u64>,
    days_4_10: Option<u64>,
    days_11: Option<u64>,
    mean: Option<f64>,
    median: Option<f64>,
    suppressed: bool,
}

impl Table for Logins {
    const COLUMNS: &'static [&'static str] = &[
        "group",
        "is_total",
        "entitled",
        "never",
        "days_0",
        "days_1_3",
        "days_4_10",
        "days_11",
        "mean",
        "median",
        "suppressed",
    ];
    type Row<'t> = OfGroup<'t, Numbers>;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        let groups = self.groups.iter();
        let groups = groups.map(|group| (&group.key, numbers(&group.frequency)));
        by_group(groups, numbers(&self.total))
    }
}

fn numbers(frequency: &LoginFrequency) -> Numbers {
    let buckets = frequency.buckets.as_ref();
    Numbers {
        entitled: frequency.entitled,
        never: frequency.never,
        days_0: buckets.map(|buckets| buckets.none),
        days_1_3: buckets.map(|buckets| buckets.few),
        days_4_10: buckets.map(|buckets| buckets.some),
        days_11: buckets.map(|buckets| buckets.many),
        mean: frequency.mean,
        median: frequency.median,
        suppressed: frequency.suppressed,
    }
}
