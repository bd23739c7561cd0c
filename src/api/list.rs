//! What lists of users have in common: whom they may be limited to, and what their pages share.

use axum::http::Uri;
use axum::response::Response;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::IntoParams;

use super::error::Error;
use super::page::{self, Page};
use super::params::Parameters;
use super::reply::Reply;
use crate::measure::list::{Cursor, Filter, Listing};
use crate::measure::window::{FIRST_DAY, LAST_DAY};
use crate::measure::{Choice, Dimension};

/// Documents what [`filter`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct FilterParams {
    /// Only users of this unit; at most one of `unit`, `role`, `tier`, `site` and `phase`.
    unit: Option<String>,
    /// Only users with this role.
    role: Option<String>,
    /// Only users of this tier.
    tier: Option<String>,
    /// Only users of this site.
    site: Option<String>,
    /// Only users of this phase.
    phase: Option<String>,
}

/// At most one of the dimensions, with the name of a group.
pub fn filter(parameters: &mut Parameters) -> Result<Filter, Error> {
    let mut filter = Filter {
        by: Dimension::None,
        group: String::new(),
    };
    for by in Dimension::ALL.iter().copied().filter(|by| *by != Dimension::None) {
        let Some(group) = parameters.take(by.word()) else {
            continue;
        };
        if filter.by != Dimension::None {
            let expected = format!("only one dimension; {} is given too", filter.by.word());
            return Err(Error::parameter(by.word(), group, expected));
        }
        filter = Filter { by, group };
    }
    Ok(filter)
}

/// `cursor` and `limit`.
pub fn page(parameters: &mut Parameters) -> Result<Page<Cursor>, Error> {
    let page = Page::<Cursor>::of(parameters)?;
    let fits = |cursor: &Cursor| cursor.names_a_user() && (FIRST_DAY..=LAST_DAY).contains(&cursor.on);
    match page.after.as_ref().filter(|cursor| !fits(cursor)) {
        Some(cursor) => Err(Error::parameter(
            "cursor",
            &cursor.user,
            "what `next` of the page before says",
        )),
        None => Ok(page),
    }
}

/// The day that a list is about: `given`, or that of the pages before, which must be the same.
pub fn day(page: &Page<Cursor>, name: &str, given: Option<Date>) -> Result<Option<Date>, Error> {
    match (&page.after, given) {
        (Some(after), Some(given)) if after.on != given => Err(Error::parameter(
            name,
            given.to_string(),
            format!("{}, as on the page before, or nothing", after.on),
        )),
        (Some(after), _) => Ok(Some(after.on)),
        (None, given) => Ok(given),
    }
}

/// A list that can be shown.
pub trait List: Serialize {
    type User;

    /// One more than the page shows, where there are more.
    fn users(&mut self) -> &mut Vec<Self::User>;
    fn cursor(&self, last: &Self::User) -> Cursor;
    fn set_next(&mut self, next: Option<String>);
}

/// The page of a list, or the refusal of one. `filter` is what was asked for.
pub fn reply<T: List>(
    listing: Listing<T>,
    filter: &Filter,
    page: &Page<Cursor>,
    (reply, uri): (&Reply, &Uri),
) -> Result<Response, Error> {
    let mut list = match listing {
        Listing::Users(list) => list,
        Listing::Suppressed => return Err(Error::Suppressed),
        Listing::UnknownGroup => {
            let expected = "the name of a group with entitled people";
            return Err(Error::parameter(filter.by.word(), &filter.group, expected));
        }
    };
    let users = std::mem::take(list.users());
    let (users, next) = page.cut(users, |last| list.cursor(last))?;
    *list.users() = users;
    list.set_next(next.clone());
    Ok(page::link(reply.document(&list)?, uri, next.as_deref()))
}
