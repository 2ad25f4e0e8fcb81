//! Asking another member's API, over a stream that both have proved themselves on.

use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;

use super::{backend::MemberStream, wire};

/// The name that members call each other by in requests.
pub(super) const HOST: &str = "member";

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Asks for something that has no body, and of whose answer only matters whether it was done.
pub async fn ask_member(stream: MemberStream, method: &str, path: &str) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|error| said(&error))?;
    let ask = async {
        let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
        let status = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|error| said(&error))?.to_bytes();
        if status.is_success() {
            return Ok(());
        }
        let problem: Option<wire::Problem> = serde_json::from_slice(&body).ok();
        Err(problem.map_or_else(|| status.to_string(), |it| it.detail))
    };
    tokio::select! {
        answer = ask => answer,
        ended = connection => Err(match ended {
            Ok(()) => "the other node hung up".to_owned(),
            Err(error) => said(&error),
        }),
    }
}
