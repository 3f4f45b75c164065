//! The entry: bytes of a file, or of several, to a [`Reading`].

use crate::diagnostic::{Code, Place, Problems, Source};
use crate::suggest::Suggester;
use crate::{Diagnostic, Topology, documents, raw, templates, validate, yaml};

/// Largest file that is parsed; larger ones are refused before any parsing.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Most files that are read together.
pub const FILES_MAX: usize = 1_000;

/// What came out of the files of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The network, when no diagnostic is an error.
    pub topology: Option<Topology>,
    /// The problems, sorted by file and place: all of them, up to [`crate::DIAGNOSTICS_MAX`]; errors come before
    /// warnings when there are more.
    pub diagnostics: Vec<Diagnostic>,
    /// How many problems there are, with those beyond the list.
    pub total: usize,
    /// How many files were read together.
    pub files: usize,
}

/// Reads one topology file (YAML, of which JSON is a part), of one or several documents. `file` is only used to
/// name the place of problems.
///
/// Bounded in time and memory for any input: see [`FILE_BYTES_MAX`] and the limits of `docs/topology.md`.
pub fn read(file: &str, bytes: &[u8]) -> Reading {
    read_all(&[(file, bytes)])
}

/// Reads the files of one network as if their documents stood in one file, in this order. Each is a name, which
/// is only used to name the place of problems, and bytes; all together are bounded as one file is.
pub fn read_all(files: &[(&str, &[u8])]) -> Reading {
    let (sources, mut problems) = sources(files);
    let topology = if problems.has_errors() { None } else { topology(&sources, &mut problems) };
    let (diagnostics, total) = problems.finish(&sources);
    Reading { topology, diagnostics, total, files: files.len() }
}

/// The files as texts, and what is wrong with them so far.
pub(crate) fn sources<'f>(files: &[(&'f str, &'f [u8])]) -> (Vec<Source<'f>>, Problems) {
    let mut before = 0;
    let texts = files.iter().take(FILES_MAX).map(|(name, bytes)| {
        // The line that `join` writes before each file.
        before += u32::from(files.len() > 1);
        let text = ((*name).to_owned(), before);
        before += line_count(bytes);
        text
    });
    let mut problems = Problems::new(texts.collect());
    let mut sources = Vec::new();
    if within_limits(files, &mut problems) {
        for (number, (name, bytes)) in files.iter().enumerate() {
            let text = text(number as u16, bytes, &mut problems);
            sources.push(Source { name, text });
        }
    } else if let Some((name, _)) = files.first() {
        sources.push(Source { name, text: "" });
    }
    (sources, problems)
}

fn topology(sources: &[Source<'_>], problems: &mut Problems) -> Option<Topology> {
    let mut suggester = Suggester::new();
    let mut budget = yaml::Budget::default();
    // Each text is parsed before one that is no YAML ends the reading: its documents would be missed.
    let parsed: Vec<Option<Vec<yaml::Value<'_>>>> = sources
        .iter()
        .enumerate()
        .map(|(number, source)| yaml::parse(source.text, number as u16, &mut budget, problems))
        .collect();
    let documents: Vec<yaml::Value<'_>> =
        parsed.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    let root = documents::merge(documents, problems);
    let mut raw = raw::read(&root, problems, &mut suggester)?;
    templates::apply(&mut raw, problems, &mut suggester);
    validate::validate(raw, problems, &mut suggester)
}

/// Lines of a file, the last one with or without its end.
fn line_count(bytes: &[u8]) -> u32 {
    let bytes = bytes.get(..FILE_BYTES_MAX).unwrap_or(bytes);
    let ended = bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r'));
    line_breaks(bytes, bytes.len()) + u32::from(!ended)
}

/// Ends of lines before `offset`: LF, CR LF or CR alone (YAML 1.2, section 5.4).
fn line_breaks(bytes: &[u8], offset: usize) -> u32 {
    let breaks = bytes[..offset].iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    breaks.count() as u32
}

fn within_limits(files: &[(&str, &[u8])], problems: &mut Problems) -> bool {
    let bytes = files.iter().fold(0usize, |sum, (_, bytes)| sum.saturating_add(bytes.len()));
    let what = if files.len() == 1 { "the file has" } else { "the files together have" };
    let (message, help) = if bytes > FILE_BYTES_MAX {
        let message = format!("{what} {bytes} bytes, more than the {FILE_BYTES_MAX} that are read");
        (message, "check that this is a topology file; a network of this size is split into several networks")
    } else if files.len() > FILES_MAX {
        let message =
            format!("there are {} files, more than the {FILES_MAX} that are read together", files.len());
        (message, "check that this is a folder of topology files; put small files together")
    } else {
        return true;
    };
    problems.error(Code::TOO_LARGE, Place::START, message, help);
    false
}

/// The file as text, without a byte order mark. With problems, the part before the first bad byte, so that
/// the line can be shown.
fn text<'b>(source: u16, bytes: &'b [u8], problems: &mut Problems) -> &'b str {
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
            problems.error(Code::NOT_UTF8, place(source, good, good.len()), message, help);
            return good;
        }
    };
    control_characters(source, text, problems);
    text
}

/// YAML allows tab, line feed and carriage return (YAML 1.2, section 5.1); anything else of this kind is a
/// damaged file. One problem tells the first place.
fn control_characters(source: u16, text: &str, problems: &mut Problems) {
    let bad = |byte: &u8| (*byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || *byte == 0x7f;
    let Some(at) = text.as_bytes().iter().position(bad) else { return };
    let count = text.as_bytes()[at..].iter().filter(|byte| bad(byte)).count();
    let byte = text.as_bytes()[at];
    let name =
        if byte == 0 { "a NUL byte".to_owned() } else { format!("the control character 0x{byte:02x}") };
    let more = if count > 1 { format!(", the first of {count}") } else { String::new() };
    let help = "check that this is a topology file and not a damaged or binary one; remove the character";
    problems.error(
        Code::CONTROL_CHARACTER,
        place(source, text, at),
        format!("{name} is in the file{more}"),
        help,
    );
}

/// The place of the byte at `offset`.
fn place(source: u16, text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line = line_breaks(text.as_bytes(), offset) + 1;
    let column = before.chars().rev().take_while(|c| !matches!(c, '\n' | '\r')).count() as u32 + 1;
    Place { source, offset: offset as u32, line, column, width: 1 }
}
