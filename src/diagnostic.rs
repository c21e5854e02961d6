//! Errors and warnings about settings, as vendors, transforms and sinks report them. They name the key; `config` adds the file and
//! the position.

/// A setting that can be read but is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingDiagnostic {
    /// The setting, relative to the component, for example `region`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
}
