//! Phase comparison (M17): adoption on each day since a phase's own go-live, so that phases line up.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::adoption::Measure;
use super::window::date_of;
use super::{Choice, Cut, DataQuality, Error, Filter, Reader, SystemContext, Window, quality};
use crate::calendar::Ramp;
use crate::definition::{Definition, Dimension, Metric, Phase};

#[derive(Debug, Clone)]
pub struct Request {
    pub system: SystemContext,
    pub definition: Definition,
    pub measure: Measure,
    /// The first day that is not told; nothing before `kept_from` is known.
    pub until: Date,
    pub kept_from: Date,
    /// How many days from go-live on.
    pub days: u16,
    pub filter: Filter,
}

/// The phases that the definition has, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Phases {
    pub system: String,
    pub measure: Measure,
    /// IANA time zone of the days.
    pub timezone: String,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    pub phases: Vec<PhaseCurve>,
    /// Of the days from the first to the last that is told.
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PhaseCurve {
    pub phase: String,
    pub name: String,
    #[schema(value_type = String, format = Date)]
    pub go_live: Date,
    /// From day 0, the day of go-live. Empty before it; days whose activity is not kept any more are left out.
    pub days: Vec<PhaseDay>,
}

/// Adoption over the last 28 days that end with day `day`, none of them before go-live.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PhaseDay {
    pub day: u16,
    #[schema(value_type = String, format = Date)]
    pub from: Date,
    #[schema(value_type = String, format = Date)]
    pub to: Date,
    pub entitled: Option<u64>,
    pub active: Option<u64>,
    /// `active` ÷ `entitled`; null when nobody is entitled.
    pub rate: Option<f64>,
    /// What the rate should be by then (M20).
    pub expected_rate: f64,
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    phase: String,
    day: u16,
    period_from: u16,
    period_to: u16,
    suppressed: bool,
    entitled: Option<u64>,
    active: Option<u64>,
    rate: Option<f64>,
}

const SQL: &str = "\
SELECT phase, day, period_from, period_to, toBool(suppressed) AS suppressed, entitled, active, rate
FROM {{phases}}
ORDER BY phase, day";

pub async fn ask(reader: &Reader, request: Request) -> Result<Phases, Error> {
    let Request {
        system,
        definition,
        measure,
        until,
        kept_from,
        days,
        filter,
    } = request;
    let cut = Cut {
        by: Dimension::Phase,
        filter,
    };
    let first = definition.phases.iter().map(|phase| phase.go_live.max(kept_from)).min();
    let last = until.yesterday().unwrap_or(until);
    let window = Window {
        from: first.map_or(last, |first| first.min(last)),
        to: until,
    };
    let question = reader
        .about_people(&system, window, &cut, SQL)
        .param("measure", measure.word())
        .param("until", until.to_string())
        .param("days", days);
    let (rows, data_quality) = tokio::try_join!(reader.rows::<Row>(question), quality::ask(reader, &system, window))?;
    let ramp = ramp(&definition, measure);
    let mut curves: HashMap<String, Vec<PhaseDay>> = HashMap::new();
    for row in rows.into_iter().filter(|row| date_of(row.period_from) >= kept_from) {
        curves.entry(row.phase).or_default().push(PhaseDay {
            day: row.day,
            from: date_of(row.period_from),
            to: date_of(row.period_to),
            entitled: row.entitled,
            active: row.active,
            rate: row.rate,
            expected_rate: ramp.expected_rate(row.day.into()),
            suppressed: row.suppressed,
        });
    }
    let curve = |Phase { id, name, go_live, .. }: Phase| PhaseCurve {
        days: curves.remove(&id).unwrap_or_default(),
        phase: id,
        name,
        go_live,
    };
    Ok(Phases {
        system: system.name,
        measure,
        timezone: system.timezone,
        filter: cut.filter,
        phases: definition.phases.into_iter().map(curve).collect(),
        data_quality,
    })
}

/// That of the definition's target for phases, or for the whole system, or the default.
fn ramp(definition: &Definition, measure: Measure) -> Ramp {
    let metric = match measure {
        Measure::Active => Metric::AdoptionRate,
        Measure::Login => Metric::LoginRate,
    };
    let by = |dimension| {
        let mut targets = definition.targets.iter();
        targets.find(move |target| target.metric == metric && target.by == dimension)
    };
    by(Dimension::Phase)
        .or_else(|| by(Dimension::None))
        .map_or_else(Ramp::default, |target| Ramp {
            target: target.target,
            due_days: target.due_days,
        })
}
