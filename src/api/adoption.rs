//! `GET /api/v1/systems/{system}/adoption`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use utoipa::IntoParams;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, WindowParams};
use crate::measure::adoption::{self, Adoption, Measure, Request};
use crate::measure::{Choice, Dimension, Grain};

/// Documents what [`get_adoption`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct AdoptionParams {
    /// `none` (default), `unit`, `role`, `tier`, `site` or `phase`.
    by: Option<String>,
    /// `active` (default: feature clicks) or `login`.
    measure: Option<String>,
    /// `day`, `week` or `month`: the answer then has `periods` too.
    grain: Option<String>,
}

/// Adoption: the share of the entitled persons who were active.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/adoption",
    tag = "adoption",
    params(("system" = String, Path), WindowParams, AdoptionParams),
    responses(
        (status = 200, body = Adoption),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_adoption(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Adoption>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let by = parameters.choice("by", Dimension::ALL)?.unwrap_or(Dimension::None);
    let measure = parameters.choice("measure", Measure::ALL)?.unwrap_or(Measure::Active);
    let grain = parameters.choice("grain", Grain::ALL)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    let request = Request {
        system,
        window,
        by,
        measure,
        grain,
    };
    Ok(Json(adoption::ask(&app.reader, request).await?))
}
