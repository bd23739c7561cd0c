//! `GET /api/v1/systems/{system}/adoption`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::IntoParams;

use super::App;
use super::error::Error;
use super::params::{ByParams, FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown, word};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::access::Caller;
use crate::measure::adoption::{self, Adoption, Group, Measure, Request, Total};
use crate::measure::{Choice, Dimension, Grain};

/// Documents what [`get_adoption`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct AdoptionParams {
    /// Who counts as active: by feature clicks (`active`, the default) or by successful logins.
    #[param(schema_with = word::<Measure>)]
    measure: Option<String>,
    /// The answer then has `periods` too.
    #[param(schema_with = word::<Grain>)]
    grain: Option<String>,
}

/// Adoption: the share of the entitled persons who were active.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/adoption",
    tag = "adoption",
    params(SystemParam, WindowParams, ByParams, FilterParams, AdoptionParams),
    responses((
        status = 200,
        body = Adoption,
        example = json!({
            "system": "erp", "measure": "active", "by": "unit", "grain": null,
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "groups": [
                {"unit": "Legal", "entitled": null, "active": null, "rate": null, "unentitled_active": null, "suppressed": true},
                {"unit": "Sales", "entitled": 412, "active": 371, "rate": 0.9005, "unentitled_active": null, "suppressed": false}
            ],
            "total": {"entitled": 2010, "active": 1720, "rate": 0.8557, "unentitled_active": 9, "suppressed": false},
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_adoption(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let cut = parameters.cut(Dimension::ALL)?;
    let measure = parameters.choice("measure", Measure::ALL)?.unwrap_or(Measure::Active);
    let grain = parameters.choice("grain", Grain::ALL)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &cut.filter).await?;
    let request = Request {
        system,
        window,
        cut,
        measure,
        grain,
    };
    reply.table(&adoption::ask(&app.reader, request).await?)
}

/// A group or the total, in the window or, where a grain was asked for, in one of its periods.
#[derive(Serialize)]
pub struct Row<'t> {
    from: Date,
    to: Date,
    group: Option<Text<'t>>,
    is_total: bool,
    entitled: Option<u64>,
    active: Option<u64>,
    rate: Option<f64>,
    unentitled_active: Option<u64>,
    suppressed: bool,
}

impl Table for Adoption {
    const COLUMNS: &'static [&'static str] = &[
        "from",
        "to",
        "group",
        "is_total",
        "entitled",
        "active",
        "rate",
        "unentitled_active",
        "suppressed",
    ];
    type Row<'t> = Row<'t>;

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let whole = (self.window.from, self.window.to, &self.groups, &self.total);
        let periods = self.periods.iter().flatten();
        let periods = periods.map(|period| (period.from, period.to, &period.groups, &period.total));
        let whole = self.periods.is_none().then_some(whole);
        let parts = whole.into_iter().chain(periods);
        parts.flat_map(|(from, to, groups, total)| rows(from, to, groups, total))
    }
}

fn rows<'t>(from: Date, to: Date, groups: &'t [Group], total: &'t Total) -> impl Iterator<Item = Row<'t>> {
    let group = move |group: &'t Group| Row {
        from,
        to,
        group: group.key.name().map(Text),
        is_total: false,
        entitled: group.entitled,
        active: group.active,
        rate: group.rate,
        unentitled_active: group.unentitled_active,
        suppressed: group.suppressed,
    };
    let total = Row {
        from,
        to,
        group: None,
        is_total: true,
        entitled: total.entitled,
        active: total.active,
        rate: total.rate,
        unentitled_active: total.unentitled_active,
        suppressed: total.suppressed,
    };
    groups.iter().map(group).chain([total])
}
