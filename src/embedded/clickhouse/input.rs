//! What a request brings: parameters, and a body in pieces.

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Multipart, Query, Request as HttpRequest};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::compression::Decoder;
use super::engine::Params;
use super::error::DbError;
use super::pool::Piece;

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

/// Everything given as `name=value`, in the URL or in a form.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn of(request: &HttpRequest) -> Result<Self, DbError> {
        Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map(|Query(pairs)| Self(pairs))
            .map_err(|e| DbError::bad_arguments(&format!("the URL's parameters cannot be read: {e}")))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true"))
    }

    /// 0 where it is not given.
    pub fn number(&self, name: &str) -> Result<u64, DbError> {
        let value = self.get(name).unwrap_or("0");
        let refuse = |_| DbError::bad_arguments(&format!("{name} = {value}: expected a whole number"));
        value.parse().map_err(refuse)
    }

    pub fn settings(&self) -> Vec<(String, String)> {
        let is_setting = |name: &str| !RESERVED.contains(&name) && !name.starts_with("param_");
        self.0.iter().filter(|(name, _)| is_setting(name)).cloned().collect()
    }

    pub fn statement_params(&self) -> Params {
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
pub struct InputBody {
    stream: BodyDataStream,
    decoder: Option<Decoder>,
    ended: bool,
}

impl InputBody {
    /// The body of `request`. A form is read at once, into `parameters`.
    pub async fn of(request: HttpRequest, parameters: &mut Parameters) -> Result<Self, DbError> {
        let headers = request.headers();
        let form = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
        let encoded = headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| encoding != "identity");
        if form {
            parameters.read_multipart(request).await?;
            return Ok(Self::new(Body::empty(), false));
        }
        if encoded {
            return Err(DbError::not_implemented(
                "Content-Encoding is not supported; use decompress=1 (LZ4)",
            ));
        }
        Ok(Self::new(request.into_body(), parameters.is_on("decompress")))
    }

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

    pub async fn read_to_end(&mut self, into: &mut BytesMut) -> Result<(), DbError> {
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
    pub async fn feed(mut self, inline: Bytes, to: mpsc::Sender<Piece>) -> Result<(), DbError> {
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
