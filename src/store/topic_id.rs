//! The id that Kafka gives a topic when it is created: a topic that was deleted and created anew has another one. librdkafka
//! goes on at its old offsets then and does not tell; rdkafka has no safe call that does.

use std::ffi::{CStr, CString};
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use uuid::Uuid;

/// Something of librdkafka that must be given back.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it came from librdkafka, has not been given back, and this is the call for its type.
            unsafe { self.1(self.0) };
        }
    }
}

/// Asks Kafka; waits at most `timeout`, also where it is away.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> anyhow::Result<Uuid> {
    let name = CString::new(topic)?;
    let mut names = [name.as_ptr()];
    let millis = i32::try_from(timeout.as_millis())?;
    // SAFETY: every pointer comes from the call before it and lives until its `Owned` is dropped; librdkafka copies the
    // names; the result belongs to the event.
    unsafe {
        let rk = client.native_ptr();
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let topics = Owned(topics, sys::rd_kafka_TopicCollection_destroy);
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Owned(
            sys::rd_kafka_AdminOptions_new(rk, operation),
            sys::rd_kafka_AdminOptions_destroy,
        );
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, millis, std::ptr::null_mut(), 0);
        let queue = Owned(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy);
        sys::rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0);
        let event = Owned(sys::rd_kafka_queue_poll(queue.0, millis), sys::rd_kafka_event_destroy);
        if event.0.is_null() {
            bail!(
                "Kafka did not tell the id of topic {topic} within {} ms",
                timeout.as_millis()
            );
        }
        if sys::rd_kafka_event_error(event.0) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let error = CStr::from_ptr(sys::rd_kafka_event_error_string(event.0));
            bail!(
                "Kafka did not tell the id of topic {topic}: {}",
                error.to_string_lossy()
            );
        }
        let mut count = 0;
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let description = *std::slice::from_raw_parts(descriptions, count)
            .first()
            .context("no description")?;
        let error = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(description));
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            bail!("topic {topic}: {}", RDKafkaErrorCode::from(error));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        Ok(Uuid::from_u64_pair(
            sys::rd_kafka_Uuid_most_significant_bits(id) as u64,
            sys::rd_kafka_Uuid_least_significant_bits(id) as u64,
        ))
    }
}
