//! Messages taken from librdkafka many at a time: the consumer's own `poll` gives each in an event of its own, and looks at the
//! clock three times for it.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as librdkafka;
use rdkafka::consumer::Consumer;
use rdkafka::error::{IsError, KafkaError};
use rdkafka::message::BorrowedHeaders;
use rdkafka::types::{RDKafkaMessage, RDKafkaQueue};

use super::consumer::GroupConsumer;
use super::envelope::{Envelope, Position};

/// A consumer, and beside its own queue, which has the events of the group, one that has the messages of partitions.
pub struct Messages {
    queue: NonNull<RDKafkaQueue>,
    consumer: Arc<GroupConsumer>,
}

// SAFETY: librdkafka's queues are for use by many threads.
unsafe impl Send for Messages {}
// SAFETY: as above.
unsafe impl Sync for Messages {}

impl Messages {
    pub fn new(consumer: GroupConsumer) -> Self {
        // SAFETY: the client is alive as long as `consumer`, which `Drop` needs the queue to go before.
        let queue = unsafe { librdkafka::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self {
            queue: NonNull::new(queue).expect("librdkafka ends the process when there is no memory"),
            consumer: Arc::new(consumer),
        }
    }

    pub fn consumer(&self) -> &Arc<GroupConsumer> {
        &self.consumer
    }

    /// From now on the messages of an assigned partition come here. It must be paused, so that none of them stands in the
    /// consumer's own queue, where it would be overtaken.
    pub fn lead_here(&self, topic: &str, partition: i32) -> Result<(), KafkaError> {
        let topic = CString::new(topic)?;
        let client = self.consumer.client().native_ptr();
        // SAFETY: `client`, `topic` and our own queue are alive. What leads to a partition's queue is ours to give back.
        unsafe {
            let source = librdkafka::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if !source.is_null() {
                librdkafka::rd_kafka_queue_forward(source, self.queue.as_ptr());
                librdkafka::rd_kafka_queue_destroy(source);
            }
        }
        Ok(())
    }

    /// At most `most` messages, in the order of each partition. Waits for the first of them only.
    pub fn take(&self, most: usize, wait: Duration) -> Taken<'_> {
        let mut taken = Taken {
            messages: Vec::with_capacity(most),
            _owner: self,
        };
        if self.take_into(&mut taken.messages, most, Duration::ZERO) == 0
            && self.take_into(&mut taken.messages, 1, wait) > 0
        {
            self.take_into(&mut taken.messages, most - 1, Duration::ZERO);
        }
        taken
    }

    /// librdkafka waits until there are `most`, or the time is over. Gives how many came.
    fn take_into(&self, messages: &mut Vec<*mut RDKafkaMessage>, most: usize, wait: Duration) -> usize {
        let room = messages.spare_capacity_mut();
        let (at, most) = (room.as_mut_ptr().cast(), most.min(room.len()));
        // SAFETY: `at` has room for `most` pointers.
        let came =
            unsafe { librdkafka::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait.as_millis() as i32, at, most) };
        let came = usize::try_from(came).unwrap_or(0);
        // SAFETY: so many pointers were written behind the last one.
        unsafe { messages.set_len(messages.len() + came) };
        came
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // SAFETY: the queue is ours and not used again; its client is still there.
        unsafe { librdkafka::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Messages that came together, and go together.
pub struct Taken<'q> {
    messages: Vec<*mut RDKafkaMessage>,
    _owner: &'q Messages,
}

impl Taken<'_> {
    pub fn iter(&self) -> impl Iterator<Item = Result<Envelope<'_>, KafkaError>> {
        // SAFETY: librdkafka gave these pointers, and the messages stay until `Drop`.
        self.messages.iter().map(|&message| envelope(unsafe { &*message }))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for &message in &self.messages {
            // SAFETY: each is ours, and nothing borrows from it any more.
            unsafe { librdkafka::rd_kafka_message_destroy(message) };
        }
    }
}

/// What is no message is an error of the partition.
fn envelope(message: &RDKafkaMessage) -> Result<Envelope<'_>, KafkaError> {
    if message.err.is_error() {
        return Err(KafkaError::MessageConsumption(message.err.into()));
    }
    // SAFETY: `message` is one of librdkafka's, so its pointers and lengths belong together and live as long.
    let (kafka_ms, key, payload) = unsafe {
        (
            librdkafka::rd_kafka_message_timestamp(message, ptr::null_mut()),
            bytes(message.key, message.key_len),
            bytes(message.payload, message.len),
        )
    };
    Ok(Envelope {
        position: Position {
            partition: message.partition,
            offset: message.offset,
        },
        kafka_ms: kafka_ms.max(0),
        key,
        payload: payload.unwrap_or_default(),
        headers: headers(message),
    })
}

fn headers(message: &RDKafkaMessage) -> Option<&BorrowedHeaders> {
    let mut headers = ptr::null_mut();
    // SAFETY: `message` is one of librdkafka's. Its headers live as long as it does, and a `BorrowedHeaders` is only ever a
    // name for what such a pointer leads to.
    unsafe {
        let found = librdkafka::rd_kafka_message_headers(message, &mut headers);
        (!found.is_error()).then(|| &*headers.cast::<BorrowedHeaders>())
    }
}

/// # Safety
/// `at` is null or leads to `length` bytes that live for `'m`.
unsafe fn bytes<'m>(at: *const std::ffi::c_void, length: usize) -> Option<&'m [u8]> {
    // SAFETY: the caller says so.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at.cast(), length) })
}
