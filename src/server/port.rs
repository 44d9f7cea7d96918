//! A free port, and the name under which others reach this machine.

use std::net::{Ipv4Addr, TcpListener, ToSocketAddrs, UdpSocket};

/// Where free ports are looked for first: below the range from which the kernel takes those of outgoing connections, so
/// that it stays free while a large model is loaded.
const QUIET: std::ops::Range<u16> = 20_000..30_000;
/// How often a port is tried.
const TRIES: u32 = 50;

/// A port that nobody uses, held until this is dropped.
pub(super) struct Reserved {
    listener: TcpListener,
}

impl Reserved {
    /// The given port, or a free one.
    ///
    /// # Errors
    /// When it is in use.
    pub(super) fn take(wanted: Option<u16>, address: Ipv4Addr, salt: u64) -> std::io::Result<Self> {
        if let Some(port) = wanted {
            return Ok(Self {
                listener: TcpListener::bind((address, port))?,
            });
        }
        let quiet = lowest_ephemeral().is_none_or(|low| low >= QUIET.end);
        let mut state = salt;
        for _ in 0..TRIES {
            if !quiet {
                break;
            }
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let port = QUIET.start + (state >> 33) as u16 % (QUIET.end - QUIET.start);
            if let Ok(listener) = TcpListener::bind((address, port)) {
                return Ok(Self { listener });
            }
        }
        Ok(Self {
            listener: TcpListener::bind((address, 0))?,
        })
    }

    /// The port.
    pub(super) fn port(&self) -> std::io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }
}

/// First port that the kernel gives to outgoing connections.
fn lowest_ephemeral() -> Option<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The name of this machine, if it leads to it from elsewhere, else its address on the network, else the loopback one.
pub(super) fn reachable_name(host: &str) -> String {
    let resolved = (host, 0).to_socket_addrs();
    // Some systems map their own name to a loopback address: others know another one.
    if resolved.is_ok_and(|mut all| all.any(|address| !address.ip().is_loopback())) {
        return host.to_owned();
    }
    // Nothing is sent: the kernel only chooses the way.
    let way = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(10, 255, 255, 255), 1))?;
        socket.local_addr()
    });
    match way {
        Ok(address) if !address.ip().is_unspecified() => address.ip().to_string(),
        _ => Ipv4Addr::LOCALHOST.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_held() {
        let held = Reserved::take(None, Ipv4Addr::LOCALHOST, 7).unwrap();
        let port = held.port().unwrap();
        assert!(Reserved::take(Some(port), Ipv4Addr::LOCALHOST, 7).is_err());
        // The same sequence passes over the one that is taken.
        let other = Reserved::take(None, Ipv4Addr::LOCALHOST, 7).unwrap();
        assert_ne!(other.port().unwrap(), port);
        drop(held);
        assert_eq!(
            Reserved::take(Some(port), Ipv4Addr::LOCALHOST, 7)
                .unwrap()
                .port()
                .unwrap(),
            port
        );
    }

    #[test]
    fn a_name_that_leads_nowhere_is_replaced_by_an_address() {
        let name = reachable_name("no-such-host.invalid");
        assert!(name.parse::<std::net::IpAddr>().is_ok(), "{name}");
    }
}
