//! Checks events against `schema.json`, an extract of the compiled OCSF schema: attributes, requirements, constraints, types,
//! enumerations with their captions, and observables. Nothing is allowed that the schema does not have.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

/// The caption of 99 is the source's own word.
const OTHER: i64 = 99;

/// What one OCSF version says.
pub struct Schema {
    version: &'static str,
    definitions: Value,
    patterns: BTreeMap<String, Regex>,
}

impl Schema {
    /// Reads the part of `schema.json` for this version.
    pub fn read(version: &'static str) -> Self {
        let mut all: Value = serde_json::from_str(include_str!("schema.json")).unwrap();
        let definitions = all[version].take();
        let types = definitions["types"].as_object().unwrap_or_else(|| panic!("schema.json has no {version}"));
        let pattern = |(name, scalar): (&String, &Value)| {
            Some((
                name.clone(),
                Regex::new(scalar["regex"].as_str()?).unwrap_or_else(|error| panic!("{name}: {error}")),
            ))
        };
        let patterns = types.iter().filter_map(pattern).collect();
        Self { version, definitions, patterns }
    }

    /// Everything that is wrong with an event.
    pub fn problems(&self, event: &Value) -> Vec<String> {
        let class = event["class_uid"].to_string();
        let Some(definition) = self.definitions["classes"].get(&class) else {
            return vec![format!("class_uid: {class} is not in schema.json")];
        };
        let mut check = Check { schema: self, profiles: &event["metadata"]["profiles"], problems: Vec::new() };
        check.object("", definition, event);
        check.identity(event);
        check.observables(definition, event);
        check.problems
    }
}

/// The check of one event.
struct Check<'s> {
    schema: &'s Schema,
    /// Attributes of other profiles are unknown.
    profiles: &'s Value,
    problems: Vec<String>,
}

impl Check<'_> {
    fn problem(&mut self, path: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{path}: {what}"));
    }

    fn object(&mut self, path: &str, definition: &Value, object: &Value) {
        let Some(fields) = object.as_object() else { return self.problem(path, "is not an object") };
        for (name, value) in fields {
            let at = join(path, name);
            match definition["attributes"].get(name).filter(|attribute| self.has_profile_of(attribute)) {
                Some(attribute) => self.attribute(&at, attribute, value, fields),
                None => self.problem(&at, "is not an attribute"),
            }
        }
        for (name, attribute) in definition["attributes"].as_object().unwrap() {
            let is_required = attribute["required"] == true && self.has_profile_of(attribute);
            if is_required && !fields.contains_key(name) {
                self.problem(&join(path, name), "is required");
            }
        }
        self.constraints(path, &definition["constraints"], fields);
    }

    fn has_profile_of(&self, attribute: &Value) -> bool {
        let is_declared = |profile: &Value| self.profiles.as_array().is_some_and(|known| known.contains(profile));
        attribute["profiles"].as_array().is_none_or(|profiles| profiles.iter().any(is_declared))
    }

    fn constraints(&mut self, path: &str, constraints: &Value, fields: &Map<String, Value>) {
        for (constraint, names) in constraints.as_object().into_iter().flatten() {
            let listed = names.as_array().unwrap();
            let present = listed.iter().filter(|name| fields.contains_key(name.as_str().unwrap())).count();
            let is_met = match constraint.as_str() {
                "at_least_one" => present >= 1,
                "just_one" => present == 1,
                other => panic!("the check does not know the constraint {other}"),
            };
            if !is_met {
                self.problem(path, format_args!("{constraint} of {names} is required"));
            }
        }
    }

    fn attribute(&mut self, path: &str, attribute: &Value, value: &Value, siblings: &Map<String, Value>) {
        if attribute["array"] != true {
            return self.single(path, attribute, value, siblings);
        }
        match value.as_array() {
            Some(items) if !items.is_empty() => {
                items.iter().for_each(|item| self.single(path, attribute, item, siblings));
            }
            _ => self.problem(path, "is not a list with items"),
        }
    }

    fn single(&mut self, path: &str, attribute: &Value, value: &Value, siblings: &Map<String, Value>) {
        let name = attribute["type"].as_str().unwrap();
        if attribute["object"] != true {
            self.scalar(path, name, value);
            return self.enumeration(path, attribute, value, siblings);
        }
        if name == "object" {
            return; // free, like `unmapped`
        }
        match self.schema.definitions["objects"].get(name) {
            Some(definition) => self.object(path, definition, value),
            None => self.problem(path, format_args!("add the object {name} to extract_schema.py")),
        }
    }

    /// A type and those that it is based on.
    fn scalar(&mut self, path: &str, name: &str, value: &Value) {
        let scalar = &self.schema.definitions["types"][name];
        if let Some(base) = scalar["type"].as_str() {
            self.scalar(path, base, value);
        }
        let is_of_type = match name {
            "string_t" => value.as_str().is_some_and(|text| !text.is_empty()),
            "integer_t" | "long_t" => value.is_i64(),
            "boolean_t" => value.is_boolean(),
            "float_t" => value.is_number(),
            _ => !scalar.is_null(),
        };
        if !is_of_type {
            self.problem(path, format_args!("{value} is no {name}"));
        }
        let text = value.as_str().unwrap_or_default();
        if self.schema.patterns.get(name).is_some_and(|pattern| !pattern.is_match(text)) {
            self.problem(path, format_args!("{value} has not the form of {name}"));
        }
        if scalar["max_len"].as_u64().is_some_and(|longest| text.chars().count() as u64 > longest) {
            self.problem(path, format_args!("is longer than {}", scalar["max_len"]));
        }
        let [low, high] = [0, 1].map(|end| scalar["range"][end].as_i64());
        if value
            .as_i64()
            .is_some_and(|number| low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high))
        {
            self.problem(path, format_args!("{value} is outside of {}", scalar["range"]));
        }
    }

    /// The number is known, and its sibling is its caption or, for [`OTHER`], the source's own word.
    fn enumeration(&mut self, path: &str, attribute: &Value, value: &Value, siblings: &Map<String, Value>) {
        let Some(captions) = attribute["enum"].as_object() else { return };
        let key = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let Some(caption) = captions.get(&key) else {
            return self.problem(path, format_args!("{value} is not among its values"));
        };
        let Some(name) = attribute["sibling"].as_str() else { return };
        match siblings.get(name) {
            None if *value == OTHER => self.problem(path, format_args!("{name} must have the source's word")),
            Some(word) if *value == OTHER && word == caption => {
                self.problem(path, format_args!("{name} must have the source's word, not {word}"));
            }
            Some(word) if *value != OTHER && word != caption => {
                self.problem(path, format_args!("{name} must be {caption}, not {word}"));
            }
            _ => {}
        }
    }

    /// What follows from the class and the version.
    fn identity(&mut self, event: &Value) {
        let class = event["class_uid"].as_i64().unwrap_or_default();
        let expected = [
            ("category_uid", json!(class / 1_000)),
            ("type_uid", json!(class * 100 + event["activity_id"].as_i64().unwrap_or_default())),
        ];
        for (name, value) in expected {
            if event[name] != value {
                self.problem(name, format_args!("is {}, not {value}", event[name]));
            }
        }
        if event["metadata"]["version"] != self.schema.version {
            self.problem("metadata.version", format_args!("is not {}", self.schema.version));
        }
    }

    /// Each names an attribute of the event, has its value, and the type that the schema gives it.
    fn observables(&mut self, class: &Value, event: &Value) {
        for observable in event["observables"].as_array().into_iter().flatten() {
            let name = observable["name"].as_str().unwrap_or_default();
            let (mut definition, mut found, mut kind) = (class, event, &Value::Null);
            for part in name.split('.') {
                let attribute = &definition["attributes"][part];
                let named = attribute["type"].as_str().unwrap_or_default();
                found = &found[part];
                definition = &self.schema.definitions["objects"][named];
                let of_type = &self.schema.definitions["types"][named]["observable"];
                kind = attribute.get("observable").unwrap_or(of_type);
            }
            if observable["value"] != *found || found.is_null() {
                self.problem("observables", format_args!("{name} is {found}, not {}", observable["value"]));
            }
            if observable["type_id"] != *kind {
                self.problem("observables", format_args!("{name} is of type {kind}, not {}", observable["type_id"]));
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
