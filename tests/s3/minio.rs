//! MinIO in a container. Built with the feature `servers` only, so that `cargo test` shares its build with `cargo run`;
//! without it the tests are listed, and ignored.

#[cfg(feature = "servers")]
use testcontainers::{Container, ImageExt, runners::SyncRunner};
#[cfg(feature = "servers")]
use testcontainers_modules::minio::MinIO;

#[cfg(feature = "servers")]
const IMAGE_TAG: &str = "RELEASE.2025-09-07T16-13-09Z";

pub const ACCESS_KEY_ID: &str = "minioadmin";
pub const SECRET_ACCESS_KEY: &str = "minio-test-secret-0123456789";

/// A server in a container. A restart keeps its port.
pub struct Minio {
    #[cfg(feature = "servers")]
    container: Container<MinIO>,
    pub endpoint: String,
}

#[cfg(feature = "servers")]
impl Minio {
    pub fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let container = MinIO::default()
            .with_tag(IMAGE_TAG)
            .with_mapped_port(port, testcontainers::core::ContainerPort::Tcp(9_000))
            .with_env_var("MINIO_ROOT_USER", ACCESS_KEY_ID)
            .with_env_var("MINIO_ROOT_PASSWORD", SECRET_ACCESS_KEY)
            .start()
            .expect("a container engine and the image minio/minio");
        Self { container, endpoint: format!("http://127.0.0.1:{port}") }
    }

    pub fn stop(&self) {
        self.container.stop_with_timeout(Some(1)).unwrap();
    }

    pub fn restart(&self) {
        self.container.start().unwrap();
    }
}

#[cfg(not(feature = "servers"))]
impl Minio {
    pub fn start() -> Self {
        panic!("this build has no containers: cargo test --features servers --test s3 -- --ignored")
    }

    pub fn stop(&self) {}

    pub fn restart(&self) {}
}
