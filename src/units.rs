//! Values with units in the pipeline file: `90s`, `15m`, `64MiB`, `2/s`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration: a number of seconds (`90`, `0.5`), or numbers with `ms`, `s`, `m`, `h`, `d` (`90s`, `1h30m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// A number of bytes: `4096`, `64KiB`, `10MiB`, `2GiB` (1,024) or `64KB`, `10MB`, `2GB` (1,000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

/// A rate of requests: `2/s`, `60/m`, `1200/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Number of requests.
    pub requests: u32,
    /// Per this duration.
    pub per: Duration,
}

/// One or several rates, which all apply: `2/s` or `[2/s, 1200/h]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit(pub Vec<Rate>);

impl Span {
    /// Parses the written form.
    ///
    /// # Errors
    /// A message with the allowed forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(secs) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(secs).map(Self).map_err(|_| span_hint(text));
        }
        let mut total = Duration::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
            let amount: u64 = rest[..digits].parse().map_err(|_| span_hint(text))?;
            let unit_millis = match &rest[digits..digits + letters] {
                "ms" => 1,
                "s" | "sec" | "secs" => 1_000,
                "m" | "min" | "mins" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(span_hint(text)),
            };
            total += Duration::from_millis(amount.checked_mul(unit_millis).ok_or_else(|| span_hint(text))?);
            rest = &rest[digits + letters..];
        }
        if text.is_empty() { Err(span_hint(text)) } else { Ok(Self(total)) }
    }
}

fn span_hint(text: &str) -> String {
    format!("`{text}` is not a duration; write seconds (90) or a number with ms, s, m, h or d (90s, 15m, 1h30m)")
}

impl ByteSize {
    /// Parses the written form.
    ///
    /// # Errors
    /// A message with the allowed forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hint = || {
            format!("`{text}` is not a size; write bytes (4096) or a number with KiB, MiB, GiB, KB, MB or GB (64MiB)")
        };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let amount: u64 = trimmed[..digits].parse().map_err(|_| hint())?;
        let unit: u64 = match trimmed[digits..].trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(hint()),
        };
        amount.checked_mul(unit).map(Self).ok_or_else(hint)
    }
}

impl Rate {
    /// Parses the written form.
    ///
    /// # Errors
    /// A message with the allowed forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hint = || format!("`{text}` is not a rate; write requests per time such as 2/s, 60/m or 1200/h");
        let (requests, unit) = text.split_once('/').ok_or_else(hint)?;
        let requests: u32 = requests.trim().parse().map_err(|_| hint())?;
        let per = match unit.trim() {
            "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            _ => return Err(hint()),
        };
        if requests == 0 {
            return Err(hint());
        }
        Ok(Self { requests, per: Duration::from_secs(per) })
    }
}

/// As in the pipeline file: `2/s`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.requests),
            60 => write!(f, "{}/m", self.requests),
            3_600 => write!(f, "{}/h", self.requests),
            _ => write!(f, "{} per {}", self.requests, Span(self.per)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, name) in UNITS {
            if millis >= unit {
                write!(f, "{}{name}", millis / unit)?;
                millis %= unit;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (unit, name) in UNITS {
            if self.0 >= unit {
                let tenths = u128::from(self.0) * 10 / u128::from(unit);
                return if tenths % 10 == 0 {
                    write!(f, "{} {name}", tenths / 10)
                } else {
                    write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// A string, number or boolean, kept as it is written: the value of an option that is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainText(String);

impl PlainText {
    /// The value as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PlainText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl de::Visitor<'_> for TextVisitor {
            type Value = PlainText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, true or false")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PlainText, E> {
                Ok(PlainText(text.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<PlainText, E> {
                Ok(PlainText(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PlainText, E> {
                Ok(PlainText(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<PlainText, E> {
                Ok(PlainText(number.to_string()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<PlainText, E> {
                Ok(PlainText(number.to_string()))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// Accepts a string with a unit, or a plain number.
struct UnitVisitor<T> {
    parse: fn(&str) -> Result<T, String>,
    expects: &'static str,
}

impl<T> de::Visitor<'_> for UnitVisitor<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expects)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor { parse: Self::parse, expects: "a duration such as 90s or 15m" })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor { parse: Self::parse, expects: "a size such as 64MiB" })
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RatesVisitor;
        impl<'de> de::Visitor<'de> for RatesVisitor {
            type Value = RateLimit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as 2/s, or a list of rates")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RateLimit, E> {
                Rate::parse(text).map(|rate| RateLimit(vec![rate])).map_err(E::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<RateLimit, A::Error> {
                let mut rates = Vec::new();
                while let Some(text) = items.next_element::<String>()? {
                    rates.push(Rate::parse(&text).map_err(de::Error::custom)?);
                }
                if rates.is_empty() {
                    return Err(de::Error::custom("write at least one rate such as 2/s"));
                }
                Ok(RateLimit(rates))
            }
        }
        deserializer.deserialize_any(RatesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_every_written_form() {
        for (text, secs) in [
            ("90", 90.0),
            ("0.5", 0.5),
            ("90s", 90.0),
            ("15m", 900.0),
            ("1h30m", 5_400.0),
            ("1d", 86_400.0),
            ("250ms", 0.25),
        ] {
            assert_eq!(Span::parse(text).expect(text).0, Duration::from_secs_f64(secs), "{text}");
        }
        for text in ["", "m", "5 fortnights", "-1", "1x"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
        assert_eq!(Span(Duration::from_secs(5_400)).to_string(), "1h30m");
    }

    #[test]
    fn sizes_in_every_written_form() {
        for (text, bytes) in [("4096", 4_096), ("64MiB", 64 << 20), ("2 GiB", 2 << 30), ("10MB", 10_000_000)] {
            assert_eq!(ByteSize::parse(text).expect(text).0, bytes, "{text}");
        }
        assert!(ByteSize::parse("big").is_err());
        assert_eq!(ByteSize(64 << 20).to_string(), "64 MiB");
        assert_eq!(ByteSize(1_536).to_string(), "1.5 KiB");
    }

    #[test]
    fn rates() {
        assert_eq!(Rate::parse("60/m").expect("a rate"), Rate { requests: 60, per: Duration::from_secs(60) });
        assert!(Rate::parse("0/s").is_err());
        assert!(Rate::parse("fast").is_err());
    }
}
