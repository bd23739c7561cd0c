//! Questions to ClickHouse: parameters bound by the server, typed rows, one deadline.

use std::sync::Arc;
use std::time::Duration;

use clickhouse::query::Query;
use clickhouse::{RowOwned, RowRead};
use jiff::civil::Date;
use tokio::sync::OnceCell;

use super::quality::Known;
use super::under_way::UnderWay;
use super::{Choice, Cut, Dimension, SystemContext, Window};
use crate::store::Store;
use crate::store::numbers::{self, Numbers, Shape};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("ClickHouse cannot be reached")]
    Unreachable(#[source] clickhouse::error::Error),
    #[error("the question took longer than {0:?}")]
    Deadline(Duration),
    #[error("ClickHouse refused the question")]
    Refused(#[source] clickhouse::error::Error),
}

/// Asks views. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    client: clickhouse::Client,
    numbers: Arc<Numbers>,
    deadline: Duration,
    tuning: Arc<OnceCell<Vec<&'static str>>>,
    pub(super) known: Arc<Known>,
}

impl Reader {
    /// A question that takes longer than `deadline` is given up, here and on the server.
    pub fn new(store: &Store, numbers: Numbers, deadline: Duration) -> Self {
        let seconds = deadline.as_secs_f64().max(0.001).to_string();
        let client = store.client().clone().with_setting("max_execution_time", seconds);
        Self {
            client,
            numbers: Arc::new(numbers),
            deadline,
            tuning: Arc::default(),
            known: Arc::default(),
        }
    }

    /// One for who decides by what it finds and whom nobody waits for: it believes nothing that it found a moment ago, and asks on one
    /// thread, which costs ClickHouse least.
    pub fn for_decisions(self) -> Self {
        Self {
            client: self.client.with_setting("max_threads", "1"),
            known: Arc::new(Known::nothing()),
            ..self
        }
    }

    /// The next question finds the definitions and rosters as they are now: for who has changed one.
    pub fn forget_systems(&self) {
        self.known.systems.forget();
    }

    /// A question as it stands; its `{name:Type}` are given by [`Query::param`].
    pub fn question(&self, sql: &str) -> Query {
        self.client.query_raw(sql)
    }

    /// A question about numbers of a system in a window: `{{name}}` in `sql` is that number, and all its parameters are bound but
    /// those of its own, like `measure`.
    pub fn about(&self, system: &SystemContext, window: Window, sql: &str) -> Query {
        self.about_people(system, window, &Cut::by(Dimension::None), sql)
    }

    /// The same of numbers about people: of some of them, by group.
    pub fn about_people(&self, system: &SystemContext, window: Window, cut: &Cut, sql: &str) -> Query {
        self.about_days(system, window, cut, true, sql)
    }

    /// The same of numbers that are quicker where no day of the system is `rebuilt`.
    pub(super) fn about_days(
        &self,
        system: &SystemContext,
        window: Window,
        cut: &Cut,
        rebuilt: bool,
        sql: &str,
    ) -> Query {
        let shape = Shape {
            by: cut.by,
            filtered: !cut.filter.is_empty(),
            split: system.split_users,
            rebuilt,
        };
        self.question(&self.numbers.question(sql, shape))
            .param("system", &system.name)
            .param("zone", &system.zone)
            .param("week_start", system.week_start)
            .param("weekdays", &system.calendar.weekdays)
            .param("holidays", texts(&system.calendar.holidays))
            .param("extra_working_days", texts(&system.calendar.extra_working_days))
            .param("definition", system.definition)
            .param("roster", system.roster)
            .param("from", window.from.to_string())
            .param("to", window.to.to_string())
            .param("by", cut.by.word())
            .param("filter", cut.filter.pairs())
    }

    /// The only row of a question about what stands beside numbers: on one thread, because it reads little and the number is computed at
    /// the same time.
    pub(super) async fn row_beside<T: RowOwned + RowRead>(&self, question: Query) -> Result<T, Error> {
        self.row(question.with_setting("max_threads", "1")).await
    }

    pub async fn rows<T: RowOwned + RowRead>(&self, question: Query) -> Result<Vec<T>, Error> {
        let slow = self.slow_planning().await;
        let question = slow
            .iter()
            .fold(question, |question, step| question.with_setting(*step, "0"));
        // The server's own limit comes first where it can; the second here is for a server that does not answer at all.
        let at_most = self.deadline + Duration::from_secs(1);
        let under_way = UnderWay::new(&self.client);
        let question = under_way.mark(question);
        let Ok(answer) = tokio::time::timeout(at_most, question.fetch_all::<T>()).await else {
            return Err(Error::Deadline(self.deadline));
        };
        under_way.over();
        answer.map_err(|error| self.classify(error))
    }

    /// The only row of a question that always has one.
    pub async fn row<T: RowOwned + RowRead>(&self, question: Query) -> Result<T, Error> {
        let rows = self.rows(question).await?;
        rows.into_iter()
            .next()
            .ok_or(Error::Refused(clickhouse::error::Error::RowNotFound))
    }

    /// Those of [`numbers::SLOW_PLANNING`] that the server knows; asked once.
    async fn slow_planning(&self) -> &[&'static str] {
        let ask = || numbers::slow_planning_of(&self.client);
        // A server that cannot be asked gets the question itself next, which reports the failure.
        let known = tokio::time::timeout(self.deadline, self.tuning.get_or_try_init(ask)).await;
        known.ok().and_then(Result::ok).map_or(&[], Vec::as_slice)
    }

    fn classify(&self, error: clickhouse::error::Error) -> Error {
        use clickhouse::error::Error as E;
        match error {
            E::Network(_) => Error::Unreachable(error),
            E::TimedOut => Error::Deadline(self.deadline),
            E::BadResponse(ref text) if text.contains("TIMEOUT_EXCEEDED") => Error::Deadline(self.deadline),
            _ => Error::Refused(error),
        }
    }
}

/// Days as parameters of the type `Array(Date)` want them.
fn texts(days: &[Date]) -> Vec<String> {
    days.iter().map(Date::to_string).collect()
}
