//! Topics: their names, whether they are there, and making them.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::call::{CALL_TIMEOUT, on_a_thread};
use super::client::{Connection, ask};
use super::config::{CreateTopic, Delivery};
use super::error::{is_for_people, of_topic, stopped, transient};
use crate::sinks::SinkError;
use crate::sinks::template::Template;

/// The longest name that Kafka takes.
const MAX_NAME_BYTES: usize = 249;

/// How long to wait for the settings of a topic: good to know, not needed.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// How old and how large a piece of the position topic grows before compaction may look at it.
const POSITION_TOPIC_SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.ms", "86400000"), ("segment.bytes", "16777216")];

/// A topic's name: what Kafka does not take becomes `_`.
pub(super) fn sanitized(text: &str) -> String {
    let letters = text.chars().map(|letter| if is_allowed(letter) { letter } else { '_' });
    letters.take(MAX_NAME_BYTES).collect()
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-')
}

/// What keeps the template from making names of topics.
pub(super) fn template_problem(template: &Template) -> Option<String> {
    let fixed = template.fixed_text();
    if template.canonical().trim().is_empty() {
        return Some("the topic has no name".to_owned());
    }
    if matches!(template.fixed_name(), Some("." | "..")) {
        return Some("a topic cannot be called `.` or `..`".to_owned());
    }
    if let Some(letter) = fixed.chars().find(|letter| !is_allowed(*letter)) {
        return Some(format!("the name of a topic cannot hold `{letter}`"));
    }
    (template.longest_part() > MAX_NAME_BYTES)
        .then(|| format!("the name can become longer than {MAX_NAME_BYTES} letters"))
}

/// The topics of a sink.
#[derive(Debug)]
pub(super) struct Topics {
    template: Template,
    create: Option<CreateTopic>,
    /// Those that were seen.
    known: HashSet<String>,
}

impl Topics {
    pub(super) fn new(template: Template, create: Option<CreateTopic>) -> Self {
        Self { template, create, known: HashSet::new() }
    }

    /// Sees to it that every topic is there.
    ///
    /// # Errors
    /// A topic that is missing and is not to be made, or cannot be.
    pub(super) async fn ensure(&mut self, connection: &Connection, names: &[String]) -> Result<(), SinkError> {
        for name in names {
            if self.known.contains(name) {
                continue;
            }
            if !exists(connection, name).await? {
                let create = self.create.ok_or_else(|| missing(connection, name))?;
                make(connection, name, i32::from(create.partitions.get()), replication(create), &[]).await?;
            }
            self.known.insert(name.clone());
        }
        Ok(())
    }

    /// As [`Topics::ensure`], for the topic whose name is known before an event has come.
    pub(super) async fn ensure_fixed(&mut self, connection: &Connection) -> Result<(), SinkError> {
        match self.template.fixed_name() {
            Some(name) => self.ensure(connection, &[sanitized(name)]).await,
            None => Ok(()),
        }
    }

    /// Sees to it that the position topic is there and that its last record does not expire.
    pub(super) async fn ensure_position_topic(&mut self, connection: &Connection) -> Result<(), SinkError> {
        let name = &connection.names.position_topic;
        if self.known.contains(name) {
            return Ok(());
        }
        if exists(connection, name).await? {
            expect_compacted(connection, name).await?;
        } else {
            // -1: as the cluster does by default.
            let replication = self.create.map_or(-1, replication);
            make(connection, name, 1, replication, &POSITION_TOPIC_SETTINGS).await?;
        }
        self.known.insert(name.clone());
        Ok(())
    }

    /// Reaches the brokers with the real credentials and looks for the topics. Makes none.
    pub(super) async fn check(&self, connection: &Connection, delivery: Delivery) -> Result<(), SinkError> {
        let name = self.template.fixed_name().map_or_else(|| connection.names.position_topic.clone(), sanitized);
        let is_there = exists(connection, &name).await.map_err(mended_by_people)?;
        if self.template.fixed_name().is_some() && !is_there && self.create.is_none() {
            return Err(mended_by_people(missing(connection, &name)));
        }
        if delivery == Delivery::ExactlyOnce && exists(connection, &connection.names.position_topic).await? {
            expect_compacted(connection, &connection.names.position_topic).await?;
        }
        Ok(())
    }
}

/// At a check, what waiting does not mend stops a start: a missing topic, credentials or rights.
fn mended_by_people(error: SinkError) -> SinkError {
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
        let metadata = ask(&consumer, |consumer| consumer.fetch_metadata(Some(&name), CALL_TIMEOUT))
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

async fn make(
    connection: &Connection,
    name: &str,
    partitions: i32,
    replication: i32,
    settings: &[(&str, &str)],
) -> Result<(), SinkError> {
    if !connection.has_administrator() {
        return Err(cannot_make(name, partitions, settings, "not possible with OAUTHBEARER"));
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
            Err((topic, code)) => return Err(cannot_make(&topic, partitions, settings, &code.to_string())),
        }
    }
    tracing::info!(sink = connection.names.sink, topic = name, partitions, "created the topic");
    Ok(())
}

fn patient(longest: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(longest)).operation_timeout(Some(longest))
}

fn cannot_make(topic: &str, partitions: i32, settings: &[(&str, &str)], reason: &str) -> SinkError {
    let settings: String = settings.iter().map(|(key, value)| format!(" --config {key}={value}")).collect();
    SinkError::Transient {
        message: format!("cannot create the topic `{topic}`: {reason}"),
        hint: format!(
            "allow the user CREATE, or create it: kafka-topics --create --topic {topic} --partitions {partitions}{settings}"
        ),
    }
}

/// `None` if it may not be seen.
async fn cleanup_policy(connection: &Connection, name: &str) -> Result<Option<String>, SinkError> {
    let admin = connection.admin()?;
    let asked = [ResourceSpecifier::Topic(name)];
    let answered = admin.describe_configs(&asked, &patient(LOOK_TIMEOUT)).await;
    let settings = answered.ok().and_then(|mut results| results.pop()).and_then(Result::ok);
    Ok(settings.and_then(|settings| settings.get("cleanup.policy")?.value.clone()))
}

/// A position that expires would bring events twice after a long rest.
async fn expect_compacted(connection: &Connection, name: &str) -> Result<(), SinkError> {
    let policy = if connection.has_administrator() { cleanup_policy(connection, name).await? } else { None };
    match policy.as_deref() {
        None => tracing::warn!(
            topic = name,
            "cannot see whether the position topic is compacted (DESCRIBE_CONFIGS is not allowed, or not possible with OAUTHBEARER); it must have cleanup.policy=compact"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_only_what_kafka_takes() {
        assert_eq!(sanitized("audit.Größe/x y-1_a"), "audit.Gr__e_x_y-1_a");
        assert_eq!(sanitized(&"x".repeat(300)).len(), MAX_NAME_BYTES);
    }

    #[test]
    fn templates_that_cannot_name_topics_are_found() {
        let problem = |text: &str| template_problem(&Template::parse(text).expect(text));
        assert_eq!(problem("audit.{{ vendor }}.%Y"), None);
        for text in ["audit/{{ vendor }}", "", "..", "au dit", &"x".repeat(250)] {
            assert!(problem(text).is_some(), "{text}");
        }
    }
}
