//! `GET /api/v1/systems/{system}/satisfaction` and `…/issues`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{ByParams, Parameters, WindowParams};
use crate::measure::issues::{self, Issues};
use crate::measure::satisfaction::{self, Request, Satisfaction};
use crate::measure::{Choice, Dimension};

/// Satisfaction: the share of good scores, and how many of the entitled gave one.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/satisfaction",
    tag = "feedback",
    params(("system" = String, Path), WindowParams, ByParams),
    responses(
        (status = 200, body = Satisfaction),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_satisfaction(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Satisfaction>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let by = parameters.choice("by", Dimension::ALL)?.unwrap_or(Dimension::None);
    let system = app.system(system).await?;
    let window = parameters.raw_window(&system, &app.retention)?;
    parameters.finish()?;
    let request = Request { system, window, by };
    Ok(Json(satisfaction::ask(&app.reader, request).await?))
}

/// Frequent issues: what users report, ranked by how many it concerns.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/issues",
    tag = "feedback",
    params(("system" = String, Path), WindowParams),
    responses(
        (status = 200, body = Issues),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_issues(State(app): State<App>, Path(system): Path<String>, uri: Uri) -> Result<Json<Issues>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.raw_window(&system, &app.retention)?;
    parameters.finish()?;
    Ok(Json(issues::ask(&app.reader, system, window).await?))
}
