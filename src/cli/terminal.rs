//! The terminal of the person: its size, and raw mode, which is undone on every way out.

use std::{
    io::{self, IsTerminal},
    sync::{Mutex, Once, PoisonError},
};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use super::error::CliError;

/// The modes to go back to. It is global because a panic's hook must reach it: the release build
/// aborts on a panic, without running destructors.
static COOKED: Mutex<Option<Termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// Whether standard input and output are both a person's terminal.
#[must_use]
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Columns and rows of the terminal, if there is one.
#[must_use]
pub(super) fn size() -> Option<(u16, u16)> {
    #[allow(
        clippy::undocumented_unsafe_blocks,
        reason = "the macro makes the unsafe function; its call below says why it is sound"
    )]
    mod ioctl {
        nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);
    }
    let mut size = nix::libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, and `size` is one that outlives the call.
    unsafe { ioctl::window_size(nix::libc::STDOUT_FILENO, &raw mut size) }.ok()?;
    (size.ws_col != 0 && size.ws_row != 0).then_some((size.ws_col, size.ws_row))
}

/// Raw mode for as long as it lives.
#[derive(Debug)]
pub(super) struct RawMode(());

impl RawMode {
    /// Hands every key to the process in the container.
    pub(super) fn enter() -> Result<Self, CliError> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        let failed =
            |why: nix::Error| CliError::io("can't set the terminal to raw mode")(why.into());
        let cooked = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = cooked.clone();
        cfmakeraw(&mut raw);
        *COOKED.lock().unwrap_or_else(PoisonError::into_inner) = Some(cooked);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw).map_err(failed)?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Goes back to the modes before raw mode, if it was entered.
fn restore() {
    let cooked = COOKED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(cooked) = cooked {
        // There is nobody left to tell if even this fails.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &cooked);
    }
}
