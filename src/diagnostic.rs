//! What can be wrong with a setting, as vendors and sinks report it. They know the key; the file's reader knows the place.

/// A setting that reads well but cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingDiagnostic {
    /// The setting, relative to the component, for example `region`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
}
