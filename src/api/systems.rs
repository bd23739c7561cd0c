//! `GET /api/v1/systems`, `GET` and `PUT /api/v1/systems/{system}`, `PUT /api/v1/systems/{system}/roster`

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::error::Error;
use super::params::{Parameters, SystemParam, SystemPath, system_name};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::access::Caller;
use crate::access::audit::{self, Action};
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

#[derive(Serialize)]
pub struct Row<'t> {
    system: &'t str,
    name: Text<'t>,
    timezone: &'t str,
    version: u64,
    applied_at: Timestamp,
}

impl Table for SystemList {
    const COLUMNS: &'static [&'static str] = &["system", "name", "timezone", "version", "applied_at"];
    type Row<'t> = Row<'t>;

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.systems.iter().map(|system| Row {
            system: &system.system,
            name: Text(&system.name),
            timezone: &system.timezone,
            version: system.version,
            applied_at: system.applied_at,
        })
    }
}

/// The defined systems, as far as the caller may ask about them.
#[utoipa::path(
    get,
    path = "/api/v1/systems",
    tag = "systems",
    responses((
        status = 200,
        body = SystemList,
        example = json!({
            "systems": [{
                "system": "erp", "name": "Corporate ERP", "timezone": "Asia/Shanghai", "version": 1795444390272345_u64,
                "applied_at": "2026-11-23T14:33:10.272Z"
            }]
        })
    ))
)]
pub async fn get_systems(State(app): State<App>, caller: Caller, uri: Uri, reply: Reply) -> Result<Response, Error> {
    Parameters::of(&uri)?.finish()?;
    let systems = app.store.systems().await?;
    let allowed = systems.iter().filter(|system| caller.systems.allows(&system.system));
    reply.table(&SystemList {
        systems: allowed.map(SystemSummary::of).collect(),
    })
}

/// A system and its definition in force.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}",
    tag = "systems",
    params(SystemParam),
    responses((
        status = 200,
        body = SystemDetail,
        example = json!({
            "system": "erp", "name": "Corporate ERP", "timezone": "Asia/Shanghai", "version": 1795444390272345_u64,
            "applied_at": "2026-11-23T14:33:10.272Z",
            "definition": {
                "system": "erp", "name": "Corporate ERP", "timezone": "Asia/Shanghai",
                "calendar": {"weekdays": ["mon", "tue", "wed", "thu", "fri"], "week_start": "mon", "holidays": ["2026-10-01"],
                    "extra_working_days": ["2026-10-10"]},
                "phases": [{"id": "pilot", "name": "Pilot", "go_live": "2026-01-05", "kpi_met": true}],
                "features": [{"key": "finance.invoice.approve", "title": "Approve invoice", "released": "2026-01-05",
                    "roles": ["approver"], "cadence": "daily"}],
                "targets": [{"id": "activity-80", "metric": "adoption_rate", "by": "phase", "target": 0.8, "due_days": 90,
                    "breach_days": 5}]
            }
        })
    ))
)]
pub async fn get_system(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    Parameters::of(&uri)?.finish()?;
    let name = system_name(system)?;
    let system = app.store.system(&name).await?.ok_or(Error::UnknownSystem(name))?;
    reply.document(&SystemDetail {
        summary: SystemSummary::of(&system),
        definition: system.parsed()?,
    })
}

/// Defines a system, or changes its definition. Applied whole or not at all.
#[utoipa::path(
    put,
    path = "/api/v1/systems/{system}",
    tag = "systems",
    params(SystemParam),
    request_body(content((Definition = "application/json"), (String = "application/yaml"))),
    responses((
        status = 200,
        body = Applied,
        example = json!({
            "system": "erp", "version": 1795444390272345_u64, "changed": true,
            "changes": ["time zone Asia/Shanghai -> Europe/Berlin"]
        })
    ))
)]
pub async fn put_system(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
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
    let change = app.store.apply_definition(&definition);
    let applied = audit::record(&app.store, caller.into(), (Action::DefineSystem, &name), change).await;
    app.reader.forget_systems();
    Ok(Json(applied?))
}

/// Replaces the roster of a system; the body holds the rows of the past too. Imported whole or not at all.
#[utoipa::path(
    put,
    path = "/api/v1/systems/{system}/roster",
    tag = "systems",
    params(SystemParam),
    request_body(content((String = "text/csv"), (Vec<std::collections::BTreeMap<String, String>> = "application/json"))),
    responses((
        status = 200,
        body = Imported,
        example = json!({"system": "erp", "version": 1795444391624083_u64, "changed": true, "rows": 5, "users": 4})
    ))
)]
pub async fn put_roster(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
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
    let pseudonymizer = app.pseudonymizer().await?.clone();
    let parsed = tokio::task::spawn_blocking(move || {
        let context = Context {
            pseudonymizer: &pseudonymizer,
            phases: phases.as_deref(),
        };
        Roster::parse(&text, format, "the body", &context)
    });
    let roster = parsed.await.map_err(|error| Error::Internal(error.into()))??;
    let roster = roster.after_erasures(&app.store.tombstones().await?, &app.pseudonymizer);
    let change = app.store.import_roster(&name, &roster);
    let imported = audit::record(&app.store, caller.into(), (Action::ImportRoster, &name), change).await;
    app.reader.forget_systems();
    Ok(Json(imported?))
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
