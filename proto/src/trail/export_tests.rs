//! Exports as text: what is written is read the same, what is not in its one spelling is refused, no file is too much.

use super::Code;
use super::event::Event;
use super::export::*;
use super::world;
use crate::log::origin::Keeper;
use std::io::Cursor;

fn small() -> Vec<String> {
    let events = (0..5).map(|n| Event::new(Code::Opened, n).id("person", &[9; 16]));
    let log = world::Log::new(Keeper::Node(world::org(world::SENDER)), events.collect());
    world::written(world::lines(&log, &world::gateway_log(vec![])))
}

#[test]
fn every_line_is_read_as_it_was_written() {
    let texts = small();
    let mut kinds = std::collections::BTreeSet::new();
    for text in &texts {
        let line = Line::read(text.trim_end().as_bytes()).unwrap();
        assert_eq!(format!("{}\n", line.written().unwrap()), *text);
        kinds.insert(text.split('"').nth(1).unwrap().to_owned());
    }
    let all = [
        "binding",
        "checkpoint",
        "end",
        "event",
        "header",
        "member",
        "trust",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    let file = texts.concat();
    let read: Vec<Vec<u8>> = ExportReader::new(Cursor::new(&file))
        .map(|line| line.unwrap())
        .collect();
    assert_eq!(read.len(), texts.len());
    assert_eq!([read.join(&b'\n'), b"\n".to_vec()].concat(), file.as_bytes());
}

#[test]
fn a_second_spelling_of_a_line_is_refused() {
    let texts = small();
    let (header, event) = (texts[0].trim_end(), texts[8].trim_end());
    for (good, from, to) in [
        (header, "{\"header\"", "{ \"header\""),
        (header, "\"exported_at_ms\":1", "\"exported_at_ms\":01"),
        (
            header,
            "\"exported_at_ms\":1800172800000",
            "\"exported_at_ms\":1800172800000.0",
        ),
        (header, "\"question\":{}", "\"question\":{},\"more\":1"),
        (header, "\"question\":{}", "\"question\":{\"two words\":\"x\"}"),
        (
            header,
            "\"question\":{}",
            "\"question\":{\"a\":\"x\",\"a\":\"x\"}",
        ),
        (header, "kith/trail/1", "kith/trail/2"),
        (header, "kith/trail/1", "kith\\/trail/1"),
        (header, "lune-valley", "Lune-valley"),
        (header, "=\"}}", "\"}}"),
        (event, "\"epoch\":1,", "\"epoch\":1,\"epoch\":1,"),
        (event, "\"epoch\":1,\"index\":1,", "\"index\":1,\"epoch\":1,"),
        (event, "\"opened\":{", "\"opened\":null,\"x\":{"),
        (event, "\\n", "\\u000a"),
        (event, "opened ", "other "),
        (event, "}", "} "),
    ] {
        assert!(Line::read(good.as_bytes()).is_ok(), "{good}");
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert_eq!(Line::read(bad.as_bytes()), Err(ExportError::Malformed), "{to}");
    }
    for bad in [
        "",
        "{}",
        "[]",
        "null",
        "{\"note\":{}}",
        "\u{feff}{}",
        "{\"end\":{\"lines\":1}}",
    ] {
        assert_eq!(Line::read(bad.as_bytes()), Err(ExportError::Malformed), "{bad}");
    }
}

#[test]
fn a_question_has_limits() {
    let mut header = world::header(Keeper::Gateway);
    let ask = |header: &mut Header, name: String, value: &str| header.question.insert(name, value.to_owned());
    for n in 0..QUESTION_FILTERS_MAX {
        ask(&mut header, format!("filter_{n}"), "value");
    }
    assert!(ExportWriter::new(header.clone()).is_ok());
    ask(&mut header, "one_more".to_owned(), "value");
    assert_eq!(ExportWriter::new(header).unwrap_err(), ExportError::TooLarge);
    for (value, why) in [
        ("x".repeat(QUESTION_BYTES_MAX + 1), ExportError::TooLarge),
        ("two words".to_owned(), ExportError::Malformed),
        (String::new(), ExportError::Malformed),
    ] {
        let mut header = world::header(Keeper::Gateway);
        ask(&mut header, "thread".to_owned(), &value);
        assert_eq!(ExportWriter::new(header).unwrap_err(), why);
    }
}

#[test]
fn a_file_without_its_last_newline_or_with_an_endless_line_is_refused() {
    let read = |file: &[u8]| ExportReader::new(Cursor::new(file.to_vec())).last();
    assert_eq!(read(b""), None);
    assert_eq!(read(b"{}\n"), Some(Ok(b"{}".to_vec())));
    assert_eq!(read(b"{}\n{}"), Some(Err(ExportError::Cut)));
    let endless = vec![b' '; LINE_BYTES_MAX + 10];
    assert_eq!(read(&endless), Some(Err(ExportError::TooLarge)));
    let mut after = ExportReader::new(Cursor::new([endless, b"\n{}\n".to_vec()].concat()));
    assert!(after.next().unwrap().is_err());
    assert!(after.next().is_none(), "nothing after an error");
}

/// The same line for ever.
struct Endless(Vec<u8>, usize);

impl std::io::Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.0[self.1..];
        let count = rest.len().min(to.len());
        to[..count].copy_from_slice(&rest[..count]);
        self.1 = (self.1 + count) % self.0.len();
        Ok(count)
    }
}

#[test]
fn a_file_is_no_larger_than_its_limit() {
    let line = [vec![b' '; LINE_BYTES_MAX - 1], vec![b'\n']].concat();
    let endless = std::io::BufReader::with_capacity(LINE_BYTES_MAX, Endless(line, 0));
    let read: Vec<Result<(), ExportError>> =
        ExportReader::new(endless).map(|line| line.map(|_| ())).collect();
    assert_eq!(read.len(), EXPORT_BYTES_MAX as usize / LINE_BYTES_MAX + 1);
    assert_eq!(read.last(), Some(&Err(ExportError::TooLarge)));
}
