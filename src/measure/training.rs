//! Training effect (M23): whether those who were trained use more of what is expected of them than before, compared with those who
//! were not. Sums come from the view; the interval is made here.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use utoipa::ToSchema;

use super::{DataQuality, Error, Reader, SystemContext, Window, WindowAnswer, quality};

#[derive(Debug, Serialize, ToSchema)]
pub struct Training {
    pub system: String,
    /// Of the days of training.
    pub window: WindowAnswer,
    /// Persons and service accounts with a training in the window, compared or not.
    pub trainings: u64,
    /// By role.
    pub roles: Vec<RoleEffect>,
    pub total: TrainingEffect,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RoleEffect {
    pub role: String,
    #[serde(flatten)]
    pub effect: TrainingEffect,
}

/// Breadth is the share of the features expected of the role that a person uses. All null where suppressed or nobody can be compared.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct TrainingEffect {
    /// Trained persons who can be compared.
    pub trained: Option<u64>,
    /// Their mean breadth in the 28 days after the training less that in the 28 days before.
    pub trained_change: Option<f64>,
    /// The same of persons of the same role without training, in the same days.
    pub untrained_change: Option<f64>,
    /// `trained_change` less `untrained_change`.
    pub effect: Option<f64>,
    pub interval: Option<Interval>,
    /// True where the numbers are withheld because too few were trained.
    pub suppressed: bool,
}

/// Holds the true effect in 95 % of cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    is_total: bool,
    role_name: String,
    suppressed: bool,
    trained: Option<u64>,
    trained_change: Option<f64>,
    untrained_change: Option<f64>,
    effect: Option<f64>,
    trained_variance: Option<f64>,
    untrained_variance: Option<f64>,
    least_untrained: Option<u64>,
}

const SQL: &str = "\
SELECT toBool(is_total) AS is_total, toString(role_name) AS role_name, toBool(suppressed) AS suppressed, trained, trained_change,
    untrained_change, effect, trained_variance, untrained_variance, least_untrained
FROM {{training_effect}}
ORDER BY is_total, role_name";

const TRAININGS_SQL: &str = "\
SELECT count()
FROM training
WHERE system = {system:String} AND trained_on >= {from:Date} AND trained_on < {to:Date}
    AND version = (SELECT max(version) FROM training_versions WHERE system = {system:String})";

pub async fn ask(reader: &Reader, system: SystemContext, window: Window) -> Result<Training, Error> {
    let through = system.yesterday.tomorrow().unwrap_or(system.yesterday);
    let question = reader.about(&system, window, SQL).param("through", through.to_string());
    let (rows, trainings, data_quality) = tokio::try_join!(
        reader.rows::<Row>(question),
        reader.row::<u64>(reader.about(&system, window, TRAININGS_SQL)),
        quality::ask(reader, &system, window)
    )?;
    let mut roles = Vec::new();
    let mut total = TrainingEffect {
        trained: Some(0),
        ..TrainingEffect::default()
    };
    for row in rows {
        let effect = effect(&row);
        if row.is_total {
            total = effect;
        } else {
            roles.push(RoleEffect {
                role: row.role_name,
                effect,
            });
        }
    }
    Ok(Training {
        window: window.answer(&system),
        system: system.name,
        trainings,
        roles,
        total,
        data_quality,
    })
}

fn effect(row: &Row) -> TrainingEffect {
    TrainingEffect {
        trained: row.trained,
        trained_change: row.trained_change,
        untrained_change: row.untrained_change,
        effect: row.effect,
        interval: interval(row),
        suppressed: row.suppressed,
    }
}

/// Welch: Student's t with the degrees of freedom of Welch and Satterthwaite, for which the untrained count as the fewest of any training.
fn interval(row: &Row) -> Option<Interval> {
    let (effect, trained, untrained) = (row.effect?, row.trained_variance?, row.untrained_variance?);
    let variance = trained + untrained;
    if variance <= 0.0 {
        return Some(Interval {
            low: effect,
            high: effect,
        });
    }
    let part = |variance: f64, people: u64| variance.powi(2) / (people as f64 - 1.0);
    let freedom = variance.powi(2) / (part(trained, row.trained?) + part(untrained, row.least_untrained?));
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975);
    let half = t * variance.sqrt();
    Some(Interval {
        low: effect - half,
        high: effect + half,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(trained: u64, untrained: u64, variances: (f64, f64)) -> Row {
        Row {
            is_total: true,
            role_name: String::new(),
            suppressed: false,
            trained: Some(trained),
            trained_change: Some(0.5),
            untrained_change: Some(0.25),
            effect: Some(0.25),
            trained_variance: Some(variances.0),
            untrained_variance: Some(variances.1),
            least_untrained: Some(untrained),
        }
    }

    #[test]
    fn the_interval_is_that_of_welch() {
        // Equal sizes and variances: 18 degrees of freedom, of which every table says 2.1009.
        let found = interval(&row(10, 10, (0.005, 0.005))).unwrap();
        assert!((found.high - 0.25 - 0.210_092).abs() < 1e-6, "{found:?}");
        assert!((found.low + found.high - 0.5).abs() < 1e-12, "{found:?}");
        // All but one of the variances 0: those of the other group, here 4: 2.7764.
        let found = interval(&row(5, 100, (0.01, 0.0))).unwrap();
        assert!((found.high - 0.25 - 0.277_645).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn who_all_changed_alike_leave_no_doubt() {
        let certain = Interval { low: 0.25, high: 0.25 };
        assert_eq!(interval(&row(10, 10, (0.0, 0.0))), Some(certain));
    }
}
