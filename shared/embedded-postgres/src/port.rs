use rand::Rng;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// Below what Linux and macOS give to outgoing connections. Within that range a client that tries again and again while
/// the server restarts may be given the server's own port as its source, connect to itself, and so take the port away.
const PORTS: Range<u16> = 20_000..32_000;
const TRIES: u32 = 64;
/// Loopback answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A port of 127.0.0.1 that nobody listens on right now.
pub fn free_port() -> io::Result<u16> {
    let mut random = rand::rng();
    (0..TRIES)
        .map(|_| random.random_range(PORTS))
        .find(|port| is_free(*port))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrInUse,
                "all ports that were tried are taken",
            )
        })
}

/// Asks by connecting. Binding would say more, but a process that another thread forks in that moment holds on to the
/// bound socket until it has become another program, and the server would find its port taken by ourselves.
pub(crate) fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    matches!(
        TcpStream::connect_timeout(&address, CONNECT_TIMEOUT),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_somebody_listens_on_is_not_free() -> io::Result<()> {
        let port = free_port()?;
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        assert!(!is_free(port));
        Ok(())
    }
}
