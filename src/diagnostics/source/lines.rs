//! Byte offsets to lines and columns, cheap also in a file that is one line of many megabytes.

/// Bytes between two remembered character counts: small enough to count through, large enough to cost little memory.
const BLOCK: usize = 4096;

/// Where the lines of a text begin, and how many characters precede each block of it.
#[derive(Clone, Debug)]
pub(super) struct LineIndex {
    starts: Vec<usize>,
    characters: Vec<usize>,
}

impl LineIndex {
    pub(super) fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        starts.extend(bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
        let mut total = 0;
        let mut characters = Vec::with_capacity(bytes.len() / BLOCK + 1);
        for block in bytes.chunks(BLOCK) {
            characters.push(total);
            total += count(block);
        }
        Self { starts, characters }
    }

    /// The line of a byte offset, from 0.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The column of a byte offset in its line, in characters, from 0.
    pub(super) fn column(&self, text: &str, offset: usize) -> usize {
        let start = self.start(self.line(offset));
        self.before(text, offset).saturating_sub(self.before(text, start))
    }

    /// The byte offset at which a line begins.
    pub(super) fn start(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(0)
    }

    /// The byte offset of a line's end, its line break excluded.
    pub(super) fn end(&self, text: &str, line: usize) -> usize {
        let Some(next) = self.starts.get(line + 1) else { return text.len() };
        let end = next - 1;
        if end > 0 && text.as_bytes().get(end - 1) == Some(&b'\r') && end > self.start(line) { end - 1 } else { end }
    }

    /// The number of characters before a byte offset.
    fn before(&self, text: &str, offset: usize) -> usize {
        let block = (offset / BLOCK).min(self.characters.len().saturating_sub(1));
        let known = self.characters.get(block).copied().unwrap_or(0);
        known + text.as_bytes().get(block * BLOCK..offset.min(text.len())).map_or(0, count)
    }
}

/// How many characters begin in these bytes of UTF-8.
fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0xC0) != 0x80).count()
}
