//! Adoption (M1 to M4): who is entitled, who of them is active.

use std::collections::HashMap;
use std::iter;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::window::date_of;
use super::{
    Choice, Cut, DataQuality, Dimension, Error, Filter, Grain, GroupKey, Reader, SystemContext, Window, WindowAnswer,
    quality,
};

/// What counts as being active (M2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// At least one feature click.
    Active,
    /// At least one successful login.
    Login,
}

impl Choice for Measure {
    const ALL: &'static [Self] = &[Self::Active, Self::Login];

    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Login => "login",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Request {
    pub system: SystemContext,
    pub window: Window,
    pub cut: Cut,
    pub measure: Measure,
    pub grain: Option<Grain>,
}

/// Adoption in a window, and in its periods where a grain was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adoption {
    pub system: String,
    pub measure: Measure,
    pub window: WindowAnswer,
    pub by: Dimension,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    pub grain: Option<Grain>,
    pub groups: Vec<Group>,
    pub total: Total,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub periods: Option<Vec<Period>>,
    pub data_quality: DataQuality,
}

/// One period of the grain, clipped to the window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Period {
    #[schema(value_type = String, format = Date)]
    pub from: Date,
    #[schema(value_type = String, format = Date)]
    pub to: Date,
    pub groups: Vec<Group>,
    pub total: Total,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Group {
    #[serde(flatten)]
    pub key: GroupKey,
    /// Persons on the roster on at least one day.
    pub entitled: Option<u64>,
    /// Those of them who were active.
    pub active: Option<u64>,
    /// `active` ÷ `entitled`; null when nobody is entitled.
    pub rate: Option<f64>,
    /// Always null: whoever is not on the roster belongs to no group.
    pub unentitled_active: Option<u64>,
    /// True where the numbers are withheld because the group is too small, or would reveal one that is.
    pub suppressed: bool,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Total {
    pub entitled: Option<u64>,
    pub active: Option<u64>,
    pub rate: Option<f64>,
    /// Active users without a roster row in the window; null beside a filter, which none of them meets.
    pub unentitled_active: Option<u64>,
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    period_from: u16,
    period_to: u16,
    is_total: bool,
    group_name: String,
    suppressed: bool,
    entitled: Option<u64>,
    active: Option<u64>,
    rate: Option<f64>,
    unentitled: Option<u64>,
}

const SQL: &str = "\
SELECT period_from, period_to, toBool(is_total) AS is_total, toString(group_name) AS group_name, toBool(suppressed) AS suppressed,
    entitled, active, rate, unentitled
FROM {{adoption}}
ORDER BY period_from, period_to, is_total, group_name";

/// The groups and the total of each period that has anybody in it.
type Parts = HashMap<Window, (Vec<Group>, Total)>;

pub async fn ask(reader: &Reader, request: Request) -> Result<Adoption, Error> {
    let whole = request.window;
    let grain = request
        .grain
        .map(|grain| whole.periods(grain, request.system.week_start));
    let (mut parts, data_quality) = tokio::try_join!(
        parts(reader, &request, grain.iter().flatten().copied()),
        quality::ask(reader, &request.system, whole),
    )?;
    let periods = grain.map(|grain| {
        let period = |window: Window| {
            let (groups, total) = parts.get(&window).cloned().unwrap_or_else(nobody);
            Period {
                from: window.from,
                to: window.to,
                groups,
                total,
            }
        };
        grain.into_iter().map(period).collect()
    });
    let (groups, total) = parts.remove(&whole).unwrap_or_else(nobody);
    Ok(Adoption {
        window: whole.answer(&request.system),
        system: request.system.name,
        measure: request.measure,
        by: request.cut.by,
        filter: request.cut.filter,
        grain: request.grain,
        groups,
        total,
        periods,
        data_quality,
    })
}

/// Those of the whole window and of `periods`.
async fn parts(reader: &Reader, request: &Request, periods: impl Iterator<Item = Window>) -> Result<Parts, Error> {
    let periods = iter::once(request.window).chain(periods.filter(|period| *period != request.window));
    let periods: Vec<_> = periods
        .map(|window| (window.from.to_string(), window.to.to_string()))
        .collect();
    let question = reader
        .about_people(&request.system, request.window, &request.cut, SQL)
        .param("measure", request.measure.word())
        .param("periods", periods);
    let mut parts = Parts::new();
    for row in reader.rows::<Row>(question).await? {
        let period = Window {
            from: date_of(row.period_from),
            to: date_of(row.period_to),
        };
        let part = parts.entry(period).or_default();
        if row.is_total {
            part.1 = Total {
                entitled: row.entitled,
                active: row.active,
                rate: row.rate,
                unentitled_active: row.unentitled,
                suppressed: row.suppressed,
            };
        } else {
            part.0.push(Group {
                key: GroupKey::new(request.cut.by, row.group_name),
                entitled: row.entitled,
                active: row.active,
                rate: row.rate,
                unentitled_active: None,
                suppressed: row.suppressed,
            });
        }
    }
    Ok(parts)
}

/// A period with nobody entitled and nobody active has no rows: its counts are 0.
fn nobody() -> (Vec<Group>, Total) {
    let total = Total {
        entitled: Some(0),
        active: Some(0),
        unentitled_active: Some(0),
        ..Total::default()
    };
    (Vec::new(), total)
}
