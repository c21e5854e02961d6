//! Topics: checks whether they exist and creates them.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::{CALL_TIMEOUT, Connection, on_a_thread, query};
use super::config::{CreateTopic, DeliveryGuarantee};
use super::error::{is_for_people, of_topic, stopped, transient};
use super::names::sanitized;
use crate::sinks::SinkError;
use crate::sinks::template::Template;

/// How long to wait for the settings of a topic, which are useful but not required.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The settings of the position topic, with segments small and young enough for compaction.
const POSITION_TOPIC_SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.ms", "86400000"), ("segment.bytes", "16777216")];

/// The topics of a sink.
#[derive(Debug)]
pub(super) struct Topics {
    template: Template,
    create: Option<CreateTopic>,
    /// The topics that are known to exist.
    known: HashSet<String>,
}

impl Topics {
    pub(super) fn new(template: Template, create: Option<CreateTopic>) -> Self {
        Self { template, create, known: HashSet::new() }
    }

    /// Creates the topics that do not exist.
    ///
    /// # Errors
    /// A topic is missing, and must not or cannot be created.
    pub(super) async fn ensure(&mut self, connection: &Connection, names: &[String]) -> Result<(), SinkError> {
        for name in names {
            if self.known.contains(name) {
                continue;
            }
            if !exists(connection, name).await? {
                let settings = self.create.ok_or_else(|| missing(connection, name))?;
                create(connection, name, i32::from(settings.partitions.get()), replication(settings), &[]).await?;
            }
            self.known.insert(name.clone());
        }
        Ok(())
    }

    /// [`Topics::ensure`] for a topic whose name does not depend on events.
    pub(super) async fn ensure_fixed(&mut self, connection: &Connection) -> Result<(), SinkError> {
        match self.template.fixed_name() {
            Some(name) => self.ensure(connection, &[sanitized(name)]).await,
            None => Ok(()),
        }
    }

    /// Creates the position topic if it does not exist, and checks that its last record does not expire.
    pub(super) async fn ensure_position_topic(&mut self, connection: &Connection) -> Result<(), SinkError> {
        let name = &connection.names.position_topic;
        if self.known.contains(name) {
            return Ok(());
        }
        if exists(connection, name).await? {
            expect_compacted(connection, name).await?;
        } else {
            // -1: the cluster's default.
            let replication = self.create.map_or(-1, replication);
            create(connection, name, 1, replication, &POSITION_TOPIC_SETTINGS).await?;
        }
        self.known.insert(name.clone());
        Ok(())
    }

    /// Connects to the brokers with the real credentials and checks the topics. Creates none.
    pub(super) async fn check(&self, connection: &Connection, delivery: DeliveryGuarantee) -> Result<(), SinkError> {
        let name = self.template.fixed_name().map_or_else(|| connection.names.position_topic.clone(), sanitized);
        let found = exists(connection, &name).await.map_err(stopped_for_people)?;
        if self.template.fixed_name().is_some() && !found && self.create.is_none() {
            return Err(stopped_for_people(missing(connection, &name)));
        }
        if delivery == DeliveryGuarantee::ExactlyOnce && exists(connection, &connection.names.position_topic).await? {
            expect_compacted(connection, &connection.names.position_topic).await?;
        }
        Ok(())
    }
}

/// In a health check, an error that only a person can fix stops the start: a missing topic, credentials or permissions.
fn stopped_for_people(error: SinkError) -> SinkError {
    match error {
        SinkError::Transient { message, hint } if is_for_people(&hint) => SinkError::Stopped { message, hint },
        other => other,
    }
}

fn replication(create: CreateTopic) -> i32 {
    i32::from(create.replication_factor.get())
}

fn missing(connection: &Connection, name: &str) -> SinkError {
    of_topic(&KafkaError::MetadataFetch(Code::UnknownTopicOrPartition), name, &connection.names)
}

async fn exists(connection: &Connection, name: &str) -> Result<bool, SinkError> {
    let consumer = connection.consumer()?;
    let (name, names) = (name.to_owned(), connection.names.clone());
    on_a_thread(move || {
        let metadata = query(&consumer, |consumer| consumer.fetch_metadata(Some(&name), CALL_TIMEOUT))
            .map_err(|error| transient(&error, "reach", Some(consumer.context().as_ref())))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(false) };
        match topic.error().map(Code::from) {
            None => Ok(!topic.partitions().is_empty()),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(false),
            Some(code) => Err(of_topic(&KafkaError::MetadataFetch(code), &name, &names)),
        }
    })
    .await
}

async fn create(
    connection: &Connection,
    name: &str,
    partitions: i32,
    replication: i32,
    settings: &[(&str, &str)],
) -> Result<(), SinkError> {
    if !connection.has_administrator() {
        return Err(cannot_create(name, partitions, settings, "not possible with OAUTHBEARER"));
    }
    let admin = connection.admin()?;
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let results = admin
        .create_topics([&topic], &patient(CALL_TIMEOUT))
        .await
        .map_err(|error| transient(&error, "create a topic in", Some(admin.inner().context().as_ref())))?;
    for result in results {
        match result {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(cannot_create(&topic, partitions, settings, &code.to_string())),
        }
    }
    tracing::info!(event = "topic_created", sink = connection.names.sink, topic = name, partitions, "topic created");
    Ok(())
}

fn patient(longest: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(longest)).operation_timeout(Some(longest))
}

fn cannot_create(topic: &str, partitions: i32, settings: &[(&str, &str)], reason: &str) -> SinkError {
    let settings: String = settings.iter().map(|(key, value)| format!(" --config {key}={value}")).collect();
    SinkError::Transient {
        message: format!("cannot create the topic `{topic}`: {reason}"),
        hint: format!(
            "grant CREATE to the user, or create it: kafka-topics --create --topic {topic} --partitions {partitions}{settings}"
        ),
    }
}

/// The topic's `cleanup.policy`; `None` if it is not visible.
async fn cleanup_policy(connection: &Connection, name: &str) -> Result<Option<String>, SinkError> {
    let admin = connection.admin()?;
    let asked = [ResourceSpecifier::Topic(name)];
    let answered = admin.describe_configs(&asked, &patient(DESCRIBE_TIMEOUT)).await;
    let settings = answered.ok().and_then(|mut results| results.pop()).and_then(Result::ok);
    Ok(settings.and_then(|settings| settings.get("cleanup.policy")?.value.clone()))
}

/// A position that expires would deliver events twice after a long pause.
async fn expect_compacted(connection: &Connection, name: &str) -> Result<(), SinkError> {
    let policy = if connection.has_administrator() { cleanup_policy(connection, name).await? } else { None };
    match policy.as_deref() {
        None => tracing::warn!(
            event = "position_topic_unverified",
            sink = connection.names.sink,
            topic = name,
            "cannot check cleanup.policy of the position topic: DESCRIBE_CONFIGS is not allowed or not possible with OAUTHBEARER; set it to compact"
        ),
        Some("compact") => {}
        Some(other) => {
            return Err(stopped(
                format!("the position topic `{name}` has cleanup.policy={other}: positions in it would expire"),
                format!("kafka-configs --alter --topic {name} --add-config cleanup.policy=compact"),
            ));
        }
    }
    Ok(())
}
