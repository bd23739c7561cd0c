//! A binary-mode message. The input is lines `name: value`, an empty line, and the data: once as the headers of a Kafka
//! message, once as those of a request to the collector, which must put into Kafka what ingest reads as the same event.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use rdkafka::message::{Header, OwnedHeaders};
use uptake::api::Mode;
use uptake::event::{Event, Reject};
use uptake::ingest::envelope::{Envelope, Position};
use uptake_fuzz::{TIMES, check_reject, row, slow};

fuzz_target!(|input: &[u8]| {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, data) = (&input[..end], input.get(end + 2..).unwrap_or_default());
    let headers: Vec<(&str, &[u8])> = head.split(|&b| b == b'\n').filter_map(header).collect();
    through_kafka(&headers, data);
    through_the_collector(&headers, data);
});

fn header(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = line.windows(2).position(|two| two == b": ")?;
    // librdkafka's names end at the first NUL.
    let name = std::str::from_utf8(&line[..at])
        .ok()
        .filter(|name| !name.contains('\0'))?;
    Some((name, &line[at + 2..]))
}

fn through_kafka(headers: &[(&str, &[u8])], data: &[u8]) {
    let names: Vec<String> = headers.iter().map(|(name, _)| name.replacen("ce-", "ce_", 1)).collect();
    let headers: Vec<(&str, &[u8])> = names
        .iter()
        .zip(headers)
        .map(|(name, (_, value))| (name.as_str(), *value))
        .collect();
    let kafka = headers.iter().fold(OwnedHeaders::new(), |kafka, &(key, value)| {
        kafka.insert(Header {
            key,
            value: Some(value),
        })
    });
    let Some(ingested) = ingest(&kafka, data) else {
        assert!(!headers.iter().any(|(name, _)| name.starts_with("ce_")), "{headers:?}");
        return;
    };
    assert_eq!(
        ingested.as_ref().ok(),
        slow::binary(&headers, data, TIMES).as_ref(),
        "{ingested:?}"
    );
    match ingested {
        Ok(event) => row::check(&event),
        Err(reject) => check_reject(&reject),
    }
}

fn through_the_collector(headers: &[(&str, &[u8])], data: &[u8]) {
    let mut request = HeaderMap::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            request.append(name, value);
        }
    }
    request.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let Ok(mode) = Mode::of(&request) else {
        return;
    };
    let kafka = mode.kafka_headers().expect("binary mode");
    assert_eq!(ingest(&kafka, data), Some(Event::read(mode.attributes(), data, usize::MAX, TIMES)));
}

/// What ingest makes of a message with these headers; `None`: it is not in binary mode.
fn ingest<'m>(headers: &'m OwnedHeaders, payload: &'m [u8]) -> Option<Result<Event<'m>, Reject>> {
    let envelope = Envelope {
        position: Position {
            partition: 0,
            offset: 0,
        },
        kafka_ms: 0,
        key: None,
        payload,
        headers: Some(headers.as_borrowed()),
    };
    let attributes = envelope.binary_attributes()?;
    Some(Event::binary(attributes, payload, TIMES))
}
