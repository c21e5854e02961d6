//! The callbacks that librdkafka calls on its own threads: log lines, errors, delivery reports, token requests.

use std::collections::HashSet;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::statistics::Statistics;
use tokio::sync::Notify;

use super::log::FoldedLog;
use super::rejections::is_permanent;
use crate::clock::SharedClock;
use crate::secret::{Secret, SentSecrets};

/// How long a bearer token is used before it is read again.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// A task that waits for delivery reports is woken by the last one, and by every 256th.
const REPORTS_BETWEEN_WAKES: usize = 256;

/// The facility under which librdkafka logs that a transaction can only be aborted. It does not report this otherwise before
/// the next call.
const TRANSACTION_FAILED: &str = "TXNERR";

/// Receives the callbacks of librdkafka for one client of a sink.
pub(super) struct SinkContext {
    pub(super) sink: String,
    /// Where it connects first, with scheme and port.
    pub(super) addresses: String,
    pub(super) log: Arc<FoldedLog>,
    pub(super) reports: DeliveryReports,
    pub(super) token: Option<BearerToken>,
    /// Masked in every text of a broker or of librdkafka.
    pub(super) sent: SentSecrets,
    pub(super) last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

/// The secret that bearer tokens are read from.
pub(super) struct BearerToken {
    pub(super) secret: Secret,
    pub(super) clock: SharedClock,
}

/// How many records are in flight, and what failed.
#[derive(Debug, Default)]
pub(super) struct DeliveryReports {
    in_flight: AtomicUsize,
    failures: Mutex<Failures>,
    reported: Notify,
}

/// Records that the broker did not accept.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    /// The first failure that does not refuse records permanently, and the topic.
    pub(super) first: Option<(KafkaError, String)>,
    /// The records of requests that the broker refuses permanently.
    pub(super) refused: Vec<RefusedNumber>,
    /// The partitions of which the broker named the refused records of a request: topic and number.
    naming: HashSet<(String, i32)>,
    /// A record that was dropped unsent because of something else that failed, and the topic.
    pub(super) dropped: Option<(KafkaError, String)>,
    /// Why the whole transaction can only be aborted. The reports of its records may arrive much later.
    pub(super) transaction: Option<String>,
}

/// A record of a request that the broker refuses.
#[derive(Clone, Debug)]
pub(super) struct RefusedNumber {
    /// The number that the record was sent with.
    pub(super) number: usize,
    pub(super) code: RDKafkaErrorCode,
    pub(super) partition: (String, i32),
}

impl Failures {
    /// Whether the broker named this record among those of its request.
    pub(super) fn is_named(&self, refused: &RefusedNumber) -> bool {
        let is_of_request =
            matches!(refused.code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge);
        !is_of_request && self.naming.contains(&refused.partition)
    }
}

impl DeliveryReports {
    pub(super) fn sent(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// The record could not be queued.
    pub(super) fn not_sent(&self) {
        self.reported();
    }

    /// Waits until every record has its report.
    pub(super) async fn all_reported(&self) {
        while self.in_flight() > 0 {
            self.reported.notified().await;
        }
    }

    /// Waits until every record has its report, or one of them has failed.
    pub(super) async fn all_reported_or_failed(&self) {
        while self.in_flight() > 0 && !self.has_failures() {
            self.reported.notified().await;
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        let failures = self.lock();
        failures.first.is_some() || failures.transaction.is_some() || !failures.refused.is_empty()
    }

    /// Waits for one more wake-up: some or all reports have arrived.
    pub(super) async fn more_reports(&self) {
        if self.in_flight() > 0 {
            self.reported.notified().await;
        }
    }

    pub(super) fn take_failures(&self) -> Failures {
        std::mem::take(&mut *self.lock())
    }

    pub(super) fn failed(&self, error: KafkaError, topic: &str, partition: i32, number: usize) {
        let mut failures = self.lock();
        match error.rdkafka_error_code() {
            Some(code) if is_permanent(code) => {
                let partition = (topic.to_owned(), partition);
                failures.refused.push(RefusedNumber { number, code, partition });
            }
            // The record is valid; the broker names another one of its request, which is reported with it.
            Some(RDKafkaErrorCode::InvalidDifferentRecord) => {
                failures.naming.insert((topic.to_owned(), partition));
                failures.dropped = Some((error, topic.to_owned()));
            }
            // Dropped unsent, after a fatal error or when a transaction is aborted: the earlier error is the cause.
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                failures.dropped = Some((error, topic.to_owned()));
            }
            _ if failures.first.is_none() => failures.first = Some((error, topic.to_owned())),
            _ => {}
        }
        drop(failures);
        self.reported.notify_one();
    }

    fn transaction_failed(&self, reason: &str) {
        self.lock().transaction = Some(reason.to_owned());
        self.reported.notify_one();
    }

    fn reported(&self) {
        let left = self.in_flight.fetch_sub(1, Ordering::AcqRel) - 1;
        if left.is_multiple_of(REPORTS_BETWEEN_WAKES) {
            self.reported.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl SinkContext {
    /// The client's last own error: the cause of an unspecific "timed out".
    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl ClientContext for SinkContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let sink = self.sink.as_str();
        let message = self.sent.mask().mask(message);
        if facility == TRANSACTION_FAILED {
            self.reports.transaction_failed(&message);
        }
        if matches!(level, RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug) {
            tracing::debug!(target: "librdkafka", event = "librdkafka", sink, facility, "{message}");
            return;
        }
        let Some(repeated) = self.log.admit(&message, tokio::time::Instant::now()) else { return };
        if matches!(level, RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice) {
            tracing::info!(target: "librdkafka", event = "librdkafka", sink, facility, repeated, "{message}");
        } else {
            tracing::warn!(target: "librdkafka", event = "librdkafka", sink, facility, repeated, "{message}");
        }
    }

    fn stats(&self, _statistics: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.sent.mask().mask(reason);
        tracing::debug!(target: "librdkafka", event = "librdkafka", sink = self.sink, %error, reason, "client error");
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let mut last = self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // "All brokers are down" and the like follow on the error that says why.
        if last.as_ref().is_none_or(|(known, _)| says_why(code) >= says_why(*known)) {
            *last = Some((code, reason));
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let Some(BearerToken { secret, clock }) = &self.token else { return Err("no token is configured".into()) };
        let token = secret.reveal()?;
        self.sent.add(std::slice::from_ref(&token));
        let lifetime_ms = (clock.now() + TOKEN_LIFETIME).as_millis();
        Ok(OAuthToken { token, principal_name: "auditflow".to_owned(), lifetime_ms })
    }
}

impl ConsumerContext for SinkContext {}

impl ProducerContext for SinkContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        use rdkafka::Message as _;
        if let Err((error, message)) = result {
            self.reports.failed(error.clone(), message.topic(), message.partition(), number);
        }
        self.reports.reported();
    }
}

/// How much a code says about the cause: nothing, that something failed, or why.
const fn says_why(code: RDKafkaErrorCode) -> u8 {
    match code {
        RDKafkaErrorCode::AllBrokersDown => 0,
        _ if is_unspecific(code) => 1,
        _ => 2,
    }
}

/// Whether a code says only that something failed.
pub(super) const fn is_unspecific(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::RequestTimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_on_a_cause_does_not_hide_it() {
        let order = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::BrokerTransportFailure, RDKafkaErrorCode::SSL];
        assert!(order.map(says_why).is_sorted_by(|one, other| one < other));
    }
}
