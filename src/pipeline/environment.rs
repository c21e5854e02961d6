//! The environment variables, as a value: taken from the process once, and by tests made up.

use std::collections::BTreeMap;

/// Environment variables by name. `Debug` shows the names only, since the values may be secrets.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    stand_ins: bool,
}

impl Environment {
    /// The variables of this process. Those that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(readable).collect(), stand_ins: false }
    }

    /// The given variables.
    #[must_use]
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { variables, stand_ins: false }
    }

    /// The value of a variable; `None` if it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The same, but what a source or a sink names and is not set gets a made-up value: for those who look at a pipeline and
    /// do not run it, and who mostly have no secrets.
    #[must_use]
    pub fn with_stand_ins(self) -> Self {
        Self { stand_ins: true, ..self }
    }

    /// A value for a variable that is not set, if there may be one. Letters and dashes: most ids may be made of them.
    pub(super) fn stand_in(&self, name: &str) -> Option<String> {
        self.stand_ins.then(|| format!("unset-{}", name.replace('_', "-")))
    }

    /// The same without made-up values.
    pub(super) fn as_it_is(&self) -> Self {
        Self { stand_ins: false, ..self.clone() }
    }

    /// All variables whose names begin with `prefix`, with their whole names.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let named = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        named.filter(move |(name, _)| name.starts_with(prefix))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
