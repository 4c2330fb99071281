//! Webhooks as a platform sends them, byte by byte: no library of HTTP or of signatures between the test and the wire.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any answer takes on a machine that is busy with other tests: who waits for this long waits for nothing.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes of an answer that are read. 1 MiB: a door says little, metrics say more.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// HMAC-SHA256 in base64, as RFC 2104 defines it.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut key = [0_u8; 64];
    if secret.len() > key.len() {
        key[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        key[..secret.len()].copy_from_slice(secret.as_bytes());
    }
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(body).finalize();
    STANDARD.encode(Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize())
}

/// A request that can be bent in every way.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST` unless a test wants another.
    pub method: &'static str,
    /// Where to.
    pub path: String,
    /// In the order in which they are sent; `Host` and `Content-Length` are added.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The bytes that were signed.
    pub body: Vec<u8>,
}

impl Request {
    /// A webhook that any door of this secret takes, about a product unless it is told otherwise.
    pub fn webhook(path: &str, secret: &str, shop: &str, id: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let request = Self { method: "POST", path: path.to_owned(), headers: Vec::new(), body };
        let signature = sign(secret, &request.body);
        request
            .with("Content-Type", "application/json")
            .with("X-Shopify-Topic", "products/update")
            .with("X-Shopify-Hmac-Sha256", signature)
            .with("X-Shopify-Shop-Domain", shop)
            .with("X-Shopify-API-Version", "2026-07")
            .with("X-Shopify-Webhook-Id", id)
    }

    /// The same with this header, in the place of the one of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        let value = value.into();
        match self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, known)) => *known = value,
            None => self.headers.push((name.to_owned(), value)),
        }
        self
    }

    /// The same without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The head with more lines before its end, each `Name: value\r\n`.
    pub fn head(&self, more: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(more.as_bytes());
        head.extend_from_slice(b"\r\n");
        head
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(&format!("Content-Length: {}\r\n", self.body.len()));
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The same in chunks of so many bytes.
    pub fn chunked(&self, chunk_bytes: usize) -> Vec<u8> {
        let mut bytes = self.head("Transfer-Encoding: chunked\r\n");
        for chunk in self.body.chunks(chunk_bytes) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    /// Sends it on a connection of its own.
    pub async fn send(&self, to: SocketAddr) -> Answer {
        exchange(to, &self.bytes()).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0 when the connection was closed without one.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The text behind it.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(known, _)| *known == name))
            .map(|(_, value)| value)
    }
}

/// Sends bytes and reads the answer.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to).await?;
    // Who is refused early may find the connection closed before everything was sent, and the answer still there.
    let sent = stream.write_all(bytes).await;
    let answer = answer(&mut stream).await?;
    if answer.status == 0 {
        sent?;
    }
    Ok(answer)
}

/// Reads one answer; interim ones are passed by.
pub async fn answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let read = async {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(answer) = whole(&bytes) {
                return Ok(answer);
            }
            match stream.read(&mut piece).await {
                Ok(0) => return Ok(Answer::default()),
                Ok(length) if bytes.len() + length <= ANSWER_BYTES_MAX => bytes.extend_from_slice(&piece[..length]),
                Ok(_) => return Err(io::Error::other("the answer is endless")),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Answer::default()),
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| Err(io::Error::other("it never came")))
}

/// The answer, once all of it is there.
fn whole(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return whole(&bytes[head.len() + 4..]);
    }
    let answer = Answer { status, head: head.clone(), body: body.to_owned() };
    let length: usize = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    (body.len() >= length).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_platform() {
        // The constant is of the platform's own library.
        let signature = sign("test_secret_key", br#"{"foo": "bar"}"#);
        assert_eq!(signature, "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g=");
    }

    #[test]
    fn an_answer_is_whole_when_all_of_it_is_there() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n";
        assert_eq!(whole(&text[..text.len() - 1]), None);
        let answer = whole(text).unwrap_or_default();
        assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (404, Some("3"), "no\n"));
    }
}
