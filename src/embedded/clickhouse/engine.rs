//! libchdb's C API, loaded at run time. All the unsafe code that it takes.
//!
//! The engine is one per process and lives as long as any connection to it. A connection runs one statement at a time and
//! holds the settings and the current database of that statement. Opening one takes 0.3 ms, so every statement gets a fresh
//! one: nothing of a statement (settings, half-read output after an error) can reach the next.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use bytes::Bytes;

use crate::error::BadInput;

use super::error::DbError;

type Handle = *mut c_void;
/// Connection, statement, its length, format, its length, then parameter names, their lengths, values, their lengths, count.
type WithParams = unsafe extern "C" fn(
    Handle,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> Handle;
type OfHandle<T> = unsafe extern "C" fn(Handle) -> T;

/// Declares the table of entry points and how it is filled from the library.
macro_rules! entry_points {
    ($($name:ident: $type:ty,)*) => {
        struct Api { $($name: $type,)* }

        impl Api {
            fn load(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: each type above repeats the declaration of that function in chdb.h of engine 26.7.
                unsafe { Ok(Self { $($name: *library.get::<$type>(concat!(stringify!($name), "\0"))?,)* }) }
            }
        }
    };
}

entry_points! {
    chdb_set_signal_handlers_enabled: unsafe extern "C" fn(c_int),
    chdb_connect: unsafe extern "C" fn(c_int, *const *const c_char) -> *mut Handle,
    chdb_close_conn: unsafe extern "C" fn(*mut Handle),
    chdb_query_with_params_n: WithParams,
    chdb_stream_query_with_params_n: WithParams,
    chdb_stream_fetch_result: unsafe extern "C" fn(Handle, Handle) -> Handle,
    chdb_stream_cancel_query: unsafe extern "C" fn(Handle, Handle),
    chdb_stream_insert_with_params_n: WithParams,
    chdb_stream_append: unsafe extern "C" fn(Handle, *const c_void, usize) -> c_int,
    chdb_stream_done: OfHandle<Handle>,
    chdb_stream_cancel_insert: OfHandle<()>,
    chdb_stream_insert_error: OfHandle<*const c_char>,
    chdb_destroy_insert_stream: OfHandle<()>,
    chdb_result_buffer: OfHandle<*const u8>,
    chdb_result_length: OfHandle<usize>,
    chdb_result_error: OfHandle<*const c_char>,
    chdb_result_rows_read: OfHandle<u64>,
    chdb_result_bytes_read: OfHandle<u64>,
    chdb_result_rows_written: OfHandle<u64>,
    chdb_result_bytes_written: OfHandle<u64>,
    chdb_result_storage_rows_read: OfHandle<u64>,
    chdb_result_storage_bytes_read: OfHandle<u64>,
    chdb_destroy_query_result: OfHandle<()>,
}

/// An error that says how to get the engine, if it is not there.
pub fn check_library(library: &Path) -> Result<(), BadInput> {
    match library.is_file() {
        true => Ok(()),
        false => Err(BadInput::new(format!(
            "embedded.chdb_library = {}: no such file; run `make tools` to fetch ClickHouse's embedded engine",
            library.display()
        ))),
    }
}

/// The engine of this process, open on one data directory.
pub struct Engine {
    api: Arc<Api>,
    arguments: Vec<CString>,
    /// Keeps the engine alive between statements.
    _anchor: Connection,
}

impl Engine {
    /// Loads `library` and opens the data directory that `config_file` and `path` name.
    pub fn open(library: &Path, path: &Path, config_file: &Path) -> anyhow::Result<Self> {
        check_library(library)?;
        // SAFETY: initialising libchdb has no precondition but being done once; the library is never unloaded, because
        // the engine's threads run in its code until the process ends.
        let loaded = unsafe { libloading::Library::new(library) }
            .with_context(|| format!("loading {}; run `make tools` to fetch it again", library.display()))?;
        let loaded: &'static libloading::Library = Box::leak(Box::new(loaded));
        let api = Arc::new(Api::load(loaded).with_context(|| {
            format!(
                "{} is not the engine this program knows; run `make tools`",
                library.display()
            )
        })?);
        // SAFETY: no argument but a flag. Signals stay the program's own.
        unsafe { (api.chdb_set_signal_handlers_enabled)(0) };
        let arguments = vec![
            CString::new("clickhouse")?,
            CString::new(format!("--path={}", path.display()))?,
            CString::new(format!("--config-file={}", config_file.display()))?,
            // The level in the configuration file is not honoured.
            CString::new("--log-level=warning")?,
        ];
        let anchor = Connection::open(&api, &arguments)
            .with_context(|| format!("opening the data directory {}", path.display()))?;
        Ok(Self {
            api,
            arguments,
            _anchor: anchor,
        })
    }

    pub fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.api, &self.arguments)
    }
}

/// One connection; used by one thread at a time.
pub struct Connection {
    api: Arc<Api>,
    inner: *mut Handle,
}

// SAFETY: the engine ties no connection to a thread; `&mut self` on every use keeps statements one after the other.
unsafe impl Send for Connection {}
// SAFETY: no method takes `&self`, so sharing a reference gives no access.
unsafe impl Sync for Connection {}

impl Connection {
    fn open(api: &Arc<Api>, arguments: &[CString]) -> anyhow::Result<Self> {
        let pointers: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
        // SAFETY: `pointers` holds that many NUL-terminated strings, which the engine copies.
        let inner = unsafe { (api.chdb_connect)(pointers.len() as c_int, pointers.as_ptr()) };
        // SAFETY: a non-null answer points to a handle, which may be null.
        if inner.is_null() || unsafe { *inner }.is_null() {
            return Err(anyhow!("the embedded engine refused the connection; its log says why"));
        }
        Ok(Self {
            api: Arc::clone(api),
            inner,
        })
    }

    fn handle(&mut self) -> Handle {
        // SAFETY: `inner` is valid and not null from `open` until `drop`.
        unsafe { *self.inner }
    }

    fn start(&mut self, how: WithParams, sql: &[u8], format: &str, params: &Params) -> Handle {
        let p = params.raw();
        // SAFETY: every pointer goes with its length and outlives the call, after which the engine keeps none.
        unsafe {
            how(
                self.handle(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                p.names.as_ptr(),
                p.name_lengths.as_ptr(),
                p.values.as_ptr(),
                p.value_lengths.as_ptr(),
                p.names.len(),
            )
        }
    }

    /// Runs one statement to its end and returns its whole output.
    pub fn query(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<Output, DbError> {
        let result = self.start(self.api.chdb_query_with_params_n, sql, format, params);
        self.take(result)
    }

    /// Starts a SELECT whose output is read block by block.
    pub fn stream(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<OutputStream<'_>, DbError> {
        let stream = self.start(self.api.chdb_stream_query_with_params_n, sql, format, params);
        if stream.is_null() {
            return Err(DbError::no_answer());
        }
        let stream = OutputStream {
            connection: self,
            stream,
            finished: false,
        };
        match stream.connection.error_of(stream.stream) {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Starts an INSERT (without FORMAT clause and data) whose data follow in `format`.
    pub fn insert(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<Input<'_>, DbError> {
        let stream = self.start(self.api.chdb_stream_insert_with_params_n, sql, format, params);
        if stream.is_null() {
            return Err(DbError::no_answer());
        }
        let input = Input {
            connection: self,
            stream,
            finished: false,
        };
        match input.error() {
            Some(error) => Err(error),
            None => Ok(input),
        }
    }

    fn error_of(&self, result: Handle) -> Option<DbError> {
        // SAFETY: `result` is a live result; the text belongs to it and is copied here.
        unsafe { text((self.api.chdb_result_error)(result)) }.map(DbError::new)
    }

    /// Copies a result and frees it.
    fn take(&mut self, result: Handle) -> Result<Output, DbError> {
        if result.is_null() {
            return Err(DbError::no_answer());
        }
        let api = &self.api;
        let output = self.error_of(result).map_or_else(
            || {
                // SAFETY: `result` is live until it is destroyed below; its buffer has that length, or is null and empty.
                unsafe {
                    let (buffer, length) = ((api.chdb_result_buffer)(result), (api.chdb_result_length)(result));
                    let data = if buffer.is_null() || length == 0 {
                        Bytes::new()
                    } else {
                        Bytes::copy_from_slice(std::slice::from_raw_parts(buffer, length))
                    };
                    let count = Count {
                        read_rows: (api.chdb_result_storage_rows_read)(result),
                        read_bytes: (api.chdb_result_storage_bytes_read)(result),
                        written_rows: (api.chdb_result_rows_written)(result),
                        written_bytes: (api.chdb_result_bytes_written)(result),
                        result_rows: (api.chdb_result_rows_read)(result),
                        result_bytes: (api.chdb_result_bytes_read)(result),
                    };
                    Ok(Output { data, count })
                }
            },
            Err,
        );
        // SAFETY: ours to free, once.
        unsafe { (api.chdb_destroy_query_result)(result) };
        output
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once.
        unsafe { (self.api.chdb_close_conn)(self.inner) };
    }
}

/// Output of a statement, or a block of it.
#[derive(Debug, Default)]
pub struct Output {
    pub data: Bytes,
    pub count: Count,
}

/// What `X-ClickHouse-Summary` tells.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    pub read_rows: u64,
    pub read_bytes: u64,
    pub written_rows: u64,
    pub written_bytes: u64,
    pub result_rows: u64,
    pub result_bytes: u64,
}

/// A SELECT under way. Dropping it cancels what is left.
pub struct OutputStream<'a> {
    connection: &'a mut Connection,
    stream: Handle,
    finished: bool,
}

impl OutputStream<'_> {
    /// The next block, each formatted as if it were a whole output; the last one has no rows.
    pub fn next(&mut self) -> Result<Output, DbError> {
        let connection = self.connection.handle();
        // SAFETY: both handles are live.
        let result = unsafe { (self.connection.api.chdb_stream_fetch_result)(connection, self.stream) };
        let output = self.connection.take(result);
        self.finished = !matches!(&output, Ok(o) if o.count.result_rows > 0);
        output
    }
}

impl Drop for OutputStream<'_> {
    fn drop(&mut self) {
        let connection = self.connection.handle();
        let api = &self.connection.api;
        // SAFETY: live handles; cancelled at most once, freed once.
        unsafe {
            if !self.finished {
                (api.chdb_stream_cancel_query)(connection, self.stream);
            }
            (api.chdb_destroy_query_result)(self.stream);
        }
    }
}

/// An INSERT under way. Dropping it unfinished abandons what was not written yet.
pub struct Input<'a> {
    connection: &'a mut Connection,
    stream: Handle,
    finished: bool,
}

impl Input<'_> {
    /// Gives the next bytes, cut anywhere. Blocks while the engine is behind.
    pub fn append(&mut self, data: &[u8]) -> Result<(), DbError> {
        // SAFETY: the stream is live; the engine copies the bytes.
        let state = unsafe { (self.connection.api.chdb_stream_append)(self.stream, data.as_ptr().cast(), data.len()) };
        match state {
            0 => Ok(()),
            _ => Err(self.error().unwrap_or_else(DbError::no_answer)),
        }
    }

    /// Ends the data and waits until they are written.
    pub fn finish(mut self) -> Result<Output, DbError> {
        self.finished = true;
        // SAFETY: the stream is live and was not finished before; the result is ours.
        let result = unsafe { (self.connection.api.chdb_stream_done)(self.stream) };
        match self.error() {
            Some(error) if result.is_null() => Err(error),
            _ => self.connection.take(result),
        }
    }

    fn error(&self) -> Option<DbError> {
        // SAFETY: the stream is live; the text belongs to it and is copied here.
        unsafe { text((self.connection.api.chdb_stream_insert_error)(self.stream)) }.map(DbError::new)
    }
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        let api = &self.connection.api;
        // SAFETY: the stream is live; cancelled at most once, freed once.
        unsafe {
            if !self.finished {
                (api.chdb_stream_cancel_insert)(self.stream);
            }
            (api.chdb_destroy_insert_stream)(self.stream);
        }
    }
}

/// Values for `{name:Type}` in a statement, each in ClickHouse's escaped text form, as `param_name` carries it.
#[derive(Debug, Default, Clone)]
pub struct Params(pub Vec<(String, String)>);

struct RawParams {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
}

impl Params {
    fn raw(&self) -> RawParams {
        RawParams {
            names: self.0.iter().map(|(name, _)| name.as_ptr().cast()).collect(),
            name_lengths: self.0.iter().map(|(name, _)| name.len()).collect(),
            values: self.0.iter().map(|(_, value)| value.as_ptr().cast()).collect(),
            value_lengths: self.0.iter().map(|(_, value)| value.len()).collect(),
        }
    }
}

/// # Safety
/// `pointer` is null or a NUL-terminated string.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if ptr::eq(pointer, ptr::null()) {
        return None;
    }
    // SAFETY: not null, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}
