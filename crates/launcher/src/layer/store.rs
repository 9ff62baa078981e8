//! The layers of a pool: `layers/<id>/`, and beside each a note of its size.

use super::entry::{Entries, Kind};
use super::tree::Tree;
use crate::disk::Pool;
use crate::failure::{failure, from_kernel};
use crate::kernel::{KernelError, Result as KernelResult};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use wardian_wire::launcher::{Failure, FailureCode, LayerId};

/// The most bytes of file content in one layer.
const MOST_BYTES: u64 = 64 << 30;
/// The most files, directories and links in one layer.
const MOST_FILES: u64 = 4_000_000;
const INCOMING: &str = ".incoming-";
const OUTGOING: &str = ".outgoing-";

/// What an import brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// Why a tar is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayerError {
    #[error("{0}")]
    Bad(String),
    #[error("read the tar: {0}")]
    Read(#[from] std::io::Error),
    #[error("{what} {path}: {errno}")]
    Write {
        what: &'static str,
        path: String,
        errno: rustix::io::Errno,
    },
}

impl LayerError {
    pub(super) fn bad(path: &[u8], what: &str) -> Self {
        Self::Bad(format!("{}: {what}", String::from_utf8_lossy(path)))
    }

    fn into_failure(self, layer: &LayerId) -> Failure {
        let message = format!("layer {}: {self}", layer.as_str());
        match self {
            Self::Write { what, errno, .. } => from_kernel(&KernelError::new(what, message, errno)),
            Self::Bad(_) | Self::Read(_) => failure(FailureCode::BadLayer, message),
        }
    }
}

/// Tells imports apart that run at once.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Pool {
    /// Where layers are.
    pub(crate) fn layers(&self) -> PathBuf {
        self.path.join("layers")
    }

    /// Where one layer is.
    pub(crate) fn layer(&self, layer: &LayerId) -> PathBuf {
        self.layers().join(layer.as_str())
    }

    /// Whether it is there.
    pub(crate) fn has_layer(&self, layer: &LayerId) -> bool {
        self.kernel.exists(&self.layer(layer))
    }

    fn note(&self, layer: &LayerId) -> PathBuf {
        self.layers().join(format!("{}.size", layer.as_str()))
    }

    fn temporary(&self, prefix: &str) -> PathBuf {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.layers().join(format!("{prefix}{number}"))
    }

    /// All layers.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn list_layers(&self) -> KernelResult<Vec<LayerId>> {
        let names = self.kernel.list(&self.layers())?;
        let mut layers: Vec<LayerId> = names
            .iter()
            .filter_map(|n| LayerId::parse(n).ok())
            .collect();
        layers.sort();
        Ok(layers)
    }

    /// Unpacks the tar that `source` gives. Returns also whether the layer was there already.
    ///
    /// # Errors
    /// `bad_layer`, `no_space`, or those of the calls; then nothing is left of it.
    pub(crate) fn import_layer(
        &self,
        layer: &LayerId,
        source: OwnedFd,
    ) -> Result<(Imported, bool), Failure> {
        if self.has_layer(layer) {
            return Ok((self.noted(layer).map_err(|e| from_kernel(&e))?, true));
        }
        let incoming = self.temporary(INCOMING);
        self.create(&incoming).map_err(|e| from_kernel(&e))?;
        let result = unpack(&incoming, File::from(source))
            .map_err(|e| e.into_failure(layer))
            .and_then(|imported| self.settle_layer(layer, &incoming, imported));
        if result.is_err() {
            if let Err(error) = self.remove(&incoming) {
                tracing::error!(%error, "a failed import can't be removed");
            }
        }
        result
    }

    fn settle_layer(
        &self,
        layer: &LayerId,
        incoming: &Path,
        imported: Imported,
    ) -> Result<(Imported, bool), Failure> {
        let Imported { bytes, files } = imported;
        let note = format!("{bytes} {files}\n");
        let kept = sync(incoming)
            .and_then(|()| self.kernel.replace(&self.note(layer), note.as_bytes()))
            .and_then(|()| self.kernel.rename(incoming, &self.layer(layer)));
        match kept {
            Ok(()) => Ok((imported, false)),
            // Somebody else was faster with the same layer.
            Err(error) if error.errno == rustix::io::Errno::EXIST => {
                self.remove(incoming).map_err(|e| from_kernel(&e))?;
                Ok((imported, true))
            }
            Err(error) => Err(from_kernel(&error)),
        }
    }

    fn noted(&self, layer: &LayerId) -> KernelResult<Imported> {
        let text = self.kernel.read(&self.note(layer))?;
        let mut numbers = text.split_whitespace().map(|n| n.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Ok(Imported {
            bytes: next(),
            files: next(),
        })
    }

    /// Takes a layer's name away, so that nobody can start to use it, and returns what to remove.
    ///
    /// # Errors
    /// `not_found`, or those of the calls.
    pub(crate) fn take_layer_out(&self, layer: &LayerId) -> Result<PathBuf, Failure> {
        if !self.has_layer(layer) {
            let message = format!("no layer {}", layer.as_str());
            return Err(failure(FailureCode::NotFound, message));
        }
        let outgoing = self.temporary(OUTGOING);
        self.kernel
            .rename(&self.layer(layer), &outgoing)
            .and_then(|()| self.kernel.remove_file(&self.note(layer)))
            .map_err(|e| from_kernel(&e))?;
        Ok(outgoing)
    }

    /// Removes what an import or a removal that was cut short has left.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn remove_half_made_layers(&self) -> KernelResult<()> {
        for name in self.kernel.list(&self.layers())? {
            if name.starts_with(INCOMING) || name.starts_with(OUTGOING) {
                self.remove(&self.layers().join(name))?;
            }
        }
        Ok(())
    }
}

/// Brings a tree to disk before its name promises that it is whole.
fn sync(tree: &Path) -> KernelResult<()> {
    let failed = |errno| KernelError::new("syncfs", tree.display().to_string(), errno);
    let directory = File::open(tree).map_err(|e| {
        failed(rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))
    })?;
    rustix::fs::syncfs(&directory).map_err(failed)
}

fn unpack(at: &Path, source: File) -> Result<Imported, LayerError> {
    let mut tree = Tree::open(at)?;
    let mut imported = Imported::default();
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, source));
    let mut entries = Entries::new(archive.entries().map_err(LayerError::Read)?.raw(true));
    while let Some(mut entry) = entries.next_entry()? {
        imported.files += 1;
        if imported.files > MOST_FILES {
            return Err(LayerError::Bad(format!("more than {MOST_FILES} files")));
        }
        if let Kind::File { size } = entry.kind {
            imported.bytes = imported.bytes.saturating_add(size);
            if imported.bytes > MOST_BYTES {
                return Err(LayerError::Bad(format!("more than {MOST_BYTES} bytes")));
            }
        }
        tree.add(&mut entry)?;
    }
    tree.finish()?;
    // The writer must not be cut short by a closed pipe: what follows the end is only padding.
    std::io::copy(
        &mut archive.into_inner().take(MOST_BYTES),
        &mut std::io::sink(),
    )?;
    Ok(imported)
}
