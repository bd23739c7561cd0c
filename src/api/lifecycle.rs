//! `GET /api/v1/systems/{system}/lifecycle` and `…/users`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use utoipa::IntoParams;

use super::App;
use super::error::Error;
use super::list::{self, List};
use super::page::PageParams;
use super::params::{ByParams, FilterParams, Parameters, SystemParam, SystemPath, day, refuse_unknown, word};
use super::reply::Reply;
use super::table::{OfGroup, Table, by_group};
use crate::access::Caller;
use crate::measure::lifecycle::{
    self, Lifecycle, LifecycleCounts, State as LifecycleState, UserInState, Users, UsersRequest,
};
use crate::measure::list::{Cursor, Part};
use crate::measure::{Choice, Dimension};

/// Documents the day of [`get_lifecycle`] and [`get_users`].
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct OnParams {
    /// The local day. Default: yesterday in the system's time zone.
    #[param(schema_with = day)]
    on: Option<String>,
}

/// Documents what else [`get_users`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct StateParams {
    /// The state of the listed.
    #[param(schema_with = word::<LifecycleState>, example = "dormant")]
    state: String,
}

/// Lifecycle: how many of the entitled persons are new, back, slipping away or gone on a day.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/lifecycle",
    tag = "users",
    params(SystemParam, OnParams, ByParams, FilterParams),
    responses((
        status = 200,
        body = Lifecycle,
        example = json!({
            "system": "erp", "on": "2026-10-31", "timezone": "Asia/Shanghai", "by": "unit",
            "groups": [{
                "unit": "Sales", "entitled": 412, "never": 6, "new": 20, "returning": 340, "resurrected": 4, "at_risk": 12,
                "dormant": 30, "suppressed": false
            }],
            "total": {
                "entitled": 2010, "never": 31, "new": 90, "returning": 1600, "resurrected": 29, "at_risk": 60,
                "dormant": 200, "suppressed": false
            },
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_lifecycle(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let cut = parameters.cut(Dimension::ALL)?;
    let on = parameters.date("on")?;
    parameters.finish()?;
    let system = app.system(system).await?;
    refuse_unknown(&app, &caller, &system, &cut.filter).await?;
    let on = on.unwrap_or(system.yesterday);
    reply.table(&lifecycle::ask(&app.reader, system, on, cut).await?)
}

/// The pseudonyms of those who are in one state of their lifecycle on a day. Needs the role analyst.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/users",
    tag = "users",
    params(SystemParam, StateParams, OnParams, FilterParams, PageParams),
    responses((
        status = 200,
        body = Users,
        example = json!({
            "system": "erp", "state": "dormant", "on": "2026-10-31", "filter": {"unit": ["Sales"]}, "count": 1, "roster": 1795444391624083_u64,
            "next": null,
            "users": [{"user": "5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e", "last_active": "2026-09-18"}],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_users(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let state = parameters.choice("state", LifecycleState::ALL)?;
    let on = parameters.date("on")?;
    let filter = parameters.filter();
    let page = list::page(&mut parameters)?;
    parameters.finish()?;
    let state = state.ok_or_else(|| {
        Error::parameter(
            "state",
            "",
            "one of never, new, returning, resurrected, at_risk, dormant",
        )
    })?;
    let mut system = app.system(system).await?;
    system.roster = page.after.as_ref().map_or(system.roster, |after| after.roster);
    refuse_unknown(&app, &caller, &system, &filter).await?;
    let on = list::day(&page, "on", on)?.unwrap_or(system.yesterday);
    let request = UsersRequest {
        system,
        state,
        on,
        filter,
        part: Part::new(page.after.as_ref(), page.needed()),
    };
    let listing = lifecycle::ask_users(&app.reader, request).await?;
    list::reply(listing, &page, (&reply, &uri))
}

impl List for Users {
    type User = UserInState;

    fn users(&mut self) -> &mut Vec<UserInState> {
        &mut self.users
    }

    fn cursor(&self, last: &UserInState) -> Cursor {
        Cursor {
            on: self.on,
            roster: self.roster,
            user: last.user.clone(),
        }
    }

    fn set_next(&mut self, next: Option<String>) {
        self.next = next;
    }
}

impl Table for Lifecycle {
    const COLUMNS: &'static [&'static str] = &[
        "group",
        "is_total",
        "entitled",
        "never",
        "new",
        "returning",
        "resurrected",
        "at_risk",
        "dormant",
        "suppressed",
    ];
    type Row<'t> = OfGroup<'t, &'t LifecycleCounts>;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        let groups = self.groups.iter().map(|group| (&group.key, &group.counts));
        by_group(groups, &self.total)
    }
}

impl Table for Users {
    const COLUMNS: &'static [&'static str] = &["user", "last_active"];
    type Row<'t> = &'t UserInState;

    fn rows(&self) -> impl Iterator<Item = &UserInState> {
        self.users.iter()
    }
}
