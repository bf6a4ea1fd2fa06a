//! A blob that is written piece by piece, so that its length is nobody's memory.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, WriteMultipart};

use crate::{BlobError, BlobPath, Blobs, failed};

/// How much is sent to the store at a time, in bytes: more than the least that a bucket takes but for the last piece.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
/// Pieces that are on their way at a time.
const PIECES_AT_A_TIME: usize = 2;

/// A blob that is being written. It is there when [`BlobWriter::finish`] returned, and not before; dropped before that,
/// nothing of it is seen, and a folder keeps nothing of it.
#[derive(Debug)]
pub struct BlobWriter {
    path: BlobPath,
    upload: WriteMultipart,
}

impl Blobs {
    /// Begins to write a blob, which replaces what is there when it is finished.
    pub async fn writer(&self, path: &BlobPath) -> Result<BlobWriter, BlobError> {
        let upload = self
            .store
            .put_multipart(&path.to_store())
            .await
            .map_err(failed("write", path))?;
        Ok(BlobWriter {
            path: path.clone(),
            upload: WriteMultipart::new_with_chunk_size(upload, PIECE_BYTES),
        })
    }
}

impl BlobWriter {
    /// Adds bytes at the end; waits while too much is on its way.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.upload
            .wait_for_capacity(PIECES_AT_A_TIME)
            .await
            .map_err(failed("write", &self.path))?;
        self.upload.put(bytes);
        Ok(())
    }

    /// Sends what is left. Durable when it returns.
    pub async fn finish(self) -> Result<(), BlobError> {
        self.upload
            .finish()
            .await
            .map_err(failed("write", &self.path))?;
        Ok(())
    }

    /// Lets go of what was written so far.
    pub async fn abort(self) -> Result<(), BlobError> {
        self.upload
            .abort()
            .await
            .map_err(failed("let go of", &self.path))
    }
}
