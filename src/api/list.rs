//! What lists of users have in common: what their pages share.

use axum::http::Uri;
use axum::response::Response;
use jiff::civil::Date;

use super::error::Error;
use super::page::{self, Page};
use super::params::Parameters;
use super::reply::Reply;
use super::table::Table;
use crate::measure::list::{Cursor, Listing};
use crate::measure::window::{FIRST_DAY, LAST_DAY};

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
pub trait List: Table {
    type User;

    /// One more than the page shows, where there are more.
    fn users(&mut self) -> &mut Vec<Self::User>;
    fn cursor(&self, last: &Self::User) -> Cursor;
    fn set_next(&mut self, next: Option<String>);
}

/// The page of a list, or the refusal of one.
pub fn reply<T: List>(
    listing: Listing<T>,
    page: &Page<Cursor>,
    (reply, uri): (&Reply, &Uri),
) -> Result<Response, Error> {
    let mut list = match listing {
        Listing::Users(list) => list,
        Listing::Suppressed => return Err(Error::Suppressed),
    };
    let users = std::mem::take(list.users());
    let (users, next) = page.cut(users, |last| list.cursor(last))?;
    *list.users() = users;
    list.set_next(next.clone());
    Ok(page::link(reply.table(&list)?, uri, next.as_deref()))
}
