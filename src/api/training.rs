//! `PUT` and `GET /api/v1/systems/{system}/training`

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use jiff::ToSpan;
use serde::Serialize;

use super::App;
use super::error::Error;
use super::params::{Parameters, SystemParam, SystemPath, WindowParams};
use super::reply::Reply;
use super::systems::{new_system_name, table_format};
use super::table::{Table, Text};
use crate::access::Caller;
use crate::access::audit::{self, Action};
use crate::measure::training::{self, Training, TrainingEffect};
use crate::training::{Trainings, TrainingsImported};

/// Who was trained on which day: CSV with the columns user_id and trained_on, or JSON with them as keys. Replaces the trainings in force;
/// imported whole or not at all.
#[utoipa::path(
    put,
    path = "/api/v1/systems/{system}/training",
    tag = "systems",
    params(SystemParam),
    request_body(content((String = "text/csv"), (Vec<std::collections::BTreeMap<String, String>> = "application/json"))),
    responses((
        status = 200,
        body = TrainingsImported,
        example = json!({"system": "erp", "version": 1795444391624083_u64, "changed": true, "users": 64})
    ))
)]
pub async fn put_training(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<TrainingsImported>, Error> {
    Parameters::of(&uri)?.finish()?;
    let name = new_system_name(system)?;
    let format = table_format(&headers)?;
    let text = app.text(body)?;
    let pseudonymizer = app.pseudonymizer().await?.clone();
    // As with a roster: not on a core that answers requests.
    let parsed = tokio::task::spawn_blocking(move || Trainings::parse(&text, format, "the body", &pseudonymizer));
    let trainings = parsed.await.map_err(|error| Error::Internal(error.into()))??;
    let trainings = trainings.after_erasures(&app.store.tombstones().await?, &app.pseudonymizer);
    let change = app.store.import_trainings(&name, &trainings);
    let imported = audit::record(&app.store, caller.into(), (Action::ImportTrainings, &name), change).await?;
    Ok(Json(imported))
}

const FEW_TRAINED: &str =
    "an effect is told where enough people were trained, and the difference of two answers would tell of fewer";

/// Training effect: what the trainings held in the window changed, compared with those not yet trained. Without parameters the window are the
/// last 28 days of which 28 days have passed since.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/training",
    tag = "users",
    params(SystemParam, WindowParams),
    responses((
        status = 200,
        body = Training,
        example = json!({
            "system": "erp", "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"}, "trainings": 64,
            "roles": [{
                "role": "clerk", "trained": 60, "trained_change": 0.18, "untrained_change": 0.02, "effect": 0.16,
                "interval": {"low": 0.09, "high": 0.23}, "suppressed": false
            }],
            "total": {
                "trained": 60, "trained_change": 0.18, "untrained_change": 0.02, "effect": 0.16,
                "interval": {"low": 0.09, "high": 0.23}, "suppressed": false
            },
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_training(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    parameters.refuse_filter(FEW_TRAINED)?;
    let system = app.system(system).await?;
    let mut judged = system.clone();
    judged.yesterday = system.yesterday.saturating_sub(28.days());
    let window = parameters.window(&judged, app.retention.user_months)?;
    parameters.finish()?;
    reply.table(&training::ask(&app.reader, system, window).await?)
}

#[derive(Serialize)]
pub struct Row<'t> {
    role: Option<Text<'t>>,
    is_total: bool,
    trained: Option<u64>,
    trained_change: Option<f64>,
    untrained_change: Option<f64>,
    effect: Option<f64>,
    interval_low: Option<f64>,
    interval_high: Option<f64>,
    suppressed: bool,
}

impl Table for Training {
    const COLUMNS: &'static [&'static str] = &[
        "role",
        "is_total",
        "trained",
        "trained_change",
        "untrained_change",
        "effect",
        "interval_low",
        "interval_high",
        "suppressed",
    ];
    type Row<'t> = Row<'t>;

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let roles = self.roles.iter().map(|of| row(Some(&of.role), &of.effect));
        roles.chain([row(None, &self.total)])
    }
}

fn row<'t>(role: Option<&'t str>, effect: &TrainingEffect) -> Row<'t> {
    Row {
        role: role.map(Text),
        is_total: role.is_none(),
        trained: effect.trained,
        trained_change: effect.trained_change,
        untrained_change: effect.untrained_change,
        effect: effect.effect,
        interval_low: effect.interval.map(|interval| interval.low),
        interval_high: effect.interval.map(|interval| interval.high),
        suppressed: effect.suppressed,
    }
}
