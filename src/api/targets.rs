//! `GET /api/v1/systems/{system}/targets` and `…/alerts`, `POST …/alerts/{id}/acknowledgement`

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
use super::params::{Parameters, SystemParam, SystemPath, system_name};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::access::Caller;
use crate::access::audit::{self, Action};
use crate::definition::Definition;
use crate::error::{Problem, told_json};
use crate::measure::window::date_of;
use crate::measure::{Choice, Dimension};
use crate::store::targets::{Acknowledgement, AlertRow, TargetDay};
use crate::targets::state::{Reason, State as TargetState};
use crate::targets::{self, Evaluation};

/// The longest comment of an acknowledgement, in characters.
const LONGEST_COMMENT: usize = 2_000;

/// Where the targets of a system stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct Targets {
    pub system: String,
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// One for each target and group, as of the last working day that was evaluated.
    pub targets: Vec<TargetStanding>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TargetStanding {
    pub target: String,
    pub metric: String,
    pub by: String,
    /// The name of the unit, role, tier, site or phase; null where the target is one for the whole system.
    pub group: Option<String>,
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    pub state: TargetState,
    /// The first day of `state`.
    #[schema(value_type = String, format = Date)]
    pub since: Date,
    /// Working days in a row below the ramp (`behind`) or clear of it (`recovering`).
    pub days: u32,
    pub reason: Reason,
    #[serde(flatten)]
    pub numbers: TargetNumbers,
}

/// All null while the target is undecided.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetNumbers {
    pub rate: Option<f64>,
    /// What the rate should be by then (M20).
    pub expected: Option<f64>,
    /// People whom the rate is about.
    pub eligible: Option<u64>,
    /// After a sudden drop: the rate of that day alone, and the median of the last four same weekdays.
    pub day_rate: Option<f64>,
    pub usual_rate: Option<f64>,
}

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

/// Where the targets stand: state, rate, expected rate, and why. Evaluated once a day, after local midnight.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/targets",
    tag = "targets",
    params(SystemParam),
    responses((
        status = 200,
        body = Targets,
        example = json!({
            "system": "erp", "evaluated_through": "2026-10-28", "complete": true, "incomplete_because": null, "next": "2026-10-29T17:00:00Z",
            "targets": [{
                "target": "units-active", "metric": "adoption_rate", "by": "unit", "group": "Sales", "day": "2026-10-28",
                "state": "behind", "since": "2026-10-26", "days": 3, "reason": "below_ramp", "rate": 0.61, "expected": 0.7,
                "eligible": 412, "day_rate": null, "usual_rate": null
            }]
        })
    ))
)]
pub async fn get_targets(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    Parameters::of(&uri)?.finish()?;
    let definition = app.definition(system).await?;
    let grace_ms = app.targets_grace_ms;
    let (evaluation, days) = targets::standing_of(&app.store, &definition, grace_ms, Timestamp::now()).await?;
    reply.table(&Targets {
        system: definition.system,
        evaluation,
        targets: days.into_iter().map(TargetStanding::of).collect(),
    })
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

impl App {
    /// The definition in force of the system of a path.
    async fn definition(&self, name: String) -> Result<Definition, Error> {
        let name = system_name(name)?;
        let system = self.store.system(&name).await?;
        Ok(system.ok_or(Error::UnknownSystem(name))?.parsed()?)
    }
}

impl TargetStanding {
    fn of(row: TargetDay) -> Self {
        Self {
            group: group(&row.dimension, row.group_name),
            target: row.target,
            metric: row.metric,
            by: row.dimension,
            day: date_of(row.day),
            state: state(&row.state),
            since: date_of(row.since),
            days: row.days,
            reason: reason(&row.reason),
            numbers: TargetNumbers {
                rate: row.rate,
                expected: row.expected,
                eligible: row.eligible,
                day_rate: row.day_value,
                usual_rate: row.usual_value,
            },
        }
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

fn group(dimension: &str, name: String) -> Option<String> {
    (dimension != Dimension::None.word()).then_some(name)
}

fn state(word: &str) -> TargetState {
    TargetState::parse(word).unwrap_or(TargetState::Undecided)
}

fn reason(word: &str) -> Reason {
    Reason::parse(word).unwrap_or(Reason::NothingToMeasure)
}

#[derive(Serialize)]
pub struct StandingRow<'t> {
    target: Text<'t>,
    metric: &'t str,
    by: &'t str,
    group: Option<Text<'t>>,
    day: Date,
    state: &'t str,
    since: Date,
    days: u32,
    reason: &'t str,
    rate: Option<f64>,
    expected: Option<f64>,
    eligible: Option<u64>,
    day_rate: Option<f64>,
    usual_rate: Option<f64>,
}

impl Table for Targets {
    const COLUMNS: &'static [&'static str] = &[
        "target",
        "metric",
        "by",
        "group",
        "day",
        "state",
        "since",
        "days",
        "reason",
        "rate",
        "expected",
        "eligible",
        "day_rate",
        "usual_rate",
    ];
    type Row<'t> = StandingRow<'t>;

    fn rows(&self) -> impl Iterator<Item = StandingRow<'_>> {
        self.targets.iter().map(|target| StandingRow {
            target: Text(&target.target),
            metric: &target.metric,
            by: &target.by,
            group: target.group.as_deref().map(Text),
            day: target.day,
            state: target.state.word(),
            since: target.since,
            days: target.days,
            reason: target.reason.word(),
            rate: target.numbers.rate,
            expected: target.numbers.expected,
            eligible: target.numbers.eligible,
            day_rate: target.numbers.day_rate,
            usual_rate: target.numbers.usual_rate,
        })
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
