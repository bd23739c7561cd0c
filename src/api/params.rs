//! Extractors of what is asked: they validate, so that bad input never reaches the database.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Query;
use axum::http::Uri;
use jiff::civil::Date;
use utoipa::IntoParams;

use super::error::Error;
use crate::event::is_system_name;
use crate::measure::list::{Cursor, Filter, Listing, Page};
use crate::measure::window::{FIRST_DAY, LAST_DAY};
use crate::measure::{Choice, Dimension, Frame, SystemContext, Window};

/// How a window is asked for. Only documents: [`Parameters::window`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct WindowParams {
    /// First local day; together with `to`, instead of `window`.
    #[param(value_type = Option<String>, format = Date, example = "2026-10-01")]
    from: Option<String>,
    /// The local day after the last.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-01")]
    to: Option<String>,
    /// `month`, `week`, `day` or `last_28d` (default).
    window: Option<String>,
    /// A local day in the window; `last_28d` ends with it. Default: yesterday in the system's time zone.
    #[param(value_type = Option<String>, format = Date)]
    on: Option<String>,
}

/// Documents a breakdown by any dimension.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct ByParams {
    /// `none` (default), `unit`, `role`, `tier`, `site` or `phase`.
    by: Option<String>,
}

/// Documents the pages of a list of users, and whom it may be limited to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct ListParams {
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
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Users on a page: 1 to 1000, 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

/// The query string, taken apart. Every parameter must be asked for before [`Parameters::finish`], which refuses the rest.
pub struct Parameters {
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl Parameters {
    pub fn of(uri: &Uri) -> Result<Self, Error> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Error::parameter("query", uri.query().unwrap_or_default(), "name=value&name=value"))?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            if given.contains_key(&name) {
                return Err(Error::parameter(&name, value, "the parameter only once"));
            }
            given.insert(name, value);
        }
        Ok(Self {
            given,
            known: Vec::new(),
        })
    }

    fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.given.remove(name)
    }

    /// One of `allowed`.
    pub fn choice<T: Choice>(&mut self, name: &'static str, allowed: &[T]) -> Result<Option<T>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match T::parse(&value).filter(|choice| allowed.iter().any(|a| a.word() == choice.word())) {
            Some(choice) => Ok(Some(choice)),
            None => {
                let words: Vec<_> = allowed.iter().map(|choice| choice.word()).collect();
                Err(Error::parameter(name, value, format!("one of {}", words.join(", "))))
            }
        }
    }

    pub fn date(&mut self, name: &'static str) -> Result<Option<Date>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        // The parser of dates takes times and week dates too; only one spelling is ours.
        let date = value.parse::<Date>().ok().filter(|date| date.to_string() == value);
        match date.filter(|date| (FIRST_DAY..=LAST_DAY).contains(date)) {
            Some(date) => Ok(Some(date)),
            None => Err(Error::parameter(
                name,
                value,
                format!("a date YYYY-MM-DD from {FIRST_DAY} to {LAST_DAY}"),
            )),
        }
    }

    /// `from` and `to`, or `window` with `on`. Not longer than `retention_months`, because what lies before is deleted.
    pub fn window(&mut self, system: &SystemContext, retention_months: u32) -> Result<Window, Error> {
        let (from, to) = (self.date("from")?, self.date("to")?);
        let (frame, on) = (self.choice("window", Frame::ALL)?, self.date("on")?);
        let window = match (from, to) {
            (None, None) => Window::around(
                on.unwrap_or(system.yesterday),
                frame.unwrap_or(Frame::Last28d),
                system.week_start,
            ),
            (Some(from), Some(to)) => {
                if let Some(frame) = frame {
                    return Err(Error::parameter("window", frame.word(), "either window or from and to"));
                }
                if let Some(on) = on {
                    return Err(Error::parameter("on", on.to_string(), "on only beside window"));
                }
                Window::new(from, to)
                    .ok_or_else(|| Error::window("to", to.to_string(), format!("a day after from = {from}")))?
            }
            (Some(from), None) => {
                return Err(Error::parameter("from", from.to_string(), "from and to together"));
            }
            (None, Some(to)) => return Err(Error::parameter("to", to.to_string(), "from and to together")),
        };
        if window.longer_than_months(retention_months) {
            return Err(Error::window(
                "from",
                window.from.to_string(),
                format!("a window of at most {retention_months} months, which is what is kept"),
            ));
        }
        Ok(window)
    }

    /// A calendar month, written YYYY-MM.
    pub fn month(&mut self, name: &'static str) -> Result<Option<Window>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let text = format!("{value}-01");
        let first = text.parse::<Date>().ok().filter(|first| first.to_string() == text);
        let month = first.map(|first| Window::around(first, Frame::Month, 1));
        match month.filter(|month| FIRST_DAY <= month.from && month.to <= LAST_DAY) {
            Some(month) => Ok(Some(month)),
            None => Err(Error::parameter(
                name,
                value,
                format!("a month YYYY-MM after {FIRST_DAY} and before {LAST_DAY}"),
            )),
        }
    }

    /// At most one of the dimensions, with the name of a group.
    pub fn filter(&mut self) -> Result<Filter, Error> {
        let mut filter = Filter {
            by: Dimension::None,
            group: String::new(),
        };
        for by in Dimension::ALL.iter().copied().filter(|by| *by != Dimension::None) {
            let Some(group) = self.take(by.word()) else {
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
    pub fn page(&mut self) -> Result<Page, Error> {
        let after = match self.take("cursor") {
            None => None,
            Some(value) => match value.parse::<Cursor>() {
                Ok(cursor) if (FIRST_DAY..=LAST_DAY).contains(&cursor.on) => Some(cursor),
                _ => {
                    return Err(Error::parameter(
                        "cursor",
                        value,
                        "the next_cursor of a page, as it stands there",
                    ));
                }
            },
        };
        let limit = match self.take("limit") {
            None => DEFAULT_LIMIT,
            Some(value) => match value.parse::<u32>() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
                _ => {
                    return Err(Error::parameter(
                        "limit",
                        value,
                        format!("a number from 1 to {MAX_LIMIT}"),
                    ));
                }
            },
        };
        Ok(Page { after, limit })
    }

    /// Refuses parameters that nobody asked for.
    pub fn finish(self) -> Result<(), Error> {
        match self.given.into_iter().next() {
            None => Ok(()),
            Some((name, value)) => Err(Error::parameter(
                &name,
                value,
                format!("only the parameters {}", self.known.join(", ")),
            )),
        }
    }
}

/// The day that a list is about: `given`, or that of the pages before, which must be the same.
pub fn listed_day(page: &Page, name: &str, given: Option<Date>) -> Result<Option<Date>, Error> {
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

/// A list, or the refusal of one. `filter` is what was asked for.
pub fn listed<T>(listing: Listing<T>, filter: &Filter) -> Result<Json<T>, Error> {
    match listing {
        Listing::Users(users) => Ok(Json(users)),
        Listing::Suppressed => Err(Error::Suppressed),
        Listing::UnknownGroup => Err(Error::parameter(
            filter.by.word(),
            &filter.group,
            "the name of a group with entitled people",
        )),
    }
}

/// What cannot be the name of a system is refused before storage is asked for it.
pub fn system_name(name: String) -> Result<String, Error> {
    if is_system_name(&name) {
        Ok(name)
    } else {
        Err(Error::UnknownSystem(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn system() -> SystemContext {
        SystemContext {
            name: "erp".to_owned(),
            timezone: "UTC".to_owned(),
            definition: 0,
            split_users: false,
            roster: 0,
            zone: String::new(),
            week_start: 1,
            yesterday: jiff::civil::date(2026, 10, 28),
        }
    }

    fn window(query: &str) -> Result<Window, Error> {
        let mut parameters = Parameters::of(&format!("/x?{query}").parse().unwrap())?;
        let window = parameters.window(&system(), 13)?;
        parameters.finish()?;
        Ok(window)
    }

    #[test]
    fn the_default_are_the_last_28_days_until_yesterday() {
        let window = window("").unwrap();
        assert_eq!(window.from.to_string(), "2026-10-01");
        assert_eq!(window.to.to_string(), "2026-10-29");
    }

    #[test]
    fn a_month_is_one_that_clickhouse_can_hold() {
        let month = |text: &str| {
            let uri = format!("/x?month={text}").parse().unwrap();
            Parameters::of(&uri).and_then(|mut parameters| parameters.month("month"))
        };
        let february = month("2026-02").unwrap().unwrap();
        assert_eq!(
            (february.from.to_string(), february.to.to_string()),
            ("2026-02-01".into(), "2026-03-01".into())
        );
        for bad in [
            "2026-13",
            "2026-2",
            "202602",
            "2026-02-01",
            "1989-12",
            "2149-06",
            "",
            "+2026-02",
        ] {
            assert!(month(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics_or_gives_an_empty_window(query in "[a-z0-9=&%_+-]{0,40}", date in "[0-9]{4}-[0-9]{2}-[0-9]{2}") {
            for query in [query, format!("on={date}"), format!("from={date}&to=2026-10-01"), format!("on={date}&window=month")] {
                if let Ok(window) = window(&query) {
                    prop_assert!(window.from < window.to);
                }
            }
        }
    }
}
