//! The arguments of EXPOSE.

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
    if let Some(host) = host {
        let host_port = host.rsplit_once(':').map_or(host, |(_, port)| port);
        if !host_port.is_empty() {
            let (host_start, host_end) = parse_range(host_port)?;
            if host_end - host_start != end - start && start != end {
                return Err("the ranges are not of one length");
            }
        }
    }
    Ok(Exposed {
        ports: (start..=end).map(|port| format!("{port}/{name}")).collect(),
        mapped: host.is_some_and(|host| !host.is_empty()),
        protocol_has_upper_case: protocol != lower,
    })
}

fn parse_range(text: &str) -> Result<(u16, u16), &'static str> {
    let number = |text: &str| match text.parse::<u16>() {
        Ok(port) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err("a port is a number up to 65535"),
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
