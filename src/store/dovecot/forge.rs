//! Writes logs for tests, as Dovecot does.

/// A log file that grows.
pub(crate) struct LogForge(pub(crate) Vec<u8>);

/// A record: kind bits with the EXTERNAL mark, and its payload.
pub(crate) type Forged = (u32, Vec<u8>);

const EXTERNAL: u32 = 0x1000_0000;

impl LogForge {
    /// The first log of an index, which starts from an empty mailbox.
    pub(crate) fn first() -> Self {
        Self::following(2, 0, 0)
    }

    /// Log `file_seq`, continuing `prev_file_seq` at `prev_file_offset`.
    pub(crate) fn following(file_seq: u32, prev_file_seq: u32, prev_file_offset: u32) -> Self {
        let mut bytes = vec![1, 3, 40, 0];
        for field in [
            77,
            file_seq,
            prev_file_seq,
            prev_file_offset,
            1000 + file_seq,
            if prev_file_seq == 0 { 1 } else { 1000 },
            0,
            1,
            0,
        ] {
            bytes.extend(u32::to_le_bytes(field));
        }
        Self(bytes)
    }

    /// Appends a commit, behind a boundary where it has more than one record.
    pub(crate) fn commit(mut self, records: &[Forged]) -> Self {
        let members: Vec<u8> = records.iter().flat_map(record).collect();
        if records.len() > 1 {
            let total = u32::try_from(members.len() + 12).unwrap();
            self.0
                .extend(record(&(0x0008_0000 | EXTERNAL, total.to_le_bytes().to_vec())));
        }
        self.0.extend(members);
        self
    }
}

fn record((kind, payload): &Forged) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    let words = u32::try_from(payload.len().div_ceil(4) + 2).unwrap();
    bytes.extend([21, 14, 7, 0].map(|shift| 0x80 | u8::try_from(words >> shift & 0x7f).unwrap()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn words(fields: &[u32]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_le_bytes()).collect()
}

/// Mails arrive, with their flag bytes.
pub(crate) fn append(mails: &[(u32, u8)]) -> Forged {
    (
        0x2 | EXTERNAL,
        mails
            .iter()
            .flat_map(|(uid, flags)| words(&[*uid, u32::from(*flags)]))
            .collect(),
    )
}

/// Flags change by a client.
pub(crate) fn flags(first: u32, last: u32, add: u8, remove: u8) -> Forged {
    (0x4, words(&[first, last, u32::from_le_bytes([add, remove, 0, 0])]))
}

/// A keyword is added (0) or removed (1).
pub(crate) fn keyword(verb: u8, name: &str, first: u32, last: u32) -> Forged {
    let mut payload = vec![verb, 0];
    payload.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    payload.extend(name.as_bytes());
    payload.resize(payload.len().next_multiple_of(4), 0);
    payload.extend(words(&[first, last]));
    (0x400, payload)
}

/// An expunge: the request, or (`external`) the deed.
pub(crate) fn expunge(uids: &[u32], external: bool) -> Forged {
    let entry = |uid: &u32| [uid.to_le_bytes().to_vec(), vec![0; 16]].concat();
    (
        0xed90 | if external { EXTERNAL } else { 0 },
        uids.iter().flat_map(entry).collect(),
    )
}

/// The extension that the next records are about.
pub(crate) fn intro(name: &str, header_bytes: u32, record_bytes: u16) -> Forged {
    let mut payload = words(&[u32::MAX, 0, header_bytes, u32::from(record_bytes)]);
    payload.extend([0, 0]);
    payload.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    payload.extend(name.as_bytes());
    (0x40, payload)
}

/// A record of the extension introduced last.
pub(crate) fn ext_record(uid: u32, data: &[u8]) -> Forged {
    (0x200, [&uid.to_le_bytes()[..], data].concat())
}

/// The header of the extension introduced last, from its beginning.
pub(crate) fn ext_header(data: &[u8]) -> Forged {
    let size = u16::try_from(data.len()).unwrap().to_le_bytes();
    (0x100, [&[0, 0][..], &size, data].concat())
}

/// A field of the index header.
pub(crate) fn header(offset: u8, value: u32) -> Forged {
    (0x20, [&[offset, 0, 4, 0][..], &value.to_le_bytes()].concat())
}

/// The mailbox is being deleted.
pub(crate) fn index_deleted() -> Forged {
    (0x0002_0000 | EXTERNAL, vec![0; 4])
}

/// The names of a list index, by id.
pub(crate) fn list_names(names: &[(u32, &str)]) -> [Forged; 2] {
    let mut header = vec![0];
    for (id, name) in names {
        header.extend(id.to_le_bytes());
        header.extend(name.as_bytes());
        header.push(0);
    }
    [
        intro("list", u32::try_from(header.len()).unwrap(), 28),
        ext_header(&header),
    ]
}

/// A node of a list index: its name, the node above it (0: none) and its GUID.
pub(crate) fn list_node(uid: u32, name_id: u32, parent: u32, guid: u8) -> Forged {
    let mut data = words(&[name_id, parent]);
    data.extend([guid; 16]);
    data.extend([0; 4]);
    ext_record(uid, &data)
}
