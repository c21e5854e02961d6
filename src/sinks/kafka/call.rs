//! Calls that wait for the broker, on a thread where they hold up no other task, and why they fail.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::{Producer, ThreadedProducer};

use super::context::SinkContext;
use super::error::{is_fenced, transient};
use crate::sinks::SinkError;

/// How long one call to the broker may take. What the broker does not answer by then is tried again by the loop above.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a step failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: SinkError,
    /// Nothing is known for sure any more: the next attempt needs a new session.
    pub(super) ends_session: bool,
    /// The broker no longer listens to this producer.
    pub(super) fenced: bool,
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self { error, ends_session: true, fenced: false }
    }
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        Self { fenced: is_fenced(&error), ends_session: true, error: transient(&error, "talk to", None) }
    }
}

/// Makes a call of a producer; whatever goes wrong ends the session.
pub(super) async fn call(
    producer: &Arc<ThreadedProducer<SinkContext>>,
    work: impl FnOnce(&ThreadedProducer<SinkContext>) -> Result<(), KafkaError> + Send + 'static,
) -> Result<(), Failure> {
    let worker = Arc::clone(producer);
    let done = on_a_thread(move || work(&worker)).await;
    done.map_err(|error| Failure {
        fenced: is_fenced(&error),
        ends_session: true,
        error: transient(&error, "commit to", Some(producer.context().as_ref())),
    })
}

/// Runs a call that waits for the broker where it holds up no other task.
pub(super) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
