//! Which addresses belong to the public internet, and which may lead back into the house.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks that are not the public internet: IANA's special-purpose registry for IPv4 (RFC 6890 and its successors).
const V4_SPECIAL: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::UNSPECIFIED, 8), // "this network"; Linux connects 0.0.0.0 to itself
    (Ipv4Addr::new(10, 0, 0, 0), 8), // private
    (Ipv4Addr::new(100, 64, 0, 0), 10), // carrier-grade NAT; metadata services of some clouds
    (Ipv4Addr::new(127, 0, 0, 0), 8), // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's host agent: a public number that only the machine's own host answers
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local; metadata services of most clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // IETF protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays, withdrawn
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, and broadcast
];

/// Parts of the global unicast range `2000::/3` that are not the public internet, as 128-bit prefixes.
const V6_SPECIAL: &[(u128, u32)] = &[
    (0x2001_0000 << 96, 23), // IETF protocol assignments: Teredo, ORCHID, benchmarks
    (0x2001_0db8 << 96, 32), // documentation
    (0x3fff_0000 << 96, 20), // documentation
];

/// First 96 bits of IPv4 in IPv6 as the kernel knows it, `::ffff:0:0/96`.
const MAPPED: u128 = 0xffff;
/// First 96 bits of addresses that a translating gateway sends on as IPv4, `64:ff9b::/96`.
const NAT64: u128 = 0x0064_ff9b << 64;
/// First 16 bits of addresses that a tunnel sends on as IPv4, `2002::/16`.
const SIX_TO_FOUR: u128 = 0x2002;

/// Whether `address` is a unicast address of the public internet.
///
/// An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is judged by what it carries.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            embedded(address).map_or_else(|| is_public_v6(address), is_public_v4)
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |&(network, length): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ network.to_bits()).leading_zeros() >= length
    };
    !V4_SPECIAL.iter().any(within)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    let within = |&(network, length): &(u128, u32)| (bits ^ network).leading_zeros() >= length;
    bits >> 125 == 1 && !V6_SPECIAL.iter().any(within)
}

/// The IPv4 address that a gateway or the kernel would make of this one.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let v4 = |shift: u32| {
        let kept = u32::try_from(bits >> shift & u128::from(u32::MAX));
        Ipv4Addr::from_bits(kept.expect("32 bits were kept"))
    };
    match (bits >> 32, bits >> 112) {
        (MAPPED | NAT64, _) => Some(v4(0)),
        (_, SIX_TO_FOUR) => Some(v4(80)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: bool, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(
                is_public(address.parse().expect("an address")),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn the_internet_is_public() {
        check(
            true,
            &[
                "1.1.1.1",
                "100.63.255.255",
                "100.128.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "198.20.0.0",
                "223.255.255.255",
            ],
        );
        check(
            true,
            &["2606:4700::1111", "2a00::1", "2001:200::1", "3ffe::1"],
        );
    }

    #[test]
    fn what_leads_back_into_the_house_is_not() {
        check(
            false,
            &[
                "0.0.0.0",
                "10.0.0.1",
                "100.64.0.1",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.169.254",
                "168.63.129.16",
            ],
        );
        check(
            false,
            &[
                "172.16.0.1",
                "172.31.255.255",
                "192.0.0.192",
                "192.168.1.1",
                "198.19.0.1",
                "224.0.0.1",
                "255.255.255.255",
            ],
        );
        check(
            false,
            &[
                "::",
                "::1",
                "fe80::1",
                "fc00::1",
                "fd00:ec2::254",
                "ff02::1",
                "fec0::1",
                "100::1",
                "2001::1",
                "2001:db8::1",
                "3fff::1",
            ],
        );
    }

    #[test]
    fn an_embedded_address_counts_as_what_it_carries() {
        check(
            false,
            &[
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b::a9fe:a9fe",
                "2002:7f00:1::",
                "2002:a00:1::1",
            ],
        );
        check(false, &["::127.0.0.1", "64:ff9b:1::808:808"]);
        check(
            true,
            &["::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
        );
    }
}
