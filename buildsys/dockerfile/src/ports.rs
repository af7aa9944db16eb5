//! The arguments of EXPOSE.

use std::net::IpAddr;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exposed {
    /// `port/protocol`, one for each port of a range.
    pub ports: Vec<String>,
    /// An address or port of the host was given too; it has no meaning.
    pub mapped: bool,
    /// The protocol is not written in lower case.
    pub protocol_has_upper_case: bool,
}

/// Reads `[[address:]host-port:]port[-port][/protocol]`.
pub(crate) fn parse_port(text: &str) -> Result<Exposed, &'static str> {
    let (host, container) = match text.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, text),
    };
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    let (start, end) = parse_range(range)?;
    let lower = protocol.to_ascii_lowercase();
    let name = match lower.as_str() {
        "" => "tcp",
        name @ ("tcp" | "udp" | "sctp") => name,
        _ => return Err("the protocol is none of tcp, udp, sctp"),
    };
    let (address, host_port) = match host {
        Some(host) => host.rsplit_once(':').unwrap_or(("", host)),
        None => ("", ""),
    };
    if !is_address(address) {
        return Err("the address is none");
    }
    {
        if !host_port.is_empty() {
            let (host_start, host_end) = parse_range(host_port)?;
            if host_end - host_start != end - start && start != end {
                return Err("the ranges are not of one length");
            }
        }
    }
    Ok(Exposed {
        ports: (start..=end).map(|port| format!("{port}/{name}")).collect(),
        mapped: !(address.is_empty() && host_port.is_empty()),
        protocol_has_upper_case: protocol != lower,
    })
}

/// Whether it is empty or an IP address, an IPv6 one in brackets or not.
fn is_address(text: &str) -> bool {
    let inner = match text.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']') {
            Some(inner) => inner,
            None => return false,
        },
        None => text,
    };
    inner.is_empty() || inner.parse::<IpAddr>().is_ok()
}

fn parse_range(text: &str) -> Result<(u16, u16), &'static str> {
    let number = |text: &str| {
        let port = text.parse::<u16>();
        port.map_err(|_| "a port is a number up to 65535")
    };
    let (start, end) = match text.split_once('-') {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(text)?, number(text)?),
    };
    if end < start {
        Err("the range ends before it starts")
    } else {
        Ok((start, end))
    }
}
