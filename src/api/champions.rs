//! `GET /api/v1/systems/{system}/champions` and `…/champions/users`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use jiff::ToSpan;
use utoipa::IntoParams;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{ByParams, ListParams, Parameters, listed, listed_day};
use crate::measure::champions::{self, ChampionUsers, Champions, UsersRequest};
use crate::measure::{Choice, Dimension, Frame, SystemContext, Window};

/// Documents the month of [`get_champions`] and [`get_champion_users`].
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct MonthParams {
    /// The second of the two months. Default: the last one that is over in the system's time zone.
    #[param(example = "2026-10")]
    month: Option<String>,
}

/// Champions: how many use the system most often and most broadly, two months running.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/champions",
    tag = "users",
    params(("system" = String, Path), MonthParams, ByParams),
    responses(
        (status = 200, body = Champions),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_champions(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Champions>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let by = parameters.choice("by", Dimension::ALL)?.unwrap_or(Dimension::None);
    let month = parameters.month("month")?;
    parameters.finish()?;
    let system = app.system(system).await?;
    let month = month.unwrap_or_else(|| last_month(&system));
    Ok(Json(champions::ask(&app.reader, system, month, by).await?))
}

/// The pseudonyms of the champions of a month. Needs the role analyst.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/champions/users",
    tag = "users",
    params(("system" = String, Path), MonthParams, ListParams),
    responses(
        (status = 200, body = ChampionUsers),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_champion_users(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<ChampionUsers>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let month = parameters.month("month")?;
    let filter = parameters.filter()?;
    let page = parameters.page()?;
    parameters.finish()?;
    let system = app.system(system).await?;
    let month = match listed_day(&page, "month", month.map(|month| month.from))? {
        Some(first) => Window::around(first, Frame::Month, system.week_start),
        None => last_month(&system),
    };
    let request = UsersRequest {
        system,
        month,
        filter: filter.clone(),
        page,
    };
    listed(champions::ask_users(&app.reader, request).await?, &filter)
}

/// The last calendar month of which every day is over.
fn last_month(system: &SystemContext) -> Window {
    let today = system.yesterday.saturating_add(1.day());
    let before = today.first_of_month().saturating_sub(1.day());
    Window::around(before, Frame::Month, system.week_start)
}
