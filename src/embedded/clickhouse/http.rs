//! The HTTP interface: who asks, what for, and the answer in ClickHouse's own words.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::config::Secret;

use super::auth::{self, Who};
use super::compression;
use super::engine::{Count, Output};
use super::error::DbError;
use super::input::{InputBody, Parameters};
use super::native;
use super::pool::{InputData, Pool, Reply, Request};
use super::reader::{self, Reader};
use super::statement::Statement;

/// Pieces of a body that may wait for the engine.
const PIECES_AHEAD: usize = 4;

/// What the handlers share.
pub struct Interface {
    pub pool: Pool,
    pub user: String,
    pub password: Secret,
    pub reader: Option<Arc<Reader>>,
    /// Of the engine, e.g. `26.7.2.1`.
    pub version: String,
}

pub fn router(interface: Arc<Interface>) -> Router {
    let ok = || async { "Ok.\n" };
    Router::new()
        .route("/ping", get(ok))
        .route("/replicas_status", get(ok))
        .route("/", any(handle))
        .fallback(async |request: HttpRequest| {
            (
                StatusCode::NOT_FOUND,
                format!("There is no handle {}\n", request.uri().path()),
            )
        })
        .with_state(interface)
}

async fn handle(State(interface): State<Arc<Interface>>, request: HttpRequest) -> Response {
    let mut query_id = uuid::Uuid::new_v4().to_string();
    let mut response = match answer(&interface, request, &mut query_id).await {
        Ok(response) => response,
        Err(error) => refuse(&error, &interface.version),
    };
    if let Ok(value) = HeaderValue::from_str(&query_id) {
        response.headers_mut().insert("X-ClickHouse-Query-Id", value);
    }
    response
        .headers_mut()
        .insert("X-ClickHouse-Timezone", HeaderValue::from_static("UTC"));
    response
}

fn refuse(error: &DbError, version: &str) -> Response {
    let mut response = (error.status(), error.body(version)).into_response();
    let headers = response.headers_mut();
    headers.insert("X-ClickHouse-Exception-Code", HeaderValue::from(error.code));
    if error.status() == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\""),
        );
    }
    response
}

async fn answer(interface: &Interface, request: HttpRequest, query_id: &mut String) -> Result<Response, DbError> {
    let started = Instant::now();
    let mut parameters = Parameters::of(&request)?;
    if let Some(given) = parameters.get("query_id").filter(|id| !id.is_empty()) {
        *query_id = given.to_owned();
    }
    let headers = request.headers().clone();
    let who = auth::who_asks(interface, &headers, &parameters)?;
    if parameters.get("session_id").is_some_and(|id| !id.is_empty()) {
        return Err(DbError::not_implemented(
            "the embedded engine keeps no HTTP sessions (session_id)",
        ));
    }
    let read_only = request.method() == Method::GET || request.method() == Method::HEAD;
    let mut body = InputBody::of(request, &mut parameters).await?;
    let (sql, statement) = whole_statement(&parameters, &mut body).await?;
    if sql.trim_ascii().is_empty() {
        return match read_only {
            true => Ok("Ok.\n".into_response()),
            false => Err(DbError::syntax(
                "Syntax error: failed at position 1 (end of query): Empty query",
            )),
        };
    }

    let of_header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let default_format = parameters
        .get("default_format")
        .or_else(|| of_header("X-ClickHouse-Format"));
    let default_format = default_format.unwrap_or(statement.usual_format()).to_owned();
    let format = statement.format().unwrap_or(&default_format).to_owned();
    let database = parameters
        .get("database")
        .or_else(|| of_header("X-ClickHouse-Database"));
    let mut request = Request {
        sql,
        format: default_format,
        stream_as: None,
        input: None,
        database: database.filter(|name| !name.is_empty()).map(str::to_owned),
        settings: parameters.settings(),
        params: parameters.statement_params(),
        read_only,
        who,
    };
    let (first, rest) = match statement {
        Statement::Insert { .. } if matches!(request.who, Who::Reader(_)) => return Err(reader::denied("INSERT")),
        Statement::Insert { head, data, .. } => {
            let inline = request.sql.slice(data..);
            request.sql.truncate(head);
            let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
            request.input = Some(InputData {
                format: format.clone(),
                pieces,
            });
            let mut reply = interface.pool.submit(request)?;
            let (fed, first) = tokio::join!(body.feed(inline, sender), reply.recv());
            fed?;
            (first, reply)
        }
        _ => {
            let select = matches!(statement, Statement::Select { .. });
            request.stream_as = (select && !parameters.is_on("wait_end_of_query")).then(|| format.clone());
            let mut reply = interface.pool.submit(request)?;
            (reply.recv().await, reply)
        }
    };
    let first = first.unwrap_or_else(|| Err(DbError::no_answer()))?;
    let form = Form {
        compress: parameters.is_on("compress"),
        native_version: match format == "Native" {
            true => parameters.number("client_protocol_version")?,
            false => 0,
        },
    };
    let first = Output {
        data: form.of(&first.data)?,
        ..first
    };
    Ok(send(first, rest, &format, form, started, &interface.version))
}

/// The statement as ClickHouse reads it: the parameter `query`, a line end, the body. The body of an INSERT which has no
/// data yet is left to be read as its data.
async fn whole_statement(parameters: &Parameters, body: &mut InputBody) -> Result<(Bytes, Statement), DbError> {
    let mut sql = BytesMut::from(parameters.get("query").unwrap_or_default());
    let statement = Statement::of(&sql);
    if matches!(&statement, Statement::Insert { data, .. } if *data == sql.len()) {
        return Ok((sql.freeze(), statement));
    }
    let mut rest = BytesMut::new();
    body.read_to_end(&mut rest).await?;
    if !sql.is_empty() && !rest.is_empty() {
        sql.extend_from_slice(b"\n");
    }
    sql.unsplit(rest);
    let statement = Statement::of(&sql);
    Ok((sql.freeze(), statement))
}

/// How the engine's output goes over the wire.
#[derive(Clone, Copy)]
struct Form {
    compress: bool,
    native_version: u64,
}

impl Form {
    fn of(self, data: &Bytes) -> Result<Bytes, DbError> {
        let data = native::for_version(data, self.native_version)?;
        Ok(if self.compress {
            compression::compress(&data)
        } else {
            data
        })
    }
}

/// `first` has its form already; what follows gets it on its way.
fn send(first: Output, rest: Reply, format: &str, form: Form, started: Instant, version: &str) -> Response {
    let summary = summary(&first.count, started);
    let version = version.to_owned();
    let rest = stream::unfold(
        rest,
        |mut rest| async move { rest.recv().await.map(|item| (item, rest)) },
    );
    let rest = rest.map(move |item| match item.and_then(|output| form.of(&output.data)) {
        Ok(data) => data,
        // The head is sent already: an error can only stand in the body. Clients recognise its wording at the end.
        Err(error) => {
            let text = Bytes::from(error.body(&version));
            if form.compress {
                compression::compress(&text)
            } else {
                text
            }
        }
    });
    let body = stream::iter([first.data])
        .chain(rest)
        .map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(format)));
    for (name, value) in [("X-ClickHouse-Format", format), ("X-ClickHouse-Summary", &summary)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

fn summary(count: &Count, started: Instant) -> String {
    let Count {
        read_rows,
        read_bytes,
        written_rows,
        written_bytes,
        result_rows,
        result_bytes,
    } = count;
    format!(
        r#"{{"read_rows":"{read_rows}","read_bytes":"{read_bytes}","written_rows":"{written_rows}","written_bytes":"{written_bytes}","total_rows_to_read":"0","result_rows":"{result_rows}","result_bytes":"{result_bytes}","elapsed_ns":"{}"}}"#,
        started.elapsed().as_nanos()
    )
}

fn content_type(format: &str) -> &'static str {
    match format {
        f if f.starts_with("JSON") && !f.contains("EachRow") && f != "JSONLines" => "application/json; charset=UTF-8",
        "JSONEachRow" | "JSONLines" | "NDJSON" | "JSONCompactEachRow" => "application/x-ndjson; charset=UTF-8",
        f if f.starts_with("CSV") => "text/csv; charset=UTF-8; header=absent",
        f if f.starts_with("TSV") || f.starts_with("TabSeparated") => "text/tab-separated-values; charset=UTF-8",
        "Native" | "RowBinary" | "RowBinaryWithNames" | "RowBinaryWithNamesAndTypes" | "Parquet" | "Arrow" => {
            "application/octet-stream"
        }
        _ => "text/plain; charset=UTF-8",
    }
}
