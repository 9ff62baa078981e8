//! Takes an archive apart as its bytes come.

use super::block::{is_sealed, number, padding, Block, SIZE, TYPE};
use super::extensions::{shown, Extensions};
use super::member::{Kind, Member};
use super::sparse::{MapReader, Piece};
use super::{TarError, BLOCK};

/// The longest extension header, in bytes: paths and attributes fit many times.
pub const LONGEST_EXTENSION: usize = 1 << 20;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A member begins.
    Member(Box<Member>),
    /// Some of its content, and where in the file it belongs.
    Data { offset: u64, bytes: &'a [u8] },
    /// All of the member has come.
    MemberEnd,
}

/// An archive being read.
#[derive(Debug)]
pub struct Reader {
    /// A block that has come in part.
    partial: Vec<u8>,
    state: State,
    extensions: Extensions,
    /// The path of the member at hand, for errors.
    path: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Header,
    Extension {
        kind: u8,
        left: u64,
        skip: u64,
        bytes: Vec<u8>,
    },
    Map {
        reader: MapReader,
        left: u64,
        size: u64,
    },
    Content {
        pieces: Vec<Piece>,
        left: u64,
        skip: u64,
    },
    Skip {
        left: u64,
    },
    End,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            partial: Vec::with_capacity(BLOCK),
            state: State::Header,
            extensions: Extensions::default(),
            path: Vec::new(),
        }
    }
}

impl Reader {
    /// Takes `bytes` and tells `sink` what they hold.
    ///
    /// # Errors
    /// [`TarError`], and those of `sink`; nothing more may be fed then.
    pub fn feed<E: From<TarError>>(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            bytes = self.take(bytes, &mut sink)?;
        }
        Ok(())
    }

    /// Says that there is no more.
    ///
    /// # Errors
    /// [`TarError::Cut`] if there should be: an archive ends with a block of zeros.
    pub fn finish(self) -> Result<(), TarError> {
        match self.state {
            State::End => Ok(()),
            _ => Err(TarError::Cut(shown(&self.path))),
        }
    }

    fn take<'a, E: From<TarError>>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        match &mut self.state {
            State::End => Ok(&[]),
            State::Header => {
                let (block, rest) = self.block(bytes);
                if let Some(block) = block {
                    self.header(&block, sink)?;
                }
                Ok(rest)
            }
            State::Map { .. } => {
                let (block, rest) = self.block(bytes);
                if let Some(block) = block {
                    self.map(&block, sink)?;
                }
                Ok(rest)
            }
            State::Skip { left } => {
                let (taken, rest) = split(bytes, *left);
                *left -= taken.len() as u64;
                if *left == 0 {
                    self.state = State::Header;
                }
                Ok(rest)
            }
            State::Extension {
                kind,
                left,
                skip,
                bytes: gathered,
            } => {
                let (taken, rest) = split(bytes, *left);
                gathered.extend_from_slice(taken);
                *left -= taken.len() as u64;
                if *left == 0 {
                    let (kind, skip, gathered) = (*kind, *skip, std::mem::take(gathered));
                    self.extensions.add(kind, gathered)?;
                    self.state = skipping(skip);
                }
                Ok(rest)
            }
            State::Content { pieces, left, skip } => {
                let rest = content(pieces, left, bytes, sink)?;
                if *left == 0 {
                    self.state = skipping(*skip);
                    sink(Event::MemberEnd)?;
                }
                Ok(rest)
            }
        }
    }

    /// A whole block, once it has come.
    fn block<'a>(&mut self, bytes: &'a [u8]) -> (Option<Block>, &'a [u8]) {
        let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK - self.partial.len()));
        self.partial.extend_from_slice(taken);
        let block = Block::try_from(self.partial.as_slice()).ok();
        if block.is_some() {
            self.partial.clear();
        }
        (block, rest)
    }

    fn header<E: From<TarError>>(
        &mut self,
        block: &Block,
        sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if block.iter().all(|&b| b == 0) {
            self.state = State::End;
            return Ok(());
        }
        if !is_sealed(block) {
            return Err(TarError::Checksum.into());
        }
        let size = number(block, SIZE)?;
        let kind = block[TYPE];
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            if size > LONGEST_EXTENSION as u64 {
                return Err(TarError::LongExtension(size, LONGEST_EXTENSION).into());
            }
            let skip = padding(size);
            if size == 0 {
                return Ok(());
            }
            self.state = State::Extension {
                kind,
                left: size,
                skip,
                bytes: Vec::new(),
            };
            return Ok(());
        }
        let extensions = std::mem::take(&mut self.extensions);
        let (member, stored, is_sparse) = extensions.apply(block, size)?;
        self.path.clone_from(&member.path);
        if is_sparse {
            let size = member.size;
            sink(Event::Member(Box::new(member)))?;
            self.state = State::Map {
                reader: MapReader::default(),
                left: stored,
                size,
            };
            return Ok(());
        }
        let is_file = member.kind == Kind::File;
        sink(Event::Member(Box::new(member)))?;
        if is_file && stored > 0 {
            self.state = State::Content {
                pieces: vec![(0, stored)],
                left: stored,
                skip: padding(stored),
            };
        } else {
            sink(Event::MemberEnd)?;
            // What is no file has no content; some say a size all the same.
            let has_content = is_file || !matches!(kind, b'1'..=b'6');
            let left = if has_content {
                stored + padding(stored)
            } else {
                0
            };
            self.state = skipping(left);
        }
        Ok(())
    }

    fn map<E: From<TarError>>(
        &mut self,
        block: &Block,
        sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let State::Map { reader, left, size } = &mut self.state else {
            return Ok(());
        };
        let wrong = || TarError::Sparse(shown(&self.path));
        *left = left.checked_sub(BLOCK as u64).ok_or_else(wrong)?;
        if let Some(mut pieces) = reader.feed(block, &self.path, *size)? {
            let data: u64 = pieces.iter().map(|(_, length)| length).sum();
            if data != *left {
                return Err(wrong().into());
            }
            pieces.retain(|(_, length)| *length > 0);
            pieces.reverse();
            if data == 0 {
                self.state = State::Header;
                sink(Event::MemberEnd)?;
            } else {
                self.state = State::Content {
                    pieces,
                    left: data,
                    skip: padding(data),
                };
            }
        } else if *left == 0 {
            return Err(wrong().into());
        }
        Ok(())
    }
}

fn skipping(left: u64) -> State {
    if left == 0 {
        State::Header
    } else {
        State::Skip { left }
    }
}

fn split(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len()))
}

/// Tells as much content as one piece has; `pieces` hold the next one last.
fn content<'a, E: From<TarError>>(
    pieces: &mut Vec<Piece>,
    left: &mut u64,
    bytes: &'a [u8],
    sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
) -> Result<&'a [u8], E> {
    let Some((offset, length)) = pieces.last_mut() else {
        *left = 0;
        return Ok(bytes);
    };
    let (taken, rest) = split(bytes, *length);
    sink(Event::Data {
        offset: *offset,
        bytes: taken,
    })?;
    let count = taken.len() as u64;
    *offset += count;
    *length -= count;
    *left -= count;
    if *length == 0 {
        pieces.pop();
    }
    Ok(rest)
}
