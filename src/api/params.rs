//! Extractors of what is asked: they validate, so that bad input never reaches the database.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use jiff::ToSpan;
use jiff::civil::Date;
use utoipa::IntoParams;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};

use super::App;
use super::error::Error;
use crate::access::Caller;
use crate::config::Retention;
use crate::event::is_system_name;
use crate::measure::window::{FIRST_DAY, LAST_DAY};
use crate::measure::{Choice, Cut, Dimension, Filter, Frame, SystemContext, Window};

/// Documents the system in a path. Only documents: [`SystemPath`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct SystemParam {
    /// The key of the system.
    #[param(example = "erp", pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    system: String,
}

/// Documents how a window is asked for. Only documents: [`Parameters::window`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct WindowParams {
    /// First local day; together with `to`, instead of `window`.
    #[param(schema_with = day, example = "2026-10-01")]
    from: Option<String>,
    /// The local day after the last.
    #[param(schema_with = day, example = "2026-11-01")]
    to: Option<String>,
    /// The window that holds `on`. Default: `last_28d`.
    #[param(schema_with = word::<Frame>)]
    window: Option<String>,
    /// A local day in the window; `last_28d` ends with it. Default: yesterday in the system's time zone.
    #[param(schema_with = day)]
    on: Option<String>,
}

/// Documents a breakdown by any dimension.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct ByParams {
    /// The dimension that makes the groups. Default: `none`.
    #[param(schema_with = word::<Dimension>, example = "unit")]
    by: Option<String>,
}

/// Documents a filter of the people. Only documents: [`Parameters::filter`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct FilterParams {
    /// Only people of this unit. Several, each as a parameter of its own: of one of them. Beside another dimension: who meet both.
    #[param(example = json!(["Sales"]))]
    unit: Option<Vec<String>>,
    /// Only people with one of these roles.
    role: Option<Vec<String>>,
    /// Only people of one of these tiers.
    tier: Option<Vec<String>>,
    /// Only people of one of these sites.
    site: Option<Vec<String>>,
    /// Only people of one of these phases.
    phase: Option<Vec<String>>,
}

/// The schema of a parameter that is one of a few words.
pub fn word<T: Choice>() -> Object {
    words(T::ALL)
}

pub fn words<T: Choice>(allowed: &[T]) -> Object {
    let words = allowed.iter().map(|choice| choice.word());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

pub fn day() -> Object {
    let date = SchemaFormat::KnownFormat(KnownFormat::Date);
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(date))
        .build()
}

/// What stands in a path in the place of a system.
pub struct SystemPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for SystemPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(system)) => Ok(Self(system)),
            // What is no text names nothing.
            Err(_) => Err(Error::UnknownPath(parts.uri.path().to_owned())),
        }
    }
}

/// What stands in a path in the places of a system and of one of its features or phases.
pub struct FeaturePath(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for FeaturePath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path((system, feature))) => Ok(Self(system, feature)),
            Err(_) => Err(Error::UnknownPath(parts.uri.path().to_owned())),
        }
    }
}

/// The query string, taken apart. Every parameter must be asked for before [`Parameters::finish`], which refuses the rest.
pub struct Parameters {
    given: BTreeMap<String, String>,
    filter: Filter,
    known: Vec<&'static str>,
}

impl Parameters {
    pub fn of(uri: &Uri) -> Result<Self, Error> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Error::parameter("query", uri.query().unwrap_or_default(), "name=value&name=value"))?;
        let mut given = BTreeMap::new();
        let mut filter = Filter::default();
        for (name, value) in pairs {
            if let Some(dimension) = Dimension::parse(&name).filter(|dimension| *dimension != Dimension::None) {
                filter.add(dimension, value);
                continue;
            }
            if given.contains_key(&name) {
                return Err(Error::parameter(&name, value, "the parameter only once"));
            }
            given.insert(name, value);
        }
        Ok(Self {
            given,
            filter,
            known: Vec::new(),
        })
    }

    pub fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.given.remove(name)
    }

    /// Which people are asked about: every dimension of the roster may be named, several times too.
    pub fn filter(&mut self) -> Filter {
        self.known.extend(
            Dimension::ALL
                .iter()
                .filter(|by| **by != Dimension::None)
                .map(|by| by.word()),
        );
        std::mem::take(&mut self.filter)
    }

    /// By which of `allowed` groups are told, and of whom; the first where nothing is said.
    pub fn cut(&mut self, allowed: &[Dimension]) -> Result<Cut, Error> {
        let by = self.choice("by", allowed)?;
        Ok(Cut {
            by: by.unwrap_or(allowed[0]),
            filter: self.filter(),
        })
    }

    /// Refuses a filter and says why there can be none.
    pub fn refuse_filter(&self, why: &str) -> Result<(), Error> {
        match self.filter.pairs().first() {
            Some((name, value)) => Err(Error::parameter(name, *value, format!("no filter: {why}"))),
            None => Ok(()),
        }
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

    /// A window of raw events: none of it is deleted already.
    pub fn raw_window(&mut self, system: &SystemContext, retention: &Retention) -> Result<Window, Error> {
        kept_raw(self.window(system, retention.user_months)?, system, retention)
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

    /// Refuses parameters that nobody asked for.
    pub fn finish(self) -> Result<(), Error> {
        let filter = self
            .filter
            .pairs()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        match self.given.into_iter().chain(filter).next() {
            None => Ok(()),
            Some((name, value)) => Err(Error::parameter(
                &name,
                value,
                format!("only the parameters {}", self.known.join(", ")),
            )),
        }
    }
}

/// How many values of a dimension an error lists.
const LISTED: usize = 20;

/// Refuses a filter by a value that nobody on the roster has. Somebody restricted to units is not told which others there are.
pub async fn refuse_unknown(app: &App, caller: &Caller, system: &SystemContext, filter: &Filter) -> Result<(), Error> {
    let Some(mut unknown) = filter.unknown(&app.reader, system).await? else {
        return Ok(());
    };
    let is_shown = |value: &String| unknown.dimension != Dimension::Unit || caller.units.allows(value);
    unknown.known.retain(is_shown);
    let name = unknown.dimension.word();
    let listed: Vec<_> = unknown
        .known
        .iter()
        .take(LISTED)
        .map(|value| format!("{value:?}"))
        .collect();
    let expected = match (listed.len(), unknown.known.len() - listed.len()) {
        (0, _) => format!("a {name} of the roster"),
        (_, 0) => format!("a {name} of the roster: {}", listed.join(", ")),
        (_, more) => format!("a {name} of the roster: {} and {more} more", listed.join(", ")),
    };
    Err(Error::parameter(name, unknown.value, expected))
}

/// Refuses a window of which raw events are deleted already.
pub fn kept_raw(window: Window, system: &SystemContext, retention: &Retention) -> Result<Window, Error> {
    let kept_from = system
        .yesterday
        .saturating_sub((i64::from(retention.raw_days) - 2).days());
    if window.from < kept_from {
        let days = retention.raw_days;
        let expected = format!("a day from {kept_from}: events are kept for {days} days");
        return Err(Error::window("from", window.from.to_string(), expected));
    }
    Ok(window)
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
            calendar: crate::measure::system::Calendar {
                weekdays: vec![1, 2, 3, 4, 5],
                holidays: Vec::new(),
                extra_working_days: Vec::new(),
            },
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
