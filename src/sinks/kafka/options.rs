//! `librdkafka_options`: passed through, but for those that would break the guarantee or that have a name of their own.

/// Why an option is not passed through: what to do instead.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    const GUARANTEE: &str = "auditflow sets it, since the guarantee hangs on it: take it out";
    const TLS: &str = "write it under `tls` instead, where secrets stay secret";
    const CONSUMING: &str = "it is for consumers, this is a producer: take it out";
    let hint = match name {
        "bootstrap.servers" | "metadata.broker.list" => "write `bootstrap_servers` instead",
        "security.protocol" => "write `tls` and `sasl` instead, they set it",
        "message.timeout.ms" | "delivery.timeout.ms" => "write `message_timeout_ms` instead",
        "compression.type" | "compression.codec" => "write `compression` instead",
        "transaction.timeout.ms" => "write `message_timeout_ms` instead, a transaction may take as long",
        _ if name.starts_with("sasl.") && !name.starts_with("sasl.kerberos") => {
            "write it under `sasl` instead, where secrets stay secret"
        }
        "ssl.ca.location" | "ssl.certificate.location" | "ssl.endpoint.identification.algorithm" => TLS,
        "enable.ssl.certificate.verification" => TLS,
        _ if name.starts_with("ssl.key") || name.ends_with(".pem") || name.ends_with(".password") => TLS,
        "enable.idempotence"
        | "acks"
        | "request.required.acks"
        | "transactional.id"
        | "max.in.flight"
        | "max.in.flight.requests.per.connection"
        | "retries"
        | "message.send.max.retries"
        | "queuing.strategy"
        | "delivery.report.only.error"
        | "enable.gapless.guarantee"
        | "test.mock.num.brokers"
        | "test.mock.broker.rtt" => GUARANTEE,
        "group.id" | "isolation.level" | "enable.auto.commit" | "auto.offset.reset" | "enable.partition.eof" => {
            CONSUMING
        }
        _ => return None,
    };
    Some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guarantee_hangs_on_and_secrets_are_refused() {
        for name in
            ["acks", "enable.idempotence", "transactional.id", "sasl.password", "ssl.key.pem", "isolation.level"]
        {
            assert!(refusal(name).is_some(), "{name}");
        }
        for name in ["linger.ms", "batch.size", "message.max.bytes", "ssl.cipher.suites", "socket.timeout.ms"] {
            assert_eq!(refusal(name), None, "{name}");
        }
    }
}
