//! Commands in containers whose output and status the daemon wants: hooks and health checks.

use futures_util::StreamExt;

use crate::{
    model::RuntimeId,
    runtime::{ExecRequest, Runtime, RuntimeError},
};

/// How much of the output is kept, in bytes.
const OUTPUT_BYTES_MAX: usize = 4096;

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its status.
    pub(super) status: Option<i64>,
    /// The beginning of what it wrote.
    pub(super) output: String,
}

/// Runs a command to its end.
pub(super) async fn run(
    runtime: &dyn Runtime,
    container: &RuntimeId,
    request: ExecRequest,
) -> Result<Ended, RuntimeError> {
    let exec = runtime.exec(container, request).await?;
    // Held until the end: without it the command would see its standard input end, which is right,
    // but some engines then end the output, too.
    let _input = exec.session.input;
    let mut stream = exec.session.output;
    let mut kept = vec![];
    while let Some(piece) = stream.next().await {
        let piece = piece?.bytes;
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(piece.get(..room).unwrap_or(&piece));
    }
    let status = exec.exit_code.await?;
    Ok(Ended { status, output: String::from_utf8_lossy(&kept).into_owned() })
}

/// Cuts a text to what is kept of an output.
pub(super) fn cut(mut text: String) -> String {
    let mut end = text.len().min(OUTPUT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("ä".repeat(4096)).len(), 4096);
        assert_eq!(cut(format!("x{}", "ä".repeat(4096))).len(), 4095);
    }
}
