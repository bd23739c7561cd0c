//! The description of the API: `/openapi.json`, and `/docs` for people. Nothing is loaded from another host.

use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type};
use utoipa::{Modify, openapi};
use utoipa_swagger_ui::SwaggerUi;

use super::alerts::Alerts;
use super::audit::AuditLog;
use super::error::{PROBLEM, ProblemDetails};
use super::systems::SystemList;
use super::table::Table;
use super::targets::Targets;
use crate::measure::adoption::Adoption;
use crate::measure::champions::{ChampionUsers, Champions};
use crate::measure::features::Features;
use crate::measure::funnels::Funnel;
use crate::measure::heatmap::{FeatureHeatmap, HourHeatmap};
use crate::measure::issues::Issues;
use crate::measure::lifecycle::{Lifecycle, Users};
use crate::measure::logins::Logins;
use crate::measure::paths::Paths;
use crate::measure::phases::Phases;
use crate::measure::rejects::Rejects;
use crate::measure::retention::Retention;
use crate::measure::revisions::Revisions;
use crate::measure::satisfaction::Satisfaction;
use crate::measure::stickiness::Stickiness;
use crate::measure::training::Training;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Uptake",
        description = "Is enterprise software really used after go-live? Every rate comes with its numerator and denominator, \
            groups that are too small are suppressed, and every answer says how far its data can be trusted.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemDetails)),
    security((), ("token" = [])),
    modifiers(&BearerToken)
)]
pub struct Description;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, description: &mut openapi::OpenApi) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        description
            .components
            .get_or_insert_default()
            .add_security_scheme("token", bearer);
    }
}

/// The answers that are tables, with their columns in CSV.
const TABLES: [(&str, &[&str]); 23] = [
    ("/api/v1/audit", AuditLog::COLUMNS),
    ("/api/v1/systems", SystemList::COLUMNS),
    ("/api/v1/systems/{system}/adoption", Adoption::COLUMNS),
    ("/api/v1/systems/{system}/logins", Logins::COLUMNS),
    ("/api/v1/systems/{system}/stickiness", Stickiness::COLUMNS),
    ("/api/v1/systems/{system}/lifecycle", Lifecycle::COLUMNS),
    ("/api/v1/systems/{system}/users", Users::COLUMNS),
    ("/api/v1/systems/{system}/retention", Retention::COLUMNS),
    ("/api/v1/systems/{system}/champions", Champions::COLUMNS),
    ("/api/v1/systems/{system}/champions/users", ChampionUsers::COLUMNS),
    ("/api/v1/systems/{system}/features", Features::COLUMNS),
    ("/api/v1/systems/{system}/heatmap/hours", HourHeatmap::COLUMNS),
    ("/api/v1/systems/{system}/heatmap/features", FeatureHeatmap::COLUMNS),
    ("/api/v1/systems/{system}/funnels", Funnel::COLUMNS),
    ("/api/v1/systems/{system}/paths", Paths::COLUMNS),
    ("/api/v1/systems/{system}/phases", Phases::COLUMNS),
    ("/api/v1/systems/{system}/satisfaction", Satisfaction::COLUMNS),
    ("/api/v1/systems/{system}/issues", Issues::COLUMNS),
    ("/api/v1/systems/{system}/training", Training::COLUMNS),
    ("/api/v1/systems/{system}/revisions", Revisions::COLUMNS),
    ("/api/v1/systems/{system}/rejects", Rejects::COLUMNS),
    ("/api/v1/systems/{system}/targets", Targets::COLUMNS),
    ("/api/v1/systems/{system}/alerts", Alerts::COLUMNS),
];

/// Whether an operation has a trait that refusals depend on.
type Trait = fn(&Operation) -> bool;

/// What may be answered instead, to which operations.
const REFUSALS: [(&str, &str, Trait); 10] = [
    ("400", "The body cannot be read", takes_body),
    ("401", "No token, or none that is known", |_| true),
    ("403", "The role or a restriction does not allow it", |_| true),
    ("404", "There is no such system", is_about_a_system),
    ("406", "There is no format that `Accept` wants", is_question),
    ("413", "The body is too large", takes_body),
    ("415", "The body is of another type", takes_body),
    ("422", "`errors` says what is wrong and what was expected", |_| true),
    (
        "429",
        "Too many requests: come again after `Retry-After` seconds",
        |_| true,
    ),
    ("503", "What is needed for the answer does not answer in time", |_| true),
];

fn is_about_a_system(operation: &Operation) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == "system"))
}

fn takes_body(operation: &Operation) -> bool {
    operation.request_body.is_some()
}

fn is_question(operation: &Operation) -> bool {
    !takes_body(operation)
}

/// Adds to every operation what all have in common, so that no handler can forget it.
pub fn complete(mut description: openapi::OpenApi) -> openapi::OpenApi {
    for (path, item) in &mut description.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let missing = REFUSALS.iter().filter(|(.., applies)| applies(operation));
            let missing: Vec<_> = missing.map(|(status, why, _)| (*status, *why)).collect();
            for (status, why) in missing {
                let responses = &mut operation.responses.responses;
                responses
                    .entry(status.to_owned())
                    .or_insert_with(|| RefOr::T(refusal(status, why)));
            }
            if is_question(operation) {
                describe_tags(operation);
                if let Some((_, columns)) = TABLES.iter().find(|(table, _)| table == path) {
                    describe_table(operation, columns);
                }
            }
        }
    }
    description
}

fn refusal(status: &str, why: &str) -> Response {
    let problem = Ref::from_schema_name("ProblemDetails");
    let response = ResponseBuilder::new()
        .description(why)
        .content(PROBLEM, Content::new(Some(problem)));
    let response = match status {
        "429" | "503" => response.header("Retry-After", seconds()),
        _ => response,
    };
    response.build()
}

fn seconds() -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::Integer).build());
    header.description = Some("Seconds".to_owned());
    header
}

fn describe_tags(operation: &mut Operation) {
    let mut tag = Header::default();
    tag.description = Some("For `If-None-Match`: an equal tag means an equal answer".to_owned());
    if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
        answer.headers.insert("ETag".to_owned(), RefOr::T(tag));
    }
    let known = ResponseBuilder::new().description("The answer is the one that `If-None-Match` names");
    operation
        .responses
        .responses
        .insert("304".to_owned(), RefOr::T(known.build()));
}

fn describe_table(operation: &mut Operation, columns: &[&str]) {
    let mut text = Content::new(Some(ObjectBuilder::new().schema_type(Type::String).build()));
    text.example = Some(format!("{}\n", columns.join(",")).into());
    if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
        answer.content.insert("text/csv".to_owned(), RefOr::T(text));
    }
}

/// `/docs` and `/openapi.json`.
pub fn pages(description: openapi::OpenApi) -> SwaggerUi {
    SwaggerUi::new("/docs").url("/openapi.json", description)
}
