use super::*;

fn frame(rest: &str) -> Vec<u8> {
    [hex("020000000002 020000000001"), hex(rest)].concat()
}

#[test]
fn tags() {
    let link = |l3_offset, l3, vlan| Ok(Link { l3_offset, l3, vlan });
    assert_eq!(ethernet(&frame("0800")), link(14, L3::V4, [None, None]));
    assert_eq!(ethernet(&frame("86dd 60")), link(14, L3::V6, [None, None]));
    assert_eq!(ethernet(&frame("8100 6064 0800")), link(18, L3::V4, [Some(0x6064), None]));
    assert_eq!(ethernet(&frame("88a8 0001 8100 0002 86dd")), link(22, L3::V6, [Some(1), Some(2)]));
    assert_eq!(ethernet(&frame("9100 0001 9100 0002 0800")), link(22, L3::V4, [Some(1), Some(2)]));
}

#[test]
fn not_ip() {
    for rest in ["0806", "0026 4242 03", "8847 0000", "8100 0001 8100 0002 8100 0003 0800"] {
        assert_eq!(ethernet(&frame(rest)), Err(Reason::LinkNotIp), "{rest}");
    }
}

#[test]
fn truncated() {
    let frame = frame("88a8 0001 8100 0002 0800");
    for end in 0..frame.len() {
        assert_eq!(ethernet(&frame[..end]), Err(Reason::LinkTruncated), "{end}");
    }
    assert!(ethernet(&frame).is_ok());
}
