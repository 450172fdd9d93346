//! Reads recordings: files and standard input, with gzip or zstd or without.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::intake::Intake;
use crate::simulate::read::{MAX_BYTES, Reader};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// A recording that is open.
pub(super) struct Recording {
    source: Box<dyn Read>,
    total: Option<u64>,
}

impl Recording {
    /// Opens a file, or standard input.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { source: Box::new(io::stdin()), total: None });
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        Ok(Self { source: Box::new(file), total: metadata.is_file().then_some(metadata.len()) })
    }

    /// Reads all of it.
    pub(super) fn read_into(&mut self, intake: &mut Intake<'_>) -> io::Result<()> {
        let mut progress = Progress::new(intake.name().to_owned(), self.total);
        let mut counted = Counted { source: &mut self.source, count: 0 };
        let mut head = Vec::new();
        Read::by_ref(&mut counted).take(4).read_to_end(&mut head)?;
        let packing = Packing::of(&head);
        let whole = io::Cursor::new(head).chain(&mut counted);
        let mut plain = packing.undone(BufReader::with_capacity(PIECE, whole));
        let mut reader = Reader::new(unpack);
        let mut piece = vec![0; PIECE];
        let read = loop {
            match plain.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    if !reader.push(piece.get(..count).unwrap_or_default(), intake) {
                        break Ok(());
                    }
                    progress.at(|| (plain.position(), intake.spans()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        progress.end();
        // What came before the fault counts.
        reader.finish(intake);
        read
    }
}

/// What is wrong, in lower case and without numbers.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Counts the bytes that pass.
struct Counted<'a> {
    source: &'a mut dyn Read,
    count: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(head: &[u8]) -> Self {
        match head {
            _ if head.starts_with(GZIP) => Self::Gzip,
            _ if head.starts_with(ZSTD) => Self::Zstd,
            // Some programs begin with a frame that is to be skipped.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    fn undone<R: BufRead>(self, source: R) -> Plain<R> {
        match self {
            Self::None => Plain::As(source),
            Self::Gzip => Plain::Gzip(MultiGzDecoder::new(source)),
            Self::Zstd => Plain::Zstd(Box::new(Frames::new(source))),
        }
    }
}

/// What a recording says once its compression is undone.
enum Plain<R> {
    As(R),
    Gzip(MultiGzDecoder<R>),
    Zstd(Box<Frames<R>>),
}

impl<R: BufRead> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::As(source) => source.read(buffer),
            Self::Gzip(source) => source.read(buffer),
            Self::Zstd(source) => source.read(buffer),
        }
    }
}

impl Plain<BufReader<io::Chain<io::Cursor<Vec<u8>>, &mut Counted<'_>>>> {
    /// How much of the file was read.
    fn position(&self) -> u64 {
        let source = match self {
            Self::As(source) => source,
            Self::Gzip(source) => source.get_ref(),
            Self::Zstd(source) => &source.source,
        };
        source.get_ref().get_ref().1.count
    }
}

/// Frames of zstd, one after another, which its decoder takes one by one.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    is_open: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), is_open: false }
    }

    /// Begins the next frame; `false` at the end.
    fn open(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.is_open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut Read::by_ref(&mut self.source).take(length.into()), &mut io::sink())?;
                }
                Err(_) => return Err(broken()),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.is_open || self.open()? {
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let blocks = self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
                blocks.map_err(|_| broken())?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.is_open = !self.decoder.is_finished();
            let expected = self.decoder.get_checksum_from_data();
            if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
                return Err(broken());
            }
        }
        Ok(0)
    }
}

/// Without the words of the decoder, which are about its inner parts.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "broken zstd")
}

/// Undoes the compression of one message.
fn unpack(message: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let packing = Packing::of(message);
    if packing == Packing::None {
        return Ok(None);
    }
    let mut plain = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    packing.undone(message).take(limit).read_to_end(&mut plain).map_err(|error| words(&error))?;
    if plain.len() > MAX_BYTES { Err(format!("longer than {} MiB", MAX_BYTES >> 20)) } else { Ok(Some(plain)) }
}

/// How far reading is, on a terminal.
struct Progress {
    name: String,
    total: Option<u64>,
    last: Option<Instant>,
    is_shown: bool,
}

/// Takes the line of the progress away, so that something else can be said.
pub(super) fn clear_progress() {
    if is_shown() {
        write!(io::stderr(), "\r\u{1b}[K").unwrap_or_default();
    }
}

/// A terminal that knows how to clear a line.
fn is_shown() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// A line this often.
const EVERY: Duration = Duration::from_millis(200);

impl Progress {
    fn new(name: String, total: Option<u64>) -> Self {
        let last = is_shown().then(Instant::now);
        Self { name, total, last, is_shown: false }
    }

    fn at(&mut self, now: impl FnOnce() -> (u64, u64)) {
        let Some(last) = self.last.filter(|last| last.elapsed() >= EVERY) else { return };
        let (bytes, spans) = now();
        let part = match self.total {
            Some(total) if total > 0 => format!("{} %", bytes.saturating_mul(100) / total),
            _ => format!("{} MiB", bytes >> 20),
        };
        // A terminal that is gone needs no progress.
        write!(io::stderr(), "\r\u{1b}[K{}: {part}, {spans} spans", self.name).unwrap_or_default();
        self.last = Some(last + last.elapsed());
        self.is_shown = true;
    }

    fn end(&self) {
        if self.is_shown {
            write!(io::stderr(), "\r\u{1b}[K").unwrap_or_default();
        }
    }
}
