//! `GET /api/v1/systems/{system}/alerts`, `POST /api/v1/systems/{system}/alerts/{id}/acknowledgement`

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::error::Error;
use super::page::{self, Page, PageParams};
use super::params::{Parameters, SystemParam, SystemPath};
use super::reply::Reply;
use super::table::{Table, Text};
use super::targets::{TargetNumbers, group, reason, state};
use crate::access::Caller;
use crate::access::audit::{self, Action};
use crate::error::{Problem, told_json};
use crate::measure::window::date_of;
use crate::store::targets::{Acknowledgement, AlertRow};
use crate::targets::state::{Reason, State as TargetState};

/// The longest comment of an acknowledgement, in characters.
const LONGEST_COMMENT: usize = 2_000;

/// Changes of state.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alerts {
    pub system: String,
    /// Newest first.
    pub alerts: Vec<Alert>,
    /// The `cursor` of the next page; null where there is none.
    pub next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Alert {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The working day that changed the state.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    pub target: String,
    pub metric: String,
    pub by: String,
    pub group: Option<String>,
    pub state: TargetState,
    pub previous: TargetState,
    pub reason: Reason,
    #[serde(flatten)]
    pub numbers: TargetNumbers,
    /// The newest one.
    pub acknowledgement: Option<AcknowledgementNote>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AcknowledgementNote {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By what the person or program is known, e.g. `token ops`.
    pub who: String,
    pub comment: String,
}

/// What an acknowledgement says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAcknowledgement {
    /// 1 to 2,000 characters.
    #[schema(min_length = 1, max_length = 2000)]
    pub comment: String,
}

/// The history of the targets: every change of state, with its reason and numbers, and who has taken note of it.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/alerts",
    tag = "targets",
    params(SystemParam, PageParams),
    responses((
        status = 200,
        body = Alerts,
        headers(("Link" = String, description = "The next page, with `rel=\"next\"`")),
        example = json!({
            "system": "erp",
            "alerts": [{
                "id": "5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e", "day": "2026-10-26", "target": "units-active", "metric": "adoption_rate",
                "by": "unit", "group": "Sales", "state": "behind", "previous": "on_track", "reason": "below_ramp", "rate": 0.68,
                "expected": 0.69, "eligible": 412, "day_rate": null, "usual_rate": null,
                "acknowledgement": {"at": "2026-10-27T08:15:00Z", "who": "token ops", "comment": "training on Thursday"}
            }],
            "next": null
        })
    ))
)]
pub async fn get_alerts(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let page: Page<(u16, String)> = Page::of(&mut parameters)?;
    parameters.finish()?;
    let system = app.definition(system).await?.system;
    let rows = app.store.alerts(&system, page.after.as_ref(), page.needed()).await?;
    let (rows, next) = page.cut(rows, |row| (row.day, row.alert_id.clone()))?;
    let alerts = Alerts {
        system,
        alerts: rows.into_iter().map(Alert::of).collect(),
        next,
    };
    Ok(page::link(reply.table(&alerts)?, &uri, alerts.next.as_deref()))
}

/// Takes note of a change of state, with a comment. Needs the role admin. Changes no state, and ends no alert.
#[utoipa::path(
    post,
    path = "/api/v1/systems/{system}/alerts/{id}/acknowledgement",
    tag = "targets",
    params(SystemParam, ("id" = String, Path, description = "That of the alert", example = "5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e")),
    request_body(content = NewAcknowledgement, example = json!({"comment": "training on Thursday"})),
    responses((
        status = 200,
        body = AcknowledgementNote,
        example = json!({"at": "2026-10-27T08:15:00Z", "who": "token ops", "comment": "training on Thursday"})
    ))
)]
pub async fn post_acknowledgement(
    State(app): State<App>,
    caller: Caller,
    AlertPath(system, id): AlertPath,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AcknowledgementNote>, Error> {
    Parameters::of(&uri)?.finish()?;
    let system = app.definition(system).await?.system;
    if !app.store.has_alert(&system, &id).await? {
        return Err(Error::UnknownPath(uri.path().to_owned()));
    }
    let comment = comment(&app.text(body)?)?;
    let now = Timestamp::now();
    let note = AcknowledgementNote {
        at: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
        who: caller.who.to_string().trim_end().to_owned(),
        comment,
    };
    let stored = Acknowledgement {
        alert_id: id.clone(),
        system: system.clone(),
        at: now.as_millisecond(),
        who: note.who.clone(),
        comment: note.comment.clone(),
    };
    let change = async {
        app.store.acknowledge(&stored).await?;
        Ok(serde_json::json!({"alert": id, "comment": stored.comment}))
    };
    audit::record(&app.store, caller.into(), (Action::AcknowledgeAlert, &system), change).await?;
    Ok(Json(note))
}

/// What stands in a path in the places of a system and of one of its alerts.
pub struct AlertPath(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for AlertPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path((system, id))) => Ok(Self(system, id)),
            Err(_) => Err(Error::UnknownPath(parts.uri.path().to_owned())),
        }
    }
}

fn comment(body: &str) -> Result<String, Error> {
    let refused = |value: &str, expected: String| {
        Error::InvalidDocument(vec![Problem {
            place: "comment".to_owned(),
            value: value.chars().take(80).collect(),
            expected,
        }])
    };
    let new: NewAcknowledgement = serde_json::from_str(body).map_err(|error| {
        refused(
            body,
            format!("JSON such as {{\"comment\": \"…\"}} ({})", told_json(&error)),
        )
    })?;
    let comment = new.comment.trim();
    let is_text = |c: char| !c.is_control() || c == '\n';
    if (1..=LONGEST_COMMENT).contains(&comment.chars().count()) && comment.chars().all(is_text) {
        Ok(comment.to_owned())
    } else {
        let expected = format!("1 to {LONGEST_COMMENT} characters, no control characters");
        Err(refused(comment, expected))
    }
}

impl Alert {
    fn of(row: AlertRow) -> Self {
        let at = row.acknowledged_at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self {
            group: group(&row.dimension, row.group_name),
            id: row.alert_id,
            day: date_of(row.day),
            target: row.target,
            metric: row.metric,
            by: row.dimension,
            state: state(&row.state),
            previous: state(&row.previous),
            reason: reason(&row.reason),
            numbers: TargetNumbers {
                rate: row.rate,
                expected: row.expected,
                eligible: row.eligible,
                day_rate: row.day_value,
                usual_rate: row.usual_value,
            },
            acknowledgement: at.map(|at| AcknowledgementNote {
                at,
                who: row.acknowledged_by,
                comment: row.acknowledged_with,
            }),
        }
    }
}

#[derive(Serialize)]
pub struct AlertTableRow<'t> {
    id: &'t str,
    day: Date,
    target: Text<'t>,
    metric: &'t str,
    by: &'t str,
    group: Option<Text<'t>>,
    state: &'t str,
    previous: &'t str,
    reason: &'t str,
    rate: Option<f64>,
    expected: Option<f64>,
    eligible: Option<u64>,
    day_rate: Option<f64>,
    usual_rate: Option<f64>,
    acknowledged_at: Option<Timestamp>,
    acknowledged_by: Option<Text<'t>>,
    comment: Option<Text<'t>>,
}

impl Table for Alerts {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "day",
        "target",
        "metric",
        "by",
        "group",
        "state",
        "previous",
        "reason",
        "rate",
        "expected",
        "eligible",
        "day_rate",
        "usual_rate",
        "acknowledged_at",
        "acknowledged_by",
        "comment",
    ];
    type Row<'t> = AlertTableRow<'t>;

    fn rows(&self) -> impl Iterator<Item = AlertTableRow<'_>> {
        self.alerts.iter().map(|alert| {
            let note = alert.acknowledgement.as_ref();
            AlertTableRow {
                id: &alert.id,
                day: alert.day,
                target: Text(&alert.target),
                metric: &alert.metric,
                by: &alert.by,
                group: alert.group.as_deref().map(Text),
                state: alert.state.word(),
                previous: alert.previous.word(),
                reason: alert.reason.word(),
                rate: alert.numbers.rate,
                expected: alert.numbers.expected,
                eligible: alert.numbers.eligible,
                day_rate: alert.numbers.day_rate,
                usual_rate: alert.numbers.usual_rate,
                acknowledged_at: note.map(|note| note.at),
                acknowledged_by: note.map(|note| Text(&note.who)),
                comment: note.map(|note| Text(&note.comment)),
            }
        })
    }
}
