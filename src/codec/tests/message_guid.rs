//! The one value whose bytes are not those of its fields.

use crate::codec::packed::{decode, encode};
use crate::op::MessageGuid;

const OF_DBOX: &str = "3a1f2c00d4e5b6a7c8d9e0f1a2b3c4d5";

#[test]
fn what_is_packed_reads_back_as_it_was() {
    let long = "m".repeat(255);
    let texts = [
        "",
        "x",
        "1700000002.M1P2.host",
        OF_DBOX,
        "00000000000000000000000000000001",
        &long,
    ];
    let upper = OF_DBOX.to_uppercase();
    for text in texts.into_iter().chain([upper.as_str()]) {
        let guid = MessageGuid::from(text);
        let bytes = encode(&(guid.clone(), 7u8)).unwrap();
        assert_eq!(decode::<(MessageGuid, u8)>(&bytes), Ok((guid, 7)), "{text}");
    }
    assert_eq!(encode(&MessageGuid::from(OF_DBOX)).unwrap().len(), 17);
    assert_eq!(encode(&MessageGuid::from(upper.as_str())).unwrap().len(), 33);
}

#[test]
fn a_guid_has_one_packed_form_and_no_more_room_than_it_may() {
    let text = encode(&OF_DBOX.to_owned()).unwrap();
    assert!(decode::<MessageGuid>(&text).is_err(), "digits as a text");
    for number in [256u128, u128::from(u64::MAX)] {
        assert!(decode::<MessageGuid>(&encode(&number).unwrap()).is_err(), "{number}");
    }
    assert!(decode::<MessageGuid>(&[5, b'a', b'b']).is_err(), "ends too early");
    assert!(decode::<MessageGuid>(&[1, 0xff]).is_err(), "not UTF-8");
}

#[test]
fn people_read_the_text() {
    let guid = MessageGuid::from(OF_DBOX);
    let json = serde_json::to_string(&guid).unwrap();
    assert_eq!(json, format!("\"{OF_DBOX}\""));
    assert_eq!(serde_json::from_str::<MessageGuid>(&json).unwrap(), guid);
}
