//! `GET /api/v1/systems/{system}/logins`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{ByParams, Parameters, WindowParams};
use crate::measure::logins::{self, Logins, Request};
use crate::measure::{Choice, Dimension};

/// Login frequency: working days with a successful login, per entitled person.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/logins",
    tag = "adoption",
    params(("system" = String, Path), WindowParams, ByParams),
    responses(
        (status = 200, body = Logins),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_logins(State(app): State<App>, Path(system): Path<String>, uri: Uri) -> Result<Json<Logins>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let by = parameters.choice("by", Dimension::ALL)?.unwrap_or(Dimension::None);
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    let request = Request { system, window, by };
    Ok(Json(logins::ask(&app.reader, request).await?))
}
