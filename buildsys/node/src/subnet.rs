//! IPv4 subnets in CIDR notation (RFC 4632, section 3.1).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An IPv4 subnet: its first address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

/// Why a text is not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 subnet such as 10.210.0.0/24, without bits set beyond its prefix")]
pub struct SubnetError(pub String);

impl Subnet {
    /// The subnet of `prefix` bits that starts at `network`, if no bit beyond the prefix is set.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Option<Self> {
        let mask = u32::MAX
            .checked_shl(32_u32.checked_sub(u32::from(prefix))?)
            .unwrap_or(0);
        (network.to_bits() & !mask == 0).then_some(Self { network, prefix })
    }

    /// Length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address `offset` after the first, wherever that lies.
    pub fn address(self, offset: u8) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().wrapping_add(u32::from(offset)))
    }

    /// The first /24 in it; itself when it is no larger than that.
    #[must_use]
    pub fn first_24(self) -> Self {
        Self {
            network: self.network,
            prefix: self.prefix.max(24),
        }
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        let shift = 32 - u32::from(self.prefix.min(other.prefix));
        let head = |subnet: Self| subnet.network.to_bits().checked_shr(shift).unwrap_or(0);
        head(self) == head(other)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let fail = || SubnetError(text.to_owned());
        let (network, prefix) = text.split_once('/').ok_or_else(fail)?;
        let network = network.parse().map_err(|_| fail())?;
        let prefix = prefix.parse().map_err(|_| fail())?;
        Self::new(network, prefix).ok_or_else(fail)
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
