use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const TIMES: TimeRange = TimeRange {
    earliest_ms: 1_700_000_000_000,
    latest_ms: 1_900_000_000_000,
};

fn examples(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schemas/events/examples")
        .join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

#[test]
fn every_accepted_example_is_parsed_as_recorded() {
    let parsed: Vec<String> = examples("accepted")
        .iter()
        .map(|(name, bytes)| format!("{name}: {:#?}", Event::structured(bytes, TIMES).unwrap()))
        .collect();
    insta::assert_snapshot!(parsed.join("\n"));
}

#[test]
fn every_rejected_example_gets_the_reason_in_its_name_and_the_recorded_sentence() {
    let mut sentences = Vec::new();
    for (name, bytes) in examples("rejected") {
        let reject = Event::structured(&bytes, TIMES).unwrap_err();
        assert_eq!(Some(reject.reason.code()), name.split('.').next(), "{name}: {reject}");
        sentences.push(format!("{name}: {}", reject.sentence()));
    }
    insta::assert_snapshot!(sentences.join("\n"));
}

#[test]
fn every_reason_that_an_event_alone_can_have_has_an_example() {
    let named: Vec<String> = examples("rejected").into_iter().map(|(name, _)| name).collect();
    for reason in Reason::ALL {
        let by_size_or_bytes = matches!(reason, Reason::TooLarge | Reason::InvalidUtf8);
        assert!(
            by_size_or_bytes || named.iter().any(|name| name.starts_with(reason.code())),
            "{reason:?}"
        );
    }
}

#[test]
fn the_json_schemas_and_the_parser_agree_on_every_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/events");
    let schema = |kind: &str| {
        let text = fs::read_to_string(root.join(format!("{kind}.schema.json"))).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    };
    let schemas = ["usage.login.v1", "usage.feature_click.v1", "usage.feedback.v1"].map(schema);
    let valid = |bytes: &[u8]| {
        serde_json::from_slice(bytes).is_ok_and(|value| schemas.iter().any(|schema| schema.is_valid(&value)))
    };
    for (name, bytes) in examples("accepted") {
        assert!(valid(&bytes), "{name}");
    }
    // What depends on the clock, and the format of a time, is beyond a schema.
    for (name, bytes) in examples("rejected").iter().filter(|(name, _)| !name.contains("time")) {
        assert!(!valid(bytes), "{name}");
    }
}

#[test]
fn a_sentence_repeats_no_more_than_a_piece_of_what_is_wrong() {
    let comment = "long ".repeat(1_000);
    for more in [r#""more":1e999"#, r#""score":5"#] {
        let message = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/erp","type":"usage.feedback.v1","subject":"u-1",
            "time":"2026-03-02T08:15:30Z","data":{{"system":"erp","score":"{comment}",{more}}}}}"#
        );
        let sentence = Event::structured(message.as_bytes(), TIMES).unwrap_err().sentence();
        assert!(sentence.len() < 400, "{sentence}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let reject = Event::structured(b"{\"id\":\"\xff\"}", TIMES).unwrap_err();
    assert_eq!(reject.reason, Reason::InvalidUtf8);
    assert!(reject.sentence().contains("byte 7"), "{reject}");
}

#[test]
fn binary_mode_gives_the_same_event_as_structured_mode() {
    let structured = br#"{"specversion":"1.0","id":"1","source":"/erp","type":"usage.login.v1","subject":"u-1",
        "time":"2026-03-02T08:15:30Z","data":{"system":"erp","outcome":"success"}}"#;
    let attributes = Attributes {
        specversion: Some("1.0"),
        id: Some("1"),
        source: Some("/erp"),
        kind: Some("usage.login.v1"),
        subject: Some("u-1"),
        time: Some("2026-03-02T08:15:30Z"),
    };
    let data = br#"{"system":"erp","outcome":"success"}"#;
    assert_eq!(
        Event::binary(attributes, data, TIMES),
        Event::structured(structured, TIMES)
    );
    let reject = Event::binary(
        Attributes {
            subject: None,
            ..attributes
        },
        data,
        TIMES,
    )
    .unwrap_err();
    assert_eq!(
        (reject.reason, reject.sentence().as_str()),
        (
            Reason::MissingField,
            "ce_subject is missing, expected a header in UTF-8"
        )
    );
}

#[test]
fn lengths_are_counted_in_characters() {
    let event = |feature: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/erp","type":"usage.feature_click.v1","subject":"u-1",
            "time":"2026-03-02T08:15:30Z","data":{{"system":"erp","feature":"{feature}"}}}}"#
        )
    };
    assert!(Event::structured(event(&"务".repeat(128)).as_bytes(), TIMES).is_ok());
    assert!(Event::structured(event(&"务".repeat(129)).as_bytes(), TIMES).is_err());
}

#[test]
fn the_accepted_times_include_both_ends() {
    let at = |ms: i64| {
        let time = Timestamp::from_millisecond(ms).unwrap();
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/erp","type":"usage.login.v1","subject":"u-1","time":"{time}",
            "data":{{"system":"erp","outcome":"success"}}}}"#
        );
        Event::structured(text.as_bytes(), TIMES)
            .map(|event| event.time_ms)
            .map_err(|reject| reject.reason)
    };
    assert_eq!(at(TIMES.earliest_ms), Ok(TIMES.earliest_ms));
    assert_eq!(at(TIMES.latest_ms), Ok(TIMES.latest_ms));
    assert_eq!(at(TIMES.earliest_ms - 1), Err(Reason::TimeBeforeRetention));
    assert_eq!(at(TIMES.latest_ms + 1), Err(Reason::TimeInFuture));
}

#[test]
fn an_identity_is_source_and_id_and_nothing_else() {
    assert_eq!(Identity::of("/erp", "1"), Identity::of("/erp", "1"));
    assert_ne!(Identity::of("/erp", "1"), Identity::of("/crm", "1"));
    assert_ne!(Identity::of("/erp", "1"), Identity::of("/erp", "2"));
    assert_ne!(Identity::of("/er", "p1"), Identity::of("/erp", "1"));
}

proptest! {
    #[test]
    fn no_message_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Event::structured(&bytes, TIMES);
    }

    #[test]
    fn a_damaged_event_is_parsed_or_refused_but_never_panics(at in 0usize..220, byte in any::<u8>()) {
        let (_, mut bytes) = examples("accepted").remove(0);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Event::structured(&bytes, TIMES);
    }
}

/// A member of an object: mostly one that matters, sometimes odd, sometimes not JSON at all.
fn member() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "system",
        "feature",
        "session",
        "element",
        "outcome",
        "method",
        "traceparent",
        "\\u0069d",
        "a\u{1}b",
    ]);
    let value = prop_oneof![
        4 => "[a-z0-9./-]{0,20}".prop_map(|text| format!("\"{text}\"")),
        1 => ".{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => ".{0,20}".prop_map(|text| format!("\"{text}\"")),
        1 => prop::sample::select(vec!["null", "1", "{}", "[\"a\"]", "", "\"", "{\"a\":\"b\"}"]).prop_map(str::to_owned),
    ];
    (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
}

/// A whole event, with some members added and the order changed.
fn message() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "usage.feature_click.v1",
        "usage.login.v1",
        "usage.feedback.v1",
        "usage.other.v1",
    ]);
    let more = || prop::collection::vec(member(), 0..2);
    let between = || prop::sample::select(vec!["", " ", "\n\t\r"]);
    (kind, more(), more(), between(), between()).prop_flat_map(|(kind, more, of_data, a, b)| {
        let mut data = vec![
            r#""system":"erp""#.to_owned(),
            r#""feature":"a.b""#.into(),
            r#""outcome":"success""#.into(),
        ];
        data.extend(of_data);
        let whole = [
            "specversion\":\"1.0",
            "id\":\"1",
            "source\":\"/s",
            "subject\":\"u",
            "time\":\"2026-03-02T08:15:30.123Z",
        ];
        let mut members: Vec<String> = whole.iter().map(|member| format!("\"{member}\"")).collect();
        members.push(format!("\"type\":\"{kind}\""));
        members.extend(more);
        (Just(data).prop_shuffle(), Just(members).prop_shuffle()).prop_map(move |(data, mut members)| {
            members.insert(
                members.len() / 2,
                format!("{a}\"data\"{b}:{a}{{{}}}{b}", data.join(",")),
            );
            format!("{b}{{{}{a}}}{b}", members.join(&format!("{a},{b}")))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_quick_reading_says_what_the_slow_one_says(text in message(), cut in 0usize..400) {
        let cut = (0..=cut).rev().find(|&at| text.is_char_boundary(at.min(text.len()))).unwrap_or(0).min(text.len());
        for text in [text.as_str(), &text[..cut], &text[cut..]] {
            if let Some(event) = Event::quickly(text, TIMES) {
                prop_assert_eq!(Ok(event), Event::slowly(text, TIMES));
            }
        }
    }
}

#[test]
fn what_most_messages_look_like_is_read_quickly() {
    for kind in ["usage.feature_click.v1", "usage.login.v1"] {
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{kind}","subject":"ü","time":"2026-03-02T08:15:30.123Z",
                "more":"x","data":{{"system":"erp","feature":"a.b","outcome":"failure","session":"s"}}}}"#
        );
        assert_eq!(Event::quickly(&text, TIMES), Some(Event::slowly(&text, TIMES).unwrap()));
    }
}
