//! What `reject` answers with.

use conntab::tuple::L3;
use serde_json::Value;

use super::value::shown;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reject {
    /// ICMP destination unreachable with this code: IPv4's, IPv6's.
    Icmp {
        v4: Option<u8>,
        v6: Option<u8>,
    },
    TcpReset,
}

/// Names (those of nft), and the code in either family: where there is none, the rule is not about that family.
/// Where both have one, it is the code that nft's icmpx stands for.
const CODES: &[(&str, Option<u8>, Option<u8>)] = &[
    ("port-unreachable", Some(3), Some(4)),
    ("no-route", Some(0), Some(0)),
    ("host-unreachable", Some(1), Some(3)),
    ("admin-prohibited", Some(13), Some(1)),
    ("net-unreachable", Some(0), None),
    ("prot-unreachable", Some(2), None),
    ("net-prohibited", Some(9), None),
    ("host-prohibited", Some(10), None),
    ("addr-unreachable", None, Some(3)),
    ("policy-fail", None, Some(5)),
    ("reject-route", None, Some(6)),
];

impl Reject {
    pub fn parse(value: &Value) -> Result<Self, String> {
        let name = match value {
            Value::Bool(true) => "port-unreachable",
            Value::String(name) => name,
            _ => return Err(format!("reject is true or a name, not {}", shown(value))),
        };
        if name == "tcp-reset" {
            return Ok(Self::TcpReset);
        }
        match CODES.iter().find(|(n, ..)| *n == name) {
            Some((_, v4, v6)) => Ok(Self::Icmp { v4: *v4, v6: *v6 }),
            None => Err(format!("reject: {} is not known", shown(value))),
        }
    }

    /// The ICMP code in this family.
    pub fn code(self, l3: L3) -> Option<u8> {
        match (self, l3) {
            (Self::Icmp { v4, .. }, L3::V4) => v4,
            (Self::Icmp { v6, .. }, L3::V6) => v6,
            (Self::TcpReset, _) => None,
        }
    }
}
