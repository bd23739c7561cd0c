//! `GET /api/v1/systems/{system}/champions` and `…/champions/users`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::ToSpan;
use utoipa::IntoParams;

use super::App;
use super::error::Error;
use super::list::{self, List};
use super::page::PageParams;
use super::params::{ByParams, FilterParams, Parameters, SystemParam, SystemPath, refuse_unknown};
use super::reply::Reply;
use super::table::{OfGroup, Table, by_group};
use crate::access::Caller;
use crate::measure::champions::{self, Champion, ChampionCount, ChampionUsers, Champions, UsersRequest};
use crate::measure::list::{Cursor, Part};
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
    params(SystemParam, MonthParams, ByParams, FilterParams),
    responses((
        status = 200,
        body = Champions,
        example = json!({
            "system": "erp", "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"}, "by": "unit",
            "groups": [{"unit": "Sales", "entitled": 412, "champions": 21, "share": 0.051, "suppressed": false}],
            "total": {"entitled": 2010, "champions": 97, "share": 0.0483, "suppressed": false},
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_champions(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let cut = parameters.cut(Dimension::ALL)?;
    let month = parameters.month("month")?;
    parameters.finish()?;
    let system = app.system(system).await?;
    refuse_unknown(&app, &caller, &system, &cut.filter).await?;
    let month = month.unwrap_or_else(|| last_month(&system));
    reply.table(&champions::ask(&app.reader, system, month, cut).await?)
}

/// The pseudonyms of the champions of a month. Needs the role analyst.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/champions/users",
    tag = "users",
    params(SystemParam, MonthParams, FilterParams, PageParams),
    responses((
        status = 200,
        body = ChampionUsers,
        example = json!({
            "system": "erp", "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"}, "filter": {"unit": ["Sales"]}, "count": 1, "roster": 1795444391624083_u64, "next": null,
            "users": [{
                "user": "5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e", "active_days": 20, "used": 9, "expected": 10, "breadth": 0.9
            }],
            "data_quality": {
                "complete_through": "2026-10-31T16:00:00Z", "consumer_lag": 0, "dead_letters": 2,
                "uncatalogued_click_share": 0.014, "users_not_on_roster": 9, "rebuilding": false,
                "provisional": false, "revision": 1, "changed_at": null
            }
        })
    ))
)]
pub async fn get_champion_users(
    State(app): State<App>,
    caller: Caller,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let month = parameters.month("month")?;
    let filter = parameters.filter();
    let page = list::page(&mut parameters)?;
    parameters.finish()?;
    let mut system = app.system(system).await?;
    system.roster = page.after.as_ref().map_or(system.roster, |after| after.roster);
    refuse_unknown(&app, &caller, &system, &filter).await?;
    let month = match list::day(&page, "month", month.map(|month| month.from))? {
        Some(first) => Window::around(first, Frame::Month, system.week_start),
        None => last_month(&system),
    };
    let request = UsersRequest {
        system,
        month,
        filter,
        part: Part::new(page.after.as_ref(), page.needed()),
    };
    let listing = champions::ask_users(&app.reader, request).await?;
    list::reply(listing, &page, (&reply, &uri))
}

/// The last calendar month of which every day is over.
fn last_month(system: &SystemContext) -> Window {
    let today = system.yesterday.saturating_add(1.day());
    let before = today.first_of_month().saturating_sub(1.day());
    Window::around(before, Frame::Month, system.week_start)
}

impl List for ChampionUsers {
    type User = Champion;

    fn users(&mut self) -> &mut Vec<Champion> {
        &mut self.users
    }

    fn cursor(&self, last: &Champion) -> Cursor {
        Cursor {
            on: self.window.from,
            roster: self.roster,
            user: last.user.clone(),
        }
    }

    fn set_next(&mut self, next: Option<String>) {
        self.next = next;
    }
}

impl Table for Champions {
    const COLUMNS: &'static [&'static str] = &["group", "is_total", "entitled", "champions", "share", "suppressed"];
    type Row<'t> = OfGroup<'t, &'t ChampionCount>;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        let groups = self.groups.iter().map(|group| (&group.key, &group.count));
        by_group(groups, &self.total)
    }
}

impl Table for ChampionUsers {
    const COLUMNS: &'static [&'static str] = &["user", "active_days", "used", "expected", "breadth"];
    type Row<'t> = &'t Champion;

    fn rows(&self) -> impl Iterator<Item = &Champion> {
        self.users.iter()
    }
}
