//! ClickHouse's HTTP interface over the embedded engine, as the `clickhouse` crate, `curl` and Grafana use it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::harness::{Fixture, PROGRAM, directory, eventually, parts};

/// POSTs `sql` with `parameters` in the URL.
async fn post(parameters: &[(&str, &str)], sql: impl Into<reqwest::Body>) -> Response {
    post_to(&parts().await.clickhouse, parameters, sql).await
}

async fn post_to(url: &str, parameters: &[(&str, &str)], sql: impl Into<reqwest::Body>) -> Response {
    let url = reqwest::Url::parse_with_params(url, parameters).unwrap();
    reqwest::Client::new().post(url).body(sql).send().await.unwrap()
}

/// The body of an answer that must be good.
async fn text(response: Response) -> String {
    let status = response.status();
    let body = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// A database of the test, and a client in it.
async fn database() -> (String, Client) {
    let fixture = Fixture::bare().await;
    let name = fixture.config.clickhouse.database.clone();
    text(post(&[], format!("CREATE DATABASE {name}")).await).await;
    (name, fixture.store.client().clone())
}

/// An engine of its own, with limits of its own.
pub struct Engine {
    child: Child,
    pub url: String,
}

impl Engine {
    pub fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["clickhouse", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory("engine"))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("clickhouse: ")
            .expect("the line that says it is ready")
            .to_owned();
        Self { child, url }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn ping_and_an_empty_get_say_ok() {
    for path in ["/ping", "/replicas_status", "/"] {
        let answer = reqwest::get(format!("{}{path}", parts().await.clickhouse))
            .await
            .unwrap();
        assert_eq!(text(answer).await, "Ok.\n");
    }
}

#[tokio::test]
async fn errors_have_clickhouses_code_text_and_status() {
    for (sql, status, code, name) in [
        ("SELEC 1", 400, "62", "SYNTAX_ERROR"),
        ("SELECT * FROM nothing_here", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT no_function(1)", 404, "46", "UNKNOWN_FUNCTION"),
        ("SELECT {missing:UInt8}", 400, "456", "UNKNOWN_QUERY_PARAMETER"),
        ("SELECT throwIf(1)", 500, "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("", 400, "62", "SYNTAX_ERROR"),
    ] {
        let answer = post(&[("query_id", "mine")], sql).await;
        assert_eq!(answer.status().as_u16(), status, "{sql}");
        assert_eq!(answer.headers()["X-ClickHouse-Exception-Code"], code, "{sql}");
        assert_eq!(answer.headers()["X-ClickHouse-Query-Id"], "mine");
        let body = answer.text().await.unwrap();
        assert!(
            body.starts_with(&format!("Code: {code}. DB::Exception: ")) && body.contains(&format!("({name})")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn parameters_settings_and_database_hold_for_one_statement_only() {
    let (name, _) = database().await;
    let sql = "SELECT currentDatabase(), getSetting('max_threads'), getSetting('log_comment'), {text:String}, {list:Array(UInt8)}";
    let given = [
        ("database", name.as_str()),
        ("max_threads", "3"),
        ("log_comment", "it's \\ this"),
        ("param_text", r"tab\tand \\"),
        ("param_list", "[1,2]"),
        ("default_format", "JSONCompactEachRow"),
    ];
    let row: serde_json::Value = serde_json::from_str(&text(post(&given, sql).await).await).unwrap();
    assert_eq!(row, serde_json::json!([name, 3, "it's \\ this", "tab\tand \\", [1, 2]]));
    for _ in 0..20 {
        let after = text(post(&[], "SELECT currentDatabase(), getSetting('log_comment')").await).await;
        assert_eq!(after, "default\t\n");
    }
}

#[tokio::test]
async fn the_format_comes_from_the_statement_then_the_url_then_the_header() {
    let answer = post(&[("default_format", "CSV")], "SELECT 'a' FORMAT JSONEachRow").await;
    assert_eq!(answer.headers()["X-ClickHouse-Format"], "JSONEachRow");
    assert_eq!(text(answer).await, "{\"'a'\":\"a\"}\n");
    assert_eq!(
        text(post(&[("default_format", "CSV")], "SELECT 'a'").await).await,
        "\"a\"\n"
    );
    let request = reqwest::Client::new()
        .post(&parts().await.clickhouse)
        .header("X-ClickHouse-Format", "JSONEachRow");
    assert_eq!(
        text(request.body("SELECT 1 AS x").send().await.unwrap()).await,
        "{\"x\":1}\n"
    );
}

#[tokio::test]
async fn a_get_reads_and_does_not_write() {
    let base = &parts().await.clickhouse;
    let get = async |sql: &str| {
        reqwest::get(reqwest::Url::parse_with_params(base, [("query", sql)]).unwrap())
            .await
            .unwrap()
    };
    assert_eq!(text(get("SELECT 1 SETTINGS max_threads = 1").await).await, "1\n");
    let refused = get("CREATE DATABASE by_get").await;
    assert_eq!(refused.headers()["X-ClickHouse-Exception-Code"], "164");
}

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Click {
    id: u32,
    feature: String,
    score: Option<f64>,
}

fn clicks(count: u32) -> Vec<Click> {
    let of = |id| Click {
        id,
        feature: format!("财务.发票.{}", id % 7),
        score: (id % 3 == 0).then_some(f64::from(id)),
    };
    (0..count).map(of).collect()
}

#[tokio::test]
async fn the_clickhouse_crate_inserts_and_reads_typed_rows_of_any_number() {
    let (_, client) = database().await;
    let create =
        "CREATE TABLE clicks (id UInt32, feature String, score Nullable(Float64)) ENGINE = MergeTree ORDER BY id";
    client.query(create).execute().await.unwrap();
    let rows = clicks(200_000);
    let mut insert = client.insert::<Click>("clicks").await.unwrap();
    for row in &rows {
        insert.write(row).await.unwrap();
    }
    insert.end().await.unwrap();

    let read = client
        .query("SELECT ?fields FROM clicks ORDER BY id")
        .fetch_all::<Click>()
        .await
        .unwrap();
    assert!(read == rows, "what was read differs from what was written");
    let few = client
        .query("SELECT count() FROM clicks WHERE id < {below:UInt32} AND feature LIKE ?")
        .param("below", 70);
    assert_eq!(few.bind("财务%0").fetch_one::<u64>().await.unwrap(), 10);
    let parts = client
        .query("SELECT count() FROM system.parts WHERE active AND table = 'clicks' AND database = currentDatabase()");
    assert_eq!(
        parts.fetch_one::<u64>().await.unwrap(),
        1,
        "one INSERT makes one block for each partition"
    );
    let error = client.query("SELECT * FROM no_table").execute().await.unwrap_err();
    assert!(error.to_string().contains("UNKNOWN_TABLE"), "{error}");
}

#[tokio::test]
async fn data_come_in_the_body_beside_or_behind_the_statement() {
    let (name, client) = database().await;
    client
        .query("CREATE TABLE t (x UInt32) ENGINE = MergeTree ORDER BY x")
        .execute()
        .await
        .unwrap();
    let to = |query| [("database", name.as_str()), ("query", query)];
    for (query, body) in [
        ("INSERT INTO t FORMAT RowBinary", b"\x01\0\0\0\x0a\0\0\0".to_vec()),
        ("INSERT INTO t (x) FORMAT JSONEachRow", b"{\"x\":100}".to_vec()),
        ("INSERT INTO t VALUES", b"(1000),(10000)".to_vec()),
        ("", b"INSERT INTO t FORMAT CSV\n100000\n".to_vec()),
        ("", b"INSERT INTO t VALUES (1000000)".to_vec()),
        ("INSERT INTO t FORMAT RowBinary", Vec::new()),
    ] {
        let answer = post(&to(query), body).await;
        let summary = answer.headers().get("X-ClickHouse-Summary").cloned();
        text(answer).await;
        assert!(query.is_empty() || summary.unwrap().to_str().unwrap().contains("written_rows"));
    }
    assert_eq!(
        client.query("SELECT sum(x) FROM t").fetch_one::<u64>().await.unwrap(),
        1_111_111
    );

    let refused = post(&to("INSERT INTO t FORMAT RowBinary"), b"\x01\0".to_vec()).await;
    assert_eq!(refused.headers()["X-ClickHouse-Exception-Code"], "33");
    let refused = post(&to("INSERT INTO absent FORMAT CSV"), vec![b'1'; 8 << 20]).await;
    assert_eq!(refused.headers()["X-ClickHouse-Exception-Code"], "60");
    assert_eq!(
        client.query("SELECT count() FROM t").fetch_one::<u64>().await.unwrap(),
        7
    );
}

#[tokio::test]
async fn an_insert_whose_client_goes_away_is_abandoned() {
    let (name, client) = database().await;
    client
        .query("CREATE TABLE t (x UInt8) ENGINE = MergeTree ORDER BY x")
        .execute()
        .await
        .unwrap();
    let url = reqwest::Url::parse_with_params(
        &parts().await.clickhouse,
        [
            ("database", name.as_str()),
            ("query", "INSERT INTO t FORMAT CSV"),
            ("log_comment", &name),
        ],
    );
    let endless = futures_util::stream::unfold(0, |sent| async move {
        if sent > 0 {
            std::future::pending::<()>().await;
        }
        Some((Ok::<_, std::io::Error>("1\n2\n"), sent + 1))
    });
    let request = reqwest::Client::new()
        .post(url.unwrap())
        .body(reqwest::Body::wrap_stream(endless))
        .send();
    let request = tokio::spawn(request);
    // A new owner of a partition finds a running INSERT of its predecessor like this.
    let running = async || {
        let sql = "SELECT count() FROM system.processes WHERE Settings['log_comment'] = ?";
        client.query(sql).bind(&name).fetch_one::<u64>().await.unwrap()
    };
    eventually("the INSERT shows in system.processes", async || running().await == 1).await;
    request.abort();
    eventually("the INSERT is gone", async || running().await == 0).await;
    assert_eq!(
        client.query("SELECT count() FROM t").fetch_one::<u64>().await.unwrap(),
        0
    );
}

#[tokio::test]
async fn repeated_blocks_are_dropped_in_the_table_and_in_its_views() {
    let (name, client) = database().await;
    for sql in [
        "CREATE TABLE raw (x UInt32) ENGINE = MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 100",
        "CREATE TABLE total (n SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY () SETTINGS non_replicated_deduplication_window = 100",
        "CREATE MATERIALIZED VIEW to_total TO total AS SELECT count() AS n FROM raw",
    ] {
        client.query(sql).execute().await.unwrap();
    }
    for token in ["a", "a", "b"] {
        let to = [
            ("database", name.as_str()),
            ("query", "INSERT INTO raw FORMAT CSV"),
            ("insert_deduplication_token", token),
        ];
        text(post(&to, "1\n2\n").await).await;
    }
    assert_eq!(
        client
            .query("SELECT count() FROM raw")
            .fetch_one::<u64>()
            .await
            .unwrap(),
        4
    );
    assert_eq!(
        client
            .query("SELECT sum(n) FROM total")
            .fetch_one::<u64>()
            .await
            .unwrap(),
        4
    );
}

#[tokio::test]
async fn the_defaults_suit_ingest() {
    let sql = "SELECT getSetting('async_insert'), getSetting('deduplicate_blocks_in_dependent_materialized_views'), timezone()";
    assert_eq!(text(post(&[], sql).await).await, "false\ttrue\tUTC\n");
}

#[tokio::test]
async fn answers_are_compressed_on_request_in_clickhouses_own_frames() {
    let answer = post(
        &[("compress", "1")],
        "SELECT repeat('a', 100000) FORMAT TabSeparatedRaw",
    )
    .await;
    let frame = answer.bytes().await.unwrap();
    assert!(frame.len() < 2_000 && frame[16] == 0x82, "not an LZ4 frame");
    let content = lz4_flex::block::decompress(&frame[25..], 100_001).unwrap();
    assert_eq!(content, [vec![b'a'; 100_000], vec![b'\n']].concat());

    // The crate compresses what it inserts; a body that is not what it claims to be is refused.
    let refused = post(
        &[
            ("decompress", "1"),
            ("query", "INSERT INTO FUNCTION null('x UInt8') FORMAT CSV"),
        ],
        vec![7; 64],
    )
    .await;
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

/// Every type that the tables and views use, and more, in blocks of several sizes.
#[tokio::test]
async fn native_answers_suit_the_clients_protocol_version() {
    let sql = "SELECT number, toString(number) AS text, toLowCardinality(text) AS word, [word, 'x'] AS words, \
        if(number % 3 = 0, NULL, word) AS maybe, (number, text) AS pair, map(text, [toUInt8(1)]) AS lists, \
        toDateTime64(number, 3, 'UTC') AS time, toDate(number % 9) AS day, toFixedString('abc', 3) AS fixed, \
        CAST('a(' AS Enum8('a(' = 1, 'b, ''c' = 2)) AS kind, toDecimal64(1.5, 4) AS price, NULL AS nothing, \
        CAST(tuple(1, 'x') AS Tuple(a UInt8, `b c` LowCardinality(Nullable(String)))) AS named, generateUUIDv4() AS id \
        FROM numbers({rows:UInt32}) FORMAT Native";
    for rows in ["1", "1000", "200000"] {
        let of = async |version| {
            let answer = post(&[("param_rows", rows), ("client_protocol_version", version)], sql).await;
            assert_eq!(answer.status(), StatusCode::OK);
            answer.bytes().await.unwrap()
        };
        let (oldest, older, newer) = (of("0").await, of("54405").await, of("54460").await);
        // Eight bytes for each block, then one for each of 15 columns.
        let blocks = (older.len() - oldest.len()) / 8;
        assert!(blocks >= 1 && older.starts_with(b"\x01\0\x02\xff\xff\xff\xff\0"));
        assert_eq!(newer.len(), older.len() + 15 * blocks, "{rows} rows");
    }
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_streamed_answer_reaches_the_client() {
    let (_, client) = database().await;
    let sql = "SELECT throwIf(number = 3000000, 'too far') AS x FROM numbers(4000000) SETTINGS max_threads = 1";
    let error = client.query(sql).fetch_all::<u8>().await.unwrap_err();
    assert!(error.to_string().contains("too far"), "{error}");
    assert_eq!(client.query("SELECT 1").fetch_one::<u8>().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_statements_than_connections_all_get_their_own_answer() {
    let answers = (0..100).map(|i| {
        tokio::spawn(async move { text(post(&[("param_i", &i.to_string())], "SELECT {i:UInt32}").await).await })
    });
    for (i, answer) in answers.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(answer.await.unwrap(), format!("{i}\n"));
    }
}

#[tokio::test]
async fn user_and_password_are_asked_for_in_every_form() {
    let engine = Engine::start(&[
        ("UPTAKE__CLICKHOUSE__USER", "reader"),
        ("UPTAKE__CLICKHOUSE__PASSWORD", "s3cret"),
    ]);
    let client = reqwest::Client::new();
    let good = [
        client
            .post(&engine.url)
            .header("X-ClickHouse-User", "reader")
            .header("X-ClickHouse-Key", "s3cret"),
        client.post(&engine.url).basic_auth("reader", Some("s3cret")),
        client.post(format!("{}/?user=reader&password=s3cret", engine.url)),
    ];
    for request in good {
        assert_eq!(text(request.body("SELECT 1").send().await.unwrap()).await, "1\n");
    }
    let bad = [
        client.post(&engine.url),
        client.post(&engine.url).basic_auth("reader", Some("wrong")),
        client.post(format!("{}/?user=default&password=s3cret", engine.url)),
    ];
    for request in bad {
        let refused = request.body("SELECT 1").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.headers()["X-ClickHouse-Exception-Code"], "516");
        assert!(refused.text().await.unwrap().contains("(AUTHENTICATION_FAILED)"));
    }
}

#[tokio::test]
async fn time_and_memory_of_a_statement_are_limited() {
    let engine = Engine::start(&[
        ("UPTAKE__EMBEDDED__STATEMENT_TIMEOUT_MS", "700"),
        ("UPTAKE__EMBEDDED__MAX_MEMORY_BYTES", "600000000"),
    ]);
    let started = Instant::now();
    let late = post_to(&engine.url, &[], "SELECT count() FROM numbers(1000000000000)").await;
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(late.headers()["X-ClickHouse-Exception-Code"], "159");
    let large = post_to(
        &engine.url,
        &[],
        "SELECT groupArray(toString(number)) FROM numbers(100000000) SETTINGS max_execution_time = 30",
    )
    .await;
    assert_eq!(large.headers()["X-ClickHouse-Exception-Code"], "241");
    assert_eq!(text(post_to(&engine.url, &[], "SELECT 1").await).await, "1\n");
}

#[tokio::test]
async fn a_missing_library_and_a_directory_in_use_are_the_users_mistake() {
    let run = |library: Option<&str>, data: &std::path::Path| {
        let mut program = Command::new(PROGRAM);
        program
            .args(["clickhouse", "--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        program.envs(library.map(|library| ("UPTAKE__EMBEDDED__CHDB_LIBRARY", library)));
        let output = program.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, message) = run(Some("nowhere/libchdb.so"), &directory("engine"));
    assert!(
        code == Some(2) && message.contains("nowhere/libchdb.so") && message.contains("make tools"),
        "{message}"
    );

    let dir = directory("engine");
    let held = std::fs::File::create(dir.join("lock")).unwrap();
    held.lock().unwrap();
    let (code, message) = run(None, &dir);
    assert!(code == Some(2) && message.contains("is in use"), "{message}");
}
