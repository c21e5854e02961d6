//! Topics: checks whether they exist, creates them, and reads the settings that refuse records.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::admin::{
    AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use tokio::time::Instant;

use super::client::{CALL_TIMEOUT, Connection, on_a_thread, query};
use super::config::CreateTopic;
use super::error::{of_topic, stopped, transient};
use super::names::{TopicName, sanitized};
use super::record::Record;
use super::rules::TopicRules;
use crate::sinks::SinkError;
use crate::sinks::template::Template;

/// The most topics with different values of events that a sink writes to from one start to the next.
pub(super) const MAX_TOPICS_OF_VALUES: usize = 1_000;

/// Older settings of a topic are read again before they refuse a record, because somebody may have changed them.
const RULES_LIFETIME: Duration = Duration::from_secs(60);

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
    /// Whether batches are compressed: then the size of a record in a batch is not known before.
    is_compressed: bool,
    /// The topics that were looked up.
    known: HashMap<String, Topic>,
    /// The names of topics without parts of the time, if they contain values.
    of_values: HashSet<String>,
    /// Whether the position topic is known to exist.
    has_position_topic: bool,
}

/// What is known of a topic.
#[derive(Debug)]
struct Topic {
    rules: TopicRules,
    /// Why the topic cannot exist.
    invalid: Option<String>,
    read_at: Instant,
    /// Whether the settings must be read again.
    is_outdated: bool,
    /// Whether the broker refused a record of the current batch that may be too old or too new.
    refuses_times: bool,
}

impl Topic {
    fn new(rules: TopicRules, invalid: Option<String>, refuses_times: bool) -> Self {
        Self { rules, invalid, read_at: Instant::now(), is_outdated: false, refuses_times }
    }

    /// Whether what is known may be used; if not, it is read again.
    fn is_current(&mut self) -> bool {
        self.is_outdated |= self.read_at.elapsed() > RULES_LIFETIME;
        !self.is_outdated
    }

    fn refusal(&self, record: &Record, is_compressed: bool, now_ms: i64) -> Option<String> {
        let rules = &self.rules;
        self.invalid
            .clone()
            .or_else(|| rules.size_refusal(record.batch_bytes).filter(|_| !is_compressed))
            .or_else(|| rules.key_refusal(record.has_key()))
            .or_else(|| rules.time_refusal(record.time_ms, now_ms).filter(|_| self.refuses_times))
    }
}

impl Topics {
    pub(super) fn new(template: Template, create: Option<CreateTopic>, is_compressed: bool) -> Self {
        Self {
            template,
            create,
            is_compressed,
            known: HashMap::new(),
            of_values: HashSet::new(),
            has_position_topic: false,
        }
    }

    /// Starts a batch with other events: the time passes that a topic refused.
    pub(super) fn begin_batch(&mut self) {
        self.known.values_mut().for_each(|topic| topic.refuses_times = false);
    }

    /// Creates the topics that do not exist, and reads their settings.
    ///
    /// # Errors
    /// A topic is missing, and must not or cannot be created.
    pub(super) async fn ensure(&mut self, connection: &Connection, names: &[String]) -> Result<(), SinkError> {
        let is_unknown = |name: &&String| self.known.get(*name).is_none_or(|topic| topic.is_outdated);
        let unknown: Vec<&String> = names.iter().filter(is_unknown).collect();
        let (mut existing, mut invalid) = (Vec::new(), Vec::new());
        for name in unknown {
            match self.create_missing(connection, name).await? {
                None => existing.push(name.as_str()),
                Some(reason) => invalid.push((name.clone(), TopicRules::default(), Some(reason))),
            }
        }
        let rules = rules_of(connection, &existing).await?;
        let existing = existing.into_iter().zip(rules).map(|(name, rules)| (name.to_owned(), rules, None));
        for (name, rules, invalid) in existing.chain(invalid) {
            let refuses_times = self.known.get(&name).is_some_and(|topic| topic.refuses_times);
            self.known.insert(name, Topic::new(rules, invalid, refuses_times));
        }
        Ok(())
    }

    /// Reads the settings of topics that refused records, unless that was done a moment ago.
    pub(super) async fn renew(&mut self, connection: &Connection, names: &[String]) -> Result<(), SinkError> {
        for name in names {
            self.known.get_mut(name).map(Topic::is_current);
        }
        self.ensure(connection, names).await
    }

    /// Creates a topic if it is missing. Returns why it can never exist, if its name was made from values.
    async fn create_missing(&self, connection: &Connection, name: &str) -> Result<Option<String>, SinkError> {
        if exists(connection, name).await? {
            return Ok(None);
        }
        let settings = self.create.ok_or_else(|| missing(connection, name))?;
        let partitions = i32::from(settings.partitions.get());
        match create(connection, name, partitions, replication(settings), &[]).await {
            Err(CreateError::InvalidName(reason)) if self.template.fixed_name().is_none() => {
                Ok(Some(format!("the broker rejects the topic `{name}`: {reason}")))
            }
            created => created.map(|()| None).map_err(|error| error.of_topic(name, partitions, &[])),
        }
    }

    /// Why a record will never be accepted by its topic, if that is known. What is known for long is read again first, by the
    /// next [`Topics::ensure`].
    pub(super) fn refusal(&mut self, record: &Record, topic: &TopicName, now_ms: i64) -> Option<String> {
        if let Some(values) = &topic.of_values
            && !self.of_values.contains(values)
        {
            if self.of_values.len() >= MAX_TOPICS_OF_VALUES {
                return Some(format!(
                    "its topic `{}` would be one more than {MAX_TOPICS_OF_VALUES} topics made from values of events",
                    topic.name
                ));
            }
            self.of_values.insert(values.clone());
        }
        let known = self.known.get_mut(&topic.name)?;
        let refusal = known.refusal(record, self.is_compressed, now_ms)?;
        known.is_current().then_some(refusal)
    }

    /// Whether the sink writes to as many topics made from values as it may.
    pub(super) fn is_full(&self) -> bool {
        self.of_values.len() >= MAX_TOPICS_OF_VALUES
    }

    /// The broker refused a record that may be too old or too new: from now on the others of the batch with such a time are
    /// refused without asking. Returns why, if the topic's settings refuse it.
    pub(super) fn refuse_time(&mut self, topic: &str, time_ms: i64, now_ms: i64) -> Option<String> {
        let topic = self.known.get_mut(topic)?;
        let refusal = topic.rules.time_refusal(time_ms, now_ms)?;
        topic.refuses_times = true;
        Some(refusal)
    }

    /// The most bytes that every known topic accepts in one batch.
    pub(super) fn accepted_bytes(&self) -> Option<usize> {
        self.known.values().filter_map(|topic| topic.rules.max_message_bytes).min()
    }

    /// The topic, if its name does not depend on events.
    pub(super) fn fixed_topic(&self) -> Option<String> {
        self.template.fixed_name().map(sanitized)
    }

    /// How missing topics are created.
    pub(super) fn create(&self) -> Option<CreateTopic> {
        self.create
    }

    /// [`Topics::ensure`] for a topic whose name does not depend on events.
    pub(super) async fn ensure_fixed(&mut self, connection: &Connection) -> Result<(), SinkError> {
        match self.fixed_topic() {
            Some(name) => self.ensure(connection, &[name]).await,
            None => Ok(()),
        }
    }

    /// Creates the position topic if it does not exist, and checks that its last record does not expire.
    pub(super) async fn ensure_position_topic(&mut self, connection: &Connection) -> Result<(), SinkError> {
        let name = &connection.names.position_topic;
        if self.has_position_topic {
            return Ok(());
        }
        if exists(connection, name).await? {
            expect_compacted(connection, name).await?;
        } else {
            let created = create(connection, name, 1, self.replication(), &POSITION_TOPIC_SETTINGS).await;
            created.map_err(|error| error.of_topic(name, 1, &POSITION_TOPIC_SETTINGS))?;
        }
        self.has_position_topic = true;
        Ok(())
    }

    /// Asks the broker whether it would create the position topic. Does not create it.
    pub(super) async fn try_create_position_topic(&self, connection: &Connection) -> Result<(), SinkError> {
        let name = &connection.names.position_topic;
        let (settings, options) = (&POSITION_TOPIC_SETTINGS, patient(CALL_TIMEOUT).validate_only(true));
        let created = request_topic(connection, name, 1, self.replication(), settings, options).await;
        created.map_err(|error| error.of_topic(name, 1, settings))
    }

    /// The replication factor of the position topic; -1 is the cluster's default.
    fn replication(&self) -> i32 {
        self.create.map_or(-1, replication)
    }
}

fn replication(create: CreateTopic) -> i32 {
    i32::from(create.replication_factor.get())
}

pub(super) fn missing(connection: &Connection, name: &str) -> SinkError {
    of_topic(&KafkaError::MetadataFetch(Code::UnknownTopicOrPartition), name, &connection.names)
}

pub(super) async fn exists(connection: &Connection, name: &str) -> Result<bool, SinkError> {
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

/// Why a topic was not created.
enum CreateError {
    /// The name is not valid, or collides with another topic's.
    InvalidName(String),
    /// Another reason.
    Refused(String),
    /// The broker was not reached.
    Sink(SinkError),
}

impl CreateError {
    fn of_topic(self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> SinkError {
        let reason = match self {
            Self::InvalidName(reason) | Self::Refused(reason) => reason,
            Self::Sink(error) => return error,
        };
        let settings: String = settings.iter().map(|(key, value)| format!(" --config {key}={value}")).collect();
        SinkError::Transient {
            message: format!("cannot create the topic `{topic}`: {reason}"),
            hint: format!(
                "grant CREATE to the user, or create it: kafka-topics --create --topic {topic} --partitions {partitions}{settings}"
            ),
        }
    }
}

async fn create(
    connection: &Connection,
    name: &str,
    partitions: i32,
    replication: i32,
    settings: &[(&str, &str)],
) -> Result<(), CreateError> {
    request_topic(connection, name, partitions, replication, settings, patient(CALL_TIMEOUT)).await?;
    tracing::info!(event = "topic_created", sink = connection.names.sink, topic = name, partitions, "topic created");
    Ok(())
}

/// Asks the broker whether it would create a topic. Creates none.
pub(super) async fn try_create(connection: &Connection, name: &str, settings: CreateTopic) -> Result<(), SinkError> {
    let partitions = i32::from(settings.partitions.get());
    let options = patient(CALL_TIMEOUT).validate_only(true);
    let created = request_topic(connection, name, partitions, replication(settings), &[], options).await;
    created.map_err(|error| error.of_topic(name, partitions, &[]))
}

async fn request_topic(
    connection: &Connection,
    name: &str,
    partitions: i32,
    replication: i32,
    settings: &[(&str, &str)],
    options: AdminOptions,
) -> Result<(), CreateError> {
    if !connection.has_administrator() {
        return Err(CreateError::Refused("not possible with OAUTHBEARER".to_owned()));
    }
    let admin = connection.admin().map_err(CreateError::Sink)?;
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let results = admin.create_topics([&topic], &options).await.map_err(|error| {
        CreateError::Sink(transient(&error, "create a topic in", Some(admin.inner().context().as_ref())))
    })?;
    match results.into_iter().find_map(Result::err) {
        None | Some((_, Code::TopicAlreadyExists)) => Ok(()),
        Some((_, code @ Code::InvalidTopic)) => {
            Err(CreateError::InvalidName(format!("{code}; a name that differs in `.` and `_` only may exist")))
        }
        Some((_, code)) => Err(CreateError::Refused(code.to_string())),
    }
}

fn patient(longest: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(longest)).operation_timeout(Some(longest))
}

/// The settings of topics, as far as they are visible.
async fn settings_of(connection: &Connection, names: &[&str]) -> Result<Vec<ConfigResource>, SinkError> {
    if names.is_empty() || !connection.has_administrator() {
        return Ok(Vec::new());
    }
    let admin = connection.admin()?;
    let asked: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let answered = admin.describe_configs(&asked, &patient(DESCRIBE_TIMEOUT)).await;
    Ok(answered.unwrap_or_default().into_iter().filter_map(Result::ok).collect())
}

/// What each of the topics accepts, as far as their settings are visible.
pub(super) async fn rules_of(connection: &Connection, names: &[&str]) -> Result<Vec<TopicRules>, SinkError> {
    let settings = settings_of(connection, names).await?;
    let of_topic = |name: &str| {
        let specifier = OwnedResourceSpecifier::Topic(name.to_owned());
        let of_topic = settings.iter().find(|resource| resource.specifier == specifier);
        TopicRules::of(|setting| of_topic?.get(setting)?.value.clone())
    };
    Ok(names.iter().map(|name| of_topic(name)).collect())
}

/// A position that expires would deliver events twice after a long pause.
pub(super) async fn expect_compacted(connection: &Connection, name: &str) -> Result<(), SinkError> {
    let settings = settings_of(connection, &[name]).await?;
    let policy = settings.first().and_then(|settings| settings.get("cleanup.policy")?.value.as_deref());
    match policy {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_read_a_while_ago_is_read_again_before_it_refuses_a_record() {
        let mut topic = Topic::new(TopicRules::default(), None, false);
        assert!(topic.is_current());
        tokio::time::advance(RULES_LIFETIME + Duration::from_secs(1)).await;
        assert!(!topic.is_current() && topic.is_outdated);
    }
}
