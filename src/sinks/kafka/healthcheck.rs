//! What a run would fail on, found without writing: brokers that cannot be reached, topics that are missing or cannot be
//! created, and settings of topics that refuse this sink's records.

use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::consumer::Consumer;

use super::client::{CALL_TIMEOUT, Connection, on_a_thread, query};
use super::config::DeliveryGuarantee;
use super::error::{is_for_people, stopped, transient};
use super::rules::TopicRules;
use super::topics::{self, Topics};
use crate::sinks::SinkError;
use crate::time::Timestamp;

/// How long to wait for a connection to a broker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Topics with a smaller `max.message.bytes` refuse many events: those with their vendor's record are often this large.
const SMALLEST_LIMIT: usize = 16 << 10;

/// What the sink will send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) delivery: DeliveryGuarantee,
    /// Whether a record may have no key.
    pub(super) may_lack_key: bool,
    /// The time of the oldest event that is going to be collected, if there is a backfill.
    pub(super) oldest_event: Option<Timestamp>,
}

/// Connects to the brokers with the real credentials and checks the topics. Creates none.
pub(super) async fn healthcheck(connection: &Connection, topics: &Topics, expected: Expected) -> Result<(), SinkError> {
    let positions = &connection.names.position_topic;
    let now_ms = connection.clock.now().as_millis();
    let name = topics.fixed_topic();
    let found = topics::exists(connection, name.as_ref().unwrap_or(positions)).await.map_err(stopped_for_people)?;
    expect_reachable(connection).await?;
    if let Some(name) = name {
        match (found, topics.create()) {
            (true, _) => {
                let rules = topics::rules_of(connection, &[&name]).await?;
                rules.iter().try_for_each(|rules| accepts(rules, &name, expected, now_ms))?;
            }
            (false, None) => return Err(stopped_for_people(topics::missing(connection, &name))),
            (false, Some(settings)) => topics::try_create(connection, &name, settings).await?,
        }
    }
    if expected.delivery == DeliveryGuarantee::ExactlyOnce {
        if topics::exists(connection, positions).await? {
            return topics::expect_compacted(connection, positions).await;
        }
        topics.try_create_position_topic(connection).await?;
    }
    Ok(())
}

/// In a health check, an error that only a person can fix stops the start: a missing topic, credentials or permissions.
fn stopped_for_people(error: SinkError) -> SinkError {
    match error {
        SinkError::Transient { message, hint } if is_for_people(&hint) => SinkError::Stopped { message, hint },
        other => other,
    }
}

/// A client finds the brokers through `bootstrap_servers` and then connects to the addresses that they advertise.
async fn expect_reachable(connection: &Connection) -> Result<(), SinkError> {
    let consumer = connection.consumer()?;
    let topic = connection.names.position_topic.clone();
    let brokers = on_a_thread(move || {
        let metadata = query(&consumer, |consumer| consumer.fetch_metadata(Some(&topic), CALL_TIMEOUT))
            .map_err(|error| transient(&error, "reach", Some(consumer.context().as_ref())))?;
        let brokers = metadata.brokers().iter();
        Ok::<_, SinkError>(brokers.map(|broker| (broker.host().to_owned(), broker.port())).collect::<Vec<_>>())
    })
    .await?;
    let unreachable = join_all(brokers.into_iter().map(|(host, port)| unreachable_reason(host, port))).await;
    match unreachable.into_iter().flatten().next() {
        None => Ok(()),
        Some(message) => Err(SinkError::Transient {
            message,
            hint: "fix `advertised.listeners` of the broker, or make this address reachable from this machine"
                .to_owned(),
        }),
    }
}

async fn unreachable_reason(host: String, port: i32) -> Option<String> {
    let address = u16::try_from(port).ok()?;
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::TcpStream::connect((host.as_str(), address)));
    let reason = match connected.await {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} seconds", CONNECT_TIMEOUT.as_secs()),
    };
    Some(format!("a broker advertises the address {host}:{port}, which cannot be reached: {reason}"))
}

/// Whether the topic's settings accept what the sink will send.
fn accepts(rules: &TopicRules, topic: &str, expected: Expected, now_ms: i64) -> Result<(), SinkError> {
    let alter = |setting: &str| format!("kafka-configs --alter --topic {topic} --add-config {setting}");
    if let Some(limit) = rules.max_message_bytes.filter(|limit| *limit < SMALLEST_LIMIT) {
        return Err(stopped(
            format!("the topic `{topic}` refuses records of more than {limit} bytes: many events are larger"),
            alter("max.message.bytes=1048588"),
        ));
    }
    if rules.is_compacted && expected.may_lack_key {
        return Err(stopped(
            format!("the topic `{topic}` has cleanup.policy=compact: it refuses events whose `key_field` is empty"),
            "set `key_field: id`, or use a topic with cleanup.policy=delete",
        ));
    }
    let Some(oldest) = expected.oldest_event else { return Ok(()) };
    match rules.time_refusal(oldest.as_millis(), now_ms) {
        None => Ok(()),
        Some(reason) => Err(stopped(
            format!("the topic `{topic}` refuses events of the backfill, which begins at {oldest}: {reason}"),
            format!("{}, or set a later `backfill_start_time`", alter("message.timestamp.type=LogAppendTime")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::AcceptedTimes;
    use super::*;

    #[tokio::test]
    async fn an_advertised_address_that_nobody_listens_on_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = i32::from(listener.local_addr().expect("an address").port());
        assert_eq!(unreachable_reason("127.0.0.1".to_owned(), port).await, None);
        drop(listener);
        let reason = unreachable_reason("127.0.0.1".to_owned(), port).await.expect("nobody listens");
        assert!(reason.contains(&format!("127.0.0.1:{port}")), "{reason}");
    }

    #[test]
    fn a_topic_that_refuses_what_will_be_sent_is_named_with_the_setting_to_change() {
        const DAY_MS: i64 = 86_400_000;
        let now_ms = 1_000 * DAY_MS;
        let sent = |age_days: i64, may_lack_key| Expected {
            delivery: DeliveryGuarantee::AtLeastOnce,
            may_lack_key,
            oldest_event: Some(Timestamp::from_millis(now_ms - age_days * DAY_MS)),
        };
        let small = TopicRules { max_message_bytes: Some(2_000), ..TopicRules::default() };
        let compacted = TopicRules { is_compacted: true, ..TopicRules::default() };
        let times = Some(AcceptedTimes { before_ms: 7 * DAY_MS, after_ms: i64::MAX });
        let young = TopicRules { times, ..TopicRules::default() };
        for (rules, sent, word) in [
            (&TopicRules::default(), sent(900, true), None),
            (&small, sent(0, false), Some("max.message.bytes=1048588")),
            (&compacted, sent(0, true), Some("key_field")),
            (&compacted, sent(0, false), None),
            (&young, sent(8, false), Some("message.timestamp.type=LogAppendTime")),
            (&young, sent(6, false), None),
        ] {
            let found = match accepts(rules, "audit", sent, now_ms) {
                Err(SinkError::Stopped { message, hint }) => Some(format!("{message}; {hint}")),
                other => other.map(|()| None).expect("stopped or fine"),
            };
            assert_eq!(found.is_some(), word.is_some(), "{found:?}");
            assert!(found.is_none_or(|text| text.contains("`audit`") && text.contains(word.unwrap_or_default())));
        }
    }
}
