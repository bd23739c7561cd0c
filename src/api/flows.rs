//! `GET /api/v1/systems/{system}/funnels` and `…/paths`

use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::IntoParams;

use super::App;
use super::error::Error;
use super::params::{FilterParams, Parameters, SystemParam, SystemPath, WindowParams, refuse_unknown};
use super::reply::Reply;
use super::table::{Table, Text};
use crate::access::Caller;
use crate::event::is_feature;
use crate::measure::funnels::{self, Funnel, STEPS};
use crate::measure::paths::{self, Paths};
use crate::measure::{SystemContext, features};

/// Documents what [`get_funnel`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct FunnelParams {
    /// 2 to 10 different features, in order, with commas between them.
    #[param(example = "finance.invoice.open,finance.invoice.approve")]
    steps: String,
    /// The longest time from the first step to the last: a whole number of minutes, hours or days, e.g. `30m`, `24h` or `7d`
    /// (default); at most `30d`.
    within: Option<String>,
}

/// Documents what [`get_paths`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct PathParams {
    /// The feature that the paths begin with.
    #[param(example = "finance.invoice.open")]
    after: String,
    /// How many paths to tell at most: 1 to 100, default 20.
    limit: Option<u32>,
}

const FEW_USERS: &str =
    "a path is told where enough users went it, and the difference of two answers would tell of fewer";

/// Funnel: who did the steps in order, and how long each took.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/funnels",
    tag = "features",
    params(SystemParam, WindowParams, FilterParams, FunnelParams),
    responses((
        status = 200,
        body = Funnel,
        example = json!({
            "system": "erp", "within_seconds": 604800,
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "steps": [
                {"step": 1, "feature": "finance.invoice.open", "users": 800, "conversion": 1.0, "step_conversion": null,
                    "median_seconds": null, "suppressed": false},
                {"step": 2, "feature": "finance.invoice.approve", "users": 600, "conversion": 0.75, "step_conversion": 0.75,
                    "median_seconds": 5400.0, "suppressed": false}
            ],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_funnel(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let filter = parameters.filter();
    let steps = parameters.take("steps").unwrap_or_default();
    let steps = read_steps(&steps)?;
    let within = match parameters.take("within") {
        Some(text) => read_within(&text)?,
        None => DAY * 7,
    };
    let system = app.system(system).await?;
    let window = parameters.raw_window(&system, &app.retention)?;
    parameters.finish()?;
    refuse_unknown(&app, &caller, &system, &filter).await?;
    refuse_unknown_features(&app, &system, "steps", &steps).await?;
    let request = funnels::Request {
        system,
        window,
        steps,
        within,
        filter,
    };
    reply.table(&funnels::ask(&app.reader, request).await?)
}

/// Paths: the features that users click right after one.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/paths",
    tag = "features",
    params(SystemParam, WindowParams, PathParams),
    responses((
        status = 200,
        body = Paths,
        example = json!({
            "system": "erp", "after": "finance.invoice.open", "after_users": 800,
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "paths": [{"feature": "finance.invoice.approve", "users": 600, "share": 0.75, "transitions": 5210}],
            "hidden_paths": 2, "further_paths": 0, "suppressed": false,
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_paths(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    parameters.refuse_filter(FEW_USERS)?;
    let after = parameters.take("after").unwrap_or_default();
    let limit = match parameters.take("limit") {
        Some(text) => read_limit(&text)?,
        None => 20,
    };
    let system = app.system(system).await?;
    let window = parameters.raw_window(&system, &app.retention)?;
    parameters.finish()?;
    refuse_unknown_features(&app, &system, "after", std::slice::from_ref(&after)).await?;
    let request = paths::Request {
        system,
        window,
        after,
        limit,
    };
    reply.table(&paths::ask(&app.reader, request).await?)
}

/// Refuses features that are neither in the catalogue nor were ever clicked.
pub async fn refuse_unknown_features(
    app: &App,
    system: &SystemContext,
    name: &str,
    keys: &[String],
) -> Result<(), Error> {
    let unknown = match keys.iter().find(|key| !is_feature(key)) {
        Some(key) => Some(key.clone()),
        None => features::unknown(&app.reader, system, keys).await?,
    };
    match unknown {
        Some(key) => Err(Error::parameter(
            name,
            key,
            "a feature of the catalogue, or one that was clicked",
        )),
        None => Ok(()),
    }
}

fn read_steps(text: &str) -> Result<Vec<String>, Error> {
    let steps: Vec<_> = text.split(',').map(|step| step.trim().to_owned()).collect();
    let repeated = |index: usize| steps[..index].contains(&steps[index]);
    if !STEPS.contains(&steps.len()) || (0..steps.len()).any(repeated) {
        let (least, most) = (STEPS.start(), STEPS.end());
        let expected = format!("{least} to {most} different features with commas between them");
        return Err(Error::parameter("steps", text, expected));
    }
    Ok(steps)
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn read_within(text: &str) -> Result<Duration, Error> {
    let read = || {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "m" => MINUTE,
            "h" => MINUTE * 60,
            "d" => DAY,
            _ => return None,
        };
        let count = digits
            .parse()
            .ok()
            .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
        unit.checked_mul(count)
            .filter(|within| (MINUTE..=DAY * 30).contains(within))
    };
    read().ok_or_else(|| Error::parameter("within", text, "a whole number of m, h or d from 1m to 30d, e.g. 24h"))
}

fn read_limit(text: &str) -> Result<usize, Error> {
    let limit = text.parse().ok().filter(|limit| (1..=100).contains(limit));
    limit.ok_or_else(|| Error::parameter("limit", text, "a whole number from 1 to 100"))
}

#[derive(Serialize)]
pub struct StepRow<'t> {
    step: u64,
    feature: Text<'t>,
    users: Option<u64>,
    conversion: Option<f64>,
    step_conversion: Option<f64>,
    median_seconds: Option<f64>,
    suppressed: bool,
}

impl Table for Funnel {
    const COLUMNS: &'static [&'static str] = &[
        "step",
        "feature",
        "users",
        "conversion",
        "step_conversion",
        "median_seconds",
        "suppressed",
    ];
    type Row<'t> = StepRow<'t>;

    fn rows(&self) -> impl Iterator<Item = StepRow<'_>> {
        self.steps.iter().map(|step| StepRow {
            step: step.step,
            feature: Text(&step.feature),
            users: step.users,
            conversion: step.conversion,
            step_conversion: step.step_conversion,
            median_seconds: step.median_seconds,
            suppressed: step.suppressed,
        })
    }
}

#[derive(Serialize)]
pub struct PathRow<'t> {
    feature: Text<'t>,
    users: u64,
    share: f64,
    transitions: u64,
}

impl Table for Paths {
    const COLUMNS: &'static [&'static str] = &["feature", "users", "share", "transitions"];
    type Row<'t> = PathRow<'t>;

    fn rows(&self) -> impl Iterator<Item = PathRow<'_>> {
        self.paths.iter().map(|path| PathRow {
            feature: Text(&path.feature),
            users: path.users,
            share: path.share,
            transitions: path.transitions,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let within = |text| read_within(text).ok().map(|within| within.as_secs());
        assert_eq!(within("1m"), Some(60));
        assert_eq!(within("24h"), Some(86_400));
        assert_eq!(within("30d"), Some(30 * 86_400));
        for refused in [
            "",
            "d",
            "7",
            "0d",
            "31d",
            "+7d",
            "-7d",
            "7 d",
            "7w",
            "1.5h",
            "99999999999d",
            "7д",
            "٧d",
        ] {
            assert_eq!(within(refused), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = (read_within(&text), read_limit(&text), read_steps(&text));
        }
    }
}
