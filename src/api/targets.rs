//! `GET /api/v1/systems/{system}/targets`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::error::Error;
use super::params::{Parameters, SystemParam, SystemPath, day, system_name};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::definition::Definition;
use crate::measure::targets::{self as standings, Standing};
use crate::measure::window::date_of;
use crate::measure::{Choice, Dimension};
use crate::targets::state::{Reason, State as TargetState};
use crate::targets::{self, Evaluation};

/// Documents what [`get_targets`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct AsOfParams {
    /// A local day: where the targets stood after it. Default: yesterday in the system's time zone.
    #[param(schema_with = day)]
    on: Option<String>,
}

/// Where the targets of a system stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct Targets {
    pub system: String,
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// One for each target that the definition has and each of its groups, as of the last working day until `on` that was evaluated.
    pub targets: Vec<TargetStanding>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TargetStanding {
    pub target: String,
    pub metric: String,
    pub by: String,
    /// The name of the unit, role, tier, site or phase; null where the target is one for the whole system.
    pub group: Option<String>,
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    pub state: TargetState,
    /// The first day of `state`.
    #[schema(value_type = String, format = Date)]
    pub since: Date,
    /// Working days in a row below the ramp (`behind`) or clear of it (`recovering`).
    pub days: u32,
    pub reason: Reason,
    /// What the rate should be in the end, as the definition says.
    pub target_rate: f64,
    #[serde(flatten)]
    pub numbers: TargetNumbers,
}

/// All null while the target is undecided.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetNumbers {
    pub rate: Option<f64>,
    /// What the rate should be by then (M20).
    pub expected: Option<f64>,
    /// People whom the rate is about.
    pub eligible: Option<u64>,
    /// After a sudden drop: the rate of that day alone, and the median of the last four same weekdays.
    pub day_rate: Option<f64>,
    pub usual_rate: Option<f64>,
}

/// Where the targets stand, or stood after a day: state, rate, expected rate, and why. Evaluated once a day, after local midnight.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/targets",
    tag = "targets",
    params(SystemParam, AsOfParams),
    responses((
        status = 200,
        body = Targets,
        example = json!({
            "system": "erp", "evaluated_through": "2026-10-28", "complete": true, "incomplete_because": null, "next": "2026-10-29T17:00:00Z",
            "targets": [{
                "target": "units-active", "metric": "adoption_rate", "by": "unit", "group": "Sales", "day": "2026-10-28",
                "state": "behind", "since": "2026-10-26", "days": 3, "reason": "below_ramp", "target_rate": 0.75, "rate": 0.61, "expected": 0.7,
                "eligible": 412, "day_rate": null, "usual_rate": null
            }]
        })
    ))
)]
pub async fn get_targets(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let on = parameters.date("on")?;
    parameters.finish()?;
    let definition = app.definition(system).await?;
    let system = app.system(definition.system.clone()).await?;
    let on = on.unwrap_or(system.yesterday);
    let evaluation = targets::evaluation_of(&app.store, &definition, app.targets_grace_ms, Timestamp::now()).await?;
    let standings = standings::ask(&app.reader, &system, on).await?;
    reply.table(&Targets {
        system: system.name,
        evaluation,
        targets: standings.into_iter().map(TargetStanding::of).collect(),
    })
}

impl App {
    /// The definition in force of the system of a path.
    pub(super) async fn definition(&self, name: String) -> Result<Definition, Error> {
        let name = system_name(name)?;
        let system = self.store.system(&name).await?;
        Ok(system.ok_or(Error::UnknownSystem(name))?.parsed()?)
    }
}

impl TargetStanding {
    fn of(row: Standing) -> Self {
        Self {
            group: group(&row.dimension, row.group_name),
            target: row.target,
            metric: row.metric,
            by: row.dimension,
            day: date_of(row.day),
            state: state(&row.state),
            since: date_of(row.since),
            days: row.days,
            reason: reason(&row.reason),
            target_rate: row.target_rate,
            numbers: TargetNumbers {
                rate: row.rate,
                expected: row.expected,
                eligible: row.eligible,
                day_rate: row.day_rate,
                usual_rate: row.usual_rate,
            },
        }
    }
}

pub(super) fn group(dimension: &str, name: String) -> Option<String> {
    (dimension != Dimension::None.word()).then_some(name)
}

pub(super) fn state(word: &str) -> TargetState {
    TargetState::parse(word).unwrap_or(TargetState::Undecided)
}

pub(super) fn reason(word: &str) -> Reason {
    Reason::parse(word).unwrap_or(Reason::NothingToMeasure)
}

#[derive(Serialize)]
pub struct StandingRow<'t> {
    target: Text<'t>,
    metric: &'t str,
    by: &'t str,
    group: Option<Text<'t>>,
    day: Date,
    state: &'t str,
    since: Date,
    days: u32,
    reason: &'t str,
    rate: Option<f64>,
    expected: Option<f64>,
    eligible: Option<u64>,
    day_rate: Option<f64>,
    usual_rate: Option<f64>,
    target_rate: f64,
}

impl Table for Targets {
    const COLUMNS: &'static [&'static str] = &[
        "target",
        "metric",
        "by",
        "group",
        "day",
        "state",
        "since",
        "days",
        "reason",
        "rate",
        "expected",
        "eligible",
        "day_rate",
        "usual_rate",
        "target_rate",
    ];
    type Row<'t> = StandingRow<'t>;

    fn rows(&self) -> impl Iterator<Item = StandingRow<'_>> {
        self.targets.iter().map(|target| StandingRow {
            target: Text(&target.target),
            metric: &target.metric,
            by: &target.by,
            group: target.group.as_deref().map(Text),
            day: target.day,
            state: target.state.word(),
            since: target.since,
            days: target.days,
            reason: target.reason.word(),
            rate: target.numbers.rate,
            expected: target.numbers.expected,
            eligible: target.numbers.eligible,
            day_rate: target.numbers.day_rate,
            usual_rate: target.numbers.usual_rate,
            target_rate: target.target_rate,
        })
    }
}
