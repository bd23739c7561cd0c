//! `PUT` and `GET /api/v1/systems/{system}/training`

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use jiff::ToSpan;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, WindowParams};
use super::systems::{new_system_name, table_format};
use crate::measure::training::{self, Training};
use crate::training::{Trainings, TrainingsImported};

/// Who was trained on which day: CSV with the columns user_id and trained_on, or JSON with them as keys. Replaces the trainings in force;
/// imported whole or not at all.
#[utoipa::path(
    put,
    path = "/api/v1/systems/{system}/training",
    tag = "systems",
    params(("system" = String, Path)),
    request_body(content((String = "text/csv"), (Vec<std::collections::BTreeMap<String, String>> = "application/json"))),
    responses(
        (status = 200, body = TrainingsImported),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn put_training(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<TrainingsImported>, Error> {
    Parameters::of(&uri)?.finish()?;
    let name = new_system_name(system)?;
    let format = table_format(&headers)?;
    let text = app.text(body)?;
    let pseudonymizer = app.pseudonymizer.clone();
    // As with a roster: not on a core that answers requests.
    let parsed = tokio::task::spawn_blocking(move || Trainings::parse(&text, format, "the body", &pseudonymizer));
    let trainings = parsed.await.map_err(|error| Error::Internal(error.into()))??;
    Ok(Json(app.store.import_trainings(&name, &trainings).await?))
}

/// Training effect: what the trainings held in the window changed, compared with those not yet trained. Without parameters the window are the
/// last 28 days of which 28 days have passed since.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/training",
    tag = "users",
    params(("system" = String, Path), WindowParams),
    responses(
        (status = 200, body = Training),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_training(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Training>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let mut judged = system.clone();
    judged.yesterday = system.yesterday.saturating_sub(28.days());
    let window = parameters.window(&judged, app.retention.user_months)?;
    parameters.finish()?;
    Ok(Json(training::ask(&app.reader, system, window).await?))
}
