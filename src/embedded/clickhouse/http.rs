//! The HTTP interface: who asks, what for, and the answer in ClickHouse's own words.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Multipart, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;

use crate::config::Secret;

use super::compression::{self, Decoder};
use super::engine::{Count, Output, Params};
use super::error::DbError;
use super::pool::{InputData, Piece, Pool, Reply, Request};
use super::statement::Statement;

/// The longest statement, inline data included. Data sent beside the statement (`?query=INSERT …`) have no limit.
const MAX_STATEMENT_BYTES: usize = 256 * 1024 * 1024;
/// Parameters of the interface itself; every other one is a setting of the statement.
const RESERVED: [&str; 20] = [
    "query",
    "database",
    "default_format",
    "query_id",
    "user",
    "password",
    "compress",
    "decompress",
    "buffer_size",
    "wait_end_of_query",
    "stacktrace",
    "quota_key",
    "role",
    "session_id",
    "session_timeout",
    "session_check",
    "close_session",
    "client_protocol_version",
    "enable_http_compression",
    "http_zlib_compression_level",
];

/// What the handlers share.
pub struct Interface {
    pub pool: Pool,
    pub user: String,
    pub password: Secret,
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
    if response.status() == StatusCode::UNAUTHORIZED {
        headers_mut_authenticate(&mut response);
    }
    response
}

fn headers_mut_authenticate(response: &mut Response) {
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\""),
    );
}

async fn answer(interface: &Interface, request: HttpRequest, query_id: &mut String) -> Result<Response, DbError> {
    let started = Instant::now();
    let mut parameters = Parameters::of(&request)?;
    if let Some(given) = parameters.get("query_id").filter(|id| !id.is_empty()) {
        *query_id = given.to_owned();
    }
    let headers = request.headers().clone();
    authenticate(interface, &headers, &parameters)?;
    if parameters.get("session_id").is_some_and(|id| !id.is_empty()) {
        return Err(DbError::of(
            48,
            "NOT_IMPLEMENTED",
            "the embedded engine keeps no HTTP sessions (session_id)",
        ));
    }
    let read_only = request.method() == Method::GET || request.method() == Method::HEAD;
    let multipart = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"multipart/form-data"));
    let mut body = if multipart {
        parameters.read_multipart(request).await?;
        InputBody::new(Body::empty(), false)
    } else {
        if headers.get(header::CONTENT_ENCODING).is_some_and(|e| e != "identity") {
            return Err(DbError::of(
                48,
                "NOT_IMPLEMENTED",
                "Content-Encoding is not supported; use decompress=1 (LZ4)",
            ));
        }
        InputBody::new(request.into_body(), parameters.is_on("decompress"))
    };

    let mut sql = BytesMut::from(parameters.get("query").unwrap_or_default());
    let mut statement = Statement::of(&sql);
    let awaits_data = matches!(&statement, Statement::Insert { data, .. } if *data == sql.len());
    if !awaits_data {
        let at = sql.len();
        body.read_to_end(&mut sql).await?;
        if at > 0 && sql.len() > at {
            let rest = sql.split_off(at);
            sql.extend_from_slice(b"\n");
            sql.unsplit(rest);
        }
        statement = Statement::of(&sql);
    }
    if sql.trim_ascii().is_empty() {
        return match read_only {
            true => Ok("Ok.\n".into_response()),
            false => Err(DbError::of(
                62,
                "SYNTAX_ERROR",
                "Syntax error: failed at position 1 (end of query): Empty query",
            )),
        };
    }

    let default_format = parameters
        .get("default_format")
        .or_else(|| headers.get("X-ClickHouse-Format").and_then(|f| f.to_str().ok()))
        .unwrap_or(if matches!(statement, Statement::Insert { .. }) {
            "Values"
        } else {
            "TabSeparated"
        })
        .to_owned();
    let format = statement.format().unwrap_or(&default_format).to_owned();
    let stream_as = matches!(statement, Statement::Select { .. })
        .then(|| format.clone())
        .filter(|_| !parameters.is_on("wait_end_of_query"));
    let sql = sql.freeze();
    let (sql, feed) = match statement {
        Statement::Insert { head, data, .. } => (sql.slice(..head), Some(sql.slice(data..))),
        _ => (sql, None),
    };
    let (input, sender) = match feed.is_some() {
        true => {
            let (sender, pieces) = mpsc::channel(4);
            (
                Some(InputData {
                    format: format.clone(),
                    pieces,
                }),
                Some(sender),
            )
        }
        false => (None, None),
    };
    let mut reply = interface.pool.submit(Request {
        sql,
        format: default_format,
        stream_as,
        input,
        database: parameters
            .get("database")
            .or_else(|| headers.get("X-ClickHouse-Database").and_then(|d| d.to_str().ok()))
            .filter(|d| !d.is_empty())
            .map(str::to_owned),
        settings: parameters.settings(),
        params: parameters.statement_params(),
        read_only,
    })?;
    let first = match (sender, feed) {
        (Some(sender), Some(inline)) => {
            let (fed, first) = tokio::join!(body.feed(inline, sender), reply.recv());
            match (fed, first) {
                (Err(error), _) => return Err(error),
                (Ok(()), first) => first,
            }
        }
        _ => reply.recv().await,
    };
    let first = first.unwrap_or_else(|| Err(DbError::no_answer()))?;
    Ok(send(
        first,
        reply,
        &format,
        parameters.is_on("compress"),
        started,
        &interface.version,
    ))
}

fn send(first: Output, rest: Reply, format: &str, compress: bool, started: Instant, version: &str) -> Response {
    let summary = summary(&first.count, started);
    let version = version.to_owned();
    let rest = stream::unfold(
        rest,
        |mut rest| async move { rest.recv().await.map(|item| (item, rest)) },
    );
    let body = stream::iter([Ok(first)]).chain(rest).map(move |item| {
        // Once the head is sent, an error can only stand in the body; clients recognise its wording at the end.
        let data = match item {
            Ok(output) => output.data,
            Err(error) => Bytes::from(error.body(&version)),
        };
        Ok::<_, std::convert::Infallible>(if compress { compression::compress(&data) } else { data })
    });
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

/// By header, HTTP basic authentication or URL, in the order in which ClickHouse looks.
fn authenticate(interface: &Interface, headers: &HeaderMap, parameters: &Parameters) -> Result<(), DbError> {
    let of_header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let basic = || {
        let value = of_header("authorization")?;
        let decoded = base64(value.strip_prefix("Basic ")?)?;
        let (user, password) = decoded.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    };
    let (user, password) = match of_header("x-clickhouse-user") {
        Some(user) => (user, of_header("x-clickhouse-key").unwrap_or_default()),
        None => basic().unwrap_or_else(|| {
            let get = |name| parameters.get(name).unwrap_or_default().to_owned();
            (parameters.get("user").unwrap_or("default").to_owned(), get("password"))
        }),
    };
    let same = user.as_bytes().ct_eq(interface.user.as_bytes())
        & password.as_bytes().ct_eq(interface.password.expose().as_bytes());
    match bool::from(same) {
        true => Ok(()),
        false => Err(DbError::of(
            516,
            "AUTHENTICATION_FAILED",
            &format!("{user}: Authentication failed: password is incorrect, or there is no user with such name."),
        )),
    }
}

/// Standard base64 to text; None when it is not that.
fn base64(text: &str) -> Option<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut out) = (0u32, 0u32, Vec::new());
    for symbol in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|a| *a == symbol)? as u32;
        bits = (bits << 6) | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    String::from_utf8(out).ok()
}

/// Everything given as `name=value`, in the URL or in a form.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(request: &HttpRequest) -> Result<Self, DbError> {
        Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map(|Query(pairs)| Self(pairs))
            .map_err(|e| DbError::bad_arguments(&format!("the URL's parameters cannot be read: {e}")))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true"))
    }

    fn settings(&self) -> Vec<(String, String)> {
        let is_setting = |name: &str| !RESERVED.contains(&name) && !name.starts_with("param_");
        self.0.iter().filter(|(name, _)| is_setting(name)).cloned().collect()
    }

    fn statement_params(&self) -> Params {
        let of = |(name, value): &(String, String)| Some((name.strip_prefix("param_")?.to_owned(), value.clone()));
        Params(self.0.iter().filter_map(of).collect())
    }

    async fn read_multipart(&mut self, request: HttpRequest) -> Result<(), DbError> {
        let unreadable = |e: &dyn std::fmt::Display| DbError::bad_arguments(&format!("the form cannot be read: {e}"));
        let mut form = Multipart::from_request(request, &())
            .await
            .map_err(|e| unreadable(&e))?;
        while let Some(field) = form.next_field().await.map_err(|e| unreadable(&e))? {
            let name = field.name().unwrap_or_default().to_owned();
            if field.file_name().is_some() || !(name == "query" || name.starts_with("param_")) {
                return Err(DbError::of(48, "NOT_IMPLEMENTED", "external tables are not supported"));
            }
            let value = field.text().await.map_err(|e| unreadable(&e))?;
            self.0.push((name, value));
        }
        Ok(())
    }
}

/// The body of a request, decompressed where the client says that it is compressed.
struct InputBody {
    stream: BodyDataStream,
    decoder: Option<Decoder>,
    ended: bool,
}

impl InputBody {
    fn new(body: Body, compressed: bool) -> Self {
        Self {
            stream: body.into_data_stream(),
            decoder: compressed.then(Decoder::default),
            ended: false,
        }
    }

    /// The next bytes; None at the end of a body that arrived whole.
    async fn next(&mut self) -> Result<Option<Bytes>, DbError> {
        loop {
            if let Some(content) = self.decoder.as_mut().map(Decoder::next).transpose()?.flatten() {
                return Ok(Some(content));
            }
            if self.ended {
                return self.decoder.as_ref().map_or(Ok(()), Decoder::finish).map(|()| None);
            }
            match (self.stream.next().await, &mut self.decoder) {
                (None, _) => self.ended = true,
                (Some(Err(error)), _) => {
                    return Err(DbError::of(
                        210,
                        "NETWORK_ERROR",
                        &format!("the request's body broke off: {error}"),
                    ));
                }
                (Some(Ok(bytes)), None) if bytes.is_empty() => {}
                (Some(Ok(bytes)), None) => return Ok(Some(bytes)),
                (Some(Ok(bytes)), Some(decoder)) => decoder.push(&bytes),
            }
        }
    }

    async fn read_to_end(&mut self, into: &mut BytesMut) -> Result<(), DbError> {
        while let Some(bytes) = self.next().await? {
            if into.len() + bytes.len() > MAX_STATEMENT_BYTES {
                let limit =
                    format!("the statement is longer than {MAX_STATEMENT_BYTES} bytes; send its data as the body");
                return Err(DbError::of(223, "QUERY_IS_TOO_LARGE", &limit));
            }
            into.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// Passes everything on. An INSERT that failed early takes no more; the rest is read all the same, so that the client,
    /// still sending, gets to see the answer.
    async fn feed(mut self, inline: Bytes, to: mpsc::Sender<Piece>) -> Result<(), DbError> {
        if !inline.is_empty() {
            let _ = to.send(Piece::Data(inline)).await;
        }
        while let Some(bytes) = self.next().await? {
            let _ = to.send(Piece::Data(bytes)).await;
        }
        let _ = to.send(Piece::End).await;
        Ok(())
    }
}
