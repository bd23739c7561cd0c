//! A structured-mode message: the parser takes exactly what the rules allow, and what it takes arrives in the table.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uptake::api::Mode;
use uptake::event::Event;
use uptake_fuzz::{TIMES, check_reject, row, slow};

fuzz_target!(|message: &[u8]| {
    let parsed = Event::structured(message, TIMES);
    assert_eq!(
        parsed.as_ref().ok(),
        slow::structured(message, TIMES).as_ref(),
        "{parsed:?}"
    );
    match parsed {
        Ok(event) => {
            row::check(&event);
            check_batch(message, &event);
        }
        Err(reject) => check_reject(&reject),
    }
});

/// A batch of the collector is taken apart into the same events.
fn check_batch(message: &[u8], event: &Event<'_>) {
    let batch = [b"[", message, b",", message, b"]"].concat();
    let Ok(messages) = Mode::Batched.messages(&batch, 2) else {
        panic!("the batch is not an array");
    };
    assert_eq!(messages.len(), 2);
    for message in messages {
        assert_eq!(Event::structured(message, TIMES).as_ref(), Ok(event));
    }
}
