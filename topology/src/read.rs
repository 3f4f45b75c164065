//! The one entry: bytes of a file to a [`Reading`].

use crate::diagnostic::{Code, Place, Problems};
use crate::suggest::Suggester;
use crate::{Diagnostic, Topology, raw, validate, yaml};

/// Largest file that is parsed; larger ones are refused before any parsing.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// What came out of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The network, when no diagnostic is an error.
    pub topology: Option<Topology>,
    /// The problems, sorted by place: all of them, up to [`crate::DIAGNOSTICS_MAX`]; errors come before
    /// warnings when there are more.
    pub diagnostics: Vec<Diagnostic>,
    /// How many problems there are, with those beyond the list.
    pub total: usize,
}

/// Reads one topology file (YAML, of which JSON is a part). `file` is only used to name the place of problems.
///
/// Bounded in time and memory for any input: see [`FILE_BYTES_MAX`] and the limits of `docs/topology.md`.
pub fn read(file: &str, bytes: &[u8]) -> Reading {
    let mut problems = Problems::default();
    let mut suggester = Suggester::new();
    let text = text(bytes, &mut problems).unwrap_or_default();
    let topology = if problems.has_errors() {
        None
    } else {
        yaml::parse(text, &mut problems)
            .and_then(|root| raw::read(&root, &mut problems, &mut suggester))
            .and_then(|raw| validate::validate(raw, &mut problems, &mut suggester))
    };
    let (diagnostics, total) = problems.finish(file, text);
    Reading { topology, diagnostics, total }
}

/// The file as text, without a byte order mark. With problems, the part before the first bad byte, so that
/// the line can be shown.
pub(crate) fn text<'b>(bytes: &'b [u8], problems: &mut Problems) -> Option<&'b str> {
    if bytes.len() > FILE_BYTES_MAX {
        let message =
            format!("the file has {} bytes, more than the {FILE_BYTES_MAX} that are read", bytes.len());
        let help = "check that this is a topology file; split a network of this size into several";
        problems.error(Code::TOO_LARGE, Place::START, message, help);
        return None;
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            let message = if utf16 {
                "the file is UTF-16, not UTF-8".to_owned()
            } else {
                format!("the byte 0x{:02x} here is not UTF-8", bytes[good.len()])
            };
            let help = "save the file as UTF-8; names of nodes need ASCII alone";
            problems.error(Code::NOT_UTF8, place(good, good.len()), message, help);
            return Some(good);
        }
    };
    control_characters(text, problems);
    Some(text)
}

/// YAML allows tab, line feed and carriage return (YAML 1.2, section 5.1); anything else of this kind is a
/// damaged file. One problem tells the first place.
fn control_characters(text: &str, problems: &mut Problems) {
    let bad = |byte: &u8| (*byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || *byte == 0x7f;
    let Some(at) = text.as_bytes().iter().position(bad) else { return };
    let count = text.as_bytes()[at..].iter().filter(|byte| bad(byte)).count();
    let byte = text.as_bytes()[at];
    let name =
        if byte == 0 { "a NUL byte".to_owned() } else { format!("the control character 0x{byte:02x}") };
    let more = if count > 1 { format!(", the first of {count}") } else { String::new() };
    let help = "check that this is a topology file and not a damaged or binary one; remove the character";
    problems.error(Code::CONTROL_CHARACTER, place(text, at), format!("{name} is in the file{more}"), help);
}

/// The place of the byte at `offset`.
fn place(text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    // A line ends with LF, CR LF or CR alone (YAML 1.2, section 5.4).
    let breaks = before.bytes().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => text.as_bytes().get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    let line = breaks.count() as u32 + 1;
    let column = before.chars().rev().take_while(|c| !matches!(c, '\n' | '\r')).count() as u32 + 1;
    Place { offset: offset as u32, line, column, width: 1 }
}
