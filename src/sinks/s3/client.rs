//! Creates clients of the SDK: the location of the bucket, the credentials, the timeouts.
//!
//! The SDK does not retry: the deliver loop does. Configured credentials are read when a client is created, and after an
//! error a new client is created, so that a rotated secret takes effect. What is sent is noted: credentials, wherever they come
//! from, because answers may repeat them, and the address, for messages.

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::future::ProvideCredentials as ProvideFuture;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, Credentials, ProvideCredentials, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};

use super::address::Address;
use super::config::S3Config;
use super::error::transient;
use super::options::{AuthOptions, Checksum};
use super::security_lake::CustomSource;
use crate::journal::S3Location;
use crate::secret::{Secret, SentSecrets};
use crate::sinks::SinkError;

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The region for stores other than AWS, unless one is configured.
const REGION_OF_OTHERS: &str = "us-east-1";

/// Objects with this prefix are put as this role.
#[derive(Clone, Debug)]
pub(super) struct PrefixRole {
    pub(super) prefix: String,
    arn: String,
    external_id: Option<String>,
}

/// A client per role.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    /// With the sink's own credentials.
    pub(super) own: Client,
    of_roles: Vec<(String, Client)>,
}

impl Clients {
    /// The client for an object.
    pub(super) fn of(&self, key: &str) -> &Client {
        let of_role = self.of_roles.iter().find(|(prefix, _)| key.starts_with(prefix.as_str()));
        of_role.map_or(&self.own, |(_, client)| client)
    }
}

/// Creates clients.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Who puts what, besides the sink itself.
    pub(super) roles: Vec<PrefixRole>,
    pub(super) location: S3Location,
    /// What may come back in the texts of a store.
    pub(super) sent: SentSecrets,
    /// Where the last request went.
    pub(super) address: Address,
    auth: AuthOptions,
    checksum: Checksum,
    timeout: Duration,
}

impl Connection {
    pub(super) fn new(config: &S3Config) -> Self {
        let sources = config.security_lake.iter().flat_map(|lake| lake.sources.all());
        let role = |source: &CustomSource| {
            let (prefix, external_id) = (source.prefix(), source.external_id.clone());
            source.assume_role.clone().map(|arn| PrefixRole { prefix, arn, external_id })
        };
        Self {
            roles: sources.filter_map(|(.., source)| role(source)).collect(),
            location: config.location(),
            sent: SentSecrets::default(),
            address: Address::default(),
            auth: config.auth.clone(),
            checksum: config.checksum,
            timeout: config.request.timeout(),
        }
    }

    /// Whether an object is put as a role of its own.
    pub(super) fn has_role(&self, key: &str) -> bool {
        self.roles.iter().any(|role| key.starts_with(&role.prefix))
    }

    /// Clients for `location`, with the credentials of this sink.
    pub(super) async fn clients(&self, location: &S3Location) -> Result<Clients, SinkError> {
        let shared = self.shared_config(location).await?;
        if shared.region().is_none() {
            let hint = "set `region` to the bucket's region, or AWS_REGION in the environment";
            return Err(transient("the region of the bucket is not known".to_owned(), hint));
        }
        let mut config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(location.force_path_style);
        config.set_endpoint_url(location.endpoint.clone().or_else(|| config_endpoint(&shared)));
        let mut shared = shared;
        if let Some(role) = &self.auth.assume_role {
            let provider = self.role_provider(role, self.auth.external_id.as_deref(), &shared).await;
            let provider = SharedCredentialsProvider::new(self.noted(provider));
            config = config.credentials_provider(provider.clone());
            shared = shared.into_builder().credentials_provider(provider).build();
        }
        if self.checksum.only_when_required(location.endpoint.is_some()) {
            config = config
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        let config = config.interceptor(self.address.clone());
        let mut of_roles = Vec::new();
        for role in &self.roles {
            let provider = self.role_provider(&role.arn, role.external_id.as_deref(), &shared).await;
            let config = config.clone().credentials_provider(self.noted(provider));
            of_roles.push((role.prefix.clone(), Client::from_conf(config.build())));
        }
        Ok(Clients { own: Client::from_conf(config.build()), of_roles })
    }

    fn noted(&self, provider: impl ProvideCredentials + 'static) -> NotedCredentials {
        NotedCredentials { provider: SharedCredentialsProvider::new(provider), sent: self.sent.clone() }
    }

    async fn shared_config(&self, location: &S3Location) -> Result<SdkConfig, SinkError> {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(self.timeout);
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build());
        if let Ok(name) = AppName::new("auditflow") {
            loader = loader.app_name(name);
        }
        let others = location.endpoint.as_ref().map(|_| REGION_OF_OTHERS.to_owned());
        if let Some(region) = location.region.clone().or(others) {
            loader = loader.region(Region::new(region));
        }
        let shared = self.with_credentials(loader)?.load().await;
        Ok(match shared.credentials_provider() {
            Some(provider) => {
                let noted = SharedCredentialsProvider::new(self.noted(provider));
                shared.into_builder().credentials_provider(noted).build()
            }
            None => shared,
        })
    }

    fn with_credentials(&self, loader: ConfigLoader) -> Result<ConfigLoader, SinkError> {
        let (Some(id), Some(key)) = (&self.auth.access_key_id, &self.auth.secret_access_key) else {
            return Ok(match &self.auth.profile {
                Some(profile) => loader.profile_name(profile),
                None => loader,
            });
        };
        let token = self.auth.session_token.as_ref().map(revealed).transpose()?;
        Ok(loader.credentials_provider(Credentials::new(revealed(id)?, revealed(key)?, token, None, "pipeline file")))
    }

    async fn role_provider(&self, role: &str, external_id: Option<&str>, shared: &SdkConfig) -> AssumeRoleProvider {
        let name = self.auth.session_name.as_deref().unwrap_or("auditflow");
        let mut provider = AssumeRoleProvider::builder(role).session_name(name).configure(shared);
        if let Some(id) = external_id {
            provider = provider.external_id(id);
        }
        if let Some(region) = &self.auth.region {
            provider = provider.region(Region::new(region.clone()));
        }
        provider.build().await
    }
}

/// Credentials of a provider; those that it has given are known.
#[derive(Debug)]
struct NotedCredentials {
    provider: SharedCredentialsProvider,
    sent: SentSecrets,
}

impl ProvideCredentials for NotedCredentials {
    fn provide_credentials<'a>(&'a self) -> ProvideFuture<'a>
    where
        Self: 'a,
    {
        ProvideFuture::new(async {
            let found = self.provider.provide_credentials().await?;
            let values = [Some(found.access_key_id()), Some(found.secret_access_key()), found.session_token()];
            self.sent.add(&values.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>());
            Ok(found)
        })
    }
}

/// The endpoint for all services from the environment, if any.
fn config_endpoint(shared: &SdkConfig) -> Option<String> {
    shared.endpoint_url().map(str::to_owned)
}

fn revealed(secret: &Secret) -> Result<String, SinkError> {
    let hint = "make the secret readable for the user that runs auditflow";
    secret.reveal().map_err(|error| transient(error.to_string(), hint))
}
