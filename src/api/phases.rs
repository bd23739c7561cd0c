//! `GET /api/v1/systems/{system}/phases` and `…/phases/{phase}/gate`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::ToSpan;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::IntoParams;

use super::App;
use super::error::Error;
use super::params::{FeaturePath, FilterParams, Parameters, SystemParam, SystemPath, refuse_unknown, word};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::access::Caller;
use crate::definition::Definition;
use crate::measure::adoption::Measure;
use crate::measure::gate::{self, Gate};
use crate::measure::phases::{self, Phases};
use crate::measure::{Choice, Frame, SystemContext, Window};

/// How many phases an error lists.
const LISTED: usize = 20;

/// Documents what [`get_phases`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct PhasesParams {
    /// Who counts as active: by feature clicks (`active`, the default) or by successful logins.
    #[param(schema_with = word::<Measure>)]
    measure: Option<String>,
    /// How many days from go-live on, 1 to 400. Default: 180.
    #[param(minimum = 1, maximum = 400)]
    days: Option<u16>,
    /// The last local day that is told. Default: yesterday in the system's time zone.
    #[param(value_type = Option<String>, format = Date)]
    on: Option<String>,
}

/// Documents the phase in a path and what [`get_gate`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct PhaseParam {
    /// The id of the phase.
    #[param(example = "pilot")]
    phase: String,
}

/// Documents what [`get_gate`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct GateParams {
    /// The last local day of the window. Default: yesterday in the system's time zone.
    #[param(value_type = Option<String>, format = Date)]
    on: Option<String>,
}

/// Phase comparison: adoption on each day since a phase's own go-live.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/phases",
    tag = "phases",
    params(SystemParam, PhasesParams, FilterParams),
    responses((
        status = 200,
        body = Phases,
        example = json!({
            "system": "erp", "measure": "active", "timezone": "Asia/Shanghai",
            "phases": [{
                "phase": "pilot", "name": "Pilot", "go_live": "2026-01-05",
                "days": [{
                    "day": 0, "from": "2026-01-05", "to": "2026-01-06", "entitled": 40, "active": 10, "rate": 0.25,
                    "expected_rate": 0.0, "suppressed": false
                }]
            }],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_phases(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let measure = parameters.choice("measure", Measure::ALL)?.unwrap_or(Measure::Active);
    let days = parameters.take("days").map_or(Ok(180), read_days)?;
    let on = parameters.date("on")?;
    let filter = parameters.filter();
    parameters.finish()?;
    let system = app.system(system).await?;
    refuse_unknown(&app, &caller, &system, &filter).await?;
    let definition = definition(&app, &system).await?;
    let request = phases::Request {
        until: on.unwrap_or(system.yesterday).saturating_add(1.day()),
        kept_from: system
            .yesterday
            .saturating_sub(i64::from(app.retention.user_months).months()),
        system,
        definition,
        measure,
        days,
        filter,
    };
    reply.table(&phases::ask(&app.reader, request).await?)
}

/// The gate of a phase: pass, fail or undecided, with each criterion.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/phases/{phase}/gate",
    tag = "phases",
    params(SystemParam, PhaseParam, GateParams),
    responses((
        status = 200,
        body = Gate,
        example = json!({
            "system": "erp", "phase": "pilot", "name": "Pilot", "go_live": "2026-01-05",
            "window": {"from": "2026-10-04", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "verdict": "undecided",
            "criteria": [
                {"criterion": "activity", "verdict": "pass", "value": 0.9005, "threshold": 0.8, "reason": null},
                {"criterion": "satisfaction", "verdict": "undecided", "value": null, "threshold": 0.85,
                    "reason": "7 answers: expected at least 10"},
                {"criterion": "kpi", "verdict": "pass", "value": 1.0, "threshold": 1.0, "reason": null},
                {"criterion": "completeness", "verdict": "pass", "value": 0.998, "threshold": 0.98, "reason": null}
            ],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_gate(
    State(app): State<App>,
    FeaturePath(system, phase): FeaturePath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let on = parameters.date("on")?;
    parameters.finish()?;
    let system = app.system(system).await?;
    let definition = definition(&app, &system).await?;
    let ids: Vec<_> = definition
        .phases
        .iter()
        .take(LISTED)
        .map(|phase| phase.id.as_str())
        .collect();
    let expected = || format!("a phase of the definition: {}", ids.join(", "));
    let found = definition.phases.iter().find(|known| known.id == phase);
    let phase = found
        .ok_or_else(|| Error::parameter("phase", &phase, expected()))?
        .clone();
    let mut window = Window::around(on.unwrap_or(system.yesterday), Frame::Last28d, system.week_start);
    if phase.go_live < window.to {
        window.from = window.from.max(phase.go_live);
    }
    let window = super::params::kept_raw(window, &system, &app.retention)?;
    let request = gate::Request { system, phase, window };
    reply.document(&gate::ask(&app.reader, request).await?)
}

async fn definition(app: &App, system: &SystemContext) -> Result<Definition, Error> {
    match app.store.system(&system.name).await? {
        Some(stored) => Ok(stored.parsed()?),
        None => Err(Error::UnknownSystem(system.name.clone())),
    }
}

fn read_days(text: String) -> Result<u16, Error> {
    let days = text.parse().ok().filter(|days| (1..=400).contains(days));
    days.ok_or_else(|| Error::parameter("days", text, "a whole number from 1 to 400"))
}

/// A day of a phase.
#[derive(Serialize)]
pub struct Row<'t> {
    phase: Text<'t>,
    name: Text<'t>,
    go_live: Date,
    day: u16,
    from: Date,
    to: Date,
    entitled: Option<u64>,
    active: Option<u64>,
    rate: Option<f64>,
    expected_rate: f64,
    suppressed: bool,
}

impl Table for Phases {
    const COLUMNS: &'static [&'static str] = &[
        "phase",
        "name",
        "go_live",
        "day",
        "from",
        "to",
        "entitled",
        "active",
        "rate",
        "expected_rate",
        "suppressed",
    ];
    type Row<'t> = Row<'t>;

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.phases.iter().flat_map(|curve| {
            curve.days.iter().map(|day| Row {
                phase: Text(&curve.phase),
                name: Text(&curve.name),
                go_live: curve.go_live,
                day: day.day,
                from: day.from,
                to: day.to,
                entitled: day.entitled,
                active: day.active,
                rate: day.rate,
                expected_rate: day.expected_rate,
                suppressed: day.suppressed,
            })
        })
    }
}
