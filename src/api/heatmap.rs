//! `GET /api/v1/systems/{system}/heatmap/hours` and `…/heatmap/features`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use utoipa::IntoParams;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, WindowParams};
use crate::measure::Dimension;
use crate::measure::heatmap::{self, FeatureHeatmap, HourHeatmap};

/// Documents what [`get_feature_heatmap`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct FeatureHeatmapParams {
    /// `unit` (default) or `role`.
    by: Option<String>,
}

/// Hour of the week: when features are clicked, in the system's time zone.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/heatmap/hours",
    tag = "heatmaps",
    params(("system" = String, Path), WindowParams),
    responses(
        (status = 200, body = HourHeatmap),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_hour_heatmap(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<HourHeatmap>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.aggregate_months)?;
    parameters.finish()?;
    let answer = heatmap::ask_hours(&app.reader, system, window, app.retention.user_months).await?;
    Ok(Json(answer))
}

/// Feature × unit or role: who uses what, beside what is expected of them.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/heatmap/features",
    tag = "heatmaps",
    params(("system" = String, Path), WindowParams, FeatureHeatmapParams),
    responses(
        (status = 200, body = FeatureHeatmap),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_feature_heatmap(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<FeatureHeatmap>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let by = parameters.choice("by", &[Dimension::Unit, Dimension::Role])?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    let answer = heatmap::ask_features(&app.reader, system, window, by.unwrap_or(Dimension::Unit)).await?;
    Ok(Json(answer))
}
