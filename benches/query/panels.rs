//! How fast the dashboards answer: the SQL of every panel, filled in as Grafana fills it in, sent to ClickHouse as Grafana sends it.
//!
//! Of each custom variable every choice is asked; of a variable that is asked for, the first answer is taken.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use uptake::store::numbers::SLOW_PLANNING;

use crate::parts::{Installation, ZONE};
use crate::report::{Report, Target, quantile};

const CLICKHOUSE: &str = "grafana-clickhouse-datasource";
/// Grafana's time range, as the dashboards begin with.
const DAYS_SHOWN: i64 = 91;
const REQUESTS: usize = 5;
/// Goal for the median of the slowest panel.
const SLOWEST_MS: f64 = 300.0;
/// How many are told by name.
const NAMED: usize = 5;

#[derive(Deserialize)]
struct Board {
    title: String,
    panels: Vec<Panel>,
    templating: Templating,
}

#[derive(Deserialize)]
struct Templating {
    list: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    query: serde_json::Value,
    #[serde(default)]
    options: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    value: serde_json::Value,
}

#[derive(Deserialize)]
struct Panel {
    title: String,
    #[serde(default)]
    targets: Vec<Query>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    datasource: Datasource,
    #[serde(default)]
    raw_sql: String,
}

#[derive(Deserialize)]
struct Datasource {
    #[serde(rename = "type")]
    kind: String,
}

/// Name and value of every variable.
type Values = BTreeMap<String, String>;

pub async fn ask(report: &mut Report, installation: &Installation, today: Date) -> anyhow::Result<()> {
    let mut medians = Vec::new();
    for board in boards()? {
        if board.asked().next().is_none() {
            continue;
        }
        report.progress(format_args!("  {}", board.title));
        for values in board.choices(installation, today).await? {
            for (panel, sql) in board.asked() {
                let median = median_ms(installation, &filled(sql, &values)?).await?;
                let chosen = ["by", "measure", "count"].map(|name| values.get(name).map_or("", String::as_str));
                let chosen = chosen.into_iter().filter(|value| !value.is_empty()).collect::<Vec<_>>();
                let name = format!("{}: {panel} {}", board.title, chosen.join(", "));
                medians.push((median, name.trim_end().to_owned()));
            }
        }
    }
    medians.sort_by(|one, other| other.0.total_cmp(&one.0));
    ensure!(!medians.is_empty(), "no panel was asked");
    for (place, (median, name)) in medians.into_iter().take(NAMED).enumerate() {
        let name = format!("panel, slowest {}: {name}", place + 1);
        match place {
            0 => report.add_with_target(name, "ms", vec![median], Target::AtMost(SLOWEST_MS)),
            _ => report.add(name, "ms", vec![median]),
        }
    }
    Ok(())
}

fn boards() -> anyhow::Result<Vec<Board>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        serde_json::from_slice(&std::fs::read(path)?).with_context(|| path.display().to_string())
    };
    paths.iter().map(read).collect()
}

impl Board {
    /// Title and SQL of each panel that asks ClickHouse.
    fn asked(&self) -> impl Iterator<Item = (&str, &str)> {
        self.panels.iter().flat_map(|panel| {
            let asked = panel.targets.iter().filter(|query| query.datasource.kind == CLICKHOUSE);
            asked.map(|query| (panel.title.as_str(), query.raw_sql.as_str()))
        })
    }

    /// The values of all variables, for every combination of what custom ones offer.
    async fn choices(&self, installation: &Installation, today: Date) -> anyhow::Result<Vec<Values>> {
        let now = today.in_tz(ZONE)?.timestamp() + SignedDuration::from_hours(12);
        let ms = |at: Timestamp| at.as_millisecond().to_string();
        let from = now - SignedDuration::from_hours(24 * DAYS_SHOWN);
        let mut all = vec![Values::from([
            ("__from".to_owned(), ms(from)),
            ("__to".to_owned(), ms(now)),
        ])];
        for Variable {
            kind,
            name,
            query,
            options,
        } in &self.templating.list
        {
            let mut chosen = Vec::new();
            for values in all {
                let offered = match kind.as_str() {
                    "custom" => options
                        .iter()
                        .filter_map(|option| option.value.as_str())
                        .map(str::to_owned)
                        .collect(),
                    "query" => {
                        let sql = filled(query.as_str().context("a variable without SQL")?, &values)?;
                        vec![
                            first_cell(installation, &sql)
                                .await
                                .with_context(|| format!("{}: {name}", self.title))?,
                        ]
                    }
                    _ => Vec::new(),
                };
                if offered.is_empty() {
                    chosen.push(values);
                    continue;
                }
                chosen.extend(offered.into_iter().map(|value| {
                    let mut values = values.clone();
                    values.insert(name.clone(), value);
                    values
                }));
            }
            all = chosen;
        }
        Ok(all)
    }
}

/// `${name:singlequote}` and `${__from}`, as Grafana fills them in; nothing else may be left.
fn filled(sql: &str, values: &Values) -> anyhow::Result<String> {
    let mut sql = sql.to_owned();
    for (name, value) in values {
        let quoted = format!("'{}'", value.replace('\'', "\\'"));
        sql = sql
            .replace(&format!("${{{name}:singlequote}}"), &quoted)
            .replace(&format!("${{{name}}}"), value);
    }
    ensure!(
        !sql.contains('$'),
        "a variable or macro that is not filled in stands in: {sql}"
    );
    Ok(sql)
}

async fn first_cell(installation: &Installation, sql: &str) -> anyhow::Result<String> {
    let text = String::from_utf8(answer(installation, sql, "TSVRaw").await?)?;
    let line = text.lines().next().with_context(|| format!("no row: {sql}"))?;
    Ok(line.split('\t').next().unwrap_or_default().to_owned())
}

/// From sending the question to having the answer.
async fn median_ms(installation: &Installation, sql: &str) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let asked = Instant::now();
        answer(installation, sql, "Native").await?;
        times.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    Ok(quantile(&times, 0.5))
}

async fn answer(installation: &Installation, sql: &str, format: &str) -> anyhow::Result<Vec<u8>> {
    let question = installation.store.client().query_raw(sql);
    // As the reader has them, who asks for Grafana.
    let question = SLOW_PLANNING
        .iter()
        .fold(question, |question, step| question.with_setting(*step, "0"));
    let mut cursor = question.fetch_bytes(format)?;
    let bytes = cursor.collect().await.with_context(|| sql.to_owned())?;
    Ok(bytes.to_vec())
}
