//! `GET /api/v1/systems`, `GET` and `PUT /api/v1/systems/{system}`, `PUT /api/v1/systems/{system}/roster`

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, system_name};
use crate::definition::{Applied, Definition};
use crate::error::{Problem, Problems};
use crate::roster::{Context, Format, Imported, Roster};
use crate::store::systems::System;

/// A defined system, in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct SystemSummary {
    pub system: String,
    pub name: String,
    pub timezone: String,
    /// The version of the definition in force.
    pub version: u64,
    #[schema(value_type = String, format = DateTime)]
    pub applied_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SystemList {
    /// By key.
    pub systems: Vec<SystemSummary>,
}

/// A defined system with its definition.
#[derive(Debug, Serialize, ToSchema)]
pub struct SystemDetail {
    #[serde(flatten)]
    pub summary: SystemSummary,
    pub definition: Definition,
}

impl SystemSummary {
    fn of(system: &System) -> Self {
        Self {
            system: system.system.clone(),
            name: system.name.clone(),
            timezone: system.zone.clone(),
            version: system.version,
            applied_at: Timestamp::from_millisecond(system.applied_at).unwrap_or_default(),
        }
    }
}

/// The defined systems.
#[utoipa::path(
    get,
    path = "/api/v1/systems",
    tag = "systems",
    responses(
        (status = 200, body = SystemList),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_systems(State(app): State<App>, uri: Uri) -> Result<Json<SystemList>, Error> {
    Parameters::of(&uri)?.finish()?;
    let systems = app.store.systems().await?;
    Ok(Json(SystemList {
        systems: systems.iter().map(SystemSummary::of).collect(),
    }))
}

/// A system and its definition in force.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}",
    tag = "systems",
    params(("system" = String, Path)),
    responses(
        (status = 200, body = SystemDetail),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_system(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<SystemDetail>, Error> {
    Parameters::of(&uri)?.finish()?;
    let name = system_name(system)?;
    let system = app.store.system(&name).await?.ok_or(Error::UnknownSystem(name))?;
    Ok(Json(SystemDetail {
        summary: SystemSummary::of(&system),
        definition: system.parsed()?,
    }))
}

/// Defines a system, or changes its definition. Applied whole or not at all.
#[utoipa::path(
    put,
    path = "/api/v1/systems/{system}",
    tag = "systems",
    params(("system" = String, Path)),
    request_body(content((Definition = "application/json"), (String = "application/yaml"))),
    responses(
        (status = 200, body = Applied),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn put_system(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Applied>, Error> {
    Parameters::of(&uri)?.finish()?;
    let name = new_system_name(system)?;
    let expected = "application/json or application/yaml";
    match media_type(&headers).as_str() {
        "application/json" | "application/yaml" | "application/x-yaml" | "text/yaml" => {}
        given => return Err(Error::unsupported(given, expected)),
    }
    let definition = Definition::parse(&app.text(body)?, "the body")?;
    if definition.system != name {
        return Err(Error::InvalidDocument(vec![Problem {
            place: "system".to_owned(),
            value: definition.system,
            expected: format!("{name}, as in the path"),
        }]));
    }
    Ok(Json(app.store.apply_definition(&definition).await?))
}

/// Replaces the roster of a system; the body holds the rows of the past too. Imported whole or not at all.
#[utoipa::path(
    put,
    path = "/api/v1/systems/{system}/roster",
    tag = "systems",
    params(("system" = String, Path)),
    request_body(content((String = "text/csv"), (Vec<std::collections::BTreeMap<String, String>> = "application/json"))),
    responses(
        (status = 200, body = Imported),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn put_roster(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Imported>, Error> {
    Parameters::of(&uri)?.finish()?;
    let name = new_system_name(system)?;
    let format = table_format(&headers)?;
    let text = app.text(body)?;
    let phases = match app.store.system(&name).await? {
        Some(system) => Some(system.phase_ids()?),
        None => None,
    };
    // A roster of a hundred thousand lines keeps a core busy for a while: not one of those that answer requests.
    let pseudonymizer = app.pseudonymizer.clone();
    let parsed = tokio::task::spawn_blocking(move || {
        let context = Context {
            pseudonymizer: &pseudonymizer,
            phases: phases.as_deref(),
        };
        Roster::parse(&text, format, "the body", &context)
    });
    let roster = parsed.await.map_err(|error| Error::Internal(error.into()))??;
    Ok(Json(app.store.import_roster(&name, &roster).await?))
}

/// The path of a system that may be about to be defined: a name that cannot be one is a mistake, not an unknown system.
pub(super) fn new_system_name(name: String) -> Result<String, Error> {
    system_name(name).map_err(|error| match error {
        Error::UnknownSystem(name) => Error::parameter("system", name, crate::definition::SYSTEM_NAME),
        other => other,
    })
}

/// How the table in a body is written.
pub(super) fn table_format(headers: &HeaderMap) -> Result<Format, Error> {
    match media_type(headers).as_str() {
        "text/csv" => Ok(Format::Csv),
        "application/json" => Ok(Format::Json),
        given => Err(Error::unsupported(given, "text/csv or application/json")),
    }
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// The body, unless it was too large or broke off.
pub(super) fn whole(body: Result<Bytes, BytesRejection>, limit_bytes: usize) -> Result<Bytes, Error> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::BodyTooLarge { limit_bytes },
        _ => Error::UnreadableBody("the body ended early".to_owned()),
    })
}

impl App {
    pub(super) fn text(&self, body: Result<Bytes, BytesRejection>) -> Result<String, Error> {
        let bytes = whole(body, self.max_body_bytes)?;
        String::from_utf8(bytes.into()).map_err(|error| {
            Error::UnreadableBody(format!(
                "the body is not UTF-8: byte {}",
                error.utf8_error().valid_up_to()
            ))
        })
    }
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::InvalidDocument(problems.list)
    }
}
