//! `uptake rejected show`: everything about one reject.

use std::fmt::Write;
use std::ops::ControlFlow;

use jiff::Timestamp;
use rdkafka::message::Headers;

use super::Origin;
use super::list::load_retries;
use super::topic::{self, DeadLetter};
use crate::config::Config;
use crate::error::BadInput;
use crate::event::TimeRange;

/// Characters of the payload shown on either side of the mistake.
const AROUND: usize = 40;

pub async fn run(config: &Config, origin: Origin) -> anyhow::Result<()> {
    let retries = load_retries(config).await?;
    let (kafka, wanted) = (config.kafka.clone(), origin.clone());
    let found = tokio::task::spawn_blocking(move || {
        let mut found = None;
        topic::read(&kafka, None, |letter| {
            // The last one: an origin comes again when the topic of events was created anew.
            if letter.origin == wanted {
                found = Some(letter);
            }
            ControlFlow::Continue(())
        })?;
        anyhow::Ok(found)
    });
    let letter = found.await??.ok_or_else(|| {
        let days = config.retention.rejects_days;
        BadInput::new(format!(
            "{origin}: not in the topic {} (rejects are kept for {days} days)",
            config.kafka.rejected_topic
        ))
    })?;
    let now_ms = Timestamp::now().as_millisecond();
    let times = TimeRange::at(now_ms, config.retention.raw_days, config.ingest.future_tolerance_ms);
    let verdict = match letter.check(config.ingest.max_event_bytes, times) {
        Ok(()) => "it would be accepted".to_owned(),
        Err(reject) => format!("it would be refused: {}", reject.sentence()),
    };
    print!(
        "{}",
        describe(&letter, retries.get(&letter.refusal()).copied(), &verdict)
    );
    Ok(())
}

fn describe(letter: &DeadLetter, retried_at: Option<Timestamp>, verdict: &str) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| out.push_str(&format!("{name:<10} {value}\n"));
    line("origin", &letter.origin.to_string());
    line("refused", &letter.refused_at.to_string());
    line("reason", &letter.reason);
    line("wrong", &letter.sentence);
    line("now", verdict);
    if letter.attempt > 0 {
        line("attempt", &format!("{} after {}", letter.attempt, letter.first_origin));
    }
    line(
        "retried",
        &retried_at.map_or_else(|| "no".to_owned(), |at| at.to_string()),
    );
    line(
        "key",
        &letter
            .key
            .as_ref()
            .map_or_else(|| "none".to_owned(), |key| one_line(key)),
    );
    for header in letter.headers.iter() {
        line(
            "header",
            &format!("{}: {}", header.key, one_line(header.value.unwrap_or_default())),
        );
    }
    line("payload", &format!("{} bytes", letter.payload.len()));
    out.push('\n');
    match std::str::from_utf8(&letter.payload) {
        Ok(text) => {
            out.push_str(text);
            out.push('\n');
            if let Some(mistake) = mistake(text, &letter.sentence) {
                let _ = write!(out, "\n{mistake}");
            }
        }
        Err(_) => hexdump(&mut out, &letter.payload),
    }
    out
}

/// One line of a terminal, as wide as it has characters.
fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(printable).collect()
}

fn printable(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

/// The line of the payload that a sentence of the JSON parser names, with a mark under the character.
fn mistake(payload: &str, sentence: &str) -> Option<String> {
    let place = sentence
        .strip_prefix("the message is not JSON (")?
        .split_once(" at line ")?
        .1;
    let (number, column) = place.split_once(')')?.0.split_once(" column ")?;
    let line = payload.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?)?;
    // The parser counts bytes, from 1; 0 is the end of the line before.
    let at = column.parse::<usize>().ok()?.saturating_sub(1);
    let before: String = line
        .char_indices()
        .take_while(|(index, _)| *index < at)
        .map(|(_, c)| c)
        .collect();
    let skipped = before.chars().count().saturating_sub(AROUND);
    let shown: String = line.chars().skip(skipped).take(2 * AROUND).map(printable).collect();
    let indent = before.chars().count() - skipped;
    Some(format!(
        "line {number}, column {column}:\n  {shown}\n  {:indent$}^\n",
        ""
    ))
}

/// Offset, 16 bytes in hex, and what of them is ASCII.
fn hexdump(out: &mut String, bytes: &[u8]) {
    for (number, chunk) in bytes.chunks(16).enumerate() {
        let hex: String = chunk.iter().map(|byte| format!("{byte:02x} ")).collect();
        let ascii: String = chunk
            .iter()
            .map(|&byte| {
                if matches!(byte, b' '..=b'~') {
                    char::from(byte)
                } else {
                    '.'
                }
            })
            .collect();
        let _ = writeln!(out, "{:08x}  {hex:<48} |{ascii}|", number * 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    const TIMES: TimeRange = TimeRange {
        earliest_ms: 0,
        latest_ms: i64::MAX,
    };

    #[test]
    fn the_mark_stands_under_the_mistake() {
        let long = format!("{{\"id\": \"{}\", \"员\": x}}", "1".repeat(100));
        for (payload, marked) in [("{\"id\": tru,}", ','), (long.as_str(), 'x'), ("{\n  \"id\" 1\n}", '1')] {
            let sentence = Event::structured(payload.as_bytes(), TIMES).unwrap_err().sentence();
            let mistake = mistake(payload, &sentence).expect(&sentence);
            let lines: Vec<_> = mistake.lines().collect();
            let column = lines[2].chars().position(|c| c == '^').unwrap();
            assert_eq!(lines[1].chars().nth(column), Some(marked), "{sentence}\n{mistake}");
        }
    }

    #[test]
    fn a_hexdump_has_sixteen_bytes_a_line() {
        let mut out = String::new();
        hexdump(&mut out, b"0123456789abcdef\xff\n!");
        let expected = "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|\n\
            00000010  ff 0a 21                                         |..!|\n";
        assert_eq!(out, expected);
    }
}
