//! A line of JSON with its CRC-32C behind it, as eight hexadecimal digits on a line of their own.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Its bytes, or why it can't be said in JSON.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, String> {
    let json = serde_json::to_string(value).map_err(|e| e.to_string())?;
    Ok(format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes())).into_bytes())
}

/// What [`encode`] wrote, or why these are other bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let lines = text.strip_suffix('\n').and_then(|text| text.split_once('\n'));
    let (json, crc) = lines.ok_or("it is cut")?;
    if format!("{:08x}", crc32c::crc32c(json.as_bytes())) != crc {
        return Err("its checksum is another one".to_owned());
    }
    serde_json::from_str(json).map_err(|e| e.to_string())
}
