//! HTTP/1.1 as far as the generator and the stand-in speak it: heads are found, bodies have a length.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of a head. 16 KiB: whoever sends more is not one of ours.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A connection, and what of it was read.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A message: the first line and the headers, and the body behind them.
pub(crate) struct Message {
    head: usize,
    end: usize,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to `{address}`"))?;
        Self::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(HEAD_BYTES_MAX) })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one message; none when the other side has closed.
    pub(crate) async fn read(&mut self) -> anyhow::Result<Option<Message>> {
        loop {
            if let Some(head) = find(&self.buffer, b"\r\n\r\n") {
                let length = content_length(&self.buffer[..head]).context("a message without `content-length`")?;
                let message = Message { head: head + 4, end: head + 4 + length };
                while self.buffer.len() < message.end {
                    ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection broke in a body");
                }
                return Ok(Some(message));
            }
            ensure!(self.buffer.len() < HEAD_BYTES_MAX, "a head of more than {HEAD_BYTES_MAX} bytes");
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> &[u8] {
        self.buffer.get(9..12).unwrap_or_default()
    }

    /// The message's first line and headers.
    pub(crate) fn head(&self, message: &Message) -> &str {
        std::str::from_utf8(&self.buffer[..message.head]).unwrap_or_default()
    }

    /// The message's body.
    pub(crate) fn body(&self, message: &Message) -> &[u8] {
        &self.buffer[message.head..message.end]
    }

    /// Forgets a message.
    pub(crate) fn done(&mut self, message: &Message) {
        self.buffer.drain(..message.end);
    }
}

/// Asks for a page on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut wire = Wire::connect(address).await?;
    wire.write(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let message = wire.read().await?.with_context(|| format!("no answer from `{path}`"))?;
    ensure!(wire.status() == b"200", "`{path}` answered {}", String::from_utf8_lossy(wire.status()));
    Ok(String::from_utf8_lossy(wire.body(&message)).into_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let lines = head.split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    std::str::from_utf8(values.next_back()?).ok()?.trim().parse().ok()
}
