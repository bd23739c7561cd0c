//! `GET /api/v1/systems/{system}/lifecycle` and `…/users`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use utoipa::IntoParams;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{ByParams, ListParams, Parameters, listed, listed_day};
use crate::measure::lifecycle::{self, Lifecycle, State as LifecycleState, Users, UsersRequest};
use crate::measure::{Choice, Dimension};

/// Documents the day of [`get_lifecycle`] and [`get_users`].
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct OnParams {
    /// The local day. Default: yesterday in the system's time zone.
    #[param(value_type = Option<String>, format = Date)]
    on: Option<String>,
}

/// Documents what else [`get_users`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct StateParams {
    /// `never`, `new`, `returning`, `resurrected`, `at_risk` or `dormant`.
    state: String,
}

/// Lifecycle: how many of the entitled persons are new, back, slipping away or gone on a day.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/lifecycle",
    tag = "users",
    params(("system" = String, Path), OnParams, ByParams),
    responses(
        (status = 200, body = Lifecycle),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_lifecycle(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Lifecycle>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let by = parameters.choice("by", Dimension::ALL)?.unwrap_or(Dimension::None);
    let on = parameters.date("on")?;
    parameters.finish()?;
    let system = app.system(system).await?;
    let on = on.unwrap_or(system.yesterday);
    Ok(Json(lifecycle::ask(&app.reader, system, on, by).await?))
}

/// The pseudonyms of those who are in one state of their lifecycle on a day. Needs the role analyst.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/users",
    tag = "users",
    params(("system" = String, Path), StateParams, OnParams, ListParams),
    responses(
        (status = 200, body = Users),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_users(State(app): State<App>, Path(system): Path<String>, uri: Uri) -> Result<Json<Users>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let state = parameters.choice("state", LifecycleState::ALL)?;
    let on = parameters.date("on")?;
    let filter = parameters.filter()?;
    let page = parameters.page()?;
    parameters.finish()?;
    let state = state.ok_or_else(|| {
        Error::parameter(
            "state",
            "",
            "one of never, new, returning, resurrected, at_risk, dormant",
        )
    })?;
    let system = app.system(system).await?;
    let on = listed_day(&page, "on", on)?.unwrap_or(system.yesterday);
    let request = UsersRequest {
        system,
        state,
        on,
        filter: filter.clone(),
        page,
    };
    listed(lifecycle::ask_users(&app.reader, request).await?, &filter)
}
