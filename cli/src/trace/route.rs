//! The routes and addresses of the router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Out of a side.
    Out(u8),
    /// Out of a side, to a neighbour that nobody answers for: it waits there for good.
    Waits(u8),
    /// To the router itself.
    Local,
    /// To all, the router among them.
    Broadcast,
    /// To a group the router is in.
    Group,
    /// Nowhere, which its sender is told: the code of ICMPv6's destination unreachable.
    Unreachable(u8),
    /// Nowhere.
    Nowhere,
}

const OWN_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 255, 1, 1), Ipv4Addr::new(10, 255, 2, 1)];
const OWN_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xff, 1, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0xff, 2, 0, 0, 0, 0, 1)];

/// The router's own address on a side.
pub(super) fn own_v4(side: u8) -> Ipv4Addr {
    OWN_V4[usize::from(side & 1)]
}

/// The same for IPv6.
pub(super) fn own_v6(side: u8) -> Ipv6Addr {
    OWN_V6[usize::from(side & 1)]
}

/// Whether this is the neighbour on a side that all packets go by.
pub(super) fn is_neighbour(ip: IpAddr, side: u8) -> bool {
    ip == IpAddr::V6(Ipv6Addr::new(0xfd00, 0xff, u16::from(side) + 1, 0, 0, 0, 0, 2))
}

/// The route of a packet that came from a side.
pub(super) fn input(src: IpAddr, dst: IpAddr, side: u8) -> Route {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => input_v4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => input_v6(src, dst, side),
        _ => Route::Nowhere,
    }
}

/// The route of a packet that the router sends on account of one from `side`.
pub(super) fn output(dst: IpAddr, side: u8) -> Route {
    match dst {
        IpAddr::V4(dst) => v4(dst),
        // It must go where it came from, and only side 1 has a route that leads to it.
        IpAddr::V6(dst) if dst.is_unicast_link_local() && side == 0 => Route::Nowhere,
        IpAddr::V6(dst) => v6(dst),
    }
}

fn input_v4(src: Ipv4Addr, dst: Ipv4Addr) -> Route {
    // RFC 1812 section 5.3.7.
    let nobody = src.is_multicast() || src.is_broadcast() || src.is_loopback() || OWN_V4.contains(&src);
    // A host that has no address yet.
    if nobody || (src.is_unspecified() && !dst.is_broadcast() && !dst.is_multicast()) {
        return Route::Nowhere;
    }
    v4(dst)
}

fn v4(dst: Ipv4Addr) -> Route {
    if OWN_V4.contains(&dst) {
        return Route::Local;
    }
    if dst.is_multicast() {
        return if dst == Ipv4Addr::new(224, 0, 0, 1) { Route::Group } else { Route::Nowhere };
    }
    match dst.octets() {
        [255, 255, 255, 255] | [10, 255, 1 | 2, 255] => Route::Broadcast,
        [0, 0, 0, 0] | [127, ..] => Route::Nowhere,
        [10, 1, ..] | [10, 255, 1, 2] => Route::Out(0),
        [10, 255, 1, _] => Route::Waits(0),
        [10, 255, 2, 2] => Route::Out(1),
        [10, 255, 2, _] => Route::Waits(1),
        _ => Route::Out(1),
    }
}

fn input_v6(src: Ipv6Addr, dst: Ipv6Addr, side: u8) -> Route {
    if dst.is_multicast() {
        return if GROUPS_V6.contains(&dst) || solicited(dst, side) { Route::Group } else { Route::Nowhere };
    }
    // Only side 1 has a route that leads to link-local addresses.
    if dst.is_unicast_link_local() && side == 0 {
        return Route::Unreachable(0);
    }
    match v6(dst) {
        // What has no meaning beyond its link stays there (RFC 4291 sections 2.5.2 and 2.5.6).
        Route::Out(out) | Route::Waits(out) if out != side && src.is_unspecified() => Route::Nowhere,
        Route::Out(out) | Route::Waits(out) if out != side && src.is_unicast_link_local() => {
            Route::Unreachable(2)
        }
        route => route,
    }
}

/// The groups of all nodes and of all routers on the link, and of all routers of the site (RFC 4291 section 2.7.1).
const GROUPS_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 2),
];

/// The groups in which an own address is looked for (RFC 4291 section 2.7.1).
fn solicited(dst: Ipv6Addr, _side: u8) -> bool {
    matches!(dst.segments(), [0xff02, 0, 0, 0, 0, 1, 0xff00, 0 | 1])
}

fn v6(dst: Ipv6Addr) -> Route {
    let [a, b, c, ..] = dst.segments();
    let last = u128::from(dst) as u64;
    match (a, b, c) {
        (0xfd00, 0xff, side @ (1 | 2)) if dst.segments()[3] == 0 => match last {
            // The address of the subnet's routers (RFC 4291 section 2.6.1), and the router's own.
            0 | 1 => Route::Local,
            2 => Route::Out(side as u8 - 1),
            _ => Route::Waits(side as u8 - 1),
        },
        (0xfd00, 1, _) => Route::Out(0),
        (0xff00.., ..) => Route::Nowhere,
        _ => Route::Out(1),
    }
}
