//! The body of a streamed response, and what happens when its reader goes away.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::UnboundedReceiver;

use super::pacer::Pacer;
use crate::sim::affine::RequestId;

/// An open request. Dropping it before the end cancels the request in the replica; afterwards it does nothing.
pub(super) struct Ticket {
    pub(super) pacer: Arc<Pacer>,
    pub(super) id: RequestId,
    /// What is to be written to the client; closed after the last piece.
    pub(super) pieces: UnboundedReceiver<Bytes>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pacer.cancel(self.id);
    }
}

/// Writes each piece when it comes. The server drops it when the client closes the connection.
pub(super) struct TokenStream(pub(super) Ticket);

impl Body for TokenStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.pieces.poll_recv(context);
        piece.map(|bytes| bytes.map(|b| Ok(Frame::data(b))))
    }
}
