//! The webhook: who is told of a breach and of its end, where no Alertmanager does it.
//!
//! A notice is kept in `target_notices` before the day that makes it counts as evaluated, and until the receiver has taken it: at least
//! once, each time with the same id. Notices are signed as Standard Webhooks says, with HMAC-SHA-256 over id, time and body.

use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::evaluate::{Before, alert_id};
use super::state::State;
use crate::config;
pub use crate::config::WebhookFormat as Format;
use crate::measure::window::date_of;
use crate::metrics::{OutcomeLabel, TargetMetrics};
use crate::store::Store;
use crate::store::targets::{Notice, TargetDay};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// What the receiver has to be told of a day: breaches that begin or end. A day of which that follows from what was decided, not from what
/// is shown, so that an undecided day neither ends a breach nor begins one.
pub fn of_day(before: &Before, rows: &[TargetDay], format: Format, now: Timestamp) -> anyhow::Result<Vec<Notice>> {
    let mut notices = Vec::new();
    for row in rows {
        let known = before.get(&(row.target.clone(), row.group_name.clone()));
        let was_alarming = known.is_some_and(|row| is_alarming(&row.decided));
        let firing = match (was_alarming, is_alarming(&row.decided)) {
            (false, true) => true,
            (true, false) => false,
            _ => continue,
        };
        let id = alert_id(&row.system, &row.target, &row.group_name, row.day);
        let body = match format {
            Format::CloudEvents => cloud_event(&id, row, firing, now),
            Format::Alertmanager => alertmanager(row, known.filter(|_| !firing), now),
        };
        notices.push(Notice {
            id,
            system: row.system.clone(),
            day: row.day,
            made_at: now.as_millisecond(),
            body: serde_json::to_string(&body)?,
            delivered: false,
            attempts: 0,
            last_error: String::new(),
            updated_at: 0,
        });
    }
    Ok(notices)
}

fn is_alarming(word: &str) -> bool {
    State::parse(word).is_some_and(State::is_alarming)
}

fn cloud_event(id: &str, row: &TargetDay, firing: bool, now: Timestamp) -> Value {
    let kind = if firing {
        "uptake.target.breached.v1"
    } else {
        "uptake.target.resolved.v1"
    };
    json!({
        "specversion": "1.0", "id": id, "source": format!("/uptake/{}", row.system), "type": kind, "subject": row.target,
        "time": now, "datacontenttype": "application/json",
        "data": {
            "system": row.system, "target": row.target, "metric": row.metric, "by": row.dimension, "group": row.group_name,
            "day": date_of(row.day), "state": row.state, "previous": row.previous, "reason": row.reason, "rate": row.rate,
            "expected": row.expected, "eligible": row.eligible, "day_rate": row.day_value, "usual_rate": row.usual_value,
        }
    })
}

/// `breached`: the row of the breach that is over, where it is.
fn alertmanager(row: &TargetDay, breached: Option<&TargetDay>, now: Timestamp) -> Value {
    let labels = json!({
        "alertname": "UptakeTargetBreached", "severity": "critical", "system": row.system, "target": row.target,
        "by": row.dimension, "group": row.group_name,
    });
    let annotations = json!({"summary": summary(row)});
    let (status, ends_at) = match breached {
        Some(_) => ("resolved", now.to_string()),
        None => ("firing", "0001-01-01T00:00:00Z".to_owned()),
    };
    let starts_at = format!("{}T00:00:00Z", date_of(breached.map_or(row.day, |row| row.since)));
    let group = format!("{}/{}/{}", row.system, row.target, row.group_name);
    let fingerprint = &alert_id(&row.system, &row.target, &row.group_name, 0)[..16];
    json!({
        "version": "4", "groupKey": group, "truncatedAlerts": 0, "status": status, "receiver": "uptake", "groupLabels": labels,
        "commonLabels": labels, "commonAnnotations": annotations, "externalURL": "",
        "alerts": [{"status": status, "labels": labels, "annotations": annotations, "startsAt": starts_at, "endsAt": ends_at,
            "generatorURL": "", "fingerprint": fingerprint}],
    })
}

fn summary(row: &TargetDay) -> String {
    let TargetDay { target, metric, .. } = row;
    let group = match row.group_name.as_str() {
        "" => row.system.clone(),
        group => format!("{} {group} of {}", row.dimension, row.system),
    };
    let percent =
        |share: Option<f64>| share.map_or_else(|| "not told".to_owned(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "{target}: {metric} of {group} is {}, expected {} ({})",
        percent(row.rate),
        percent(row.expected),
        row.reason
    )
}

/// Delivers what waits.
pub struct Webhook {
    http: reqwest::Client,
    url: String,
    key: Hmac<Sha256>,
    store: Store,
    metrics: TargetMetrics,
}

impl Webhook {
    /// `None` where nobody is to be told.
    pub fn new(config: &config::Webhook, store: &Store, metrics: &TargetMetrics) -> anyhow::Result<Option<Self>> {
        if config.url.is_empty() {
            return Ok(None);
        }
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(config.timeout_ms))
            .redirect(reqwest::redirect::Policy::none());
        Ok(Some(Self {
            http: http.build().context("a client for targets.webhook.url")?,
            url: config.url.clone(),
            key: Hmac::new_from_slice(config.secret.expose().as_bytes()).context("targets.webhook.secret")?,
            store: store.clone(),
            metrics: metrics.clone(),
        }))
    }

    /// Delivers every notice that waits, oldest first, until one is not taken.
    pub async fn deliver(&self) -> anyhow::Result<()> {
        let waiting = self.store.waiting_notices().await?;
        let mut left = waiting.len();
        self.metrics.notices_waiting.set(left as i64);
        for mut notice in waiting {
            let sent = self.send(&notice).await;
            notice.attempts += 1;
            notice.delivered = sent.is_ok();
            notice.last_error = sent
                .as_ref()
                .err()
                .map(|error| format!("{error:#}"))
                .unwrap_or_default();
            let outcome = if sent.is_ok() { "success" } else { "failure" };
            self.metrics
                .notice_attempts
                .get_or_create(&OutcomeLabel { outcome })
                .inc();
            self.store.write_notices(std::slice::from_ref(&notice)).await?;
            sent?;
            left -= 1;
            self.metrics.notices_waiting.set(left as i64);
        }
        Ok(())
    }

    async fn send(&self, notice: &Notice) -> anyhow::Result<()> {
        let time = Timestamp::now().as_second();
        let request = self
            .http
            .post(&self.url)
            .header("content-type", content_type(&notice.body))
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", self.signature(notice, time))
            .body(notice.body.clone());
        // The address may hold a secret.
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        if !response.status().is_success() {
            bail!("the receiver answered {}", response.status());
        }
        Ok(())
    }

    fn signature(&self, notice: &Notice, time: i64) -> String {
        let mut mac = self.key.clone();
        mac.update(format!("{}.{time}.{}", notice.id, notice.body).as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

fn content_type(body: &str) -> &'static str {
    if body.contains("\"specversion\":\"1.0\"") {
        "application/cloudevents+json"
    } else {
        "application/json"
    }
}

/// Delivers for ever, looking every `pause`; after a failure the pauses double.
pub async fn deliver_all(webhook: Option<Webhook>, pause: Duration) {
    let Some(webhook) = webhook else {
        return std::future::pending().await;
    };
    let mut next = pause;
    loop {
        tokio::time::sleep(next).await;
        next = match webhook.deliver().await {
            Ok(()) => pause,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, seconds = next.as_secs(), "a notice waits to be delivered");
                (next * 2).min(LONGEST_PAUSE.max(pause))
            }
        };
    }
}

/// What waits for the webhook, in words; `None` where nothing does. For `uptake doctor`.
pub async fn waiting(store: &Store) -> anyhow::Result<Option<String>> {
    let waiting = store.waiting_notices().await?;
    let tried = waiting.iter().find(|notice| !notice.last_error.is_empty());
    Ok(tried.map(|notice| {
        let since = Timestamp::from_millisecond(notice.made_at).unwrap_or_default();
        format!(
            "{} notices wait for targets.webhook.url, the oldest since {since}: {} (attempt {})",
            waiting.len(),
            notice.last_error,
            notice.attempts
        )
    }))
}
