//! The messages of E2B's `envd` services, as their JSON looks on the wire. Unknown fields are
//! ignored, as protobuf's JSON rules for evolving messages have it.

pub mod filesystem;
pub mod process;

use serde::{Deserialize, Deserializer};

/// Protobuf's JSON allows `null` for any field that is at its default.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An empty message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Empty {}
