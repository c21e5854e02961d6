//! The TLS settings of a source, and what a failed handshake means.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::bad_address::BadAddress;

/// `tls:` of a source. Certificates are always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsOptions {
    /// More certificate authorities to trust besides the system's, PEM file: of a proxy that inspects TLS, or of a gateway.
    pub ca_file: Option<PathBuf>,
    /// The client certificate with its chain, PEM file, for servers that require one.
    pub crt_file: Option<PathBuf>,
    /// The key of the client certificate, PEM file (PKCS #8, without a pass phrase).
    pub key_file: Option<PathBuf>,
}

impl TlsOptions {
    /// Makes relative paths relative to `directory` (the directory of the pipeline file).
    pub fn resolve_against(&mut self, directory: &Path) {
        for path in [&mut self.ca_file, &mut self.crt_file, &mut self.key_file].into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }

    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca_file, &self.crt_file, &self.key_file].into_iter().flatten()
    }

    /// Whether only one of the certificate and its key is set.
    #[must_use]
    pub fn is_half_a_pair(&self) -> bool {
        self.crt_file.is_some() != self.key_file.is_some()
    }

    /// Reads the files and applies them to a client.
    pub(super) fn apply(&self, mut builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, BadAddress> {
        if let Some(path) = &self.ca_file {
            let bundle = read("ca_file", path)?;
            let authorities = reqwest::Certificate::from_pem_bundle(&bundle).unwrap_or_default();
            if authorities.is_empty() {
                return Err(unusable("ca_file", path, "it holds no certificate in PEM form"));
            }
            builder = builder.tls_certs_merge(authorities);
        }
        if let (Some(certificate), Some(key)) = (&self.crt_file, &self.key_file) {
            let mut pem = read("key_file", key)?;
            pem.push(b'\n');
            pem.extend(read("crt_file", certificate)?);
            let identity = reqwest::Identity::from_pem(&pem).map_err(|_| {
                unusable("crt_file", certificate, "it and `key_file` hold no certificate and key in PEM form")
            })?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, BadAddress> {
    std::fs::read(path).map_err(|error| unusable(option, path, &error.to_string()))
}

fn unusable(option: &'static str, path: &Path, reason: &str) -> BadAddress {
    BadAddress::Tls { option, path: path.to_owned(), reason: reason.to_owned() }
}

/// What to do about a failed TLS handshake, by the words of the library; `None` if it did not fail because of TLS.
pub(super) fn hint(reason: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["UnknownIssuer", "unable to get local issuer", "unknown CA"]) {
        return Some(
            "nobody whom this machine trusts has signed the server's certificate: if a proxy inspects TLS, set `tls.ca_file` \
             of this source to its authority, else check base_url",
        );
    }
    if says(&["CertificateRequired", "certificate required", "BadCertificate", "CertificateUnknown"]) {
        return Some("the server requires a client certificate: set `tls.crt_file` and `tls.key_file` of this source");
    }
    if says(&["NotValidForName", "not valid for name"]) {
        return Some("the server's certificate is for another host: check base_url, site or region");
    }
    if says(&["Expired", "expired", "NotValidYet", "not valid yet"]) {
        return Some(
            "the server's certificate is not valid at this machine's time: check the clock, or tell the vendor",
        );
    }
    if says(&["InvalidContentType", "corrupt message"]) {
        return Some("the server does not speak TLS at this port: check base_url");
    }
    says(&["invalid peer certificate", "received fatal alert", "peer is incompatible", "HandshakeFailure"])
        .then_some("the TLS handshake failed: check base_url, and proxies between this machine and the vendor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_handshake_says_what_to_do() {
        for (reason, says) in [
            ("client error (Connect): invalid peer certificate: UnknownIssuer", "tls.ca_file"),
            ("received fatal alert: CertificateRequired", "tls.crt_file"),
            ("invalid peer certificate: certificate not valid for name \"a\"", "another host"),
            ("invalid peer certificate: certificate expired: verification time 17", "clock"),
            ("received corrupt message of type InvalidContentType", "does not speak TLS"),
            ("received fatal alert: ProtocolVersion", "handshake failed"),
        ] {
            assert!(hint(reason).is_some_and(|hint| hint.contains(says)), "{reason}");
        }
        assert_eq!(hint("tcp connect error: Connection refused"), None);
    }
}
