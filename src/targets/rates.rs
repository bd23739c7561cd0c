//! What targets are measured by: the numbers of product.md by group, in windows of whole days.
//!
//! One question answers for all targets of a metric and dimension, so that its cost does not grow with their number.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::Deserialize;

use super::state::Reason;
use crate::definition::{Calendar, Metric};
use crate::measure::gate::{ANSWERS, RESPONSE_RATE};
use crate::measure::window::date_of;
use crate::measure::{Cut, Dimension, Error, Reader, SystemContext, Window};

/// What a window says of one group, or why it says nothing.
pub type Measured = Result<Rate, Reason>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub rate: f64,
    /// How many people it is a rate of.
    pub eligible: u64,
}

/// By the name of the group.
pub type Groups = HashMap<String, Measured>;

/// Answers about one system, whose calendar it knows.
pub struct Rates<'a> {
    pub reader: &'a Reader,
    pub system: &'a SystemContext,
    pub calendar: &'a Calendar,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    period_from: u16,
    period_to: u16,
    told_group: String,
    is_suppressed: bool,
    people: Option<u64>,
    told_rate: Option<f64>,
}

/// Of one group, or of the whole system where nothing is broken down.
const WANTED: &str = "is_total = ({by:String} = 'none')";

const ADOPTION: &str = "\
SELECT period_from, period_to, if(is_total, '', toString(group_name)) AS told_group, toBool(suppressed) AS is_suppressed, \
    entitled AS people, rate AS told_rate
FROM {{adoption}} WHERE ";

const LOGINS: &str = "\
SELECT {from:Date} AS period_from, {to:Date} AS period_to, if(is_total, '', toString(group_name)) AS told_group, \
    toBool(suppressed) AS is_suppressed, entitled AS people, mean AS told_rate
FROM {{logins}} WHERE ";

/// Pairs that `heatmap_features` hides because few of a group are expected are left out on both sides.
const BREADTH: &str = "\
SELECT {from:Date} AS period_from, {to:Date} AS period_to, toString(group_name) AS told_group, toBool(max(suppressed)) AS is_suppressed, \
    max(entitled) AS people, sum(expected_breadth * expected) / nullIf(sum(expected), 0) AS told_rate
FROM {{heatmap_features}}
WHERE feature IN (SELECT toString(listed.1) FROM systems ARRAY JOIN features AS listed \
    WHERE system = {system:String} AND version = {{definition}} AND ifNull(listed.3 < {to:Date}, 1))
GROUP BY group_name";

#[derive(clickhouse::Row, Deserialize)]
struct ScoreRow {
    told_group: String,
    is_suppressed: bool,
    entitled: Option<u64>,
    response_rate: Option<f64>,
    scored: Option<u64>,
    rate: Option<f64>,
}

const SATISFACTION: &str = "\
SELECT if(is_total, '', toString(group_name)) AS told_group, toBool(suppressed) AS is_suppressed, entitled, response_rate, scored, rate
FROM {{satisfaction}} WHERE ";

impl Rates<'_> {
    /// The groups of each window. Windows in which nobody is entitled have none.
    pub async fn of(
        &self,
        metric: Metric,
        by: Dimension,
        windows: &[Window],
    ) -> Result<HashMap<Window, Groups>, Error> {
        let mut all = HashMap::new();
        match metric {
            Metric::AdoptionRate => return self.adoption("active", by, windows).await,
            Metric::LoginRate => return self.adoption("login", by, windows).await,
            Metric::LoginFrequency => {
                for &window in windows {
                    all.insert(window, self.login_frequency(by, window).await?);
                }
            }
            Metric::FeatureBreadth => {
                for &window in windows {
                    let rows = self
                        .reader
                        .rows(self.reader.about_people(self.system, window, &Cut::by(by), BREADTH));
                    all.insert(window, rows.await?.into_iter().map(told).collect());
                }
            }
            Metric::Satisfaction => {
                for &window in windows {
                    all.insert(window, self.satisfaction(by, window).await?);
                }
            }
        }
        Ok(all)
    }

    async fn adoption(
        &self,
        measure: &str,
        by: Dimension,
        windows: &[Window],
    ) -> Result<HashMap<Window, Groups>, Error> {
        let mut all: HashMap<Window, Groups> = HashMap::new();
        let (Some(from), Some(to)) = (
            windows.iter().map(|window| window.from).min(),
            windows.iter().map(|window| window.to).max(),
        ) else {
            return Ok(all);
        };
        let periods: Vec<_> = windows
            .iter()
            .map(|window| (window.from.to_string(), window.to.to_string()))
            .collect();
        let sql = format!("{ADOPTION}{WANTED}");
        let question = self
            .reader
            .about_people(self.system, Window { from, to }, &Cut::by(by), &sql);
        let question = question.param("measure", measure).param("periods", periods);
        for row in self.reader.rows::<Row>(question).await? {
            let window = Window {
                from: date_of(row.period_from),
                to: date_of(row.period_to),
            };
            let (name, measured) = told(row);
            all.entry(window).or_default().insert(name, measured);
        }
        Ok(all)
    }

    /// Working days with a login of those there are.
    async fn login_frequency(&self, by: Dimension, window: Window) -> Result<Groups, Error> {
        let sql = format!("{LOGINS}{WANTED}");
        let question = self.reader.about_people(self.system, window, &Cut::by(by), &sql);
        let worked = days(window).filter(|day| self.calendar.is_working_day(*day)).count();
        let share = |mut row: Row| {
            row.told_rate = row.told_rate.filter(|_| worked > 0).map(|mean| mean / worked as f64);
            told(row)
        };
        Ok(self
            .reader
            .rows::<Row>(question)
            .await?
            .into_iter()
            .map(share)
            .collect())
    }

    async fn satisfaction(&self, by: Dimension, window: Window) -> Result<Groups, Error> {
        let sql = format!("{SATISFACTION}{WANTED}");
        let question = self.reader.about_people(self.system, window, &Cut::by(by), &sql);
        let told = |row: ScoreRow| {
            let measured = match (row.entitled, row.scored, row.rate) {
                _ if row.is_suppressed => Err(Reason::Suppressed),
                (Some(0), ..) => Err(Reason::NothingToMeasure),
                (Some(eligible), Some(scored), Some(rate))
                    if scored >= ANSWERS && row.response_rate >= Some(RESPONSE_RATE) =>
                {
                    Ok(Rate { rate, eligible })
                }
                _ => Err(Reason::TooFewAnswers),
            };
            (row.told_group, measured)
        };
        Ok(self.reader.rows(question).await?.into_iter().map(told).collect())
    }
}

fn told(row: Row) -> (String, Measured) {
    let measured = match (row.people, row.told_rate) {
        _ if row.is_suppressed => Err(Reason::Suppressed),
        (Some(eligible), Some(rate)) => Ok(Rate { rate, eligible }),
        _ => Err(Reason::NothingToMeasure),
    };
    (row.told_group, measured)
}

/// The days of a window, in order.
fn days(window: Window) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(window.from), |day| day.tomorrow().ok()).take_while(move |day| *day < window.to)
}
