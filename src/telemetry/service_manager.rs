//! Tells the service manager how the process is: systemd's `sd_notify` protocol.
//!
//! ```text
//! READY=1 ... WATCHDOG=1 ... RELOADING=1, READY=1 ... STOPPING=1     one datagram each, to $NOTIFY_SOCKET
//! ```
//!
//! Without that variable nothing is sent. An error is logged once, and the pipeline continues.

use std::env;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A message waits at most this long for room in the socket.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The service manager that started the process, if any.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    has_warned: AtomicBool,
}

impl ServiceManager {
    /// The one that the environment names.
    pub(crate) fn of_process() -> Self {
        let variable = |name: &str| env::var(name).ok();
        let is_meant = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        Self::new(variable("NOTIFY_SOCKET").as_deref(), variable("WATCHDOG_USEC").filter(|_| is_meant).as_deref())
    }

    fn new(address: Option<&str>, watchdog_usec: Option<&str>) -> Self {
        let Some(address) = address else { return Self::default() };
        let manager = Self { socket: None, watchdog: half(watchdog_usec), has_warned: AtomicBool::new(false) };
        match open(address) {
            Ok(socket) => Self { socket: Some(socket), ..manager },
            Err(error) => {
                manager.warn(&error);
                Self::default()
            }
        }
    }

    /// How often [`ServiceManager::alive`] must be called; `None` if nobody waits for it.
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The pipeline runs. `status` is one line for people, without secrets.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The pipeline file is read again; [`ServiceManager::ready`] follows.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the pipeline file again"));
    }

    /// The pipeline makes progress.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The pipeline stops.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            self.warn(&error);
        }
    }

    fn warn(&self, error: &io::Error) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            let hint = "start the service with `Type=notify-reload`, or unset NOTIFY_SOCKET";
            tracing::warn!(event = "service_manager_unreachable", %error, hint, "cannot notify the service manager");
        }
    }
}

/// The interval of signs of life: half of what the service manager allows.
fn half(watchdog_usec: Option<&str>) -> Option<Duration> {
    let allowed: u64 = watchdog_usec?.parse().ok()?;
    (allowed > 1).then(|| Duration::from_micros(allowed / 2))
}

fn open(address: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.strip_prefix('@') {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok((socket, address))
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

/// Only Linux has names that are no files.
#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let length = socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    #[test]
    fn messages_reach_a_path_and_an_abstract_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let name = format!("auditflow-test-{}", std::process::id());
        let abstract_name = abstract_address(&name).expect("a name");
        let sockets = [
            (path.display().to_string(), UnixDatagram::bind(&path).expect("binds")),
            (format!("@{name}"), UnixDatagram::bind_addr(&abstract_name).expect("binds")),
        ];
        for (address, socket) in sockets {
            let manager = ServiceManager::new(Some(&address), Some("3000000"));
            assert_eq!(manager.watchdog_interval(), Some(Duration::from_millis(1_500)));
            manager.ready("2 sources, 1 sink");
            manager.reloading();
            manager.alive();
            manager.stopping();
            assert_eq!(received(&socket), "READY=1\nSTATUS=2 sources, 1 sink");
            let reloading = received(&socket);
            let micros = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
            assert!(reloading.starts_with("RELOADING=1\n") && micros.parse::<u64>().expect("a number") > 0);
            assert_eq!(received(&socket), "WATCHDOG=1");
            assert_eq!(received(&socket), "STOPPING=1\nSTATUS=stopping");
        }
    }

    #[test]
    fn nobody_to_notify_is_no_error() {
        let absent = ServiceManager::new(None, Some("1000000"));
        absent.ready("");
        assert_eq!(absent.watchdog_interval(), None);
        let gone = ServiceManager::new(Some("/nowhere/notify"), None);
        gone.ready("");
        gone.alive();
        assert!(gone.has_warned.load(Ordering::Relaxed));
        assert_eq!(half(Some("no number")), None);
    }
}
