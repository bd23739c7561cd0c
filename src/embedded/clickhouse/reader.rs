//! The user who may read the numbers and nothing else: `clickhouse.reader` on the embedded engine, which has one user of its own.
//!
//! A server does this with grants (`store::reader`). Here the engine's own parser tells what a statement is made of (`EXPLAIN AST` runs
//! nothing), and everything that is not listed below is refused: kinds of nodes, functions, tables. What a name stands for needs no
//! understanding: a name that is one of a table is refused wherever it could be one, also where it is not.

use std::collections::HashSet;

use crate::config::{Config, Secret};
use crate::store::numbers;

use super::engine::{Connection, Params};
use super::error::DbError;

/// The kinds of nodes that may occur. Not `Set` (settings), not `ColumnsApplyTransformer` (hides what it calls).
const NODES: [&str; 25] = [
    "SelectWithUnionQuery",
    "SelectIntersectExceptQuery",
    "SelectQuery",
    "ExpressionList",
    "TablesInSelectQuery",
    "TablesInSelectQueryElement",
    "TableExpression",
    "TableJoin",
    "ArrayJoin",
    "TableIdentifier",
    "Subquery",
    "WithElement",
    "Function",
    "Identifier",
    "Literal",
    "Asterisk",
    "QualifiedAsterisk",
    "ColumnsTransformerList",
    "ColumnsExceptTransformer",
    "ColumnsReplaceTransformer",
    "ColumnsReplaceTransformer::Replacement",
    "OrderByElement",
    "InterpolateElement",
    "WindowDefinition",
    "WindowListElement",
];

/// What dashboards reckon with, in lower case. None of them reads a table, a file, a dictionary, a setting or the network, under either
/// of its meanings where a table function has the same name.
const FUNCTIONS: &str = include_str!("reader_functions.txt");

/// Endings that make another function of an aggregate function.
const COMBINATORS: [&str; 4] = ["if", "ornull", "ordefault", "distinct"];

/// Settings of a request that change neither what it may read nor how much, nor write anything.
const SETTINGS: [&str; 6] = [
    "log_comment",
    "max_block_size",
    "max_threads",
    "output_format_json_quote_64bit_integers",
    "output_format_json_quote_denormals",
    "output_format_native_encode_types_in_binary_format",
];
/// What clients send whether they mean it or not: the reader's own limit holds instead.
const IGNORED: [&str; 1] = ["max_execution_time"];

const LIMITS: &str =
    "SET max_execution_time = 30, max_result_rows = 1000000, result_overflow_mode = 'throw', max_memory_usage = ";

pub struct Reader {
    pub user: String,
    pub password: Secret,
    database: String,
    functions: HashSet<&'static str>,
    views: Vec<&'static str>,
    max_memory_bytes: u64,
}

impl Reader {
    /// None where the configuration names no reader.
    pub fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let reader = &config.clickhouse.reader;
        if reader.user.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            user: reader.user.clone(),
            password: reader.password.clone(),
            database: config.clickhouse.database.clone(),
            functions: FUNCTIONS
                .lines()
                .filter(|line| !line.starts_with('#'))
                .flat_map(str::split_whitespace)
                .collect(),
            views: numbers::names().collect(),
            max_memory_bytes: config.embedded.max_memory_bytes / 4,
        }))
    }

    /// Refuses a statement that reads anything but numbers, or does anything but read. It stands on the database that it will run in.
    pub fn admit(&self, connection: &mut Connection, sql: &[u8], params: &Params) -> Result<(), DbError> {
        let text = String::from_utf8_lossy(sql);
        if is_listing(&text) {
            return Ok(());
        }
        // What EXPLAIN would not look into but carry out: another statement, a file to write. Refused wherever it stands, also in a text.
        let statement = text.trim_end();
        if statement.strip_suffix(';').unwrap_or(statement).contains(';') {
            return Err(denied("a semicolon before its end"));
        }
        if statement.to_ascii_lowercase().contains("outfile") {
            return Err(denied("INTO OUTFILE"));
        }
        let mut rows_of = |sql: &[u8], params: &Params| -> Result<Vec<String>, DbError> {
            let output = connection.query(sql, "TabSeparatedRaw", params)?;
            let text = String::from_utf8_lossy(&output.data);
            Ok(text.lines().map(str::to_owned).collect())
        };
        let tree = rows_of(&[b"EXPLAIN AST ", sql].concat(), params)?;
        let tables = rows_of(
            b"SELECT name FROM system.tables WHERE database = currentDatabase()",
            &Params::default(),
        )?;
        let databases = rows_of(b"SELECT name FROM system.databases", &Params::default())?;
        if tree.first().map(|line| Node::of(line).kind) != Some("SelectWithUnionQuery") {
            return Err(denied("anything but SELECT"));
        }
        let tables: HashSet<&str> = tables
            .iter()
            .map(String::as_str)
            .filter(|table| !self.views.contains(table))
            .collect();
        self.check(tree.iter().map(|line| Node::of(line)), &tables, &databases)
    }

    fn check<'a>(
        &self,
        nodes: impl Iterator<Item = Node<'a>>,
        tables: &HashSet<&str>,
        databases: &[String],
    ) -> Result<(), DbError> {
        let (mut asks_in, mut like_table) = (false, None);
        for Node { kind, name } in nodes {
            if !NODES.contains(&kind) {
                return Err(denied(kind));
            }
            match kind {
                "Function" => {
                    let called = name.to_ascii_lowercase();
                    asks_in |= called == "in" || called == "notin";
                    if !self.may_call(&called) && !self.is_view(name) {
                        return Err(denied(name));
                    }
                }
                "TableIdentifier" => {
                    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                    if !self.is_view(name) && (!plain || name.is_empty() || tables.contains(name)) {
                        return Err(denied(name));
                    }
                }
                "Identifier" => {
                    let unquoted = name.replace('`', "");
                    let database = unquoted.split_once('.').map(|(database, _)| database);
                    if tables.contains(unquoted.as_str())
                        || database.is_some_and(|name| databases.iter().any(|d| d == name))
                    {
                        like_table = Some(name.to_owned());
                    }
                }
                _ => {}
            }
        }
        // `x IN name` reads the table of that name.
        match like_table.filter(|_| asks_in) {
            Some(name) => Err(denied(&name)),
            None => Ok(()),
        }
    }

    fn may_call(&self, name: &str) -> bool {
        self.functions.contains(name)
            || COMBINATORS
                .iter()
                .filter_map(|ending| name.strip_suffix(ending))
                .any(|name| self.functions.contains(name))
    }

    fn is_view(&self, name: &str) -> bool {
        let name = match name.split_once('.') {
            Some((database, name)) if database == self.database => name,
            Some(_) => return false,
            None => name,
        };
        self.views.contains(&name)
    }

    /// Those settings of a request that are let through.
    pub fn settings(&self, asked: &[(String, String)]) -> Result<Vec<(String, String)>, DbError> {
        let mut settings = Vec::new();
        for (name, value) in asked {
            if SETTINGS.contains(&name.as_str()) {
                settings.push((name.clone(), value.clone()));
            } else if !IGNORED.contains(&name.as_str()) {
                let message = format!("{}: Cannot modify '{name}' setting in readonly mode", self.user);
                return Err(DbError::of(164, "READONLY", &message));
            }
        }
        Ok(settings)
    }

    /// The statement that sets what one statement may take at most, and how it is planned.
    pub fn limits(&self) -> String {
        let planning: String = numbers::SLOW_PLANNING.map(|step| format!(", {step} = 0")).concat();
        format!("{LIMITS}{}{planning}", self.max_memory_bytes)
    }
}

/// `SHOW DATABASES` and `SHOW TABLES [FROM name]`, with which Grafana fills its query builder. They tell names, which are no secret.
fn is_listing(sql: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().map(str::to_ascii_uppercase).collect();
    let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_\"`".contains(&b));
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["SHOW", "DATABASES" | "TABLES"] => true,
        ["SHOW", "TABLES", "FROM" | "IN", name] => is_name(name),
        _ => false,
    }
}

pub fn denied(what: &str) -> DbError {
    let message = format!(
        "Not enough privileges. This user may read the numbers (the views listed in docs/metrics.md) by SELECT, with functions that only reckon; \
         the statement has: {what}"
    );
    DbError::of(497, "ACCESS_DENIED", &message)
}

/// A line of `EXPLAIN AST`: blanks, kind, name, and remarks in parentheses.
struct Node<'a> {
    kind: &'a str,
    name: &'a str,
}

impl<'a> Node<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.trim_start_matches(' ');
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let name = rest.split(" (").next().unwrap_or_default();
        let name = if name.starts_with('(') { "" } else { name };
        Self { kind, name }
    }
}
