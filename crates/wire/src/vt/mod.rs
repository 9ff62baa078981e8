//! What a terminal's output means, as far as it must be known to join it in the middle.
//!
//! A terminal's output can only be understood from its beginning: an escape sequence says how
//! what follows is shown. [`replay::Replay`] keeps the last part of it, begins that where no
//! sequence and no character is cut, and knows what was in force there ([`modes::Modes`]), so
//! that whoever attaches sees what those see who were there all the time. It does not know what
//! the screen shows: that is the work of the terminal at the other end.
//!
//! Sequences as in ECMA-48 and xterm's "ctlseqs"; text is UTF-8, C1 controls are read in their
//! UTF-8 form only, as xterm.js does.

pub mod modes;
pub mod parser;
pub mod queries;
pub mod replay;
pub mod sgr;
