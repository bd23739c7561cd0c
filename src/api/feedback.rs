//! `GET /api/v1/systems/{system}/satisfaction` and `…/issues`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::App;
use super::error::Error;
use super::params::{ByParams, FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown};
use super::reply::Reply;
use super::table::{OfGroup, Table, Text, by_group};
use crate::access::Caller;
use crate::measure::issues::{self, Issues};
use crate::measure::satisfaction::{self, Request, Satisfaction, Scores};
use crate::measure::{Choice, Dimension};

/// Issues and reporters are few, whatever the size of the system: two answers of which one leaves a group out would tell what few of it report.
const FEW_REPORTERS: &str =
    "an issue is told where enough people report it, and the difference of two answers would tell of fewer";

/// Satisfaction: the share of good scores, and how many of the entitled gave one.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/satisfaction",
    tag = "feedback",
    params(SystemParam, WindowParams, ByParams, FilterParams),
    responses((
        status = 200,
        body = Satisfaction,
        example = json!({
            "system": "erp", "by": "unit",
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "groups": [{
                "unit": "Sales", "entitled": 412, "respondents": 206, "response_rate": 0.5, "scored": 220, "satisfied": 198,
                "rate": 0.9, "suppressed": false
            }],
            "total": {
                "entitled": 2010, "respondents": 804, "response_rate": 0.4, "scored": 850, "satisfied": 731, "rate": 0.86,
                "suppressed": false, "unentitled_scored": 3
            },
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_satisfaction(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let cut = parameters.cut(Dimension::ALL)?;
    let system = app.system(system).await?;
    let window = parameters.raw_window(&system, &app.retention)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &cut.filter).await?;
    let request = Request { system, window, cut };
    reply.table(&satisfaction::ask(&app.reader, request).await?)
}

/// Frequent issues: what users report, ranked by how many it concerns.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/issues",
    tag = "feedback",
    params(SystemParam, WindowParams),
    responses((
        status = 200,
        body = Issues,
        example = json!({
            "system": "erp", "active": 1720,
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "issues": [{
                "rank": 1, "category": "slow", "feature": "finance.invoice.approve", "reporters": 43, "per_100_active": 2.5,
                "breadth": 0.85, "weight": 36.55
            }],
            "rest": {"issues": 7, "reporters": 19, "per_100_active": 1.1047}, "suppressed": false,
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_issues(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    parameters.refuse_filter(FEW_REPORTERS)?;
    let system = app.system(system).await?;
    let window = parameters.raw_window(&system, &app.retention)?;
    parameters.finish()?;
    reply.table(&issues::ask(&app.reader, system, window).await?)
}

/// Of a group, or of all.
#[derive(Serialize)]
pub struct ScoreNumbers {
    entitled: Option<u64>,
    respondents: Option<u64>,
    response_rate: Option<f64>,
    scored: Option<u64>,
    satisfied: Option<u64>,
    rate: Option<f64>,
    unentitled_scored: Option<u64>,
    suppressed: bool,
}

impl Table for Satisfaction {
    const COLUMNS: &'static [&'static str] = &[
        "group",
        "is_total",
        "entitled",
        "respondents",
        "response_rate",
        "scored",
        "satisfied",
        "rate",
        "unentitled_scored",
        "suppressed",
    ];
    type Row<'t> = OfGroup<'t, ScoreNumbers>;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        let groups = self.groups.iter();
        let groups = groups.map(|group| (&group.key, score_numbers(&group.scores, None)));
        by_group(groups, score_numbers(&self.total.scores, self.total.unentitled_scored))
    }
}

fn score_numbers(scores: &Scores, unentitled_scored: Option<u64>) -> ScoreNumbers {
    ScoreNumbers {
        entitled: scores.entitled,
        respondents: scores.respondents,
        response_rate: scores.response_rate,
        scored: scores.scored,
        satisfied: scores.satisfied,
        rate: scores.rate,
        unentitled_scored,
        suppressed: scores.suppressed,
    }
}

/// An issue that is told singly.
#[derive(Serialize)]
pub struct IssueRow<'t> {
    rank: u64,
    category: Text<'t>,
    feature: Option<Text<'t>>,
    reporters: u64,
    per_100_active: Option<f64>,
    breadth: Option<f64>,
    weight: Option<f64>,
}

impl Table for Issues {
    const COLUMNS: &'static [&'static str] = &[
        "rank",
        "category",
        "feature",
        "reporters",
        "per_100_active",
        "breadth",
        "weight",
    ];
    type Row<'t> = IssueRow<'t>;

    fn rows(&self) -> impl Iterator<Item = IssueRow<'_>> {
        self.issues.iter().map(|issue| IssueRow {
            rank: issue.rank,
            category: Text(&issue.category),
            feature: issue.feature.as_deref().map(Text),
            reporters: issue.reporters,
            per_100_active: issue.per_100_active,
            breadth: issue.breadth,
            weight: issue.weight,
        })
    }
}
