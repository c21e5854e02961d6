//! A strict reader of the OpenMetrics 1.0 text format, of the types that the program uses.

use std::collections::{BTreeMap, BTreeSet};

/// A metric with its samples.
#[derive(Debug)]
pub struct Family {
    pub kind: String,
    pub unit: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// A line with a value.
#[derive(Debug)]
pub struct Sample {
    /// The name as scraped, such as `auditflow_sink_delivered_total`.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All metrics by the names of their families, which lack `_total` and `_info`.
pub fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("the last line is `# EOF`");
    assert!(body.ends_with('\n') && !body.contains('\r') && !body.contains("# EOF"), "{text}");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(metadata) = line.strip_prefix("# ") {
            let [keyword, name, value] = metadata.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            read_metadata(&mut families, &mut current, keyword, name, value);
        } else {
            let sample = sample(line);
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("a sample before its metric: {line}"));
            check_sample(&current, family, &sample, line);
            family.samples.push(sample);
        }
    }
    families
}

/// Families never mix: metadata comes before samples, each kind of it at most once, TYPE first.
fn read_metadata(
    families: &mut BTreeMap<String, Family>,
    current: &mut String,
    keyword: &str,
    name: &str,
    value: &str,
) {
    assert!(is_name(name), "{name}");
    if keyword == "TYPE" {
        assert!(["counter", "gauge", "info", "summary"].contains(&value), "{name}: {value}");
        let family = Family { kind: value.to_owned(), unit: String::new(), help: String::new(), samples: Vec::new() };
        assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
        name.clone_into(current);
        return;
    }
    assert_eq!(name, current, "{keyword} of another metric");
    let family = families.get_mut(name).unwrap();
    assert!(family.samples.is_empty(), "{keyword} after samples of {name}");
    let field = match keyword {
        "UNIT" => &mut family.unit,
        "HELP" => &mut family.help,
        other => panic!("# {other}"),
    };
    assert!(field.is_empty() && !value.is_empty(), "{keyword} of {name}");
    assert!(!value.contains('\\') && !value.contains('"'), "{name}: {value}");
    value.clone_into(field);
    assert!(keyword != "UNIT" || name.ends_with(&format!("_{value}")), "{name} must end with {value}");
}

fn check_sample(name: &str, family: &Family, sample: &Sample, line: &str) {
    let suffix = sample.name.strip_prefix(name).unwrap_or_else(|| panic!("{line} among samples of {name}"));
    let quantile = sample.labels.get("quantile").map(|quantile| quantile.parse::<f64>().unwrap());
    match family.kind.as_str() {
        "counter" => assert!(suffix == "_total" && sample.value >= 0.0, "{line}"),
        "info" => assert!(suffix == "_info" && sample.value == 1.0, "{line}"),
        "summary" => assert!(suffix.is_empty() && (0.0..=1.0).contains(&quantile.unwrap()), "{line}"),
        _ => assert!(suffix.is_empty(), "{line}"),
    }
    assert!(family.kind == "summary" || quantile.is_none(), "{line}");
    assert!(sample.value.is_finite(), "{line}");
    let is_new = family.samples.iter().all(|other| other.labels != sample.labels);
    assert!(is_new, "twice: {line}");
    let names = |sample: &Sample| sample.labels.keys().cloned().collect::<BTreeSet<_>>();
    assert!(family.samples.first().is_none_or(|first| names(first) == names(sample)), "other labels: {line}");
}

/// `name{label="value",...} value`, without a timestamp and without an exemplar.
fn sample(line: &str) -> Sample {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, rest) = line.split_at(name_end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = match rest.strip_prefix('{') {
        Some(inside) => read_labels(inside, &mut labels, line),
        None => rest,
    };
    rest = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    assert!(rest.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte)), "{line}");
    Sample { name: name.to_owned(), labels, value: rest.parse().unwrap() }
}

/// Reads labels up to the closing brace; returns what follows it.
fn read_labels<'l>(mut rest: &'l str, labels: &mut BTreeMap<String, String>, line: &str) -> &'l str {
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(name) && !name.contains(':'), "{line}");
        let mut text = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("{line}")) {
                (at, '"') => break at,
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => panic!("wrong escape: {line}"),
                },
                (_, plain) => text.push(plain),
            }
        };
        assert!(labels.insert(name.to_owned(), text).is_none(), "a label twice: {line}");
        rest = &value[end + 1..];
        if let Some(after) = rest.strip_prefix('}') {
            return after;
        }
        rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("{line}"));
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}
