//! The JSON Schemas of the settings types whose `Deserialize` is written by hand.

use crate::secret::Secret;
use crate::units::{ByteSize, PlainText, RateLimit, Span};

/// Implements `JsonSchema` for a type that is written as a scalar.
macro_rules! written_as {
    ($type:ty, $name:literal, $schema:tt) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

pub(crate) use written_as;

written_as!(Span, "Span", {
    "type": ["string", "number"],
    "minimum": 0,
    "examples": ["30s", "15m", "6h", "7d", 90]
});

written_as!(ByteSize, "ByteSize", {
    "type": ["string", "integer"],
    "minimum": 0,
    "examples": ["64MiB", "10GiB", 1_048_576]
});

written_as!(RateLimit, "RateLimit", {
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
    "examples": ["2/s", "100/m", ["2/s", "1000/h"]]
});

written_as!(PlainText, "PlainText", { "type": ["string", "number", "boolean"] });

written_as!(Secret, "Secret", {
    "anyOf": [
        { "type": "string", "minLength": 1 },
        {
            "type": "object",
            "properties": { "file": { "type": "string", "description": "The file with the secret, relative to the pipeline file." } },
            "required": ["file"],
            "additionalProperties": false
        }
    ],
    "examples": ["${VARIABLE}", { "file": "/run/secrets/token" }]
});
