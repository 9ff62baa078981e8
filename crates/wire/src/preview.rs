//! Previews: what the edge answers itself at an exposure's address, and the passes that let
//! visitors into private ones. Codes and messages are protocol.

use crate::token;
use crate::SandboxId;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The query parameter that brings a ticket.
pub const TICKET: &str = "wardian_ticket";
/// The cookie it is exchanged for.
pub const COOKIE: &str = "wardian-preview";

/// Why a preview is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewRefusal {
    /// No such exposure, or not with this token.
    NotFound,
    /// The sandbox has ended.
    Ended,
    Paused,
    /// Nothing listens on the port.
    PortClosed {
        port: u16,
    },
    /// The port took the request and closed before it answered.
    Broken {
        port: u16,
    },
    /// It is private and the visitor showed nothing.
    Private,
    /// The ticket is wrong or over.
    BadTicket,
}

impl PreviewRefusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Ended => 410,
            Self::Paused => 503,
            Self::PortClosed { .. } | Self::Broken { .. } => 502,
            Self::Private | Self::BadTicket => 401,
        }
    }

    /// The word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "exposure_not_found",
            Self::Ended => "sandbox_ended",
            Self::Paused => "sandbox_paused",
            Self::PortClosed { .. } => "port_closed",
            Self::Broken { .. } => "no_answer",
            Self::Private => "unauthorized",
            Self::BadTicket => "ticket_invalid",
        }
    }

    /// What went wrong and what to do, in words.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NotFound => "There is no preview at this address. It may have been taken back, or the address was not copied whole.",
            Self::Ended => "The sandbox behind this address has ended, and the address is not used again.",
            Self::Paused => "The sandbox behind this address is asleep. Once it is resumed, this address works again.",
            Self::PortClosed { .. } => "The sandbox is running, but nothing in it listens on this port yet. Start the server in it.",
            Self::Broken { .. } => "The program on this port closed the connection before it answered. Its log in the sandbox says why.",
            Self::Private => "This preview is private. Ask its owner for a signed link, or send an API key with Authorization: Bearer.",
            Self::BadTicket => "This link has expired or is not whole. Ask for a new one.",
        }
    }

    /// The heading of its page.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NotFound => "No preview here",
            Self::Ended => "This preview is gone",
            Self::Paused => "The sandbox is asleep",
            Self::PortClosed { .. } => "Waiting for the server",
            Self::Broken { .. } => "The server gave no answer",
            Self::Private => "This preview is private",
            Self::BadTicket => "This link no longer works",
        }
    }

    /// The port it is about, if about one.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::PortClosed { port } | Self::Broken { port } => Some(port),
            _ => None,
        }
    }

    /// Seconds after which its page tries again by itself.
    #[must_use]
    pub fn again(self) -> Option<u8> {
        match self {
            Self::PortClosed { .. } => Some(2),
            Self::Paused => Some(5),
            _ => None,
        }
    }
}

/// Which of the two passes; one can't stand for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// In an address.
    Ticket,
    Cookie,
}

impl PassKind {
    fn label(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Cookie => "cookie",
        }
    }
}

/// One exposure, as passes are bound to it.
#[derive(Clone, Copy)]
pub struct Passes<'a> {
    pub secret: &'a str,
    pub sandbox: &'a SandboxId,
    pub port: u16,
}

impl std::fmt::Debug for Passes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Passes({}, port {})", self.sandbox, self.port)
    }
}

impl Passes<'_> {
    /// A pass that is good until `expiry`, in seconds since 1970: `{expiry}.{64 hex digits}`.
    #[must_use]
    pub fn sign(&self, kind: PassKind, expiry: u64) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).ok()?;
        let label = kind.label();
        let (sandbox, port) = (self.sandbox, self.port);
        mac.update(format!("wardian-preview\n{label}\n{sandbox}\n{port}\n{expiry}").as_bytes());
        let mut pass = format!("{expiry}.");
        for byte in mac.finalize().into_bytes() {
            pass.push_str(&format!("{byte:02x}"));
        }
        Some(pass)
    }

    /// Until when a pass is good, if it is at `now`; in time that tells nothing of the right one.
    #[must_use]
    pub fn check(&self, kind: PassKind, pass: &str, now: u64) -> Option<u64> {
        let (expiry, _) = pass.split_once('.')?;
        let plain = expiry.len() <= 12 && expiry.bytes().all(|byte| byte.is_ascii_digit());
        let expiry: u64 = expiry.parse().ok().filter(|_| plain)?;
        let right = self.sign(kind, expiry)?;
        (token::same(right.as_bytes(), pass.as_bytes()) && expiry > now).then_some(expiry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> SandboxId {
        SandboxId::parse(text).unwrap()
    }

    #[test]
    fn a_pass_is_good_for_one_exposure_one_kind_and_its_time() {
        let (one, other) = (id("aaaaaaaaaaaaaaaaaaa2"), id("bbbbbbbbbbbbbbbbbbb3"));
        let passes = Passes {
            secret: "secret",
            sandbox: &one,
            port: 80,
        };
        let ticket = passes.sign(PassKind::Ticket, 100).unwrap();
        assert_eq!(passes.check(PassKind::Ticket, &ticket, 99), Some(100));
        assert_eq!(passes.check(PassKind::Ticket, &ticket, 100), None);
        assert_eq!(passes.check(PassKind::Cookie, &ticket, 99), None);
        for wrong in [
            Passes {
                secret: "Secret",
                ..passes
            },
            Passes {
                sandbox: &other,
                ..passes
            },
            Passes { port: 8, ..passes },
        ] {
            assert_eq!(wrong.check(PassKind::Ticket, &ticket, 99), None);
        }
        let later = ticket.replacen("100.", "999.", 1);
        assert_eq!(passes.check(PassKind::Ticket, &later, 99), None);
        let padded = format!("0{ticket}");
        assert_eq!(passes.check(PassKind::Ticket, &padded, 99), None);
    }

    /// The control plane makes tickets (`server/exposures/passes.py`); this is one of its own.
    #[test]
    fn the_control_planes_tickets_are_read() {
        let sandbox = id("abcdefghij234567klmn");
        let passes = Passes {
            secret: "0123456789abcdef",
            sandbox: &sandbox,
            port: 5173,
        };
        let ticket = include_str!("../../../tests/vectors/preview_ticket.txt").trim();
        assert_eq!(
            passes.check(PassKind::Ticket, ticket, 1_700_000_000),
            Some(1_800_000_000)
        );
    }

    proptest! {
        #[test]
        fn nothing_else_passes(text in "\\PC{0,90}|[0-9]{1,13}\\.[0-9a-f]{64}") {
            let sandbox = id("aaaaaaaaaaaaaaaaaaa2");
            let passes = Passes { secret: "s", sandbox: &sandbox, port: 1 };
            prop_assert_eq!(passes.check(PassKind::Ticket, &text, 0), None);
        }
    }
}
