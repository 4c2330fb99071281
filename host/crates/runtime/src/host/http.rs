//! `http`: third parties.

use tradewind_model::{ActionError, code};
use wasmtime::component::Resource;

use super::{Reply, State, at_most, name, options as options_of, wit};
use crate::call::method_reads;
use crate::invoke::Phase;
use crate::limits::{HEADERS_BYTES_MAX, Limit, PATH_BYTES_MAX};
use crate::session::{HttpRequest, HttpResponse};
use wit::http as guest;

/// Bytes that a header takes beside its name and its value.
const HEADER_BYTES: usize = 32;

impl guest::Host for State {
    async fn send(
        &mut self,
        method: String,
        url: String,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
        options: String,
    ) -> Reply<Resource<HttpResponse>> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::PlatformCalls)?;
        name("method", &method)?;
        at_most("url", url.len(), PATH_BYTES_MAX, "path_bytes_max")?;
        let bytes = headers.iter().map(|(name, value)| name.len() + value.len() + HEADER_BYTES);
        at_most("headers", bytes.sum(), HEADERS_BYTES_MAX, "headers_bytes_max")?;
        let method = method.to_ascii_uppercase();
        if self.invocation.phase == Phase::Run && !method_reads(&method) {
            return Err(ActionError::permanent(
                code::WRONG_PHASE,
                "what was sent cannot be taken back; hint: send it in `success`",
            )
            .into());
        }
        let request = HttpRequest { method, url, headers, body, options: options_of(options)? };
        let response = self.session.send_http(request).await?;
        let headers = response.headers.iter().map(|(name, value)| name.len() + value.len());
        let bytes = response.body.len() + headers.sum::<usize>();
        self.meter.answer_bytes(bytes)?;
        self.meter.keep_bytes(bytes)?;
        Ok(self.keep(response)?)
    }
}

impl State {
    fn response(&mut self, handle: &Resource<HttpResponse>) -> wasmtime::Result<&HttpResponse> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.table.get(handle)?)
    }
}

impl guest::HostResponse for State {
    async fn status(&mut self, response: Resource<HttpResponse>) -> wasmtime::Result<u16> {
        Ok(self.response(&response)?.status)
    }

    async fn header(&mut self, response: Resource<HttpResponse>, name: String) -> wasmtime::Result<Option<String>> {
        let headers = &self.response(&response)?.headers;
        let found = headers.iter().find(|(of, _)| of.eq_ignore_ascii_case(&name));
        Ok(found.map(|(_, value)| value.clone()))
    }

    async fn headers(&mut self, response: Resource<HttpResponse>) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.response(&response)?.headers.clone())
    }

    async fn body(&mut self, response: Resource<HttpResponse>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.response(&response)?.body.clone())
    }

    async fn text(&mut self, response: Resource<HttpResponse>) -> wasmtime::Result<String> {
        let text = String::from_utf8_lossy(&self.response(&response)?.body).into_owned();
        // A byte that is no text becomes three.
        self.meter.answer_bytes(text.len())?;
        Ok(text)
    }

    async fn drop(&mut self, response: Resource<HttpResponse>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}
