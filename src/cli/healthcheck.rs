//! `auditflow healthcheck`: whether the pipeline of this container or machine is alive.
//!
//! An image without a shell has no other program that could ask `/livez`. `auditflow status` is no replacement: it fails while
//! a vendor refuses a token, which a restart does not fix.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::process::{EXIT_DONE, EXIT_FAILED, print, print_stderr};

/// How long to wait for a connection, and for the answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a running pipeline whether it is alive
///
/// Requests /livez of the pipeline's `api.address`; exit code 0 if it answers 200, else 1. For the health check of a container.
/// Errors of vendors and sinks do not count: a restart does not fix them.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline's `api.address`; 0.0.0.0 stands for this machine
    #[arg(long, env = "AUDITFLOW_API__ADDRESS", default_value = "127.0.0.1:9598", value_name = "ADDRESS")]
    address: SocketAddr,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let address = reachable(arguments.address);
    match status_line(address) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => {
            print("alive\n");
            EXIT_DONE
        }
        Ok(line) => fail(&format!("http://{address}/livez answered `{line}`")),
        Err(reason) => {
            fail(&format!("http://{address}/livez: {reason}; set `api.address` of the pipeline to this address"))
        }
    }
}

fn fail(message: &str) -> u8 {
    print_stderr(&format!("error: {message}\n"));
    EXIT_FAILED
}

/// Where a client on this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, address.port())
}

/// The first line of the answer, as far as it came in time.
fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_this_machine() {
        let asked = |address: &str| reachable(address.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:9598"), "127.0.0.1:9598");
        assert_eq!(asked("[::]:9598"), "[::1]:9598");
        assert_eq!(asked("10.1.2.3:80"), "10.1.2.3:80");
    }
}
