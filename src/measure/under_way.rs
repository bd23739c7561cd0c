//! Questions that nobody waits for any more are stopped on the server.

use clickhouse::query::Query;
use tokio::runtime::Handle;
use uuid::Uuid;

/// A question that ClickHouse is answering. Dropped before its end, which happens when a client goes away or a deadline is over, it is stopped
/// there too: ClickHouse notices by itself only when it has something to send.
pub struct UnderWay {
    client: clickhouse::Client,
    /// Names it in `system.processes`.
    comment: String,
    is_over: bool,
}

impl UnderWay {
    pub fn new(client: &clickhouse::Client) -> Self {
        Self {
            client: client.clone(),
            comment: format!("uptake-question {}", Uuid::new_v4()),
            is_over: false,
        }
    }

    pub fn mark(&self, question: Query) -> Query {
        question.with_setting("log_comment", &self.comment)
    }

    pub fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_over {
            return;
        }
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] = '{}' ASYNC", self.comment);
        let stop = self.client.query_raw(&sql);
        runtime.spawn(async move {
            if let Err(error) = stop.execute().await {
                tracing::warn!(%error, "a question that nobody waits for cannot be stopped");
            }
        });
    }
}
