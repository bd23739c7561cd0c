//! `DELETE /api/v1/users/{user}`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::Error;
use super::params::Parameters;
use crate::access::Caller;
use crate::erase;
use crate::store::erasure::Erased;

/// Erases a person: removes what leads to them, keeps what was counted. `user` is the id that the observed system knows them by. Takes some
/// seconds; may be repeated. For the role `privacy`.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{user}",
    tag = "users",
    params(("user" = String, Path, description = "The id of the user, percent-encoded")),
    responses((
        status = 200,
        body = Erased,
        example = json!({"found": 1, "unknown": 0, "events": 1204, "user_days": 310, "roster_rows": 1, "trainings": 1})
    ))
)]
pub async fn delete_user(
    State(app): State<App>,
    caller: Caller,
    user: Result<Path<String>, axum::extract::rejection::PathRejection>,
    uri: Uri,
) -> Result<Json<Erased>, Error> {
    Parameters::of(&uri)?.finish()?;
    let user = user.map(|Path(user)| user).unwrap_or_default();
    if user.is_empty() || user.chars().count() > 256 {
        return Err(Error::parameter("user", user, "1 to 256 characters"));
    }
    let users = [app.pseudonymizer().await?.pseudonym(&user)];
    // Goes on when the client goes away: an erasure that was begun is to end.
    let erasing = tokio::spawn(async move { erase::audited(&app.store, &app.eraser, caller.into(), &users).await });
    let erased = erasing.await.map_err(|error| Error::Internal(error.into()))??;
    Ok(Json(erased))
}
