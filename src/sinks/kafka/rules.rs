//! The settings of a topic that say which records its broker will refuse.

/// What a topic accepts. A setting that is not visible refuses nothing here: the broker decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicRules {
    /// `max.message.bytes`: the largest batch of records.
    pub(super) max_message_bytes: Option<usize>,
    /// Whether `cleanup.policy` contains `compact`: then every record needs a key.
    pub(super) is_compacted: bool,
    /// How far from the present a record's time may be; `None` if the topic takes any time.
    pub(super) times: Option<AcceptedTimes>,
}

/// The accepted distance of a record's time from the broker's, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AcceptedTimes {
    /// `message.timestamp.before.max.ms`.
    pub(super) before_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub(super) after_ms: i64,
}

impl TopicRules {
    /// Reads the topic's settings by name.
    pub(super) fn of(setting: impl Fn(&str) -> Option<String>) -> Self {
        let policy = setting("cleanup.policy").unwrap_or_default();
        let limit = |name: &str| {
            // Before Kafka 3.6 there was one setting for both directions.
            let value = setting(name).or_else(|| setting("message.timestamp.difference.max.ms"));
            value.and_then(|value| value.parse().ok()).unwrap_or(i64::MAX)
        };
        let times = AcceptedTimes {
            before_ms: limit("message.timestamp.before.max.ms"),
            after_ms: limit("message.timestamp.after.max.ms"),
        };
        let takes_any_time = setting("message.timestamp.type").is_none_or(|kind| kind != "CreateTime");
        Self {
            max_message_bytes: setting("max.message.bytes").and_then(|value| value.parse().ok()),
            is_compacted: policy.split(',').any(|policy| policy.trim() == "compact"),
            times: Some(times).filter(|_| !takes_any_time),
        }
    }

    /// Why the broker refuses a record that takes `bytes` in an uncompressed batch of its own.
    pub(super) fn size_refusal(&self, bytes: usize) -> Option<String> {
        let limit = self.max_message_bytes.filter(|limit| bytes > *limit)?;
        Some(format!("the record has {bytes} bytes and the topic's max.message.bytes allows {limit}"))
    }

    /// Why the broker refuses a record without a key.
    pub(super) fn key_refusal(&self, has_key: bool) -> Option<String> {
        (self.is_compacted && !has_key)
            .then(|| "the record has no key, and the topic's cleanup.policy is compact".to_owned())
    }

    /// Why the broker refuses a record with this time.
    pub(super) fn time_refusal(&self, time_ms: i64, now_ms: i64) -> Option<String> {
        let AcceptedTimes { before_ms, after_ms } = self.times?;
        let ahead = time_ms.saturating_sub(now_ms);
        let (setting, limit) = if ahead > after_ms {
            ("after", after_ms)
        } else if ahead.saturating_neg() > before_ms {
            ("before", before_ms)
        } else {
            return None;
        };
        Some(format!("the topic's message.timestamp.{setting}.max.ms is {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(settings: &[(&str, &str)]) -> TopicRules {
        TopicRules::of(|name| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_topic_without_visible_settings_refuses_nothing() {
        assert_eq!(rules(&[]), TopicRules::default());
        assert_eq!(rules(&[]).time_refusal(i64::MIN, 0), None);
        assert_eq!(rules(&[]).size_refusal(usize::MAX), None);
        assert_eq!(rules(&[]).key_refusal(false), None);
    }

    #[test]
    fn the_limits_of_the_settings_are_exact() {
        let limited = rules(&[
            ("max.message.bytes", "100"),
            ("cleanup.policy", "delete,compact"),
            ("message.timestamp.type", "CreateTime"),
            ("message.timestamp.before.max.ms", "1000"),
            ("message.timestamp.after.max.ms", "10"),
        ]);
        assert_eq!(limited.size_refusal(100), None);
        assert!(limited.size_refusal(101).is_some_and(|reason| reason.contains("allows 100")));
        assert_eq!(limited.key_refusal(true), None);
        assert!(limited.key_refusal(false).is_some());
        for (time_ms, setting) in [(4_000, None), (3_999, Some("before")), (5_010, None), (5_011, Some("after"))] {
            let refusal = limited.time_refusal(time_ms, 5_000);
            assert_eq!(refusal.is_some(), setting.is_some(), "{time_ms}");
            assert!(refusal.is_none_or(|reason| reason.contains(setting.unwrap_or_default())));
        }
    }

    #[test]
    fn the_brokers_own_time_is_always_accepted_and_old_brokers_have_one_setting() {
        let own = rules(&[("message.timestamp.type", "LogAppendTime"), ("message.timestamp.before.max.ms", "1")]);
        assert_eq!(own.time_refusal(0, 5_000), None);
        let old = rules(&[("message.timestamp.type", "CreateTime"), ("message.timestamp.difference.max.ms", "7")]);
        assert_eq!(old.times, Some(AcceptedTimes { before_ms: 7, after_ms: 7 }));
    }
}
