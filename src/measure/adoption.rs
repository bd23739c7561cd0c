//! Adoption (M1 to M4): who is entitled, who of them is active.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::window::date_of;
use super::{
    Choice, DataQuality, Dimension, Error, Grain, GroupKey, Reader, SystemContext, Window, WindowAnswer, quality,
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
    pub by: Dimension,
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

#[derive(Debug, Serialize, ToSchema)]
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

#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Total {
    pub entitled: Option<u64>,
    pub active: Option<u64>,
    pub rate: Option<f64>,
    /// Active users without a roster row in the window.
    pub unentitled_active: Option<u64>,
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    period_from: u16,
    is_total: bool,
    group_name: String,
    suppressed: bool,
    entitled: Option<u64>,
    active: Option<u64>,
    rate: Option<f64>,
    unentitled: Option<u64>,
}

const SQL: &str = "\
SELECT assumeNotNull(period_from) AS period_from, toBool(is_total) AS is_total, toString(group_name) AS group_name, toBool(suppressed) AS suppressed,
    entitled, active, rate, unentitled
FROM {{adoption}}
ORDER BY period_from, is_total, group_name";

/// The groups and the total of each period that has anybody in it, by its first day.
type Parts = HashMap<Date, (Vec<Group>, Total)>;

pub async fn ask(reader: &Reader, request: Request) -> Result<Adoption, Error> {
    let (mut whole, parts, data_quality) = tokio::try_join!(
        parts(reader, &request, None),
        async {
            match request.grain {
                Some(grain) => Ok(Some((grain, parts(reader, &request, Some(grain)).await?))),
                None => Ok(None),
            }
        },
        quality::ask(reader, &request.system, request.window),
    )?;
    let periods = parts.map(|(grain, mut parts)| {
        let periods = request.window.periods(grain, request.system.week_start);
        let period = |window: Window| {
            let (groups, total) = take(&mut parts, window.from);
            Period {
                from: window.from,
                to: window.to,
                groups,
                total,
            }
        };
        periods.into_iter().map(period).collect()
    });
    let (groups, total) = take(&mut whole, request.window.from);
    Ok(Adoption {
        window: request.window.answer(&request.system),
        system: request.system.name,
        measure: request.measure,
        by: request.by,
        grain: request.grain,
        groups,
        total,
        periods,
        data_quality,
    })
}

async fn parts(reader: &Reader, request: &Request, grain: Option<Grain>) -> Result<Parts, Error> {
    let question = reader
        .about(&request.system, request.window, SQL)
        .param("by", request.by.word())
        .param("measure", request.measure.word())
        .param("grain", grain.map_or("none", Choice::word));
    let mut parts = Parts::new();
    for row in reader.rows::<Row>(question).await? {
        let part = parts.entry(date_of(row.period_from)).or_default();
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
                key: GroupKey::new(request.by, row.group_name),
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
fn take(parts: &mut Parts, from: Date) -> (Vec<Group>, Total) {
    parts.remove(&from).unwrap_or_else(|| {
        let nobody = Total {
            entitled: Some(0),
            active: Some(0),
            unentitled_active: Some(0),
            ..Total::default()
        };
        (Vec::new(), nobody)
    })
}
