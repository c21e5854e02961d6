//! Why a source cannot be connected to, found before any request is made.

use std::path::PathBuf;

/// Why a source's URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    /// It is not a URL.
    #[error("`{url}` is not a URL: {reason}; write one such as https://api.example.com")]
    NotAUrl {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Credentials would be sent unencrypted.
    #[error("`{0}` would send the credentials unencrypted; use https (http is for this machine only)")]
    NotEncrypted(String),
    /// A file of its TLS settings cannot be used.
    #[error("cannot use `tls.{option}` ({}): {reason}; fix the file or the option", path.display())]
    Tls {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable of the environment names a proxy that is not a URL.
    #[error(
        "the environment variable {variable} does not name a proxy: {reason}; set it to a URL such as http://proxy:3128, or unset it"
    )]
    BadProxy {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS or the resolver cannot be set up.
    #[error("cannot set up HTTP: {0}; check the certificates and proxy settings of this machine")]
    NoClient(String),
}
